"""Names for the arrays of this package, and tables of them: classes whose fields are columns of one length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["Flags", "Floats", "Ints", "concat_rows", "take_rows"]

Ints: TypeAlias = NDArray[np.integer[Any]]
Floats: TypeAlias = NDArray[np.floating[Any]]
Flags: TypeAlias = NDArray[np.bool_]

_Table = TypeVar("_Table", bound=attrs.AttrsInstance)


def take_rows(table: _Table, rows: Ints | Flags) -> _Table:
    """A table, an attrs class of arrays with one item per row (or None), with these rows."""
    names = [field.name for field in attrs.fields(type(table))]
    columns = {name: getattr(table, name) for name in names}
    return attrs.evolve(table, **{name: column[rows] for name, column in columns.items() if column is not None})


def concat_rows(tables: Sequence[_Table]) -> _Table:
    """The rows of several tables behind each other; a column is None where any of them has none. At least one table."""
    joined = {}
    for field in attrs.fields(type(tables[0])):
        columns = [getattr(table, field.name) for table in tables]
        joined[field.name] = None if any(column is None for column in columns) else np.concatenate(columns)
    return attrs.evolve(tables[0], **joined)
