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

    Ours. A line is about the region it names first, its topic, and the one it names last, its focus (`NameIds.after`);
    where it is about to name another, that which follows in order is told too, or lists relate regions to themselves.
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
        self.numbers = nn.Parameter(torch.zeros(3, MOST_REGIONS, token))
        for part in (self.focus, self.topic, self.following):
            nn.init.zeros_(part.weight)

    def forward(self, regions: RegionTokens, said: Tensor) -> Tensor:
        """(3, N + 1, C): what is added where region n of N is the focus, the topic, and what follows; of n = 0, zeros.

        `said`: (N, C), the mean of the words that the prefix says of each region, 0 where it says none.
        """
        seen = torch.cat([self.look(regions.mask), self.place(regions.pos), self.name(said)], dim=1)
        seen = seen * seen.shape[1] ** -0.5  # so that first steps do not drown the words
        parts = torch.stack([part(seen) for part in (self.focus, self.topic, self.following)])
        numbers = nn.functional.pad(self.numbers, (0, 0, 0, max(len(seen) - MOST_REGIONS, 0)))[:, : len(seen)]
        return nn.functional.pad(parts + numbers, (0, 0, 1, 0))


def numbers_of(named: Sequence[Named]) -> list[list[int]]:
    """[focus, topic, following] of each position, (L, 3)."""
    return [[one.focus, one.topic, one.following] for one in named]


def add_references(embeds: Tensor, numbers: Tensor, rows: Tensor) -> Tensor:
    """Embeddings (..., C) with the rows of their regions, as `numbers` (..., 3) say focus, topic and what follows.

    `rows`: as the layer gives them; numbers of no region of the image add nothing.
    """
    known = torch.where((numbers > UNNAMED) & (numbers < rows.shape[1]), numbers, UNNAMED)
    for place, part in enumerate(rows):
        embeds = embeds + nn.functional.embedding(known[..., place], part).to(embeds.dtype)
    return embeds
