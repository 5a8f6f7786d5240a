"""Examples as ids: one prefix (the image and its regions), and branches that each ask and answer after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
from torch import Tensor

from sgforge_robin.model.shape import IGNORED, IMAGE_ID
from sgforge_robin.text.tasks import Turn
from sgforge_robin.tokens import RobinTokenizer

__all__ = ["Branch", "Example", "PairTruth", "ask_ids", "drop_to_fit", "encode_branch", "prefix_ids"]

_IMAGE: Final = "<image>"


@attrs.frozen(eq=False)
class Branch:
    """A question and its answer: `ids` and `labels`, as long; only the answer and the end of its turn are learnt."""

    ids: list[int]
    labels: list[int]


@attrs.frozen(eq=False)
class PairTruth:
    """What a pair head learns from an image of N regions: `boxes` (N, 4) as shares of the image, `labels` (N,) ids,
    `pairs` (P, 2), and which predicates hold of each, `truth` (P, C) bool.
    """

    boxes: Tensor
    labels: Tensor
    pairs: Tensor
    truth: Tensor


@attrs.frozen(eq=False)
class Example:
    """One image with what is asked about it.

    `pixels`: (3, S, S) float32. `masks`: (N, h, w) uint8. `prefix`: ids with the image's placeholder.
    `length`: positions of the prefix once the image's tokens are in, without the branches. `pairs`: for the pair head.
    """

    image_id: str
    pixels: Tensor
    masks: Tensor | None
    prefix: list[int]
    length: int
    branches: tuple[Branch, ...]
    pairs: PairTruth | None = None

    @property
    def total(self) -> int:
        """Positions of the prefix and all branches."""
        return self.length + sum(len(branch.ids) for branch in self.branches)


def prefix_ids(tokenizer: RobinTokenizer, opening: str) -> list[int]:
    """Ids of an opening, its `<image>` as the image's placeholder.

    Names of regions stand in it without angle brackets, so that no text of somebody else's is a special token.
    """
    before, _, after = opening.partition(_IMAGE)
    return [*tokenizer.ids(before), IMAGE_ID, *tokenizer.ids(after)]


def ask_ids(tokenizer: RobinTokenizer, question: str) -> list[int]:
    """Ids of a question up to where its answer begins."""
    return tokenizer.ids(f"{question}<|im_end|>\n<|im_start|>assistant\n")


def encode_branch(tokenizer: RobinTokenizer, turn: Turn) -> Branch:
    """A question with its answer; what is learnt is the answer and its end.

    The released trainer also learns the header of the answer's turn, and every line break and turn mark of the prompt.
    """
    asked = ask_ids(tokenizer, turn.question)
    answer = [*tokenizer.ids(turn.answer), tokenizer.end]
    return Branch([*asked, *answer], [IGNORED] * len(asked) + answer)


def drop_to_fit(branches: Sequence[Branch], room: int) -> tuple[Branch, ...]:
    """The first branches whose lengths sum to at most `room`."""
    kept, used = [], 0
    for branch in branches:
        used += len(branch.ids)
        if used > room:
            break
        kept.append(branch)
    return tuple(kept)
