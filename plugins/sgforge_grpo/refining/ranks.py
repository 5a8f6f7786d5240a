"""The processes of one training as one: what each has to say, gathered by all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sgforge.stages import Worker

__all__ = ["Ranks"]

T = TypeVar("T")


class Ranks:
    """One of `world` processes; alone it gathers from itself."""

    def __init__(self, worker: Worker) -> None:
        self.rank = worker.rank
        self.world = worker.world

    def gather(self, value: T) -> list[T]:
        """The value of every rank, in their order; every rank must call."""
        if self.world == 1:
            return [value]
        from torch import distributed

        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, value)
        return found

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """The sum over the ranks by name."""
        found: dict[str, float] = {}
        for one in self.gather(dict(values)):
            for name, value in one.items():
                found[name] = found.get(name, 0.0) + value
        return found

    def share(self, items: Sequence[T]) -> tuple[list[T], int]:
        """This rank's of `items`, and how many of them count: one that has fewer repeats others, as all must call."""
        count = -(-len(items) // self.world)
        mine = list(items[self.rank :: self.world])
        return [*mine, *items[: count - len(mine)]], len(mine)
