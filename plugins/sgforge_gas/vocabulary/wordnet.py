"""Nouns of a WordNet folder (data.noun and index.noun, as Debian's wordnet-base brings them).

The format is that of wndb(5WN). Words carry WordNet's licence, whose notice the vocabulary keeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from sgforge.errors import ConfigError
from sgforge.text.did_you_mean import near_name
from sgforge_gas.vocabulary import english
from sgforge_gas.vocabulary.values import Noun, Vocabulary

__all__ = ["DEFAULT_ROOTS", "wordnet_nouns", "wordnet_vocabulary"]

DEFAULT_ROOTS: Final = ("physical_object.n.01",)
LICENCE: Final = "WordNet 3.0 licence, Copyright 2006 Princeton University"
_TYPES: Final = {
    "person": "person.n.01",
    "animal": "animal.n.01",
    "plant": "plant.n.02",
    "food": "food.n.02",
    "vehicle": "vehicle.n.01",
    "furniture": "furniture.n.01",
    "building": "building.n.01",
    "clothing": "clothing.n.01",
    "container": "container.n.01",
    "instrument": "musical_instrument.n.01",
    "toy": "plaything.n.01",
    "tool": "tool.n.01",
    "device": "device.n.01",
}
"""The starter's types by the synset under which a word has it; the nearest one above a word counts."""
_HEX: Final = 16
_DIGITS: Final = 8
"""Of an offset."""


@attrs.frozen
class _Synset:
    words: tuple[str, ...]
    above: tuple[int, ...]
    below: tuple[int, ...]


def wordnet_vocabulary(folder: Path, roots: Sequence[str], words: Vocabulary) -> Vocabulary:
    """WordNet's nouns under these synsets with the attributes, relations and scene attributes of `words`.

    What an attribute or relation fits is told by types; nouns of none of the types of `words` are of type thing, which
    only words that fit any type meet.

    Raises:
        ConfigError: the folder is no WordNet, was cut, or has no such synset.
    """
    nouns = tuple(wordnet_nouns(folder, roots))
    kept = {noun.type for noun in nouns}
    return attrs.evolve(
        words,
        name=f"wordnet: {', '.join(roots)}",
        nouns=nouns,
        adjectives=tuple(attrs.evolve(row, fits=row.fits & kept) for row in words.adjectives if _meets(row.fits, kept)),
        predicates=tuple(
            attrs.evolve(row, subjects=row.subjects & kept, objects=row.objects & kept)
            for row in words.predicates
            if _meets(row.subjects, kept) and _meets(row.objects, kept)
        ),
        licence=f"{LICENCE} (nouns); {words.licence} (the rest)",
        source="WordNet",
    )


def _meets(types: frozenset[str], kept: set[str]) -> bool:
    return not types or bool(types & kept)


def wordnet_nouns(folder: Path, roots: Sequence[str] = DEFAULT_ROOTS) -> Iterator[Noun]:
    """Every noun under these synsets ("animal.n.01": the first sense of "animal"), a word once, by its first sense.

    Instances (names of people and places) are left out.
    """
    index = _read_index(folder / "index.noun")
    synsets = _read_synsets(folder / "data.noun")
    types = dict(_known_types(index))
    seen: set[str] = set()
    for offset in _under(synsets, [_offset(index, root, folder) for root in roots], folder):
        type_ = _type_of(offset, synsets, types)
        for lemma in synsets[offset].words:
            word = lemma.replace("_", " ")
            if word not in seen and word.isprintable():
                seen.add(word)
                plural = english.looks_plural(word)
                yield Noun(word=word, type=type_, plural=word if plural else english.plural(word), is_plural=plural)


def _known_types(index: Mapping[str, list[int]]) -> Iterator[tuple[int, str]]:
    """The synsets that give a type, as far as this WordNet has them."""
    for type_, name in _TYPES.items():
        lemma, _, sense = name.partition(".n.")
        if len(index.get(lemma, ())) >= int(sense):
            yield index[lemma][int(sense) - 1], type_


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbers and fields of the lines, without the licence at the head (which begins with two blanks)."""
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                if not line.startswith("  "):
                    yield number, line.partition(" | ")[0].split()
    except FileNotFoundError:
        raise ConfigError(f"{path.parent} is no WordNet folder: it has no {path.name}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def _read_index(path: Path) -> dict[str, list[int]]:
    """Offsets of the senses of each lemma, the most frequent first."""
    index: dict[str, list[int]] = {}
    for number, fields in _lines(path):
        try:
            count, pointers = int(fields[2]), int(fields[3])
            senses = [int(field) for field in fields[6 + pointers : 6 + pointers + count]]
            if len(senses) != count or any(len(field) != _DIGITS for field in fields[6 + pointers :]):
                raise ValueError
        except (ValueError, IndexError):
            raise ConfigError(f"{path}:{number}: the line is cut; copy the folder again") from None
        index[fields[0]] = senses
    return index


def _read_synsets(path: Path) -> dict[int, _Synset]:
    found: dict[int, _Synset] = {}
    for number, fields in _lines(path):
        try:
            offset, synset = _synset(fields)
        except (ValueError, IndexError):
            raise ConfigError(f"{path}:{number}: the line is cut; copy the folder again") from None
        found[offset] = synset
    return found


def _synset(fields: list[str]) -> tuple[int, _Synset]:
    count = int(fields[3], _HEX)
    words = tuple(fields[4 : 4 + 2 * count : 2])
    at = 4 + 2 * count
    pointers = int(fields[at])
    above, below = [], []
    for start in range(at + 1, at + 1 + 4 * pointers, 4):
        symbol, target, _, _ = fields[start : start + 4]
        if symbol == "@":
            above.append(int(target))
        elif symbol == "~":
            below.append(int(target))
    return int(fields[0]), _Synset(words, tuple(above), tuple(below))


def _offset(index: Mapping[str, list[int]], name: str, folder: Path) -> int:
    """The synset that a name such as "animal.n.01" (or "animal") stands for."""
    lemma, _, sense = name.partition(".n.")
    if lemma not in index:
        near = near_name(lemma, index)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ConfigError(f"{folder}: WordNet has no noun {lemma!r}{hint}")
    number = int(sense or 1) if (sense or "1").isdigit() else 0
    if not 1 <= number <= len(index[lemma]):
        raise ConfigError(f"{folder}: {lemma!r} has senses 1 to {len(index[lemma])}: write {lemma}.n.01")
    return index[lemma][number - 1]


def _under(synsets: Mapping[int, _Synset], roots: Sequence[int], folder: Path) -> Iterator[int]:
    """The synsets and all below them, each once, wider ones first."""
    seen = set(roots)
    waiting = list(roots)
    for offset in waiting:  # grows while it is read
        if offset not in synsets:
            raise ConfigError(
                f"{folder / 'data.noun'}: synset {offset:08d} is not there; the file was cut: copy it again"
            )
        yield offset
        for other in synsets[offset].below:
            if other not in seen:
                seen.add(other)
                waiting.append(other)


def _type_of(offset: int, synsets: Mapping[int, _Synset], types: Mapping[int, str]) -> str:
    """The type of the nearest synset above that has one."""
    seen = {offset}
    waiting = [offset]
    for one in waiting:
        if one in types:
            return types[one]
        above = synsets[one].above if one in synsets else ()
        for other in above:
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return "thing"
