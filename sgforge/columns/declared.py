"""Columns beside those of regions and relations: what a plugin declares, those of the core's verbs, and their values.

A column is declared where its component is registered, `register(..., columns=(Column("region", "clip.embedding", "f2",
(768,)),))`, and filled by that component's edits or samples. Those of verbs belong to the core, and any component of
the verb fills them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import attrs

from sgforge.edits import Edit, Target, Value, ValueTarget, with_values
from sgforge.errors import GraphError
from sgforge.graph import Caption, FileRef, NumberArray, Question, Sample, Span
from sgforge.graph.values import FILE, JSON, NO_VALUES, TEXT, kind_of
from sgforge.text.wording import shortened

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "CORE_COLUMNS",
    "FILE_CELL",
    "OF_VERSION",
    "SHOWABLE",
    "Column",
    "ColumnValues",
    "cell_of",
    "column_of",
    "fitted",
    "fitted_edit",
    "fitted_sample",
    "from_json",
    "known_columns",
    "one_column",
    "to_json",
    "value_of",
    "values_of_sample",
]

_NUMBERS: Final[Mapping[str, int]] = {
    "f2": 2,
    "f4": 4,
    "f8": 8,
    "i1": 1,
    "i2": 2,
    "i4": 4,
    "i8": 8,
    "u1": 1,
    "u2": 2,
    "u4": 4,
    "u8": 8,
}
"""Bytes of each type of number, by numpy's name without the byte order."""
_INLINE_BYTES: Final = 4096
"""Number arrays of more bytes lie in files; the column holds their sha256 and length."""
_MAX_TEXT_BYTES: Final = 2**20
FILE_CELL: Final = 40
"""Bytes of a reference to a file: its sha256, then its length as a little-endian number."""

_ROWS: Final[tuple[Target, ...]] = get_args(Target)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)?")


def _sides(value: Iterable[int]) -> tuple[int, ...]:
    return tuple(value)


@attrs.frozen
class Column:
    """One column: of the image, its regions or its relations; `kind` is a type of numbers, "text" or "json".

    `name`: "plugin.name" (those without a dot are the core's). `shape`: of a value of numbers, () for one number.
    """

    target: ValueTarget
    name: str
    kind: str = TEXT
    shape: tuple[int, ...] = attrs.field(default=(), converter=_sides)

    def __attrs_post_init__(self) -> None:
        if self.target not in get_args(ValueTarget):
            raise GraphError(f"a column is of 'image', 'region' or 'relation', not of {self.target!r}")
        if not (isinstance(self.name, str) and _NAME.fullmatch(self.name) and len(self.name) <= 100):
            raise GraphError(
                f"a column is named plugin.name: lower-case letters, digits, '_' and '-', not {self.name!r}"
            )
        if self.kind not in (TEXT, JSON, FILE, *_NUMBERS):
            known = ", ".join((*_NUMBERS, TEXT, JSON))
            raise GraphError(f"column {self.name!r}: kind {self.kind!r} is none of {known}")
        if not all(type(side) is int and side > 0 for side in self.shape):
            raise GraphError(f"column {self.name!r}: shape {self.shape!r} must be whole numbers from 1")
        if self.shape and not self.is_numeric:
            raise GraphError(f"column {self.name!r}: only numbers have a shape")

    @property
    def key(self) -> tuple[str, str]:
        """What names it: target and name."""
        return self.target, self.name

    @property
    def is_numeric(self) -> bool:
        """Whether its values are numbers."""
        return self.kind in _NUMBERS

    @property
    def item_bytes(self) -> int:
        """Bytes of one value of numbers."""
        return _NUMBERS[self.kind] * math.prod(self.shape)

    @property
    def is_filed(self) -> bool:
        """Whether its values lie in files, by reference."""
        return self.kind == FILE or (self.is_numeric and self.item_bytes > _INLINE_BYTES)

    def __str__(self) -> str:
        shape = f" {'x'.join(map(str, self.shape))}" if self.shape else ""
        return f"{self.target} column {self.name!r} ({self.kind}{shape})"


@attrs.frozen(eq=False)
class ColumnValues:
    """A whole column: `rows`, int64, of its table that have a value, and the values, in their order.

    `values`: (len(rows), *shape) for numbers, else a list of texts, JSON values, typed values or references to files.
    """

    rows: np.ndarray
    values: np.ndarray | list[Any]


@attrs.frozen
class _Typed:
    """How the JSON of a column of the core is a value of the core."""

    to_json: Callable[[Any], Any]
    from_json: Callable[[Any], Any]


def _caption_json(value: Any) -> Any:
    if not isinstance(value, Caption):
        raise GraphError(f"a caption is a Caption, not {shortened(value)}")
    return value.to_json()


def _questions_json(value: Any) -> Any:
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, Question) for one in value):
        raise GraphError(f"questions are a list of Question, not {shortened(value)}")
    for number, question in enumerate(value):
        if any(other >= len(value) or other == number for other in question.dependencies):
            raise GraphError(f"question {number} depends on one of the {len(value)}, not on {question.dependencies}")
    return [question.to_json() for question in value]


def _questions_from(value: Any) -> tuple[Question, ...]:
    if not isinstance(value, list):
        raise GraphError(f"questions are a list, not {shortened(value)}")
    return tuple(map(Question.from_json, value))


_JSON_ENCODER: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_PLAIN: Final = _Typed(lambda value: value, lambda value: value)
_TYPED: Final[Mapping[str, _Typed]] = {
    "caption": _Typed(_caption_json, Caption.from_json),
    "questions": _Typed(_questions_json, _questions_from),
}
CORE_COLUMNS: Final[Mapping[tuple[str, str], Column]] = {
    column.key: column
    for column in (
        Column("image", "caption", JSON),
        Column("image", "questions", JSON),
        Column("image", "answers", JSON),
        Column("image", "group", TEXT),
        Column("image", "chosen", JSON),
    )
}
"""The columns that verbs fill: a `Caption`, a tuple of `Question`, what a judge answered, the name of the group of
images that were made from one, and what a selector chose."""
_CAPTION: Final = CORE_COLUMNS["image", "caption"]


SHOWABLE: Final = frozenset({"caption", "group", "questions"})
"""Columns of the core that a student may be shown of a held-out image."""
OF_VERSION: Final = frozenset({("image", "chosen")})
"""Columns of a version of the dataset, and not of the state of an image: one taken from another version leaves them."""


def column_of(value: Value) -> Column:
    """The column of a checked value; of one that was not checked, what it is taken for."""
    if value.kind:
        return one_column(value.target, value.column, value.kind, tuple(value.shape))
    return _column_for(value.target, value.column, value.value)


def _column_for(target: ValueTarget, name: str, value: Any) -> Column:
    known = CORE_COLUMNS.get((target, name))
    if known is not None:
        return known
    return one_column(target, name, kind_of(value), value.shape if isinstance(value, NumberArray) else ())


@lru_cache(maxsize=1024)
def one_column(target: ValueTarget, name: str, kind: str, shape: tuple[int, ...]) -> Column:
    """A column, checked once: every value of a million images asks for its own."""
    return Column(target, name, kind, shape)


def fitted_edit(edit: Edit, columns: Mapping[tuple[str, str], Column]) -> Edit:
    """The edit with its values as their columns take them; one that a column does not take is a `GraphError`."""
    if not edit.values:
        return edit
    # That a column was declared is for the role to say: of one that was not, the value alone tells the type.
    found = [columns.get((value.target, value.column)) or column_of(value) for value in edit.values]
    return edit.with_values([fitted(*pair) for pair in zip(edit.values, found, strict=True)])


def fitted_sample(sample: Sample, columns: Mapping[tuple[str, str], Column]) -> Sample:
    """The sample of a source with its values as their columns take them; anything else is a `GraphError`.

    Columns of texts and JSON need no declaration: graph JSONL brings those of any plugin.
    """
    values = []
    for value in values_of_sample(sample):
        # Of a text or JSON the value says all that a declaration would.
        column = columns.get((value.target, value.column)) or column_of(value)
        if column.key not in columns and (column.is_numeric or hasattr(value.value, "dtype")):
            raise GraphError(f"column {value.column!r} of {value.target}s was not declared by its source")
        if isinstance(value.value, FileRef):
            raise GraphError(f"{column}: a source makes no files")
        if value.index is not None and value.index >= len(_rows(sample, value.target)):
            raise GraphError(f"{column}: {value.target} {value.index} does not exist")
        values.append(fitted(value, column))
    return with_values(sample, values)


def _rows(sample: Sample, target: str) -> Sequence[Any]:
    rows = sample.graph.all
    return rows.regions if target == "region" else rows.relations


def values_of_sample(sample: Sample) -> list[Value]:
    """All values of a sample, by target, column and index."""
    found = [_placed("image", None, name, sample.values[name]) for name in sorted(sample.values)]
    for target in _ROWS:
        columns = sample.values_of(target)
        for name in sorted(columns) if columns is not NO_VALUES else ():
            found += [_placed(target, index, name, value) for index, value in columns[name].items()]
    return found


def _placed(target: ValueTarget, index: int | None, name: str, value: Any) -> Value:
    column = _column_for(target, name, value)
    return Value(target, index, name, value, kind=column.kind, shape=column.shape)


def fitted(value: Value, column: Column) -> Value:
    """The value as its column takes it, exact and of Python's own types; anything else is a `GraphError`."""
    try:
        exact = _exact(value.value, column)
    except GraphError as error:
        raise GraphError(f"{column}: {error}") from None
    return _of_column(value, exact, column)


def _of_column(value: Value, told: Any, column: Column) -> Value:
    return Value(value.target, value.index, value.column, told, kind=column.kind, shape=column.shape)


def _exact(value: Any, column: Column) -> Any:
    if column.is_filed:
        if not isinstance(value, FileRef):
            raise GraphError(f"its values, of more than {_INLINE_BYTES} bytes, lie in files: give what files.put gives")
        return value
    if column.is_numeric:
        return _numbers(value, column)
    if column.kind == TEXT and not isinstance(value, str):
        raise GraphError(f"takes a text, not {shortened(value)}")
    if type(value) is Caption and column is _CAPTION and _is_exact(value):
        return value
    return value_of(cell_of(value, column), column)


def _is_exact(caption: Caption) -> bool:
    """Whether a caption is for sure what its cell would be read as: almost every one is, and there are millions.

    A sign of ASCII takes at most six bytes as JSON, a span at most three numbers of up to seven digits.
    """
    text = caption.text
    if type(text) is not str or not text.isascii() or 6 * len(text) + 32 * len(caption.spans) > _MAX_TEXT_BYTES // 2:
        return False
    for span in caption.spans:  # noqa: SIM110 - as a generator it takes twice as long
        if type(span) is not Span or span.region > _MAX_TEXT_BYTES:
            return False
    return True


def _numbers(value: Any, column: Column) -> NumberArray:
    import numpy as np

    try:
        given = np.asarray(value)
        # Whole numbers of one type are often those of another; whether all of them were is seen below.
        casting: Literal["unsafe", "same_kind"] = "unsafe" if given.dtype.kind in "bui" else "same_kind"
        with np.errstate(over="ignore"):
            array = given.astype(np.dtype(f"<{column.kind}"), casting=casting)
    except (TypeError, ValueError, OverflowError) as error:
        raise GraphError(f"takes numbers that {column.kind} can hold, not {shortened(value)}: {error}") from None
    if array.shape != column.shape:
        raise GraphError(f"takes numbers of shape {column.shape}, not {array.shape}")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise GraphError(f"takes finite numbers that {column.kind} can hold")
    elif not np.array_equal(array, given):
        raise GraphError(f"takes numbers that {column.kind} can hold, not {shortened(value)}")
    return NumberArray(column.kind, column.shape, array.tobytes())


def cell_of(value: Any, column: Column) -> bytes:
    """The value as bytes, as the journal and the dataset keep it."""
    if isinstance(value, NumberArray):
        return value.data
    if isinstance(value, FileRef):
        return bytes.fromhex(value.sha256) + value.length.to_bytes(8, "little")
    text = value if column.kind == TEXT else _json_text(value, column)
    try:
        data: bytes = text.encode()
    except UnicodeEncodeError:
        raise GraphError(f"text {shortened(text)} has half of a surrogate pair, which no file can hold") from None
    if len(data) > _MAX_TEXT_BYTES:
        raise GraphError(f"has {len(data)} bytes; a text or JSON value has at most {_MAX_TEXT_BYTES}")
    return data


def _json_text(value: Any, column: Column) -> str:
    plain = to_json(value, column)
    if plain is None or isinstance(plain, str):
        raise GraphError(f"takes a JSON value that is neither a text alone nor null, not {shortened(plain)}")
    try:
        return _JSON_ENCODER.encode(plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise GraphError(f"takes a JSON value, not {shortened(value)}: {error}") from None


def value_of(cell: bytes, column: Column) -> Any:
    """The value that `cell_of` made bytes of; other bytes are a `GraphError`."""
    if column.is_filed:
        return FileRef(cell[:32].hex(), int.from_bytes(cell[32:], "little"))
    if column.is_numeric:
        return NumberArray(column.kind, column.shape, cell)
    try:
        text = cell.decode()
        if column.kind == TEXT:
            return text
        plain = json.loads(text)
    except ValueError as error:
        raise GraphError(f"{column}: its bytes are no value: {error}") from None
    return from_json(plain, column)


def to_json(value: Any, column: Column) -> Any:
    """The JSON value that stands for a value of a JSON column."""
    return _TYPED.get(column.name, _PLAIN).to_json(value) if column.key in CORE_COLUMNS else value


def from_json(plain: Any, column: Column) -> Any:
    """The value of a JSON column that `plain` stands for."""
    return _TYPED.get(column.name, _PLAIN).from_json(plain) if column.key in CORE_COLUMNS else plain


def known_columns(declared: Iterable[Column]) -> dict[tuple[str, str], Column]:
    """Columns by what names them, the core's among them."""
    return {**CORE_COLUMNS, **{column.key: column for column in declared}}
