"""What one predicate says of another, "riding" for one says "on": a small lattice of our own.

An edge (specific, general) holds for every pair of things that the specific one is said of. Names are compared by
lemma, so that "is riding" and "rides" are one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from sgforge.labels import lemma_key
from sgforge_eval.intake.arrays import Ints

__all__ = ["ENTAILED", "entailments"]

ENTAILED: Final[Mapping[str, tuple[str, ...]]] = {
    # space: what supports touches, what is within is near
    "standing on": ("on",),
    "sitting on": ("on",),
    "lying on": ("on",),
    "laying on": ("on",),
    "walking on": ("on",),
    "running on": ("on",),
    "parked on": ("on",),
    "mounted on": ("on", "attached to"),
    "painted on": ("on",),
    "growing on": ("on",),
    "on top of": ("on", "above"),
    "on back of": ("on",),
    "riding": ("on",),
    "covering": ("on",),
    "inside": ("in",),
    "enclosed by": ("in",),
    "standing in": ("in",),
    "sitting in": ("in",),
    "swimming in": ("in",),
    "next to": ("near",),
    "beside": ("near",),
    "leaning against": ("against", "touching"),
    "leaning on": ("against", "touching"),
    "touching": ("near",),
    "hanging from": ("attached to",),
    "hanging over": ("over",),
    "flying over": ("over",),
    "over": ("above",),
    "under": ("below",),
    "beneath": ("below",),
    "underneath": ("below",),
    "in front of": ("near",),
    "behind": ("near",),
    "between": ("near",),
    "attached to": ("touching",),
    "crossing": ("on",),
    # hands and eyes: what is done to a thing with a thing
    "holding": ("touching",),
    "carrying": ("holding",),
    "swinging": ("holding",),
    "throwing": ("holding",),
    "catching": ("touching",),
    "playing with": ("using",),
    "eating": ("using",),
    "watching": ("looking at",),
    "staring at": ("looking at",),
    "reading": ("looking at",),
    "talking on": ("using", "holding"),
    "typing on": ("using", "touching"),
    # parts and clothes
    "wearing": ("has",),
    "wears": ("has",),
    "made of": ("of",),
    "part of": ("of",),
    "belonging to": ("of",),
    "possessing": ("has",),
    "full of": ("has",),
    "with": ("has",),
}
"""What a predicate entails at once; what these entail follows."""


def entailments(names: Sequence[str]) -> Ints:
    """(n, 2) codes (specific, general) of a vocabulary in which the first entails the second, each pair once."""
    general = {lemma_key(name): [lemma_key(other) for other in others] for name, others in ENTAILED.items()}
    codes: dict[str, list[int]] = {}
    for code, name in enumerate(names):
        codes.setdefault(lemma_key(name), []).append(code)
    found = set()
    for key, own in codes.items():
        todo, reached = list(general.get(key, ())), set()
        while todo:
            other = todo.pop()
            if other not in reached and other != key:
                reached.add(other)
                todo += general.get(other, ())
        found |= {(code, target) for other in reached for code in own for target in codes.get(other, ())}
    return np.array(sorted(found), np.int64).reshape(-1, 2)
