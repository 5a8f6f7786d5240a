"""Values beside the rows of a graph: those of the columns that verbs and plugins add.

Columns are declared in `sgforge.columns.declared`; here is what holds their values, for one image. A value is a text,
a `NumberArray`, a `FileRef`, any other JSON value, or a typed one of the core, such as a `Caption`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from sgforge.errors import GraphError
from sgforge.file_refs import FileRef
from sgforge.text.wording import shortened

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "FILE",
    "JSON",
    "NO_VALUES",
    "TEXT",
    "ByIndex",
    "HeldValues",
    "LaidOver",
    "NumberArray",
    "Values",
    "kind_of",
    "to_row_values",
    "to_values",
]

TEXT: Final = "text"
JSON: Final = "json"
FILE: Final = "file"


@attrs.frozen
class NumberArray:
    """Numbers of one type and shape, as little-endian bytes; numpy takes it for an array.

    `kind`: numpy's name of the type without the byte order, such as "f2". `shape`: () for a single number.
    """

    kind: str
    shape: tuple[int, ...]
    data: bytes = attrs.field(repr=False)

    def array(self) -> np.ndarray:
        """The numbers, read-only."""
        import numpy as np

        return np.frombuffer(self.data, np.dtype(self.kind).newbyteorder("<")).reshape(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        import numpy as np

        return np.array(self.array(), dtype, copy=bool(copy) or dtype is not None)


def kind_of(value: Any) -> str:
    """What kind of column takes a value: "text", "json", "file", or the type of its numbers."""
    if isinstance(value, NumberArray):
        return value.kind
    if isinstance(value, FileRef):
        return FILE
    return TEXT if isinstance(value, str) else JSON


class Values(Mapping[str, Any]):
    """Values by the names of their columns; of regions and relations each is a mapping from index to value.

    A value is read when it is asked for: a column of gigabytes beside the image costs nothing.
    """

    __slots__ = ()

    def kind(self, name: str) -> str:
        """The kind of a column, told without reading its values; `KeyError` where there are none."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<values of {', '.join(self) or 'no column'}>"


class HeldValues(Values):
    """Values that are all there."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def kind(self, name: str) -> str:
        value = self._values[name]
        return kind_of(next(iter(value.values())) if isinstance(value, ByIndex) else value)


class ByIndex(dict[int, Any]):
    """The values of one column by index of region or relation, ascending; never changed."""


class LaidOver(Values):
    """Newer values before older ones, row by row."""

    __slots__ = ("_new", "_old")

    def __init__(self, old: Values, new: HeldValues) -> None:
        self._old = old
        self._new = new

    def __getitem__(self, name: str) -> Any:
        if name not in self._new:
            return self._old[name]
        value = self._new[name]
        if not isinstance(value, ByIndex) or name not in self._old:
            return value
        return ByIndex(sorted({**self._old[name], **value}.items()))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._old, *self._new}))

    def __len__(self) -> int:
        return len({*self._old, *self._new})

    def kind(self, name: str) -> str:
        return (self._new if name in self._new else self._old).kind(name)


NO_VALUES: Final = HeldValues({})


def to_values(given: Mapping[str, Any]) -> Values:
    """Values by column name as a mapping that nobody changes; anything else is a `GraphError`."""
    if type(given) is HeldValues or isinstance(given, Values):  # most are, told in a tenth of the time
        return given
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise GraphError(f"values go by the names of their columns, not {shortened(given)}")
    return HeldValues(dict(sorted(given.items()))) if given else NO_VALUES


def to_row_values(given: Mapping[str, Mapping[int, Any]]) -> Values:
    """As `to_values`, of regions or relations: by column name and index; a column without a value is left out."""
    if type(given) is HeldValues or isinstance(given, Values):
        return given
    for name, values in to_values(given).items():
        if not isinstance(values, Mapping) or not all(type(index) is int and index >= 0 for index in values):
            raise GraphError(f"values of rows in column {name!r} go by their indices, not {shortened(values)}")
    return to_values({name: ByIndex(sorted(values.items())) for name, values in given.items() if values})
