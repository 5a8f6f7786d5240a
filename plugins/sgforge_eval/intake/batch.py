"""Many images as plain arrays: what the numeric core reads, whatever wrote the graphs.

Rows of all images lie behind each other; `offsets` (N + 1) says where each image begins. Relations index objects by
their row in the batch. Labels and predicates are codes of the vocabularies; -1 is a name outside of them (or none),
which never matches.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import numpy as np

from sgforge_eval.intake.arrays import Flags, Floats, Ints

__all__ = ["Codebook", "Dense", "EvalBatch", "Listed", "Objects", "Truth", "offsets_of"]


_STRANGERS = 1000


class Codebook:
    """Names to codes 0, 1, ...; grows while open, answers -1 for a new name once closed.

    `strangers`: the first names that a closed book does not have.
    """

    def __init__(self, names: Iterable[str] = (), *, closed: bool = False) -> None:
        self._codes: dict[str, int] = {name: code for code, name in enumerate(dict.fromkeys(names))}
        self.closed = closed
        self.strangers: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names by code."""
        return tuple(self._codes)

    def code(self, name: str | None) -> int:
        """The code of `name`; None, or a new name in a closed book, is -1."""
        if name is None:
            return -1
        if self.closed:
            code = self._codes.get(name, -1)
            if code < 0 and len(self.strangers) < _STRANGERS:
                self.strangers[name] = None
            return code
        return self._codes.setdefault(name, len(self._codes))

    def find(self, name: str) -> int:
        """The code of `name` if it has one, else -1; the book stays as it is."""
        return self._codes.get(name, -1)

    def codes(self, names: Iterable[str | None]) -> Ints:
        """The codes of `names`, int32."""
        return np.fromiter((self.code(name) for name in names), np.int32)


@attrs.frozen(eq=False)
class Objects:
    """Regions of N images: `boxes` (M, 4) float32 xyxy, NaN where none; `labels` (M,) int32; `scores` (M,) float32."""

    offsets: Ints
    boxes: Floats
    labels: Ints
    scores: Floats


@attrs.frozen(eq=False)
class Truth:
    """Truth triplets: `image` (R,) ascending, `subject`, `object` rows of the truth objects, `predicate` codes.

    `category` (R,) uint8 indexes `sgforge.graph.CATEGORIES`.
    """

    objects: Objects
    image: Ints
    subject: Ints
    object: Ints
    predicate: Ints
    category: Ints

    def rows(self, keep: Flags) -> Truth:
        """The triplets where `keep` (R,) is true; the objects stay."""
        return Truth(
            objects=self.objects,
            image=self.image[keep],
            subject=self.subject[keep],
            object=self.object[keep],
            predicate=self.predicate[keep],
            category=self.category[keep],
        )


@attrs.frozen(eq=False)
class Dense:
    """Predictions as a distribution over predicates for each pair of regions.

    `offsets` (N + 1) of the pairs; `subject`, `object` (P,) rows of the predicted objects; `scores` (P, C) float32,
    column c being predicate code `columns[c]`. A score that is 0 or less is not proposed.
    """

    objects: Objects
    offsets: Ints
    subject: Ints
    object: Ints
    scores: Floats
    columns: Ints

    @property
    def proposed(self) -> Ints:
        """(N,) relations an image: every predicate of a pair that has a score."""
        of_image = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        of_pair = np.count_nonzero(self.scores > 0, axis=1)
        return np.bincount(of_image, of_pair, minlength=len(self.offsets) - 1).astype(np.int64)

    def rows(self, kept: Ints, offsets: Ints) -> Dense:
        """The pairs of these row numbers, with their new offsets."""
        return attrs.evolve(
            self,
            offsets=offsets,
            subject=self.subject[kept],
            object=self.object[kept],
            scores=self.scores[kept],
        )


@attrs.frozen(eq=False)
class Listed:
    """Predictions as listed triplets with a score each; rows of one pair together are its distribution."""

    objects: Objects
    offsets: Ints
    subject: Ints
    object: Ints
    predicate: Ints
    scores: Floats

    @property
    def proposed(self) -> Ints:
        """(N,) relations an image."""
        return np.diff(self.offsets)

    def rows(self, kept: Ints, offsets: Ints) -> Listed:
        """The triplets of these row numbers, with their new offsets."""
        return attrs.evolve(
            self,
            offsets=offsets,
            subject=self.subject[kept],
            object=self.object[kept],
            predicate=self.predicate[kept],
            scores=self.scores[kept],
        )


@attrs.frozen(eq=False)
class EvalBatch:
    """N images: their truth and their predictions. `failed` (N,) bool marks images whose prediction failed.

    `labels`, `predicates`: how many codes there are, an upper bound. `aligned`: predicted objects are the truth's own,
    row for row (modes predcls and sgcls). `ordinal` (N,): each image's place among all; None means in order.
    """

    count: int
    truth: Truth
    predictions: Dense | Listed
    failed: Flags
    labels: int
    predicates: int
    aligned: bool = False
    ordinal: Ints | None = None


def offsets_of(counts: Iterable[int] | Ints) -> Ints:
    """Row offsets (N + 1) int64 of segments with these lengths."""
    lengths = np.asarray(counts if isinstance(counts, np.ndarray) else list(counts), np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
