"""The loss of a packed row: equal to that of its examples one by one."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor
from torch.nn import functional

from sgforge.errors import StepError
from sgforge_robin.encoding import Example
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.splice import RegionTokens
from sgforge_robin.training.forward import Attention, See, in_pieces, learnt_states

__all__ = ["Share", "Summed", "packed_loss", "row_loss"]


@attrs.frozen
class Share:
    """What all ranks have in one step: positions that are learnt, images that teach the pair head, images, tokens."""

    learnt: int
    taught: int
    images: int
    tokens: int


@attrs.frozen(eq=False)
class Summed:
    """The losses of a row: cross-entropy summed over its learnt positions, `count`; the pair head's summed over its
    images, `images`. A part that the row has not is 0 and without gradient.
    """

    total: Tensor
    count: int
    pairs: Tensor
    images: int


def packed_loss(model: RobinModel, examples: Sequence[Example], attention: Attention | None = None) -> Summed:
    """The loss of examples packed into one row.

    Only learnt positions go through the language model's head. A row without anything to learn is a `StepError` that
    names its images.
    """
    device = model.table.weight.device
    seen = See(model, examples)
    spoken = [place for place, example in enumerate(examples) if example.branches]
    taught = [place for place, example in enumerate(examples) if example.pairs is not None and model.pair_head]
    learnt = learnt_states(model, examples, spoken, seen, attention)
    if learnt is None and not taught:
        names = ", ".join(example.image_id for example in examples)
        raise StepError(f"nothing to learn in the packed row of images {names}: their answers are empty")
    total = torch.zeros((), device=device)
    if learnt is not None:
        total = torch.stack(in_pieces(model, learnt, _cross_entropy)).sum()
    losses = [_pair_loss(model, examples[place], seen.regions[place], device) for place in taught]
    pairs = torch.stack(losses).sum() if losses else torch.zeros((), device=device)
    return Summed(total, 0 if learnt is None else len(learnt.aims), pairs, len(taught))


def row_loss(
    model: RobinModel, examples: Sequence[Example], share: Share, attention: Attention | None = None
) -> Tensor:
    """What a row adds to the loss of a step: a learnt position of all ranks weighs alike, and so does an image."""
    summed = packed_loss(model, examples, attention)
    return summed.total / max(share.learnt, 1) + summed.pairs / max(share.taught, 1)


def _cross_entropy(logits: Tensor, aims: Tensor) -> Tensor:
    return functional.cross_entropy(logits, aims, reduction="sum")


def _pair_loss(model: RobinModel, example: Example, regions: RegionTokens | None, device: torch.device) -> Tensor:
    """The pair head's loss on one image: the mean of that with its labels and that without, since both are met later.

    Both cost little beside seeing the image.
    """
    pairs, head = example.pairs, model.pair_head
    assert pairs is not None
    assert regions is not None
    assert head is not None
    boxes, labels, truth = (part.to(device) for part in (pairs.boxes, pairs.labels, pairs.truth))
    losses = [
        head.loss(head((regions.mask, regions.pos), boxes, ids, pairs.pairs.to(device)), truth)
        for ids in (labels, torch.full_like(labels, head.shape.labels))
    ]
    return torch.stack(losses).mean()
