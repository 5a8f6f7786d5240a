"""Vocabularies from files: our starter, JSON or TOML of the same form."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from sgforge.durable import output_file
from sgforge.errors import ConfigError
from sgforge.graph import CATEGORIES
from sgforge.text.did_you_mean import choices
from sgforge.text.wording import shortened
from sgforge_gas.vocabulary import english
from sgforge_gas.vocabulary.values import Adjective, Counts, Noun, Predicate, SceneAttribute, Vocabulary

__all__ = ["as_table", "load_vocabulary", "parse_vocabulary", "save_vocabulary", "starter"]

_MOST_BYTES: Final = 256 * 1024 * 1024
_KINDS: Final = ("prepositional", "participle", "finite")
_TABLES: Final = (
    "name",
    "licence",
    "source",
    "objects",
    "exceptions",
    "groups",
    "attributes",
    "families",
    "relations",
    "scene",
    "counts",
)


@lru_cache(maxsize=1)
def starter() -> Vocabulary:
    """The vocabulary that sgforge brings: 300 objects, 120 attributes, 60 relations, scene attributes."""
    text = resources.files("sgforge_gas.vocabulary").joinpath("starter.toml").read_text("utf-8")
    return parse_vocabulary(tomllib.loads(text), "starter")


def load_vocabulary(path: Path | None) -> Vocabulary:
    """The vocabulary of a JSON or TOML file, of the starter without a file.

    Raises:
        ConfigError: the file cannot be read, or what it holds is no vocabulary; it says where.
    """
    if path is None:
        return starter()
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"vocabulary {path}: more than {_MOST_BYTES:,} bytes")
        text = path.read_text("utf-8")
        given = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise ConfigError(f"vocabulary {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"vocabulary {path}: no {path.suffix[1:].upper() or 'JSON'}: {error}") from None
    return parse_vocabulary(given, str(path))


def parse_vocabulary(given: Any, where: str) -> Vocabulary:
    """The vocabulary that a table of the form of docs/gas.md says; anything else is a `ConfigError` with its place."""
    return _Parser(where).vocabulary(given)


class _Parser:
    """Reads one table, naming the place of whatever is wrong."""

    def __init__(self, where: str) -> None:
        self._where = f"vocabulary {where}"
        self._types: frozenset[str] = frozenset()
        self._groups: dict[str, frozenset[str]] = {}

    def vocabulary(self, given: Any) -> Vocabulary:
        table = self._table(given, "it")
        unknown = next((key for key in table if key not in _TABLES), None)
        if unknown is not None:
            raise self._fault(unknown, f"unknown table; {choices(str(unknown), list(_TABLES))}")
        nouns = tuple(self._nouns(self._table(table.get("objects"), "objects"), table.get("exceptions") or {}))
        if not nouns:
            raise self._fault("objects", "there is no object: a vocabulary needs at least one")
        self._types = frozenset(noun.type for noun in nouns)
        self._groups = {
            name: frozenset(self._texts(types, f"groups.{name}"))
            for name, types in self._table(table.get("groups"), "groups").items()
        }
        return Vocabulary(
            name=str(table.get("name", "")),
            nouns=nouns,
            adjectives=tuple(self._adjectives(self._table(table.get("attributes"), "attributes"))),
            predicates=tuple(self._predicates(self._table(table.get("relations"), "relations"))),
            scene=tuple(self._scene(self._table(table.get("scene"), "scene"))),
            families={
                category: tuple(
                    frozenset(self._texts(family, f"families.{category}"))
                    for family in (rows if isinstance(rows, list) else [rows])
                )
                for category, rows in self._table(table.get("families"), "families").items()
            },
            counts=self._counts(self._table(table.get("counts"), "counts")),
            licence=str(table.get("licence", "")),
            source=str(table.get("source", "")),
        )

    def _nouns(self, objects: Mapping[str, Any], exceptions: Any) -> Iterator[Noun]:
        more = self._table(exceptions, "exceptions")
        plurals = self._table(more.get("plurals"), "exceptions.plurals")
        always = frozenset(self._texts(more.get("always_plural", []), "exceptions.always_plural"))
        seen: set[str] = set()
        for type_, words in objects.items():
            for word in self._texts(words, f"objects.{type_}"):
                if word in seen:
                    raise self._fault(f"objects.{type_}", f"{shortened(word)} stands there twice")
                seen.add(word)
                is_plural = word in always or english.looks_plural(word)
                several = str(plurals.get(word) or (word if is_plural else english.plural(word)))
                yield Noun(word=word, type=type_, plural=several, is_plural=is_plural)

    def _adjectives(self, attributes: Mapping[str, Any]) -> Iterator[Adjective]:
        for category, row in attributes.items():
            place = f"attributes.{category}"
            table = self._table(row, place)
            fits = self._fitting(table.get("fits", "any"), f"{place}.fits")
            for word in self._texts(table.get("words", []), f"{place}.words"):
                yield Adjective(word, category, fits)

    def _predicates(self, relations: Mapping[str, Any]) -> Iterator[Predicate]:
        for category, rows in relations.items():
            place = f"relations.{category}"
            if category not in CATEGORIES:
                raise self._fault(place, f"unknown category; {choices(category, list(CATEGORIES))}")
            if not isinstance(rows, list):
                raise self._fault(place, f"must be a list, not {shortened(rows)}")
            for number, row in enumerate(rows):
                yield self._predicate(row, category, f"{place}[{number}]")

    def _predicate(self, row: Any, category: str, place: str) -> Predicate:
        """A relation from a table, or from "word | kind | subjects | objects | inverse", the latter four if wanted."""
        names = ("word", "kind", "subjects", "objects", "inverse")
        if isinstance(row, str):
            row = {name: cell.strip() for name, cell in zip(names, row.split("|"), strict=False) if cell.strip()}
        table = self._table(row, place)
        word = " ".join(str(table.get("word", "")).split())
        if not word:
            raise self._fault(place, "has no word")
        kind = table.get("kind") or english.relation_kind(word)
        if kind not in _KINDS:
            raise self._fault(f"{place}.kind", f"unknown kind; {choices(str(kind), list(_KINDS))}")
        return Predicate(
            word=word,
            kind=kind,  # type: ignore[arg-type]
            category=category,  # type: ignore[arg-type]
            subjects=self._fitting(table.get("subjects", "any"), f"{place}.subjects"),
            objects=self._fitting(table.get("objects", "any"), f"{place}.objects"),
            inverse=table.get("inverse") or None,
        )

    def _scene(self, scene: Mapping[str, Any]) -> Iterator[SceneAttribute]:
        for name, row in scene.items():
            table = self._table(row, f"scene.{name}")
            says = str(table.get("says", f"has the {name} {{}}"))
            if says.count("{}") != 1:
                raise self._fault(f"scene.{name}.says", "must have one {} where the value goes")
            values = self._texts(table.get("values", []), f"scene.{name}.values")
            if not values:
                raise self._fault(f"scene.{name}", "has no values")
            yield SceneAttribute(name, says, tuple(values))

    def _counts(self, counts: Mapping[str, Any]) -> Counts:
        """Rows of names and a number at the end, such as ["dog", "on", "sofa", 12]."""
        return Counts(
            objects={row[0]: row[-1] for row in self._rows(counts, "objects", 1)},
            attributes={(row[0], row[1]): row[-1] for row in self._rows(counts, "attributes", 2)},
            triplets={(row[0], row[1], row[2]): row[-1] for row in self._rows(counts, "triplets", 3)},
            sizes={(row[0], row[1], row[2]): row[-1] for row in self._rows(counts, "sizes", 3, int)},
        )

    def _rows(self, counts: Mapping[str, Any], name: str, keys: int, kind: type = str) -> list[Any]:
        rows = counts.get(name, [])
        fits = isinstance(rows, list) and all(
            isinstance(row, list)
            and len(row) == keys + 1
            and all(type(key) is kind for key in row[:-1])
            and type(row[-1]) is int
            and row[-1] > 0
            for row in rows
        )
        if not fits:
            raise self._fault(f"counts.{name}", f"must be rows of {keys} names and a count from 1")
        return list(rows)

    def _fitting(self, given: Any, place: str) -> frozenset[str]:
        """Types, groups of them resolved; "any" is all. None at all is refused: the word could never be used."""
        names = self._texts(given, place)
        if names == ["any"]:
            return frozenset()
        if not names:
            raise self._fault(place, 'fits no type of object: name types, or "any"')
        found: set[str] = set()
        for name in names:
            types = self._groups.get(name, frozenset((name,)))
            unknown = next((type_ for type_ in types if type_ not in self._types), None)
            if unknown is not None:
                raise self._fault(place, f"unknown type; {choices(unknown, sorted({*self._types, *self._groups}))}")
            found |= types
        return frozenset(found)

    def _texts(self, given: Any, place: str) -> list[str]:
        """A list of texts, or one text with commas; blanks around and within are one space."""
        rows = given.split(",") if isinstance(given, str) else given
        if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
            raise self._fault(place, f"must be a list of texts, not {shortened(given)}")
        return [" ".join(row.split()) for row in rows if row.strip()]

    def _table(self, given: Any, place: str) -> Mapping[str, Any]:
        if given is None:
            return {}
        if not isinstance(given, Mapping):
            raise self._fault(place, f"must be a table, not {shortened(given)}")
        return given

    def _fault(self, place: str, message: str) -> ConfigError:
        return ConfigError(f"{self._where}: {place}: {message}")


def save_vocabulary(vocabulary: Vocabulary, path: Path) -> None:
    """Write the JSON that `load_vocabulary` reads; the file appears when it is whole."""
    text = json.dumps(as_table(vocabulary), ensure_ascii=False, indent=1)
    with output_file(path) as stream:
        stream.write(f"{text}\n".encode())


def as_table(vocabulary: Vocabulary) -> dict[str, Any]:
    """The vocabulary as plain values."""
    objects: dict[str, list[str]] = {}
    for noun in vocabulary.nouns:
        objects.setdefault(noun.type, []).append(noun.word)
    attributes: dict[str, dict[str, Any]] = {}
    for one in vocabulary.adjectives:
        row = attributes.setdefault(one.category, {"fits": sorted(one.fits) or "any", "words": []})
        row["words"].append(one.word)
    relations: dict[str, list[dict[str, Any]]] = {}
    for relation in vocabulary.predicates:
        given = {
            "word": relation.word,
            "kind": relation.kind,
            "subjects": sorted(relation.subjects) or "any",
            "objects": sorted(relation.objects) or "any",
        }
        relations.setdefault(relation.category, []).append(
            given | ({"inverse": relation.inverse} if relation.inverse else {})
        )
    counts = vocabulary.counts
    return {
        "name": vocabulary.name,
        "licence": vocabulary.licence,
        "source": vocabulary.source,
        "objects": objects,
        "exceptions": {
            "plurals": {noun.word: noun.plural for noun in vocabulary.nouns if noun.plural},
            "always_plural": [noun.word for noun in vocabulary.nouns if noun.is_plural],
        },
        "attributes": attributes,
        "families": {
            category: [sorted(family) for family in families] for category, families in vocabulary.families.items()
        },
        "relations": relations,
        "scene": {one.name: {"says": one.says, "values": list(one.values)} for one in vocabulary.scene},
        "counts": {
            "objects": [[label, count] for label, count in counts.objects.items()],
            **{
                name: [[*key, count] for key, count in getattr(counts, name).items()]
                for name in ("attributes", "triplets", "sizes")
            },
        },
    }
