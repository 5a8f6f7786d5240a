"""The rows of `categories` of a COCO file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs

from sgforge.errors import ConfigError
from sgforge.stages import SourceFailure
from sgforge.utf8 import open_utf8
from sgforge_formats.reading.checks import Fault
from sgforge_formats.reading.jsonlists import JsonLists, NotJsonError
from sgforge_formats.reading.numbers import read_whole, to_whole

__all__ = [
    "Category",
    "CategoryId",
    "category_id_of",
    "category_of",
    "find_category",
    "read_categories",
    "read_categories_file",
]

CategoryId: TypeAlias = int | str

_KEPT: Final = ("supercategory", "keypoints", "skeleton")
"""What is kept of a category beside its id and name."""


@attrs.frozen
class Category:
    """A category; `record` is all that is kept of it, as JSON text. `is_shared`: another category has its name."""

    number: CategoryId
    name: str
    record: str
    is_shared: bool = False


def category_id_of(value: Any) -> CategoryId | None:
    """The id of a category, a whole number or a text; None for anything else."""
    return value if type(value) is int or isinstance(value, str) else to_whole(value)


def find_category(categories: Mapping[CategoryId, Category], value: Any) -> Category | None:
    """The category of an id as a row gives it: 3 and "3" are the same where only one of them is there."""
    number = category_id_of(value)
    if number is None:
        return None
    return categories.get(number) or _under_other_form(categories, number)


def _under_other_form(categories: Mapping[CategoryId, Category], number: CategoryId) -> Category | None:
    other = str(number) if isinstance(number, int) else read_whole(number)
    return None if other is None else categories.get(other)


def category_of(row: Any) -> Category | None:
    """The category of one row; None if it has no usable id or no name."""
    number = category_id_of(row.get("id")) if isinstance(row, dict) else None
    if number is None or not isinstance(row.get("name"), str) or not row["name"]:
        return None
    kept = {field: row[field] for field in _KEPT if row.get(field) not in (None, "", [])}
    record = json.dumps({"id": number, "name": row["name"], **kept}, ensure_ascii=False, separators=(",", ":"))
    return Category(number, row["name"], record)


def read_categories(rows: Sequence[Any], name: str, failures: list[SourceFailure]) -> Mapping[CategoryId, Category]:
    """The rows that can be used, by id; an id of several names stands for none, as either may be meant."""
    found: dict[CategoryId, Category] = {}
    disputed: set[CategoryId] = set()
    for position, row in enumerate(rows):
        where = f"{name}: categories[{position}]"
        category = category_of(row)
        if category is None:
            fault = Fault("bad-category", "a category needs an id, a whole number or a text, and a name")
            failures.append(fault.of(where))
            continue
        first = found.setdefault(category.number, category)
        if first.name != category.name:
            disputed.add(category.number)
            detail = f"category id {category.number} is {first.name!r} already; its annotations may be of either"
            failures.append(Fault("duplicate-category", detail).of(where))
    names = Counter(category.name for category in found.values())
    return {
        number: attrs.evolve(category, is_shared=names[category.name] > 1)
        for number, category in found.items()
        if number not in disputed
    }


def read_categories_file(path: Path) -> list[Mapping[str, Any]]:
    """The categories of a COCO file, or of a file that is a list of them, as they stand; another is a `ConfigError`."""
    rows: list[Any] = []
    try:
        with open_utf8(path, on_disk=True) as stream:
            for block in JsonLists(stream):
                if block.key in (None, "categories"):
                    rows += block.values
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}: check the option categories") from error
    except NotJsonError as error:
        raise ConfigError(f"{path} is not JSON, or was cut off: {error}") from None
    if not rows or any(category_of(row) is None for row in rows):
        raise ConfigError(f"{path}: expected a COCO file or a list of categories, each with id and name")
    return [{**row, "id": category_id_of(row["id"])} for row in rows]
