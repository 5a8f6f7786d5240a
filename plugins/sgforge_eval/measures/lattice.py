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

ENTAILED: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "support": {
        **dict.fromkeys(
            ("standing on", "sitting on", "lying on", "laying on", "walking on", "running on", "parked on"), ("on",)
        ),
        **dict.fromkeys(("painted on", "growing on", "on back of", "riding", "covering", "crossing"), ("on",)),
        "mounted on": ("on", "attached to"),
        "on top of": ("on", "above"),
    },
    "containment": {
        **dict.fromkeys(("inside", "enclosed by", "standing in", "sitting in", "swimming in"), ("in",)),
    },
    "place": {
        **dict.fromkeys(("next to", "beside", "in front of", "behind", "between", "touching"), ("near",)),
        **dict.fromkeys(("hanging over", "flying over"), ("over",)),
        **dict.fromkeys(("under", "beneath", "underneath"), ("below",)),
        "over": ("above",),
    },
    "contact": {
        **dict.fromkeys(("leaning against", "leaning on"), ("against", "touching")),
        **dict.fromkeys(("holding", "catching", "attached to"), ("touching",)),
        "hanging from": ("attached to",),
    },
    "hands": {
        **dict.fromkeys(("carrying", "swinging", "throwing"), ("holding",)),
        **dict.fromkeys(("playing with", "eating"), ("using",)),
        "talking on": ("using", "holding"),
        "typing on": ("using", "touching"),
    },
    "eyes": {
        **dict.fromkeys(("watching", "staring at", "reading"), ("looking at",)),
    },
    "parts and clothes": {
        **dict.fromkeys(("wearing", "wears", "possessing", "full of", "with"), ("has",)),
        **dict.fromkeys(("made of", "part of", "belonging to"), ("of",)),
    },
}
"""By the type of what is entailed, what a predicate entails at once; what these entail, of whatever type, follows."""


def entailments(names: Sequence[str]) -> Ints:
    """(n, 2) codes (specific, general) of a vocabulary in which the first entails the second, each pair once."""
    general = {
        lemma_key(name): [lemma_key(other) for other in others]
        for edges in ENTAILED.values()
        for name, others in edges.items()
    }
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
