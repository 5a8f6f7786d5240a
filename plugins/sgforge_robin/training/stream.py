"""The stream of packed rows: which images come when is a function of the seed, so that a position is three numbers."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol, Self

import attrs

from sgforge.errors import ImageError, StepError
from sgforge.graph import Sample
from sgforge.stages import Worker
from sgforge_robin.encoding import Example
from sgforge_robin.training.examples import Draft, ExampleMaker
from sgforge_robin.training.packing import pack

__all__ = ["PackedStream", "Position", "Samples"]

_BUFFER: Final = 256
"""Images that are packed together, before their pictures are opened; a multiple of a step's images."""


class Samples(Protocol):
    """Images by place, read one at a time."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Sample: ...


@attrs.frozen
class Position:
    """Where the stream stands: the epoch, the first place of the buffer, and how many of its steps are done."""

    epoch: int = 0
    start: int = 0
    done: int = 0

    def as_json(self) -> list[int]:
        """Three numbers."""
        return [self.epoch, self.start, self.done]

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """From three numbers."""
        return cls(*(int(number) for number in value))


class PackedStream:
    """Steps of packed rows, epoch after epoch, from a position on.

    `weights`: how often an epoch shows each image, 1 without. One step holds about `batch` images: a buffer of them is
    packed, the longest first, and dealt to its steps. What is left out is counted in `counts`: images without anything
    to ask, branches too long; images that this worker could not read in `unreadable`.
    """

    def __init__(
        self,
        samples: Samples,
        maker: ExampleMaker,
        batch: int,
        counts: Counter[str],
        weights: Sequence[float] | None = None,
    ) -> None:
        self._samples = samples
        self._maker = maker
        self._batch = batch
        self._weights = weights
        self._buffer = max(_BUFFER // batch, 1) * batch
        self.counts = counts
        self.unreadable: Counter[str] = Counter()
        self._used = 0
        self._room = 0

    @property
    def efficiency(self) -> float:
        """Share of the rows' room that examples fill, so far; 1 before the first."""
        return self._used / self._room if self._room else 1.0

    def steps_an_epoch(self) -> int:
        """Steps of one epoch, if every image can be used."""
        images = len(self._samples) if self._weights is None else sum(self._weights)
        return math.ceil(images / self._batch)

    def steps(self, position: Position, worker: Worker = Worker()) -> Iterator[tuple[list[list[Example]], Position]]:
        """A worker's rows of the next step, and the position after it; the workers' rows together are the step's.

        Where none of a worker's images can be read, and where it has none, its rows are empty, and so may those of all
        be. An epoch in which there is nothing to ask is a `StepError`.
        """
        while True:
            order = self._order(position.epoch)
            seen = position.start > 0 or position.done > 0
            while position.start < len(order):
                drafts = self._dealt(order[position.start : position.start + self._buffer], position)
                for step in drafts[position.done :]:
                    seen = True
                    position = attrs.evolve(position, done=position.done + 1)
                    yield [row for row in map(self._finished, step[worker.rank :: worker.world]) if row], position
                position = Position(position.epoch, position.start + self._buffer, 0)
            if not seen:
                raise self.nothing(self.counts)
            position = Position(position.epoch + 1)

    def nothing(self, counts: Counter[str]) -> StepError:
        """Why there is nothing to learn from, by what was left out."""
        left = ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "no image"
        return StepError(f"none of the {len(self._samples)} selected images can be learnt from: {left}")

    def _dealt(self, places: Sequence[tuple[int, int]], position: Position) -> list[list[list[Draft]]]:
        """The steps of a buffer, each a list of rows."""
        drafts = [draft for place in places if (draft := self._draft(*place, position.epoch)) is not None]
        # One that asks nothing takes no position, but its share of a step: else one step would take them all.
        capacity = self._maker.stage.capacity
        rows = pack([draft.total or capacity // self._batch for draft in drafts], capacity)
        self._used += sum(draft.total for draft in drafts)
        self._room += len(rows) * capacity
        random.Random(f"{self._maker.seed}/{position.epoch}/{position.start}").shuffle(rows)
        count = min(-(-len(drafts) // self._batch), len(rows))
        return [[[drafts[place] for place in row] for row in rows[step::count]] for step in range(count)]

    def _draft(self, place: int, again: int, epoch: int) -> Draft | None:
        draft = self._maker.draft(self._samples[place], epoch, again)
        if draft is None:
            self.counts["nothing-to-learn"] += 1
        return draft

    def _finished(self, row: Sequence[Draft]) -> list[Example]:
        """The examples of a row; images that cannot be read are left out and counted."""
        examples = []
        for draft in row:
            try:
                examples.append(self._maker.finish(draft))
            except ImageError as error:
                self.unreadable[error.code] += 1
        return examples

    def _order(self, epoch: int) -> list[tuple[int, int]]:
        """The places of an epoch, each with how often it came before; a weight of 1.5 is once or twice, by chance."""
        dice = random.Random(f"{self._maker.seed}/{epoch}")
        times = [1] * len(self._samples)
        if self._weights is not None:
            times = [int(weight) + (dice.random() < weight % 1) for weight in self._weights]
        order = [(place, again) for place, count in enumerate(times) for again in range(count)]
        dice.shuffle(order)
        return order
