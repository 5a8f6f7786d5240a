"""How good a dataset's graphs are, counted from the graphs themselves and, where there is one, from a labelled sample.

Density, shares of categories, entropy and long tail of predicates, spatial relations that the boxes contradict,
agreement between the steps that made relations and between annotations of one photo, duplicates, precision.
"""

from __future__ import annotations

from sgforge_eval.quality.counts import CONTRADICTED
from sgforge_eval.quality.report import quality
from sgforge_eval.quality.sample import Judgement, read_judgements, wilson_interval

__all__ = ["CONTRADICTED", "Judgement", "quality", "read_judgements", "wilson_interval"]
