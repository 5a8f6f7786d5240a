"""Names from a file: one a line, a JSON list, or the public category files of VG150, PSG and COCO."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from sgforge.errors import ConfigError
from sgforge.text.wording import counted, shortened

__all__ = ["NameKind", "read_names"]

NameKind = Literal["labels", "predicates"]


def read_names(path: Path, kind: NameKind, *, most_words: int | None = None) -> tuple[str, ...]:
    """Names of a vocabulary in the order of its file, each once.

    One name a line, or a JSON list; or the public files of VG150 (VG-SGG-dicts: label_to_idx, predicate_to_idx), PSG
    (thing_classes and stuff_classes, predicate_classes) and COCO (categories). `most_words`: more words are no name.

    Errors: a file that cannot be read, names nothing or holds something else is a `ConfigError` with line or entry.
    """
    what = f"{kind} file {path}"
    text = _text(path, what)
    if text.lstrip().startswith(("[", "{")):
        found, place = _listed(text, kind, what), "entry"
    else:
        found, place = text.split("\n"), "line"
    kept: dict[str, None] = {}
    for number, name in enumerate(found, 1):
        _check(name, most_words, f"{what}, {place} {number}")
        kept[name.strip()] = None
    kept.pop("", None)
    if not kept:
        raise ConfigError(f"{what} names nothing: give one name a line")
    return tuple(kept)


def _check(name: str, most_words: int | None, where: str) -> None:
    if any(unicodedata.category(sign) == "Cc" for sign in name.strip()):
        raise ConfigError(f"{where}: {shortened(name)} has control characters; give one name a line")
    words = len(name.split())
    if most_words is not None and words > most_words:
        raise ConfigError(f"{where}: {shortened(name)} is {counted(words, 'word')}, not a name of at most {most_words}")


def _text(path: Path, what: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{what} cannot be read: {error}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{what}, line {line}: not UTF-8 ({error.reason}); save it as UTF-8") from None


def _listed(text: str, kind: NameKind, what: str) -> list[str]:
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"{what} is not JSON: {error}") from None
    names = _of_public_file(found, kind) if isinstance(found, dict) else found
    if not isinstance(names, list):
        raise ConfigError(
            f"{what} must list texts: one name a line, a JSON list, or the category file of VG150, PSG or COCO"
        )
    return list(_texts(names, what))


def _texts(names: list[Any], what: str) -> Iterator[str]:
    for number, name in enumerate(names, 1):
        if not isinstance(name, str):
            raise ConfigError(f"{what}, entry {number}: {shortened(name)} is no text")
        yield name


def _of_public_file(found: Mapping[str, Any], kind: NameKind) -> Any:
    """The names in a public file of VG150, PSG or COCO; None if it is none of them."""
    numbers = found.get("label_to_idx" if kind == "labels" else "predicate_to_idx")
    if isinstance(numbers, dict) and all(isinstance(number, int) for number in numbers.values()):
        return sorted(numbers, key=lambda name: numbers[name])
    if kind == "predicates":
        return found.get("predicate_classes")
    things, stuff = found.get("thing_classes"), found.get("stuff_classes")
    if isinstance(things, list) and isinstance(stuff, list):
        return [*things, *stuff]
    rows = found.get("categories")
    return [row.get("name") if isinstance(row, dict) else row for row in rows] if isinstance(rows, list) else None
