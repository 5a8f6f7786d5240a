"""What ids are about: the regions that a line of text names first and last, read token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import attrs

__all__ = ["UNNAMED", "NameIds", "Named"]

UNNAMED: Final = 0
"""The number where no region is named."""
_AWAITED: Final = -1
_HEADER: Final = 2
"""Line breaks from the end of a question's turn to the begin of its answer."""


class Named(NamedTuple):
    """Where a text stands: the regions it is about, by number.

    `focus`: the region that the line named last; `before`: that which it named first, if the last is another name.
    `number`: of a name that is being written, below `UNNAMED` where only its word is. `breaks`: line breaks that do not
    end the line, as they only lead to the answer. `is_answer`: whether the line is that of a question that has ended;
    `is_list`: whether its answer has begun to name regions.
    """

    focus: int = UNNAMED
    before: int = UNNAMED
    number: int = UNNAMED
    breaks: int = 0
    is_answer: bool = False
    is_list: bool = False

    @property
    def topic(self) -> int:
        """The region that the line named first."""
        return self.before or self.focus

    @property
    def following(self) -> int:
        """The next in order after the focus, the topic left out: what a list of related regions may name next.

        The first, where the line has named its topic alone; `UNNAMED` in a line that has named nothing.
        """
        if not self.topic:
            return UNNAMED
        number = 1 if self.focus == self.topic else self.focus + 1
        return number + (number == self.topic)

    @property
    def is_awaited(self) -> bool:
        """Whether a number comes next."""
        return self.number == _AWAITED


@attrs.frozen
class NameIds:
    """How a tokenizer writes names like `region1`, and ends lines and turns; empty until one says.

    `words`: ids of the word that a number follows; `digits`: ids of digits, one or several, with what they read.
    `breaks`: ids that hold a line break; `stops`: ids that begin with a comma or a full stop; `box`: those around the
    text of a box; `end`: the id that ends a turn.
    """

    words: frozenset[int] = frozenset()
    digits: Mapping[int, str] = attrs.field(factory=dict, converter=dict, hash=False)
    breaks: frozenset[int] = frozenset()
    stops: frozenset[int] = frozenset()
    box: tuple[int, int] = (-1, -1)
    end: int = -1

    def after(self, named: Named, token: int) -> Named:
        """Where a text stands once `token` is read.

        A line is about the region it named first and about the one it named last, to its end; the line of a question
        goes on in that of its answer. A number written in several tokens names a region at each of them, that of the
        digits so far: who writes token by token cannot know that more will come.
        """
        if token in self.words:
            return named._replace(before=named.topic, number=_AWAITED, is_list=named.is_answer)
        if token in self.breaks:
            return named._replace(number=UNNAMED, breaks=named.breaks - 1) if named.breaks else Named()
        if token == self.end:
            return named._replace(number=UNNAMED, breaks=_HEADER, is_answer=True, is_list=False)
        digits = self.digits.get(token)
        if digits is None or named.number == UNNAMED or (named.number == _AWAITED and digits.startswith("0")):
            return named._replace(number=UNNAMED) if named.number else named
        number = int(digits) if named.number == _AWAITED else int(f"{named.number}{digits}")
        return named._replace(focus=number, number=number)

    def introduced(self, ids: Sequence[int], mask: int) -> list[list[int]]:
        """What a prefix says of each region that it introduces, by the ids behind its two tokens: not of its box."""
        return [self._said(ids, place + 2) for place, token in enumerate(ids) if token == mask]

    def _said(self, ids: Sequence[int], place: int) -> list[int]:
        found: list[int] = []
        is_box = False
        for token in ids[place:]:
            if token in self.box:
                is_box = token == self.box[0]
            elif is_box:
                continue
            elif token in self.stops or token in self.words or token in self.breaks:
                break
            else:
                found.append(token)
        return found

    def along(self, ids: Sequence[int]) -> list[Named]:
        """Where the text stands at each of these ids."""
        return self.down(ids, range(-1, len(ids) - 1))

    def down(self, ids: Sequence[int], parents: Sequence[int]) -> list[Named]:
        """The same of a tree of ids, whose parents come before them; -1 is above the first."""
        found: list[Named] = []
        for token, parent in zip(ids, parents, strict=True):
            found.append(self.after(Named() if parent < 0 else found[parent], token))
        return found
