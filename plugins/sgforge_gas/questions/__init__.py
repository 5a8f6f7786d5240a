"""Questions about a scene that its graph answers, what answers are worth, and questions of others."""

from __future__ import annotations

from sgforge_gas.questions.asking import Asker
from sgforge_gas.questions.scoring import Scores, rightness, score_answers

__all__ = ["Asker", "Scores", "rightness", "score_answers"]
