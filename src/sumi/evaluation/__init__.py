"""Exams and measures of models: prompts are drawn and a judge of its own kind says what it sees.

Each exam yields rows (name, value) and a picture, so that a person can look at what was counted.
"""
