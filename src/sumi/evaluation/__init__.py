"""Exams and metrics: a model draws prompts, the judge grades the pictures, and every value has an interval.

Each exam yields rows (name, value) and a contact sheet, so that a person can look at what was counted.

`questions`, `exam`, `grading` and `exam_sheet` are the exam in prompts; `true_scenes` draws true pictures of the same
questions, of which `scores` has the ceilings. `composition`, `bias`, `quality` and `clip_exam` are further suites.
`exam_record` is what each saves, which `compare` and `model_card` read. `edit_exam`, `edit_measurements`, `inversion`
and `ranking` are the exam in editing. `everyday_exam` tests the interpretation of prompts, and `judge_exam` the judge.
`memorization`, `colour_copies`, `transformed_copies` and `leakage` look for copies, and `ceilings` measures the loss by
codec and upsampler.
The metrics are in `kid` and `pixel_metrics`, their intervals in `intervals`.
"""

__all__: list[str] = []  # the package exports its modules; each of them lists its names
