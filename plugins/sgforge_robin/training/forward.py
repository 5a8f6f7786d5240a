"""A packed row through the model: what stands at each position that is learnt, and what should follow there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal

import attrs
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from sgforge.errors import StepError
from sgforge_robin.encoding import Example
from sgforge_robin.model.attention import block_mask
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.sending import sent
from sgforge_robin.model.shape import IGNORED
from sgforge_robin.model.splice import RegionTokens
from sgforge_robin.model.tower import LEVELS
from sgforge_robin.training.packing import Layout, documents, lay_out

__all__ = ["Attention", "Learnt", "See", "in_pieces", "learnt_states", "logprobs_of"]

Attention = Literal["documents", "mask", "flex"]
"""How a packed row attends, all with one result: document by document, under one L x L mask, or in blocks of it."""

_LOGITS: Final = 2**27
"""Logits that are held at once, more are computed again in the backward pass: 537 MB in float32."""
_GRAIN: Final = 2048
"""Rows that attend in blocks are padded to a multiple of this, so that few lengths are compiled."""


class See:
    """What a row's images look like: tokens of each image, and of its regions."""

    def __init__(self, model: RobinModel, examples: Sequence[Example]) -> None:
        device = model.table.weight.device
        pixels = sent(torch.stack([example.pixels for example in examples]), device, model.dtype)
        features = model.tower(pixels)
        self.images = model.image_tokens(features["res4"])
        self.regions: list[RegionTokens | None] = [
            model.region_tokens({name: features[name][place : place + 1] for name in LEVELS}, example.masks)
            for place, example in enumerate(examples)
        ]


@attrs.frozen(eq=False)
class Learnt:
    """The K positions of a row from which a token is learnt: `hidden` (K, width) there, `aims` (K,) what follows.

    They stand by document, by branch, and in each branch in order.
    """

    hidden: Tensor
    aims: Tensor


def learnt_states(
    model: RobinModel, examples: Sequence[Example], places: Sequence[int], seen: See, attention: Attention | None = None
) -> Learnt | None:
    """What is learnt of the examples at these places, as one row; None if it is nothing.

    `attention`: None takes documents on a CPU, where that is a fraction of the work, blocks on CUDA, and else the mask.
    """
    if not places:
        return None
    embeds, labels = _row(model, examples, places, seen)
    learnt = (labels[1:] != IGNORED).nonzero()[:, 0]
    if not len(learnt):
        return None
    device = embeds.device
    chosen = [examples[place] for place in places]
    kind = attention or {"cpu": "documents", "cuda": "flex"}.get(device.type, "mask")
    hidden = _attended(model, embeds, lay_out(chosen), chosen, kind)
    return Learnt(hidden[sent(learnt, device)], sent(labels[learnt + 1], device))


def _attended(model: RobinModel, embeds: Tensor, layout: Layout, examples: Sequence[Example], kind: str) -> Tensor:
    """Hidden states (L, width) of a row of embeddings (L, width)."""
    device, length = embeds.device, len(embeds)
    # Where no mask is read, one of a single entry keeps transformers from making one.
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
    given: dict[str, object] = {}
    if kind == "flex":
        layout = layout.padded(-(-length // _GRAIN) * _GRAIN)
        embeds = functional.pad(embeds, (0, 0, 0, len(layout.position) - length))
    layout = layout.to(device)
    if kind == "flex":
        given["blocks"] = block_mask(*layout.spans())
    elif kind == "documents":
        given["documents"] = documents(examples).to(device)
    else:
        mask = layout.allowed()
    out: Tensor = model.language.base_model(
        inputs_embeds=embeds[None],
        attention_mask=mask,
        position_ids=layout.position[None],
        use_cache=False,
        **given,
    ).last_hidden_state[0]
    return out[:length]


def _row(model: RobinModel, examples: Sequence[Example], places: Sequence[int], seen: See) -> tuple[Tensor, Tensor]:
    """Embeddings (L, width) and labels (L,) of the row, the labels on the CPU: nothing waits for a device."""
    parts: list[Tensor] = []
    labels: list[Tensor] = []
    for place in places:
        example = examples[place]
        regions = model.introduced(seen.regions[place], example.prefix)
        ids = torch.tensor(example.prefix)
        prefix = model.row(ids, None, seen.images[place], regions, f"image {example.image_id}")
        if len(prefix.labels) != example.length:
            raise StepError(
                f"image {example.image_id}: its prefix takes {len(prefix.labels)} positions, {example.length} stated"
            )
        said = [token for branch in example.branches for token in branch.labels]
        parts += [prefix.embeds, model.words([branch.ids for branch in example.branches], regions)]
        labels += [prefix.labels, torch.tensor(said, dtype=torch.long)]
    return torch.cat(parts), torch.cat(labels)


def in_pieces(model: RobinModel, learnt: Learnt, of: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
    """`of(logits, aims)` of pieces of the learnt positions, few enough that their logits can be held.

    Where there are several pieces their logits are computed again in the backward pass, one piece at a time.
    """
    head = model.language.get_output_embeddings()

    def piece(hidden: Tensor, aims: Tensor) -> Tensor:
        return of(head(hidden).float(), aims)

    size = max(_LOGITS // model.table.num_embeddings, 1)
    if len(learnt.aims) <= size:
        return [piece(learnt.hidden, learnt.aims)]
    again = partial(checkpoint, piece, use_reentrant=False)
    return [again(*part) for part in zip(learnt.hidden.split(size), learnt.aims.split(size), strict=True)]


def logprobs_of(logits: Tensor, aims: Tensor, temperature: float, banned: Tensor) -> Tensor:
    """(K,) log-probability of each of `aims` under logits (K, rows), where the ids `banned` are never drawn."""
    scaled = (logits / temperature).index_fill(1, banned, float("-inf"))
    return scaled.log_softmax(dim=-1).gather(1, aims[:, None])[:, 0]
