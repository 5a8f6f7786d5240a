"""One image of a snapshot to a training example: other regions and another order every epoch."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from sgforge.graph import Sample
from sgforge_robin.encoding import Branch, Example, PairTruth, drop_to_fit, encode_branch, prefix_ids
from sgforge_robin.model.shape import Aspect
from sgforge_robin.pairs import PairVocabulary
from sgforge_robin.pixels import image_tensor
from sgforge_robin.regions import masks_of
from sgforge_robin.sizes import Size
from sgforge_robin.text.tasks import Task, opening
from sgforge_robin.tokens import RobinTokenizer
from sgforge_robin.training.asked import Shown, detection_of, show, turns
from sgforge_robin.training.stages import Stage

__all__ = ["Draft", "ExampleMaker"]

_WITHOUT_REGIONS: Final = 0.15
"""How often an image is shown without its regions, in a stage that learns to find them."""


@attrs.frozen(eq=False)
class Draft:
    """An example before its picture is opened and its masks are decoded: what packing needs to know of it."""

    sample: Sample
    regions: tuple[int, ...]
    prefix: list[int]
    length: int
    branches: tuple[Branch, ...]
    pairs: PairTruth | None

    @property
    def total(self) -> int:
        """Positions of the prefix and all branches; 0 for one that asks nothing in words."""
        return self.length + sum(len(branch.ids) for branch in self.branches) if self.branches else 0


@attrs.frozen(eq=False)
class ExampleMaker:
    """Makes examples; equal (seed, epoch, image) give equal ones, whatever came before.

    Branches that do not fit the stage's rows are left out and counted by `left_out`. `vocabulary`: of the pair head,
    None without one. `spoken`: the share of examples that ask anything in words; the others teach the pair head alone.
    `aspect`: how images become square.
    """

    tokenizer: RobinTokenizer
    size: Size
    stage: Stage
    seed: int
    left_out: Callable[[int], None]
    vocabulary: PairVocabulary | None = None
    spoken: float = 1.0
    aspect: Aspect = "stretch"

    def draft(self, sample: Sample, epoch: int, again: int = 0) -> Draft | None:
        """What an image is asked in this epoch; None if there is nothing to ask about it, or no image.

        `again`: how often it was shown in this epoch before.
        """
        dice = random.Random(_number(self.seed, epoch, f"{sample.image_id}/{again}" if again else sample.image_id))
        if Task.DETECTION in self.stage.tasks and dice.random() < _WITHOUT_REGIONS:
            return self._without_regions(sample, dice)
        shown = show(sample, dice, self.stage.kept)
        asked = turns(shown, self.stage.tasks, dice) if dice.random() < self.spoken else []
        pairs = None if self.vocabulary is None else self.vocabulary.truth(sample, shown.regions)
        if sample.image is None or not (asked or pairs):
            return None
        prefix = self._prefix(sample, shown)
        length = self._length(prefix)
        branches = self._fitting([encode_branch(self.tokenizer, turn) for turn in asked], length)
        if not branches and pairs is None:
            return None
        return Draft(sample=sample, regions=shown.regions, prefix=prefix, length=length, branches=branches, pairs=pairs)

    def _without_regions(self, sample: Sample, dice: random.Random) -> Draft | None:
        """An image whose regions are to be found."""
        turn = detection_of(sample, dice)
        if turn is None or sample.image is None:
            return None
        prefix = prefix_ids(self.tokenizer, opening([]))
        length = self._length(prefix)
        branches = self._fitting([encode_branch(self.tokenizer, turn)], length)
        if not branches:
            return None
        return Draft(sample=sample, regions=(), prefix=prefix, length=length, branches=branches, pairs=None)

    def _prefix(self, sample: Sample, shown: Shown) -> list[int]:
        rows = [sample.graph.regions[index] for index in shown.regions]
        boxes = shown.boxes if self.size.box_text else [""] * len(rows)
        names = [region.label or "" for region in rows] if shown.named else None
        return prefix_ids(self.tokenizer, opening(boxes, names))

    def _length(self, prefix: Sequence[int]) -> int:
        """Positions of a prefix once the image's tokens are in."""
        return len(prefix) - 1 + self.size.image_tokens

    def finish(self, draft: Draft) -> Example:
        """The example of a draft. An image that cannot be read is an `ImageError`."""
        sample = draft.sample
        assert sample.image is not None
        return Example(
            image_id=sample.image_id,
            pixels=image_tensor(sample.image.array(), self.size.side, self.aspect),
            masks=masks_of(sample, [sample.graph.regions[index] for index in draft.regions]),
            prefix=draft.prefix if draft.branches else [],
            length=draft.length if draft.branches else 0,
            branches=draft.branches,
            pairs=draft.pairs,
        )

    def _fitting(self, branches: Sequence[Branch], length: int) -> tuple[Branch, ...]:
        kept = drop_to_fit(branches, self.stage.capacity - length)
        self.left_out(len(branches) - len(kept))
        return kept


def _number(seed: int, epoch: int, image_id: str) -> int:
    """A number that is the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
