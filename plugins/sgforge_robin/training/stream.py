"""The stream of packed rows: which images come when is a function of the seed, so that a position is three numbers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol, Self

import attrs

from sgforge.errors import ImageError, StepError
from sgforge.graph import Sample
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

    One step holds about `batch` images: a buffer of them is packed, the longest first, and dealt to its steps. What is
    left out is counted in `counts`: images that cannot be read, images without anything to ask, branches too long.
    """

    def __init__(self, samples: Samples, maker: ExampleMaker, batch: int, counts: Counter[str]) -> None:
        self._samples = samples
        self._maker = maker
        self._batch = batch
        self._buffer = max(_BUFFER // batch, 1) * batch
        self.counts = counts
        self._used = 0
        self._room = 0

    @property
    def efficiency(self) -> float:
        """Share of the rows' room that examples fill, so far; 1 before the first."""
        return self._used / self._room if self._room else 1.0

    def steps_an_epoch(self) -> int:
        """Steps of one epoch, if every image can be used."""
        return -(-len(self._samples) // self._batch)

    def steps(self, position: Position) -> Iterator[tuple[list[list[Example]], Position]]:
        """Rows of the next step, and the position after it. An epoch without any example is a `StepError`."""
        while True:
            order = self._order(position.epoch)
            seen = position.start > 0 or position.done > 0
            while position.start < len(order):
                drafts = self._dealt(order[position.start : position.start + self._buffer], position)
                for step in drafts[position.done :]:
                    position = attrs.evolve(position, done=position.done + 1)
                    rows = [row for row in map(self._finished, step) if row]
                    if rows:
                        seen = True
                        yield rows, position
                position = Position(position.epoch, position.start + self._buffer, 0)
            if not seen:
                left = ", ".join(f"{count} {reason}" for reason, count in self.counts.items()) or "no image"
                raise StepError(f"none of the {len(order)} selected images can be learnt from: {left}")
            position = Position(position.epoch + 1)

    def _dealt(self, places: Sequence[int], position: Position) -> list[list[list[Draft]]]:
        """The steps of a buffer, each a list of rows."""
        drafts = [draft for place in places if (draft := self._draft(place, position.epoch)) is not None]
        # One that asks nothing takes no position, but its share of a step: else one step would take them all.
        capacity = self._maker.stage.capacity
        rows = pack([draft.total or capacity // self._batch for draft in drafts], capacity)
        self._used += sum(draft.total for draft in drafts)
        self._room += len(rows) * capacity
        random.Random(f"{self._maker.seed}/{position.epoch}/{position.start}").shuffle(rows)
        count = min(-(-len(drafts) // self._batch), len(rows))
        return [[[drafts[place] for place in row] for row in rows[step::count]] for step in range(count)]

    def _draft(self, place: int, epoch: int) -> Draft | None:
        draft = self._maker.draft(self._samples[place], epoch)
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
                self.counts[error.code] += 1
        return examples

    def _order(self, epoch: int) -> list[int]:
        order = list(range(len(self._samples)))
        random.Random(f"{self._maker.seed}/{epoch}").shuffle(order)
        return order
