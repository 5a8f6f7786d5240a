"""What a COCO file held that is no failure but should be known: counted while it is read, told at the end of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import attrs

__all__ = ["Findings"]

_MOST_SHOWN = 8


@attrs.define
class Findings:
    """Counts over one reading of a file.

    `leaving`: boxes that end outside their picture; `shares`: boxes that look like shares of 1; `from_outline`: regions
    whose bbox could not be used and was taken from the outline; `unlabelled`: regions without a category; `duplicates`:
    rows equal to an earlier one in all fields, with the place of the first; `respelled`: files whose name is written
    otherwise on disk; `measured`: images whose size was taken from the picture; `long_outlines`: polygons too long for
    a value beside their mask; `unread`: fields that have no place in a graph, with how often they were met.
    """

    boxes: int = 0
    leaving: int = 0
    shares: int = 0
    from_outline: int = 0
    unlabelled: int = 0
    duplicates: int = 0
    first_duplicate: str = ""
    respelled: int = 0
    measured: int = 0
    long_outlines: int = 0
    unread: Counter[str] = attrs.field(factory=Counter)

    def remarks(self) -> Iterator[str]:
        """One sentence for each thing that was met."""
        if self.leaving:
            yield f"{self.leaving} of {self.boxes} boxes leave their picture: is bbox [x, y, width, height]?"
        if self.shares:
            yield f"{self.shares} of {self.boxes} boxes look like shares of 1: bbox must be in pixels"
        if self.from_outline:
            yield f"boxes taken from the outline, as the bbox given could not be used: {self.from_outline}"
        if self.unlabelled:
            yield f"regions without a label, as the file gives them no category: {self.unlabelled}"
        if self.duplicates:
            yield (
                f"rows that repeat another in all fields, read once: {self.duplicates} (the first: "
                f"{self.first_duplicate})"
            )
        if self.respelled:
            yield f"files found under another spelling of their name (case or accents): {self.respelled}"
        if self.measured:
            yield f"images without width and height, measured from the picture: {self.measured}"
        if self.long_outlines:
            yield f"outlines too long to be kept as polygons, read as masks alone: {self.long_outlines}"
        if self.unread:
            yield f"fields that have no place in a graph, left out: {self._unread()}"

    def _unread(self) -> str:
        shown = ", ".join(f"{ascii(name)[1:-1]} ({count})" for name, count in self.unread.most_common(_MOST_SHOWN))
        return shown + (", ..." if len(self.unread) > _MOST_SHOWN else "")
