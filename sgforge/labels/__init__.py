"""Names compared: mapped to a closed vocabulary, or how alike they are; exactly, by lemma, by an encoder."""

from __future__ import annotations

from sgforge.labels.encoders import Encoder, encoder_named
from sgforge.labels.lemma import lemma_key, normalized
from sgforge.labels.mapper import LabelMapper, Matching
from sgforge.labels.similarity import Similarity, by_encoder, by_key, similarity_named

__all__ = [
    "Encoder",
    "LabelMapper",
    "Matching",
    "Similarity",
    "by_encoder",
    "by_key",
    "encoder_named",
    "lemma_key",
    "normalized",
    "similarity_named",
]
