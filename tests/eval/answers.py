"""Predictions of tasks, for tests."""

from __future__ import annotations

from sgforge_eval.tasks.base import Predictions


def said(answers: dict[str, object], field: str = "answer") -> Predictions:
    """One prediction per question id, with one field."""
    found = Predictions()
    for key, answer in answers.items():
        found.add({"id": key, field: answer})
    return found
