"""Draws of structures under bounds, by an explicit prior."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from itertools import accumulate
from typing import Final, Literal, TypeAlias

import attrs

from sgforge.errors import ConfigError
from sgforge_gas.structures.constraints import Constraints, Size
from sgforge_gas.structures.cores import Kind
from sgforge_gas.structures.dice import Dice
from sgforge_gas.structures.direct import draw_directly
from sgforge_gas.structures.shape import Structure
from sgforge_gas.structures.table import Table, table, table_complexity

__all__ = ["Drawer", "Over", "Prior"]

Over: TypeAlias = Literal["structures", "complexity", "sizes", "histogram"]
_KEPT: Final = 200_000
"""Structures that a drawer keeps built."""
_SCALE: Final = 2**40


@attrs.frozen
class Prior:
    """What is equally likely: each structure; each complexity, then each structure of it; each size (objects,
    relations, attributes), then each structure of it; or sizes by the weights of a histogram, then each structure.
    """

    over: Over = "complexity"
    histogram: Mapping[Size, float] = attrs.field(factory=dict)


class Drawer:
    """Draws structures that keep all bounds; what cannot be is refused when it is built.

    Up to `table_complexity` draws are exact: uniform over the structures of the drawn size. Larger ones are drawn
    directly, with the bias that `direct` states.

    Raises:
        ConfigError: no structure keeps the bounds, or the prior needs a table that is too large.
    """

    def __init__(self, constraints: Constraints, kind: Kind = Kind(), prior: Prior = Prior()) -> None:
        self._constraints = constraints
        self._kind = kind
        self._table: Table = table(kind)
        self._rows: dict[Size, list[int]] = {}
        self._kept: dict[tuple[int, int], Structure] = {}
        weights = self._weights(prior)
        self.sizes: list[Size] = list(weights)
        self.sums = list(accumulate(weights.values()))
        self.places = [(sum(size), self._rows.get(size)) for size in self.sizes]

    def draw(self, dice: Dice) -> Structure:
        """One structure; all that is random comes from the dice."""
        unit = dice.unit
        place = bisect_right(self.sums, int(unit() * self.sums[-1]))
        rows = self.places[place][1]
        if rows is None:
            return draw_directly(self.sizes[place], self._constraints, self._kind, dice)
        return self.structure(place, int(unit() * len(rows)))

    def structure(self, place: int, number: int) -> Structure:
        """A structure of the table, by the place of its size and its number among those that keep the bounds."""
        complexity, rows = self.places[place]
        assert rows is not None, "structures of this size are not counted"
        key = (complexity, rows[number])
        found = self._kept.get(key)
        if found is None:
            found = self._table.structure(*key)
            if len(self._kept) < _KEPT:
                self._kept[key] = found
        return found

    def _weights(self, prior: Prior) -> dict[Size, int]:
        """A whole weight for each size that can be drawn."""
        sizes = self._constraints.sizes(self._kind)
        if prior.over == "histogram":
            sizes = [size for size in sizes if prior.histogram.get(size, 0) > 0]
            if not sizes:
                raise ConfigError(f"no size of the histogram keeps the bounds: {self._constraints}")
        self._find_rows(sizes)
        sizes = [size for size in sizes if self._rows.get(size) != []]
        if not sizes:
            raise ConfigError(f"no structure keeps the bounds: {self._constraints}")
        if prior.over == "sizes":
            return dict.fromkeys(sizes, 1)
        if prior.over == "histogram":
            most = max(prior.histogram[size] for size in sizes)
            return {size: max(1, round(prior.histogram[size] / most * _SCALE)) for size in sizes}
        return self._by_structures(sizes, prior.over)

    def _by_structures(self, sizes: list[Size], over: Over) -> dict[Size, int]:
        limit = table_complexity(self._kind)
        if over == "structures":
            untold = next((size for size in sizes if size not in self._rows), None)
            if untold is not None:
                raise ConfigError(
                    f"structures of complexity {sum(untold)} are too many to be counted: bound complexity to {limit}, "
                    'or draw with prior = "complexity" or "sizes"'
                )
            return {size: len(self._rows[size]) for size in sizes}
        # Each complexity weighs the same; within it by structures, or by sizes where these are not counted.
        counts = {size: len(self._rows[size]) if size in self._rows else 1 for size in sizes}
        totals: Counter[int] = Counter()
        for size, count in counts.items():
            totals[sum(size)] += count
        return {size: max(1, int(Fraction(count * _SCALE, totals[sum(size)]))) for size, count in counts.items()}

    def _find_rows(self, sizes: list[Size]) -> None:
        limit = table_complexity(self._kind)
        for complexity in sorted({sum(size) for size in sizes if sum(size) <= limit}):
            block = self._table.block(complexity)
            for size in sizes:
                if sum(size) == complexity:
                    self._rows[size] = []
            rows = block.rows(self._constraints)
            for row, (n, r, a) in zip(rows.tolist(), block.sizes[rows].tolist(), strict=True):
                if (n, r, a) in self._rows:
                    self._rows[(n, r, a)].append(row)
