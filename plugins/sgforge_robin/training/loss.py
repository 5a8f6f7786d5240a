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
from sgforge_robin.model.tower import LEVELS
from sgforge_robin.training.packing import documents, lay_out

__all__ = ["Summed", "packed_loss"]


@attrs.frozen(eq=False)
class Summed:
    """Cross-entropy summed over the learnt positions of a row, and how many these are."""

    total: Tensor
    count: int


def packed_loss(model: RobinModel, examples: Sequence[Example], dense: bool | None = None) -> Summed:
    """The loss of examples packed into one row.

    `dense`: one attention under an L x L mask, else one a document and its branches, which is as exact and takes a
    fraction of the work on a CPU; None takes the mask on other devices, where one large kernel is the faster.
    Only learnt positions go through the language model's head. A row without any is a `StepError` that names its
    images.
    """
    device = model.table.weight.device
    embeds, labels = _row(model, examples, device)
    layout = lay_out(examples).to(device)
    masked = device.type != "cpu" if dense is None else dense
    learnt = (labels[1:] != IGNORED).nonzero()[:, 0]
    if not len(learnt):
        names = ", ".join(example.image_id for example in examples)
        raise StepError(f"nothing to learn in the packed row of images {names}: their answers are empty")
    hidden = model.language.base_model(
        inputs_embeds=embeds[None],
        attention_mask=layout.allowed() if masked else None,
        position_ids=layout.position[None],
        use_cache=False,
        documents=None if masked else [document.to(device) for document in documents(examples)],
    ).last_hidden_state[0]
    logits = model.language.get_output_embeddings()(hidden[learnt])
    total = functional.cross_entropy(logits.float(), labels[learnt + 1], reduction="sum")
    return Summed(total, len(learnt))


def _row(model: RobinModel, examples: Sequence[Example], device: torch.device) -> tuple[Tensor, Tensor]:
    """Embeddings (L, width) and labels (L,) of the row."""
    pixels = torch.stack([example.pixels for example in examples]).to(device, model.dtype)
    features = model.tower(pixels)
    images = model.image_tokens(features["res4"])
    parts: list[Tensor] = []
    labels: list[Tensor] = []
    for place, example in enumerate(examples):
        own = {name: features[name][place : place + 1] for name in LEVELS}
        regions = model.region_tokens(own, example.masks)
        ids = torch.tensor(example.prefix, device=device)
        prefix = model.row(ids, None, images[place], regions, f"image {example.image_id}")
        if len(prefix.labels) != example.length:
            raise StepError(
                f"image {example.image_id}: its prefix takes {len(prefix.labels)} positions, {example.length} stated"
            )
        asked = [token for branch in example.branches for token in branch.ids]
        said = [token for branch in example.branches for token in branch.labels]
        parts += [prefix.embeds, model.table(torch.tensor(asked, dtype=torch.long, device=device))]
        labels += [prefix.labels, torch.tensor(said, dtype=torch.long, device=device)]
    return torch.cat(parts), torch.cat(labels)
