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
from sgforge_robin.model.shape import IGNORED
from sgforge_robin.model.splice import RegionTokens
from sgforge_robin.model.tower import LEVELS
from sgforge_robin.training.packing import documents, lay_out

__all__ = ["Summed", "packed_loss"]


@attrs.frozen(eq=False)
class Summed:
    """The losses of a row: cross-entropy summed over its learnt positions, `count`; the pair head's summed over its
    images, `images`. A part that the row has not is 0 and without gradient.
    """

    total: Tensor
    count: int
    pairs: Tensor
    images: int


def packed_loss(model: RobinModel, examples: Sequence[Example], dense: bool | None = None) -> Summed:
    """The loss of examples packed into one row.

    `dense`: one attention under an L x L mask, else one a document and its branches, which is as exact and takes a
    fraction of the work on a CPU; None takes the mask on other devices, where one large kernel is the faster.
    Only learnt positions go through the language model's head. A row without anything to learn is a `StepError` that
    names its images.
    """
    device = model.table.weight.device
    seen = _See(model, examples, device)
    spoken = [place for place, example in enumerate(examples) if example.branches]
    taught = [place for place, example in enumerate(examples) if example.pairs is not None and model.pair_head]
    total, count = _spoken(model, examples, spoken, seen, dense)
    if not count and not taught:
        names = ", ".join(example.image_id for example in examples)
        raise StepError(f"nothing to learn in the packed row of images {names}: their answers are empty")
    losses = [_pair_loss(model, examples[place], seen.regions[place], device) for place in taught]
    return Summed(total, count, torch.stack(losses).sum() if losses else torch.zeros((), device=device), len(taught))


class _See:
    """What a row's images look like: tokens of each image, and of its regions."""

    def __init__(self, model: RobinModel, examples: Sequence[Example], device: torch.device) -> None:
        pixels = torch.stack([example.pixels for example in examples]).to(device, model.dtype)
        features = model.tower(pixels)
        self.images = model.image_tokens(features["res4"])
        self.regions = [
            model.region_tokens({name: features[name][place : place + 1] for name in LEVELS}, example.masks)
            for place, example in enumerate(examples)
        ]


def _spoken(
    model: RobinModel, examples: Sequence[Example], places: Sequence[int], seen: _See, dense: bool | None
) -> tuple[Tensor, int]:
    """Cross-entropy summed over the learnt positions of the examples at these places, and their number."""
    device = model.table.weight.device
    if not places:
        return torch.zeros((), device=device), 0
    embeds, labels = _row(model, examples, places, seen)
    chosen = [examples[place] for place in places]
    layout = lay_out(chosen).to(device)
    masked = device.type != "cpu" if dense is None else dense
    learnt = (labels[1:] != IGNORED).nonzero()[:, 0]
    if not len(learnt):
        return torch.zeros((), device=device), 0
    # Where documents say who looks at whom no mask is read; one of a single entry keeps transformers from making one.
    unread = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
    hidden = model.language.base_model(
        inputs_embeds=embeds[None],
        attention_mask=layout.allowed() if masked else unread,
        position_ids=layout.position[None],
        use_cache=False,
        documents=None if masked else [document.to(device) for document in documents(chosen)],
    ).last_hidden_state[0]
    logits = model.language.get_output_embeddings()(hidden[learnt])
    total = functional.cross_entropy(logits.float(), labels[learnt + 1], reduction="sum")
    return total, len(learnt)


def _row(model: RobinModel, examples: Sequence[Example], places: Sequence[int], seen: _See) -> tuple[Tensor, Tensor]:
    """Embeddings (L, width) and labels (L,) of the row."""
    device = model.table.weight.device
    parts: list[Tensor] = []
    labels: list[Tensor] = []
    for place in places:
        example = examples[place]
        ids = torch.tensor(example.prefix, device=device)
        prefix = model.row(ids, None, seen.images[place], seen.regions[place], f"image {example.image_id}")
        if len(prefix.labels) != example.length:
            raise StepError(
                f"image {example.image_id}: its prefix takes {len(prefix.labels)} positions, {example.length} stated"
            )
        asked = [token for branch in example.branches for token in branch.ids]
        said = [token for branch in example.branches for token in branch.labels]
        parts += [prefix.embeds, model.table(torch.tensor(asked, dtype=torch.long, device=device))]
        labels += [prefix.labels, torch.tensor(said, dtype=torch.long, device=device)]
    return torch.cat(parts), torch.cat(labels)


def _pair_loss(model: RobinModel, example: Example, regions: RegionTokens | None, device: torch.device) -> Tensor:
    """The pair head's loss on one image."""
    pairs = example.pairs
    assert pairs is not None
    assert regions is not None
    assert model.pair_head is not None
    logits = model.pair_head(
        (regions.mask, regions.pos), pairs.boxes.to(device), pairs.labels.to(device), pairs.pairs.to(device)
    )
    loss: Tensor = model.pair_head.loss(logits, pairs.truth.to(device))
    return loss
