"""Student `prior`: counts of predicates given the labels and the layout of a pair, with back-off."""

from __future__ import annotations

from sgforge_baseline.prior.student import PriorStudent

__all__ = ["PriorStudent"]
