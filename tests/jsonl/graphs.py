"""Generated samples, and ways to spoil a line of graph JSONL."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sgforge.graph import CATEGORIES, Region, Relation, Sample, SceneGraph
from sgforge.masks import from_array

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
NAMES = TEXTS.filter(bool)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
UNITS = st.floats(0, 1, width=32)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    x0, x1 = sorted(draw(st.lists(FLOATS, min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(draw(st.lists(FLOATS, min_size=2, max_size=2, unique=True)))
    return x0, y0, x1, y1


@st.composite
def masks(draw: st.DrawFn, height: int, width: int) -> Any:
    array = np.zeros((height, width), bool)
    for _ in range(draw(st.integers(0, 3))):
        y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        array[y : y + draw(st.integers(1, 5)), x : x + draw(st.integers(1, 70))] ^= True
    return from_array(array)


@st.composite
def regions(draw: st.DrawFn, index: int, count: int, size: tuple[int, int]) -> Region:
    parents = st.integers(0, count - 1).filter(lambda parent: parent != index)
    verdict = draw(st.sampled_from(["kept", "rejected"]))
    frame = size if size != (0, 0) else (7, 9)
    return Region(
        label=draw(maybe(TEXTS)),
        box=draw(maybe(boxes())),
        mask=draw(maybe(masks(*frame))),
        descriptions=tuple(draw(st.lists(TEXTS, max_size=2))),
        attributes=tuple(draw(st.lists(TEXTS, max_size=2))),
        score=draw(maybe(UNITS)),
        depth=draw(maybe(FLOATS)),
        parent=draw(maybe(parents)) if count > 1 else None,
        level=draw(maybe(st.integers(-32767, 32767))),
        source=draw(maybe(TEXTS)),
        status=verdict,
        reason=draw(maybe(TEXTS)),
        degree=draw(maybe(FLOATS)),
        made_by=draw(maybe(TEXTS)),
        judged_by=draw(maybe(TEXTS)),
    )


@st.composite
def relations(draw: st.DrawFn, count: int) -> Relation:
    subject, target = draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2, unique=True))
    return Relation(
        subject=subject,
        predicate=draw(NAMES),
        object=target,
        category=draw(st.sampled_from(CATEGORIES)),
        score=draw(maybe(UNITS)),
        status=draw(st.sampled_from(["kept", "rejected"])),
        reason=draw(maybe(TEXTS)),
        degree=draw(maybe(FLOATS)),
        made_by=draw(maybe(TEXTS)),
        judged_by=draw(maybe(TEXTS)),
    )


@st.composite
def samples(draw: st.DrawFn, image_id: str | None = None) -> Sample:
    height, width = draw(st.sampled_from([(0, 0), (1, 1), (7, 9), (5, 130)]))
    count = draw(st.integers(0, 4))
    graph = SceneGraph(
        width,
        height,
        [draw(regions(index, count, (height, width))) for index in range(count)],
        draw(st.lists(relations(count), max_size=4)) if count > 1 else (),
        draw(st.dictionaries(TEXTS, TEXTS, max_size=2)),
    )
    digests = st.binary(min_size=32, max_size=32).filter(any).map(bytes.hex)
    return Sample(
        image_id if image_id is not None else draw(NAMES),
        graph,
        uri=draw(maybe(NAMES)),
        split=draw(maybe(TEXTS)),
        source=draw(maybe(TEXTS)),
        sha256=draw(maybe(digests)),
    )


ODD_VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 3.7, 1.5, -0.5, 1e39, -1e39, 1e300, 2**31, 2**63, 2**70, -(2**40), 32768, -32768,
    "", "kept", "x", "é", [], {}, [1], ["a", 1], {"a": 1}, [0, 0, 1, 1], [1, 1, 1, 1], [2, 0, 1, 1], [0, 0, 1],
    [0, 0, 1, True], [0, 0, 1e39, 1], {"size": [7, 9], "counts": "11"}, {"size": [7, 9], "counts": "o1"},
    {"size": [7, 9], "counts": "Po"}, {"size": [9, 7], "counts": "o1"}, {"size": [7, 9], "counts": "é"},
    {"size": [7], "counts": "o1"}, {"size": [7, True], "counts": "o1"}, {"size": [7, 9], "counts": [63]},
    {"size": [7, 9], "counts": "o1", "more": 1}, {"size": [-1, 9], "counts": "0"}, "00" * 32, "AB" * 32,
    float("nan"), [0, 0, float("inf"), 1], "\ud83d",
]  # fmt: skip
ODD_KEYS = ["labl", "predicate", "box", "mask", "score", "parent", "level", "degree", "status", "category", "sha256"]


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of every object key and list item."""
    found = []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found += [(*path, key), *places(value, (*path, key))]
    return found


@st.composite
def spoiled(draw: st.DrawFn, data: Any) -> Any:
    """`data` with some values changed, taken out or added; often still right."""
    for _ in range(draw(st.integers(1, 2))):
        paths = places(data)
        if not paths or not isinstance(data, dict):
            return data
        path = draw(st.sampled_from(paths))
        holder = data
        for key in path[:-1]:
            holder = holder[key]
        action = draw(st.sampled_from(["change", "change", "change", "remove", "add"]))
        if action == "change":
            holder[path[-1]] = deepcopy(draw(st.sampled_from(ODD_VALUES)))
        elif action == "remove":
            del holder[path[-1]]
        elif isinstance(holder, dict):
            holder[draw(st.sampled_from(ODD_KEYS))] = deepcopy(draw(st.sampled_from(ODD_VALUES)))
        else:
            holder.append(deepcopy(draw(st.sampled_from(ODD_VALUES))))
    return data
