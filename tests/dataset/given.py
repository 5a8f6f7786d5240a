"""What hypothesis draws for the dataset tests: graphs, samples and edits of every shape the values allow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import attrs
from hypothesis import settings
from hypothesis import strategies as st

from sgforge.edits import Applied, Edit, FieldSet, Verdict, apply_edit
from sgforge.graph import CATEGORIES, Mask, Region, Relation, Sample, SceneGraph
from sgforge.statekey import KEY_BYTES

FEW = settings(max_examples=40, deadline=None)
"""Enough examples: each draws whole graphs."""

TEXTS = st.text(max_size=6)
NAMES = st.sampled_from(["on", "near", "héld by", "under\n", "\x1b[31m", "日本", "a", "Z"])
UNITS = st.none() | st.floats(0, 1, width=32)
REALS = st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32)
SIZES = st.sampled_from([(0, 0), (20, 10), (640, 480)])


def key_of(*parts: object) -> bytes:
    """A state key for tests."""
    return hashlib.sha256(repr(parts).encode()).digest()[:KEY_BYTES]


@st.composite
def boxes(draw):
    x, y = draw(st.floats(-50, 700, width=16)), draw(st.floats(-50, 700, width=16))
    return (x, y, x + draw(st.floats(0.5, 300, width=16)), y + draw(st.floats(0.5, 300, width=16)))


@st.composite
def masks(draw, size):
    width, height = size if size[0] else draw(st.sampled_from([(7, 9), (30, 20)]))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    crop = (draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))
    if draw(st.integers(0, 9)) == 0:
        x = y = 0
        crop = (0, 0)
    return Mask(height, width, x, y, *crop, draw(st.binary(max_size=12)))


@st.composite
def regions(draw, size, count, index):
    parents = [parent for parent in range(count) if parent != index]
    status = draw(st.sampled_from(["kept", "kept", "rejected"]))
    return Region(
        label=draw(st.none() | NAMES | TEXTS),
        box=draw(st.none() | boxes()),
        mask=draw(st.none() | masks(size)),
        descriptions=draw(st.lists(TEXTS, max_size=2)),
        attributes=draw(st.lists(NAMES, max_size=2)),
        score=draw(UNITS),
        depth=draw(REALS),
        parent=draw(st.none() | st.sampled_from(parents)) if parents else None,
        level=draw(st.none() | st.integers(-32767, 32767)),
        source=draw(st.none() | NAMES),
        status=status,
        reason=draw(st.none() | NAMES),
        degree=draw(REALS),
        made_by=draw(st.none() | NAMES),
        judged_by=draw(st.none() | NAMES),
    )


@st.composite
def relations(draw, count):
    subject = draw(st.integers(0, count - 1))
    other = draw(st.integers(0, count - 2))
    return Relation(
        subject,
        draw(NAMES),
        other + (other >= subject),
        draw(st.sampled_from(CATEGORIES)),
        draw(UNITS),
        draw(st.sampled_from(["kept", "rejected"])),
        draw(st.none() | NAMES),
        draw(REALS),
        draw(st.none() | NAMES),
        draw(st.none() | NAMES),
    )


@st.composite
def graphs(draw):
    size = draw(SIZES)
    count = draw(st.integers(0, 4))
    rows = [draw(regions(size, count, index)) for index in range(count)]
    links = draw(st.lists(relations(count), max_size=5)) if count > 1 else []
    return SceneGraph(*size, rows, links, draw(st.dictionaries(NAMES, TEXTS, max_size=2)))


@st.composite
def samples(draw, image_id=None):
    return Sample(
        image_id or draw(st.text(min_size=1, max_size=5)),
        draw(graphs()),
        draw(st.none() | st.just("root:a/b.jpg")),
        draw(st.none() | st.sampled_from(["train", "val"])),
        draw(st.none() | NAMES),
        draw(st.none() | st.binary(min_size=32, max_size=32).filter(any).map(bytes.hex)),
    )


def sample_lists(min_size=0, max_size=4):
    """Samples with distinct ids, in any order."""
    return st.lists(samples(), min_size=min_size, max_size=max_size, unique_by=lambda sample: sample.image_id)


_VALUES = {
    "label": st.none() | NAMES,
    # As a graph holds it: rounded to float32.
    "box": st.none() | boxes().map(lambda box: Region(box=box).box),
    "descriptions": st.lists(TEXTS, max_size=2).map(tuple),
    "attributes": st.lists(NAMES, max_size=2).map(tuple),
    "score": UNITS,
    "depth": REALS,
    "level": st.none() | st.integers(-5, 5),
    "predicate": NAMES,
    "category": st.sampled_from(CATEGORIES),
}


@st.composite
def edits(draw, graph):
    """Any edit that fits `graph`: duplicates of its triplets, verdicts and sets that repeat, drops."""
    size, old = (graph.width, graph.height), len(graph.all.regions)
    added = draw(st.integers(0, 2))
    count = old + added
    new_regions = [draw(regions(size, count, old + index)) for index in range(added)]
    new_relations = draw(st.lists(relations(count), max_size=4)) if count > 1 else []
    if graph.all.relations:
        again = draw(st.lists(st.sampled_from(graph.all.relations), max_size=2))
        new_relations = [attrs.evolve(row, status="kept") for row in again] + new_relations
    targets = [("region", index) for index in range(count)]
    targets += [("relation", index) for index in range(len(graph.all.relations))]
    verdicts, sets = [], []
    for target, index in draw(st.lists(st.sampled_from(targets), max_size=5)) if targets else []:
        status = draw(st.sampled_from(["kept", "rejected"]))
        verdicts.append(Verdict(target, index, status, draw(st.none() | NAMES), draw(REALS)))
    for target, index in draw(st.lists(st.sampled_from(targets), max_size=5)) if targets else []:
        names = ["label", "box", "mask", "descriptions", "attributes", "score", "depth", "parent", "level"]
        field = draw(st.sampled_from(names if target == "region" else ["predicate", "category", "score"]))
        if field == "parent":
            value = draw(st.none() | st.integers(0, count - 1).filter(lambda parent, index=index: parent != index))
        else:
            value = draw(st.none() | masks(size) if field == "mask" else _VALUES[field])
        sets.append(FieldSet(target, index, field, value))
    dropped = draw(st.sampled_from([None, None, None, "blurred"]))
    return Edit(new_regions, new_relations, verdicts, sets, dropped, draw(st.just({}) | st.just({"unknown-region": 2})))


def applied(graph: SceneGraph, edit: Edit, step: str, *, may_restore: bool) -> Applied:
    """What the engine does with an answer."""
    return apply_edit(graph, edit, step, may_restore=may_restore)


def by_id(given: Iterable[Sample]) -> list[Sample]:
    """In the order of a dataset."""
    return sorted(given, key=lambda sample: sample.image_id.encode())
