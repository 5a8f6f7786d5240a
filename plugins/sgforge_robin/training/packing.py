"""Packing: many examples in one row, each seeing itself alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

import attrs
import torch
from torch import Tensor

from sgforge_robin.encoding import Example
from sgforge_robin.model.attention import Branches, Document, Documents

__all__ = ["Layout", "documents", "lay_out", "pack"]

_GRAIN: Final = 8
"""Branches whose lengths are equal by so many positions are attended together, padded to the longest of them."""


@attrs.frozen(eq=False)
class Layout:
    """Where the positions of a row belong: `document`, `branch` (0 for a prefix), `position` within, (L,) each."""

    document: Tensor
    branch: Tensor
    position: Tensor

    def allowed(self) -> Tensor:
        """(1, 1, L, L) bool: who may look at whom. One looks back, at its document's prefix and at its own branch."""
        order = torch.arange(len(self.document), device=self.document.device)
        back = order[:, None] >= order[None]
        own = self.document[:, None] == self.document[None]
        line = (self.branch[None] == 0) | (self.branch[:, None] == self.branch[None])
        return (back & own & line)[None, None]

    def spans(self) -> tuple[Tensor, Tensor, Tensor]:
        """Whom each position sees, itself and what lies before it: from `start` up to `cut`, and from `begin` on.

        (L,) each: where its document starts, where that one's prefix ends, and where its own branch begins; of a
        position within a prefix all three are where the document starts.
        """
        order = torch.arange(len(self.position), device=self.position.device)
        own = self.branch == 0
        start = torch.where(own, order - self.position, 0).cummax(0).values
        cut = torch.where(own, order + 1, 0).cummax(0).values
        changed = torch.ones_like(own)
        changed[1:] = (self.branch[1:] != self.branch[:-1]) | (self.document[1:] != self.document[:-1])
        begin = torch.where(changed, order, 0).cummax(0).values
        beyond = self.document < 0
        start, cut = torch.where(beyond, order, start), torch.where(own | beyond, start, cut)
        return start, torch.where(beyond, order, cut), begin

    def padded(self, length: int) -> Layout:
        """The same with positions behind it that see nothing but themselves, `length` in all."""
        more = torch.arange(length - len(self.document))
        return Layout(
            torch.cat([self.document, torch.full_like(more, -1)]),
            torch.cat([self.branch, more + 1]),
            torch.cat([self.position, torch.zeros_like(more)]),
        )

    def to(self, device: torch.device) -> Layout:
        """The same on a device."""
        return Layout(self.document.to(device), self.branch.to(device), self.position.to(device))


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices of items, so that each row's lengths sum to at most `capacity`: the longest first, into the fullest fit.

    An item longer than a row is a `ValueError`.
    """
    rows: list[list[int]] = []
    left: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        if lengths[index] > capacity:
            raise ValueError(f"an item of {lengths[index]} positions in rows of {capacity}")
        fits = [row for row, room in enumerate(left) if room >= lengths[index]]
        if fits:
            best = min(fits, key=lambda row: (left[row], row))
            rows[best].append(index)
            left[best] -= lengths[index]
        else:
            rows.append([index])
            left.append(capacity - lengths[index])
    return rows


def lay_out(examples: Sequence[Example]) -> Layout:
    """The layout of a row of examples: each prefix, then its branches, whose positions go on from the prefix."""
    document: list[int] = []
    branch: list[int] = []
    position: list[int] = []
    for number, example in enumerate(examples):
        lengths = [example.length, *(len(one.ids) for one in example.branches)]
        document += [number] * sum(lengths)
        for place, length in enumerate(lengths):
            start = example.length if place else 0
            branch += [place] * length
            position += range(start, start + length)
    return Layout(torch.tensor(document), torch.tensor(branch), torch.tensor(position))


def documents(examples: Sequence[Example]) -> Documents:
    """The same row as documents with branches: what `Layout.allowed` says without its L x L entries."""
    found: list[Document] = []
    spans: list[tuple[int, int]] = []
    for example in examples:
        start = found[-1].stop if found else 0
        stops = list(accumulate((len(branch.ids) for branch in example.branches), initial=start + example.length))
        found.append(Document(start=start, cut=stops[0], stop=stops[-1]))
        spans += pairwise(stops)
    by_length: dict[int, list[int]] = {}
    for place, (begin, end) in enumerate(spans):
        by_length.setdefault(-(-(end - begin) // _GRAIN), []).append(place)
    groups = [_branches([spans[place] for place in places]) for places in by_length.values()]
    places = torch.cat([group.places[group.real] for group in groups]) if groups else torch.zeros(0, dtype=torch.long)
    return Documents(found, groups, places.argsort())


def _branches(spans: Sequence[tuple[int, int]]) -> Branches:
    """Branches that stand from a first up to a last position each."""
    begins, ends = torch.tensor(spans).T[:, :, None]
    places = begins + torch.arange(int((ends - begins).max()))
    real = places < ends
    return Branches(torch.where(real, places, begins), real)
