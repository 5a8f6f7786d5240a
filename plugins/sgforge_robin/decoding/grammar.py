"""The grammar of an answer about one subject: whatever is said under it, the parser reads all of it.

answer    = "none" | item (", " item)*
item      = "region" NUMBER " " predicate        NUMBER of another region that is shown
predicate = words without comma, angle bracket or line break, in which no region is spelled
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs
import torch
from torch import Tensor

from sgforge_robin.text.graphs import NOTHING
from sgforge_robin.tokens import RobinTokenizer

__all__ = ["RelationsGrammar", "Spellings"]

_REGION: Final = "region"
_FORBIDDEN: Final = frozenset("<>,\n\r\t\x0b\x0c")


@attrs.frozen
class _Choosing:
    """Within the words that open an item: what has been spelled so far; `first`: no item came before."""

    typed: str
    first: bool


@attrs.frozen
class _Naming:
    """Within a predicate: how much of "region" its end spells, and whether a blank or nothing came last."""

    tail: str
    blank: bool


@attrs.frozen
class _Between:
    """After the comma."""


@attrs.frozen
class _Done:
    """After "none"."""


_State = _Choosing | _Naming | _Between | _Done


class Spellings:
    """How every id of a tokenizer is spelled, one character a byte; special ids are spelled by nothing."""

    def __init__(self, tokenizer: RobinTokenizer, rows: int) -> None:
        self.end = tokenizer.end
        self.rows = rows
        self.of = tokenizer.spellings(rows)
        self.with_comma = [token for token, text in self.of.items() if "," in text]
        self.by_first: dict[str, list[int]] = {}
        for token, text in self.of.items():
            self.by_first.setdefault(text[0], []).append(token)
        self._naming: dict[_Naming, list[int]] = {}

    def naming(self, state: _Naming) -> list[int]:
        """Ids without a comma that go on within a predicate: the same for every subject, so found once."""
        if state not in self._naming:
            self._naming[state] = [
                token
                for token, text in self.of.items()
                if "," not in text and _spelled(state, text, frozenset(), frozenset()) is not None
            ]
        return self._naming[state]


class RelationsGrammar:
    """The grammar for one subject among `regions` shown ones (both numbers from 1)."""

    def __init__(self, spellings: Spellings, subject: int, regions: int) -> None:
        self._spellings = spellings
        others = [number for number in range(1, regions + 1) if number != subject]
        self._items = frozenset(f"{_REGION}{number} " for number in others)
        self._opening = frozenset({NOTHING, *self._items})
        self._masks: dict[_State, Tensor] = {}

    def start(self) -> _State:
        """Before the first word."""
        return _Choosing("", True)

    def after(self, state: _State, token: int) -> _State:
        """The state after an id that was allowed."""
        found = self._spell(state, self._spellings.of[token])
        assert found is not None
        return found

    def allowed(self, state: _State) -> Tensor:
        """(rows,) bool."""
        if state not in self._masks:
            mask = torch.zeros(self._spellings.rows, dtype=torch.bool)
            mask[list(self._ids(state))] = True
            self._masks[state] = mask
        return self._masks[state]

    def _ids(self, state: _State) -> Iterator[int]:
        if isinstance(state, _Done) or (isinstance(state, _Naming) and not state.blank):
            yield self._spellings.end
        candidates = self._candidates(state)
        yield from (token for token in candidates if self._spell(state, self._spellings.of[token]) is not None)
        if isinstance(state, _Naming):
            yield from self._spellings.naming(state)

    def _candidates(self, state: _State) -> Iterator[int]:
        """Ids that may be spelled in a state, the others ruled out by their first character."""
        if isinstance(state, _Naming):
            yield from self._spellings.with_comma
            return
        if isinstance(state, _Choosing):
            words = self._opening if state.first else self._items
            nexts = {word[len(state.typed)] for word in words if word.startswith(state.typed) and word != state.typed}
        else:
            nexts = {" "} if isinstance(state, _Between) else set()
        for first in sorted(nexts):
            yield from self._spellings.by_first.get(first, ())

    def _spell(self, state: _State, text: str) -> _State | None:
        return _spelled(state, text, self._opening, self._items)


def _spelled(state: _State, text: str, opening: frozenset[str], items: frozenset[str]) -> _State | None:
    """The state after a text, None if it breaks the grammar."""
    now: _State | None = state
    for character in text:
        match now:
            case _Choosing():
                now = _choose(now, character, opening if now.first else items)
            case _Naming():
                now = _name(now, character)
            case _Between():
                now = _Choosing("", False) if character == " " else None
            case _:
                return None
    return now


def _choose(state: _Choosing, character: str, words: frozenset[str]) -> _State | None:
    typed = state.typed + character
    if typed == NOTHING and state.first:
        return _Done()
    if typed in words:
        return _Naming("", True)
    return _Choosing(typed, state.first) if any(word.startswith(typed) for word in words) else None


def _name(state: _Naming, character: str) -> _State | None:
    if character == ",":
        return None if state.blank else _Between()
    if character == " ":
        return None if state.blank else _Naming("", True)
    if character in _FORBIDDEN or character < " " or character in "\x7f\x85\xa0":
        return None
    if state.tail == _REGION and character.isdigit():
        return None
    tail = state.tail + character
    while not _REGION.startswith(tail):
        tail = tail[1:]
    return _Naming(tail, False)
