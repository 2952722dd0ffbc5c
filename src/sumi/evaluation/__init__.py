"""Exams and metrics: a model draws prompts, the judge marks the pictures, and every figure has an interval.

Each exam yields rows (name, value) and a contact sheet, so that a person can look at what was counted.
"""
