"""What a prediction looks like that was meant otherwise: one line each, said beside numbers that are too low for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import attrs
import numpy as np

from sgforge_eval.intake.arrays import Flags, Floats, Ints
from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.intake.side import Side

__all__ = ["Hints", "case_twins"]

_REFUSED = re.compile(r"\.score: (\d+(?:\.\d+)?) must be in")
_SHARE = 0.05  # of the boxes that leave their image, from which boxes in pixels are unlikely
_THOUSAND = 1000.0
_SMALL = 8.0  # pixels below which an image cannot tell shares of a side from pixels


@attrs.define
class Hints:
    """Extents of boxes and scores on both sides, as far as they were read."""

    boxes: int = 0
    leaving: int = 0
    largest: float = 0.0
    largest_true: float = 0.0
    largest_side: int = 0
    highest_score: float = 0.0

    def see(self, truth: Side, prediction: Side) -> None:
        """Look at images of both sides."""
        image = np.repeat(np.arange(len(prediction)), np.diff(prediction.region_offsets))
        shown: Flags = np.isfinite(prediction.boxes).all(axis=1)
        self.see_boxes(prediction.boxes[shown], truth.sizes[image[shown]])
        self.largest_true = max(self.largest_true, _highest(truth.boxes[np.isfinite(truth.boxes).all(axis=1), 2:]))
        self.largest_side = max(self.largest_side, int(truth.sizes.max(initial=0)))
        if prediction.table is not None:
            self.highest_score = max(self.highest_score, _highest(prediction.table.scores))
        self.highest_score = max(self.highest_score, _highest(prediction.scores), _highest(prediction.region_scores))

    def see_boxes(self, boxes: Floats, sizes: Ints) -> None:
        """Look at predicted boxes (n, 4) of images of these sizes (n, 2), 0 where unknown."""
        far = boxes[:, 2:]
        self.boxes += len(far)
        self.leaving += int(np.count_nonzero(((far > sizes + 1) & (sizes > 0)).any(axis=1)))
        self.largest = max(self.largest, _highest(far))

    def lines(self, dropped: Dropped) -> Iterator[str]:
        """The hints that apply; `dropped` tells of scores that were left out as too high."""
        if self.boxes and self.largest <= 1.0 and max(self.largest_true, self.largest_side) > _SMALL:
            yield "hint: no predicted box reaches beyond 1: they look like shares of a side (0..1), not pixels"
        elif self._in_thousandths():
            yield "hint: predicted boxes leave their images and end at 1000: they look like 1000ths, not pixels"
        refused = [match for example in dropped.examples.values() if (match := _REFUSED.search(example))]
        highest = max([self.highest_score, *(float(match.group(1)) for match in refused)])
        if 1.0 < highest <= 100.0:
            yield f"hint: there are scores like {highest:g}: they look like per cent, scores here are fractions of 1"

    def _in_thousandths(self) -> bool:
        if not self.boxes or not 1.0 < self.largest <= _THOUSAND:
            return False
        is_cut = self.largest > 0.9 * _THOUSAND and self.largest_true > 1.1 * _THOUSAND
        return self.leaving > _SHARE * self.boxes or is_cut


def _highest(values: Floats) -> float:
    return float(values.max(initial=0.0))


def case_twins(what: str, known: Iterable[str], others: Iterable[str]) -> Iterator[str]:
    """One hint if names of `others` are names of `known` but for upper and lower case."""
    plain = {name.casefold(): name for name in known}
    twins = [(name, plain[name.casefold()]) for name in others if plain.get(name.casefold(), name) != name]
    if twins:
        said, true = twins[0]
        yield (
            f"hint: {len(twins)} predicted {what} differ from the truth's by case alone (first: {said!r}, {true!r}): "
            "--match exact takes them as equal"
        )
