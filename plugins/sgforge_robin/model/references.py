"""The reference layer: what a region looks like, told again in the text that is about it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sgforge_robin.model.naming import UNNAMED, Named
from sgforge_robin.model.splice import RegionTokens
from sgforge_robin.regions import MOST_REGIONS

__all__ = ["ReferenceLayer", "add_references", "numbers_of"]


class ReferenceLayer(nn.Module):
    """Adds to each word which regions its line is about: what they look like, where they are, what they are called.

    Ours. A line is about the region it names first, its topic, and the one it names last, its focus (`NameIds.after`).
    Where it is about to name another, and all along an answer that lists regions, that which follows in order is told
    too, with the numbers of all that may still follow, or that none does: else lists do not know when to end, relate
    regions to themselves, and go on behind the last.
    A region is called by its number, and by what the prefix says of it. A language model finds only late, if at all on
    a small set, which of many regions a number stands for (to look by content is the way of pointers, Vinyals et al.
    2015), and cannot multiply what it finds in two places; here both stand where the next word is said. An untrained
    layer changes nothing.
    """

    def __init__(self, token: int) -> None:
        super().__init__()
        self.look = nn.LayerNorm(token)
        self.place = nn.LayerNorm(token)
        self.name = nn.RMSNorm(token)
        self.focus = nn.Linear(3 * token, token, bias=False)
        self.topic = nn.Linear(3 * token, token, bias=False)
        self.following = nn.Linear(3 * token, token, bias=False)
        self.numbers = nn.Parameter(torch.zeros(4, MOST_REGIONS, token))
        self.last = nn.Parameter(torch.zeros(token))
        for part in (self.focus, self.topic, self.following):
            nn.init.zeros_(part.weight)

    def forward(self, regions: RegionTokens, said: Tensor) -> Tensor:
        """(4, N + 2, C): what is added where region n of N is the focus, the topic, what follows, and a later topic.

        Zeros for n = 0, none; n = N + 1, behind the last, adds something as what follows alone. What follows brings the
        numbers of all from there on, from which a later topic takes its own. `said`: (N, C), the mean of the words that
        the prefix says of each region, 0 where it says none.
        """
        seen = torch.cat([self.look(regions.mask), self.place(regions.pos), self.name(said)], dim=1)
        seen = seen * seen.shape[1] ** -0.5  # so that first steps do not drown the words
        *numbers, left = nn.functional.pad(self.numbers, (0, 0, 0, max(len(seen) - MOST_REGIONS, 0)))[:, : len(seen)]
        focus, topic, following = (
            part(seen) + number for part, number in zip((self.focus, self.topic, self.following), numbers, strict=True)
        )
        rows = torch.stack([focus, topic, following + left.flip(0).cumsum(0).flip(0), -left])
        behind = nn.functional.pad(self.last[None, None], (0, 0, 0, 0, 2, 1))
        return torch.cat([torch.zeros_like(behind), rows, behind], dim=1)


def numbers_of(named: Sequence[Named]) -> list[list[int]]:
    """[focus, topic, following] of each position, (L, 3); what follows is negative where it is not told."""
    return [[one.focus, one.topic, one.following if one.is_awaited or one.is_list else -one.following] for one in named]


def add_references(embeds: Tensor, numbers: Tensor, rows: Tensor) -> Tensor:
    """Embeddings (..., C) with the rows of their regions, as `numbers` (..., 3) say focus, topic and what follows.

    `rows`: as the layer gives them. A focus or topic that is no region of the image adds nothing, nor does what follows
    where no number is awaited, unless it is behind the last region.
    """
    count = rows.shape[1] - 2
    focus, topic, following = torch.where(numbers <= count, numbers, UNNAMED).unbind(-1)
    is_behind = numbers[..., 2].abs() > count
    later = torch.where((following > UNNAMED) & (topic > following), topic, UNNAMED)
    following = torch.where(is_behind, count + 1, following.clamp(min=UNNAMED))
    for known, part in zip((focus, topic, following, later), rows, strict=True):
        embeds = embeds + nn.functional.embedding(known, part).to(embeds.dtype)
    return embeds
