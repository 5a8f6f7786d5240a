"""Samples and what came of them as messages: packed as they are in the journal, pictures by their uri."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import msgpack
import numpy as np

from sgforge.columns.declared import Column, fitted_edit, known_columns
from sgforge.edits import Edit, joined_as_one
from sgforge.engine.executors.answering import Outcome, StopRunError
from sgforge.engine.executors.error_messages import error_fields, error_of
from sgforge.errors import GraphError, SgforgeError
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.packed import pack_edit, pack_sample, unpack_edit, unpack_sample
from sgforge.stages import Failure, Ranking
from sgforge.text.blame import words_of

__all__ = ["pack_end", "pack_outcomes", "pack_samples", "unpack_outcomes", "unpack_samples"]

Columns: TypeAlias = Mapping[tuple[str, str], Column]
_NO_COLUMNS: Final[Columns] = {}


def pack_samples(samples: Sequence[Sample]) -> bytes:
    """A batch; of each picture its uri, for a process that sees the same folders."""
    return _packed([pack_sample(sample) for sample in samples])


def unpack_samples(message: bytes, images: Roots | None) -> list[Sample]:
    """The batch that `pack_samples` packed; `images`: the folders that pictures lie in."""
    samples = map(unpack_sample, msgpack.unpackb(message))
    return [sample if images is None else _with_picture(sample, images) for sample in samples]


def _with_picture(sample: Sample, images: Roots) -> Sample:
    return sample if sample.uri is None else attrs.evolve(sample, image=images.image(sample.uri))


def pack_outcomes(samples: Sequence[Sample], outcomes: Sequence[Outcome], columns: Columns = _NO_COLUMNS) -> bytes:
    """What came of the first of these samples. An answer that no message can hold is the failure of its sample.

    `columns`: those that the component declared, which say how values are packed.
    """
    pairs = zip(samples, outcomes, strict=False)  # there are fewer after a stop
    known = known_columns(columns.values())
    return _packed({"outcomes": [[*_answer(sample, one.answer, known), one.calls] for sample, one in pairs]})


def pack_end(error: StopRunError) -> bytes:
    """In the place of outcomes: the component met an error after which other items are pointless."""
    return _packed({"end": error_fields(error.cause)})


def unpack_outcomes(message: bytes) -> list[Outcome]:
    """The outcomes that `pack_outcomes` packed; the `StopRunError` of `pack_end` is raised."""
    given: Mapping[str, Any] = msgpack.unpackb(message)
    if "end" in given:
        cause = error_of(given["end"])
        assert isinstance(cause, SgforgeError)
        raise StopRunError(cause)
    return [Outcome(_answer_of(kind, value), tuple(calls)) for kind, value, calls in given["outcomes"]]


def _answer(sample: Sample, answer: Edit | Ranking | Failure, columns: Columns) -> tuple[str, Any]:
    try:
        if isinstance(answer, Edit):
            rows = sample.graph.all
            # A sum is sent as it takes effect on the graph it was made for.
            answer = fitted_edit(joined_as_one(answer, len(rows.regions), len(rows.relations)), columns)
            return "edit", pack_edit(answer)
        if isinstance(answer, Ranking):
            return "ranking", _ranking(sample, answer)
    except GraphError as error:
        answer = Failure("contract", f"its edit does not fit the graph: {error}")
    except Exception as error:  # a ranking's regions and predicates may be anything
        answer = Failure("contract", f"rank gave what no graph holds: {words_of(error)}")
    return "failure", [answer.reason, answer.detail]


def _answer_of(kind: str, value: Any) -> Edit | Ranking | Failure:
    if kind == "edit":
        return unpack_edit(value)
    return _ranking_of(*value) if kind == "ranking" else Failure(*value)


def _ranking(sample: Sample, ranking: Ranking) -> list[Any]:
    graph = SceneGraph(sample.graph.width, sample.graph.height, ranking.regions)
    words = [str(predicate) for predicate in ranking.predicates]
    return [pack_sample(Sample("-", graph)), _array(ranking.pairs), words, _array(ranking.scores)]


def _ranking_of(regions: bytes, pairs: Any, predicates: list[str], scores: Any) -> Ranking:
    return Ranking(
        regions=unpack_sample(regions).graph.all.regions,
        pairs=_array_of(*pairs),
        predicates=tuple(predicates),
        scores=_array_of(*scores),
    )


def _array(values: Any) -> list[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "iufb":
        raise TypeError(f"an array of {array.dtype} holds no numbers")
    return [array.dtype.str, array.shape, array.tobytes()]


def _array_of(dtype: str, shape: Sequence[int], data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(shape)


def _packed(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed
