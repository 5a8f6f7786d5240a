"""Words: nouns with types, attributes and relations with what they fit, and where they come from."""

from __future__ import annotations

from sgforge_gas.vocabulary.loading import load_vocabulary, parse_vocabulary, save_vocabulary, starter
from sgforge_gas.vocabulary.values import Adjective, Counts, Noun, Predicate, SceneAttribute, Vocabulary

__all__ = [
    "Adjective",
    "Counts",
    "Noun",
    "Predicate",
    "SceneAttribute",
    "Vocabulary",
    "load_vocabulary",
    "parse_vocabulary",
    "save_vocabulary",
    "starter",
]
