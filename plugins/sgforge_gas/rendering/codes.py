"""Drawn scenes as codes: what the renderer `tokens` reads (a graph) and says (things in their places).

The codec is `sgforge.testing.scenes` with the note of what was drawn: each thing is four codes, kind, colour, column
and row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sgforge.graph import SceneGraph
from sgforge.testing.scenes import STAGED_KINDS
from sgforge_gas.rendering.layout import COLOURS, PLACES, Drawn

__all__ = ["CODES", "END", "LONGEST", "MOST_CODES", "can_say", "codes_of", "open_at", "prompt_of", "things_of"]

_KINDS: Final = tuple(STAGED_KINDS)
_COLUMNS: Final = 7
_ROWS: Final = 3
_MOST_THINGS: Final = 7
_SLOTS: Final = 4
_WORDS: Final = (
    "<pad>", "<begin>", "<end>", "<thing>", "<relation>", "<other>",
    *_KINDS, *COLOURS, *PLACES,
    *(f"column {number}" for number in range(_COLUMNS)), *(f"row {number}" for number in range(_ROWS)),
    *(f"place {number}" for number in range(_MOST_THINGS)),
)  # fmt: skip
_CODE: Final = {word: number for number, word in enumerate(_WORDS)}
_ALLOWED: Final = (
    [_CODE[word] for word in _KINDS],
    [_CODE[word] for word in COLOURS],
    [_CODE[f"column {number}"] for number in range(_COLUMNS)],
    [_CODE[f"row {number}"] for number in range(_ROWS)],
)

CODES: Final = len(_WORDS)
"""How many codes there are."""
END: Final = _CODE["<end>"]
LONGEST: Final = 160
"""Most codes of a prompt and its answer."""
MOST_CODES: Final = _SLOTS * _MOST_THINGS + 1
"""Most codes of an answer, its end included."""


def prompt_of(graph: SceneGraph) -> list[int]:
    """A graph as codes: its things with their colours, then its relations; what has no code is <other>."""
    place = {index: number for number, index in enumerate(graph.regions)}
    found: list[int] = []
    for region in list(graph.regions.values())[:_MOST_THINGS]:
        colour = next((word for word in region.attributes if word in COLOURS), None)
        found += [_CODE["<thing>"], _code(region.label or ""), _code(colour or "")]
    for row in graph.relations.values():
        ends = [place[row.subject], place[row.object]]
        if max(ends) < _MOST_THINGS and len(found) < LONGEST - MOST_CODES - 7:
            found += [_CODE["<relation>"], _code(row.predicate), *(_CODE[f"place {end}"] for end in ends)]
    return [*found, _CODE["<begin>"]]


def _code(word: str) -> int:
    return _CODE.get(word, _CODE["<other>"])


def can_say(thing: Drawn) -> bool:
    """Whether there is a code for where a thing stands."""
    return thing.column < _COLUMNS


def codes_of(things: Sequence[Drawn]) -> list[int]:
    """What was drawn as codes, the end behind it."""
    found: list[int] = []
    for thing in things[:_MOST_THINGS]:
        words = (thing.label, thing.colour or "grey", f"column {thing.column}", f"row {min(thing.row, _ROWS - 1)}")
        found += [_CODE[word] for word in words]
    return [*found, END]


def things_of(codes: Sequence[int]) -> list[Drawn]:
    """The things that codes say."""
    found = []
    for start in range(0, len(codes) - len(codes) % _SLOTS, _SLOTS):
        kind, colour, column, row = (_WORDS[code] for code in codes[start : start + _SLOTS])
        found.append(Drawn(label=kind, colour=colour, column=int(column.split()[1]), row=int(row.split()[1])))
    return found


def open_at(place: int) -> list[int]:
    """The codes that may stand at a place of an answer."""
    if place % _SLOTS:
        return list(_ALLOWED[place % _SLOTS])
    if place >= MOST_CODES - 1:
        return [END]
    return list(_ALLOWED[0]) + [END] * (place > 0)
