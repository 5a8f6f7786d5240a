"""Values that are journalled and published are those that edits lay over a sample, in whatever order and slices."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgforge.columns.declared import Column, fitted_edit, known_columns
from sgforge.dataset import DatasetWriter, JournalRow, StepRecord
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.dataset.publishing import next_snapshot, next_values, write_snapshot
from sgforge.dataset.publishing.next_values import RunRows
from sgforge.edits import Edit, apply_edit, with_edit
from sgforge.graph import FileRef, Region, Relation, Sample, SceneGraph
from sgforge.packed import pack_edit, unpack_edit
from sgforge.statekey import KEY_BYTES

COLUMNS = known_columns(
    [
        Column("image", "toy.text"),
        Column("image", "toy.half", "f2", (2,)),
        Column("region", "toy.byte", "u1"),
        Column("region", "toy.map", "f4", (64, 64)),
        Column("region", "toy.json", "json"),
        Column("relation", "toy.long", "i8", (1, 2)),
    ]
)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def key_of(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()[:KEY_BYTES]


def values(name: str) -> st.SearchStrategy:
    return {
        "toy.text": st.text(max_size=5),
        "toy.half": st.lists(st.sampled_from([0.0, -1.5, 65504.0]), min_size=2, max_size=2),
        "toy.byte": st.integers(0, 255),
        "toy.map": st.binary(max_size=3).map(lambda data: FileRef(hashlib.sha256(data).hexdigest(), len(data))),
        "toy.json": st.dictionaries(st.text(max_size=2), st.integers() | st.none() | st.text(max_size=2), max_size=2),
        "toy.long": st.integers(-(2**63), 2**63 - 1).map(lambda number: [[number, 7]]),
    }[name]


@st.composite
def edits(draw, graph: SceneGraph) -> Edit:
    """Rows added and values filled, also of the rows that are added; a place may be filled twice."""
    added = [Region(draw(st.sampled_from("abc"))) for _ in range(draw(st.integers(0, 2)))]
    regions = len(graph.all.regions) + len(added)
    relations = [Relation(0, draw(st.sampled_from(["on", "by"])), 1)] if regions > 1 and draw(st.booleans()) else []
    edit = Edit.add(*added, *relations)
    rows = {"region": regions, "relation": len(graph.all.relations)}
    for target, name in draw(st.lists(st.sampled_from([key for key in COLUMNS if "." in key[1]]), max_size=6)):
        if target == "image":
            edit += Edit.value("image", None, name, draw(values(name)))
        elif rows[target]:
            edit += Edit.value(target, draw(st.integers(0, rows[target] - 1)), name, draw(values(name)))
    return fitted_edit(edit, COLUMNS)


def plain(sample: Sample) -> tuple:
    rows = (sample.region_values, sample.relation_values)
    return dict(sample.values), *({name: dict(found) for name, found in columns.items()} for columns in rows)


def source(count: int) -> list[Sample]:
    graph = SceneGraph(0, 0, [Region("a"), Region("b")], [Relation(0, "on", 1)])
    return [Sample(f"{number}", graph, values={"toy.text": f"given {number}"}) for number in range(count)]


@settings(FEW, max_examples=8)
@given(st.data())
def test_published_values_are_those_that_edits_lay_over_samples(data):
    published_values_are_those_of_samples(data)


@pytest.mark.slow
@settings(FEW, max_examples=60)
@given(st.data())
def test_published_values_of_more_edits(data):
    published_values_are_those_of_samples(data)


def published_values_are_those_of_samples(data):
    count = data.draw(st.integers(1, 5))
    samples = source(count)
    keys = [key_of("source", sample.image_id) for sample in samples]
    slices = data.draw(st.sampled_from([1, 2, 8192]))
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(next_snapshot, "_SLICE", slices)
        with DatasetWriter.open(Path(folder) / "d") as writer:
            snapshot = writer.publish_source(samples, keys)
            for number in range(data.draw(st.integers(1, 3))):
                step = StepRecord(f"step{number}", "edit", "toy", f"fp{number}")
                samples, keys, rows = step_over(samples, keys, step, data)
                writer.journal.put(data.draw(st.permutations(rows)))
                snapshot = writer.publish(step, snapshot, keys)
                assert [plain(snapshot.sample(row)) for row in range(count)] == [plain(one) for one in samples]
            # Another source with one more image in front: states are taken from where they stand.
            more = [Sample(" first", SceneGraph()), *source(count)]
            first = key_of("source", "first")
            parent = writer.publish_source(more, [first, *[key_of("source", one.image_id) for one in more[1:]]])
            again = writer.publish(StepRecord("again", "edit", "toy", "fp"), parent, [first, *keys])
            assert [plain(again.sample(row)) for row in range(1, count + 1)] == [plain(one) for one in samples]
            assert plain(again.sample(0)) == ({}, {}, {})
        problems = [text for text in verify_dataset(Path(folder) / "d").problems if "is gone" not in text]
        assert problems == []


def step_over(samples, keys, step, data):
    """(samples after a step, their keys, the journal's rows): some images have an answer, others pass by."""
    after, new_keys, rows = [], [], []
    for sample, key in zip(samples, keys, strict=True):
        if not data.draw(st.booleans()):
            after.append(sample)
            new_keys.append(key)
            continue
        applied = apply_edit(sample.graph, data.draw(edits(sample.graph)), step.name)
        packed = pack_edit(applied.edit)
        assert unpack_edit(packed) == applied.edit
        after.append(with_edit(sample, applied))
        new_keys.append(key_of(step.name, key))
        rows.append(
            JournalRow(
                key=new_keys[-1],
                image_id=sample.image_id,
                step=step.name,
                edit=packed,
                calls=(),
                run="run",
                counts={},
                parent_key=key,
            )
        )
    return after, new_keys, rows


def test_an_edit_without_values_packs_as_it_did():
    # Version 1 in front and eleven fields: what journals hold from before there were values.
    packed = pack_edit(Edit.reject(0, "far", 0.5))
    assert packed[:2] == b"\x9b\x01"
    assert pack_edit(Edit.value("image", None, "toy.text", "x"))[:2] == b"\x9d\x02"


def test_a_wide_array_streams_in_blocks(tmp_path, monkeypatch):
    held = []
    read = RunRows.rows

    def noted(self, start, stop):
        held.append(found := read(self, start, stop))
        return found

    monkeypatch.setattr(RunRows, "rows", noted)
    monkeypatch.setattr(write_snapshot, "_BLOCK_BYTES", 2**17)
    monkeypatch.setattr(next_values, "_DIGEST_ROWS", 2**7)
    wide = Column("region", "toy.wide", "f4", (256,))
    numbers = np.arange(300 * 256, dtype=np.float32).reshape(300, 256)
    samples = [
        Sample(f"{n:03}", SceneGraph(0, 0, [Region("a")]), region_values={"toy.wide": {0: exact(wide, numbers[n])}})
        for n in range(300)
    ]
    with DatasetWriter.open(tmp_path / "d") as writer:
        snapshot = writer.publish_source(samples, [key_of(n) for n in range(300)])
    # Of 300 kB no more than 128 were ever asked for at once.
    assert 2**16 < max(rows.nbytes for rows in held) <= 2**17
    np.testing.assert_array_equal(snapshot.value_column("region", "toy.wide").whole().values, numbers)
    array = snapshot.array("region/toy.wide/values")
    # Rows of two chunks, which hold 64 rows of 1 kB each.
    np.testing.assert_array_equal(array.read(63, 65), numbers[63:65])
    np.testing.assert_array_equal(snapshot.sample(170).region_values["toy.wide"][0], numbers[170])


def exact(column: Column, value):
    return fitted_edit(Edit.value(column.target, 0, column.name, value), {column.key: column}).values[0].value
