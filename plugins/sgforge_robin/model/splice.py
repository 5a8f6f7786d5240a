"""The splice: token ids to embeddings, in which an image and its regions stand where their tokens stood."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional

from sgforge.errors import StepError
from sgforge_robin.model.shape import IGNORED, IMAGE_ID, SpecialIds

__all__ = ["RegionTokens", "Row", "Spliced", "padded", "splice_row"]


@attrs.frozen(eq=False)
class RegionTokens:
    """The tokens of N regions of one image: `mask` and `pos`, (N, width) each.

    `named`: (2, N + 1, width), what a reference layer adds where a text is about region n; None without one.
    """

    mask: Tensor
    pos: Tensor
    named: Tensor | None = None


@attrs.frozen(eq=False)
class Row:
    """One spliced row: embeddings (L, width), labels (L,), and which of its positions are text, (L,) bool."""

    embeds: Tensor
    labels: Tensor
    is_text: Tensor


@attrs.frozen(eq=False)
class Spliced:
    """A batch of rows, padded on the right: `embeds` (B, L, width), `labels` (B, L), `attention_mask` (B, L) bool."""

    embeds: Tensor
    labels: Tensor
    attention_mask: Tensor


def splice_row(
    table: nn.Embedding,
    ids: Tensor,
    labels: Tensor | None,
    image: Tensor,
    regions: RegionTokens | None,
    tokens: SpecialIds | None,
    where: str,
) -> Row:
    """One row: `ids` (L,) without padding, `image` (T, width) the tokens of its image, `where` its name in errors.

    Ids may stay on the CPU, where looking into them makes no device wait; labels then are there too.

    The image id is replaced by the T image tokens; after it the i-th `<mask>` is replaced by the i-th mask token and
    the position that follows, whatever it is, by the i-th position token. What was replaced is never learnt. A row
    without an image id is text alone, and may hold no region.
    """
    given = torch.full_like(ids, IGNORED) if labels is None else labels
    place = _image_place(ids, regions, where)
    if place is None:
        return Row(_looked_up(table, ids, where), given, torch.ones_like(ids, dtype=torch.bool))
    tail = ids[place + 1 :]
    found = _mask_places(ids, place, tokens, regions, where)
    replaced = torch.zeros_like(tail, dtype=torch.bool)
    replaced[found] = True
    replaced[found + 1] = True
    after = _looked_up(table, tail.masked_fill(replaced, 0), where)
    if regions is not None:
        found = found.to(after.device)
        after = after.index_copy(0, found, regions.mask.to(after.dtype))
        after = after.index_copy(0, found + 1, regions.pos.to(after.dtype))
    before = _looked_up(table, ids[:place], where)
    unseen = given.new_full((len(image),), IGNORED)
    learnt = given[place + 1 :].masked_fill(replaced, IGNORED)
    no_text = torch.zeros(len(image), dtype=torch.bool, device=ids.device)
    return Row(
        torch.cat([before, image.to(before.dtype), after]),
        torch.cat([given[:place], unseen, learnt]),
        torch.cat([torch.ones_like(ids[:place], dtype=torch.bool), no_text, ~replaced]),
    )


def _image_place(ids: Tensor, regions: RegionTokens | None, where: str) -> int | None:
    """Where the image stands; None for a row of text alone."""
    at = (ids == IMAGE_ID).nonzero()[:, 0].tolist()
    if len(at) > 1:
        raise StepError(f"{where}: {len(at)} images in one conversation, a Robin sees one")
    if not at and regions is not None:
        raise StepError(f"{where}: {len(regions.mask)} regions, but its text has no image")
    return int(at[0]) if at else None


def _mask_places(
    ids: Tensor, image: int, tokens: SpecialIds | None, regions: RegionTokens | None, where: str
) -> Tensor:
    """Where `<mask>` stands, counted from behind the image: once for each region."""
    tail = ids[image + 1 :]
    count = 0 if regions is None else len(regions.mask)
    found = tail.new_zeros(0) if tokens is None else (tail == tokens.mask).nonzero()[:, 0]
    if tokens is not None and (ids[:image] == tokens.mask).any():
        raise StepError(f"{where}: a <mask> before the image")
    if len(found) != count:
        raise StepError(f"{where}: {len(found)} <mask> in its text, {count} regions" + _without(tokens))
    if count and int(found[-1]) + 1 >= len(tail):
        raise StepError(f"{where}: nothing follows its last <mask>, its place has no token")
    return found


def _without(tokens: SpecialIds | None) -> str:
    return "" if tokens is not None else " (no tokenizer has said which id <mask> is)"


def _looked_up(table: nn.Embedding, ids: Tensor, where: str) -> Tensor:
    if len(ids) and not (int(ids.min()) >= 0 and int(ids.max()) < table.num_embeddings):
        bad = ids[(ids < 0) | (ids >= table.num_embeddings)][0]
        raise StepError(f"{where}: token {int(bad)} has no row in a table of {table.num_embeddings}")
    out: Tensor = table(ids.to(table.weight.device))
    return out


def padded(rows: Sequence[Row]) -> Spliced:
    """Rows to one batch."""
    length = max(len(row.labels) for row in rows)
    embeds = [functional.pad(row.embeds, (0, 0, 0, length - len(row.labels))) for row in rows]
    labels = [functional.pad(row.labels, (0, length - len(row.labels)), value=IGNORED) for row in rows]
    lengths = torch.tensor([len(row.labels) for row in rows], device=labels[0].device)
    mask = torch.arange(length, device=labels[0].device)[None] < lengths[:, None]
    return Spliced(torch.stack(embeds), torch.stack(labels), mask)
