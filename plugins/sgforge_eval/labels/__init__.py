"""Free-text names to a closed vocabulary: exact, by alias, by lemma, by similarity of embeddings."""

from __future__ import annotations

from sgforge_eval.labels.encoders import Encoder, encoder_named
from sgforge_eval.labels.lemma import lemma_key, normalized
from sgforge_eval.labels.mapper import LabelMapper, Matching

__all__ = ["Encoder", "LabelMapper", "Matching", "encoder_named", "lemma_key", "normalized"]
