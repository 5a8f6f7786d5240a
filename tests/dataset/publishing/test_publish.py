"""Publishing against its oracle: `apply_edit`, object by object."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import attrs
import google_crc32c
import numpy as np
import pytest
import zarr
from dataset.given import applied, by_id, edits, key_of, sample_lists
from hypothesis import given, settings
from hypothesis import strategies as st

from sgforge.columns import GraphColumns
from sgforge.dataset import Dataset, DatasetWriter, JournalRow, RunRecord, Snapshot, StepRecord
from sgforge.dataset.publishing import next_snapshot as compose
from sgforge.dataset.zarr_arrays.layout import arrays_of
from sgforge.edits import Edit
from sgforge.errors import DatasetError, GraphError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.packed import pack_edit
from sgforge.stages import Selection


def step_record(name: str) -> StepRecord:
    return StepRecord(name, "edit", "test", f"fp-{name}", '{"model":"fake/one"}', {"computed": 1})


def check_plain_zarr(snapshot: Snapshot) -> None:
    """Every array reads the same through zarr alone, and the bytes at rest stand for the columns."""
    group = zarr.open_group(str(snapshot.path), mode="r")
    for column, data in arrays_of(snapshot.columns()):
        plain = group[column.path][:]
        assert plain.dtype == data.dtype
        assert plain.tobytes() == np.ascontiguousarray(data).tobytes(), column.path


class Model:
    """The dataset as plain objects, changed by `apply_edit` alone."""

    def __init__(self, given_samples: list[Sample]) -> None:
        self.samples = by_id(given_samples)
        self.keys = [key_of("source", sample.image_id) for sample in self.samples]
        self.dropped: dict[str, str] = {}
        self.failed: dict[str, tuple[str, str]] = {}

    def set_graph(self, row: int, graph: SceneGraph) -> None:
        self.samples[row] = attrs.evolve(self.samples[row], graph=graph)


HISTORIES = (sample_lists(min_size=1, max_size=4), st.data(), st.randoms(use_true_random=False))


@settings(max_examples=6, deadline=None)
@given(*HISTORIES)
def test_put_and_publish_equal_apply_edit(given_samples, data, shuffler):
    put_and_publish_equal_apply_edit(given_samples, data, shuffler)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(*HISTORIES)
def test_more_histories_equal_apply_edit(given_samples, data, shuffler):
    put_and_publish_equal_apply_edit(given_samples, data, shuffler)


def put_and_publish_equal_apply_edit(given_samples, data, shuffler):
    model = Model(given_samples)
    with tempfile.TemporaryDirectory() as folder, DatasetWriter.open(folder) as writer:
        snapshot = writer.publish_source(given_samples, [key_of("source", s.image_id) for s in given_samples])
        assert list(snapshot) == model.samples
        for step in data.draw(st.lists(st.sampled_from(["complete", "filter", "edit", "édit"]), max_size=3)):
            rows, failures = [], {}
            for row, sample in enumerate(model.samples):
                if sample.image_id in model.dropped or sample.image_id in model.failed:
                    continue
                if data.draw(st.integers(0, 5)) == 0:
                    failures[sample.image_id] = model.failed[sample.image_id] = (step, "timeout")
                    continue
                edit = data.draw(edits(sample.graph))
                try:
                    done = applied(sample.graph, edit, step, may_restore=data.draw(st.booleans()))
                except GraphError:
                    continue
                model.keys[row] = key_of(step, model.keys[row], row)
                model.set_graph(row, done.graph)
                if done.edit.dropped is not None:
                    model.dropped[sample.image_id] = done.edit.dropped
                rows.append(JournalRow(model.keys[row], sample.image_id, step, pack_edit(done.edit), (f"call{row}",)))
            shuffler.shuffle(rows)
            for start in range(0, len(rows), 2):
                writer.journal.put(rows[start : start + 2])
            snapshot = writer.publish(step_record(step), snapshot, model.keys, failures)
            assert list(snapshot) == model.samples
            assert len(writer.journal) == 0
        check_final(snapshot, model)


def check_final(snapshot: Snapshot, model: Model) -> None:
    """The arrays are those of columns built from objects: no unused text, nothing out of place."""
    expected = (
        GraphColumns.from_samples(model.samples).with_keys(np.frombuffer(b"".join(model.keys), np.uint8)).compact()
    )
    columns = snapshot.columns()
    for table in ("region", "relation"):
        for (spec, left), (_, right) in zip(
            getattr(columns, table).items(), getattr(expected, table).items(), strict=True
        ):
            if spec.vocabulary in (None, "label", "predicate", "attribute", "source"):
                same = (
                    left.equals(right) if spec.ragged else np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
                )
                assert same, f"{table}/{spec.name}"
    words = columns.vocabularies
    reasons = {model.samples[row].image_id: words.reason[i] for row, i in enumerate(columns.image.dropped) if i >= 0}
    assert reasons == model.dropped
    failed = {
        model.samples[row].image_id: (words.step[i], words.reason[columns.image.failed_reason[row]])
        for row, i in enumerate(columns.image.failed_step)
        if i >= 0
    }
    assert failed == model.failed
    assert columns.vocabularies.label == expected.vocabularies.label
    assert columns.faults() == []
    check_plain_zarr(snapshot)


def people(count: int = 6) -> list[Sample]:
    """Small samples with something of everything."""
    return [
        Sample(
            f"im{index:03}",
            SceneGraph(
                100,
                80,
                [Region(f"l{index % 3}", (1, 1, 20 + index, 30)), Region("hat", (2, 2, 9, 9), parent=0)],
                [Relation(0, "wearing", 1, "functional", 0.5)],
            ),
            f"root:{index}.jpg",
            "train" if index % 2 else "val",
            "seed",
        )
        for index in range(count)
    ]


def answer(sample: Sample, step: str, parent_key: bytes, edit: Edit) -> JournalRow:
    done = applied(sample.graph, edit, step, may_restore=False)
    key = key_of(step, parent_key)
    return JournalRow(
        key, sample.image_id, step, pack_edit(done.edit), (f"{step}-{sample.image_id}",), "run-1", {}, parent_key
    )


ADD = Edit.add(Relation(1, "on", 0, "spatial", 0.25), Relation(0, "wearing", 1)) + Edit.reject(0, "iou", 0.1)


def published_arrays(folder: Path, order: list[int], batch: int) -> dict[str, bytes]:
    """Files of the data arrays after two steps whose answers came in this order and these batches."""
    given_samples = people()
    with DatasetWriter.open(folder) as writer:
        writer.begin_run(RunRecord(f"run-{order}", started="2026"))
        shuffled = [given_samples[index] for index in order]
        snapshot = writer.publish_source(shuffled, [key_of(s.image_id) for s in shuffled])
        for step in ("complete", "filter"):
            rows = [
                answer(
                    snapshot.sample(row),
                    step,
                    snapshot.keys[row].tobytes(),
                    ADD if step == "complete" else Edit.reject(1, "low"),
                )
                for row in order
            ]
            for start in range(0, len(rows), batch):
                writer.journal.put(rows[start : start + batch])
            keys = [key_of(step, snapshot.keys[row].tobytes()) for row in range(len(snapshot))]
            snapshot = writer.publish(step_record(step), snapshot, keys)
        files = [path for path in sorted(snapshot.path.rglob("*")) if path.is_file()]
        names = ("image", "region", "relation", "vocabulary")
        return {
            str(path.relative_to(snapshot.path)): path.read_bytes()
            for path in files
            if path.relative_to(snapshot.path).parts[0] in names
        }


def test_arrays_are_byte_identical_whatever_the_slices_they_are_composed_in(tmp_path, monkeypatch):
    expected = published_arrays(tmp_path / "whole", list(range(6)), 6)
    for size in (1, 4):
        monkeypatch.setattr(compose, "_SLICE", size)
        assert published_arrays(tmp_path / str(size), list(range(6)), 6) == expected


def test_arrays_are_byte_identical_whatever_the_order_of_arrival(tmp_path):
    order = list(range(6))
    expected = published_arrays(tmp_path / "0", order, 6)
    assert len(expected) > 60
    for number, batch in enumerate((1, 2, 5), 1):
        random.Random(number).shuffle(order)
        assert published_arrays(tmp_path / str(number), order, batch) == expected


def test_unchanged_arrays_are_links_to_the_parents_files_and_read_only(tmp_path):
    given_samples = people()
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source(given_samples, [key_of(s.image_id) for s in given_samples])
        rows = [answer(s, "filter", source.keys[i].tobytes(), Edit.reject(0, "iou", 0.5)) for i, s in enumerate(source)]
        writer.journal.put(rows)
        child = writer.publish(step_record("filter"), source, [row.key for row in rows])
    changed = {
        str(path.parent.relative_to(child.path))
        for path in child.path.rglob("zarr.json")
        if path.stat().st_nlink == 1 and json_node(path) == "array"
    }
    assert {path for path in changed if path.startswith(("image", "region", "relation"))} == {
        "image/key",
        "relation/status",
        "relation/reason",
        "relation/degree",
        "relation/judged_by",
    }
    for path in tmp_path.joinpath("snapshots").rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o777 == 0o444, path


def json_node(path: Path) -> str:
    import json

    return json.loads(path.read_text())["node_type"]


def test_a_state_is_reused_from_another_snapshot_also_under_another_id(tmp_path):
    given_samples = people(3)
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source(given_samples, [key_of(s.image_id) for s in given_samples])
        rows = [answer(s, "complete", source.keys[i].tobytes(), ADD) for i, s in enumerate(source)]
        writer.journal.put(rows)
        first = writer.publish(step_record("complete"), source, [row.key for row in rows])
        twin = attrs.evolve(given_samples[1], image_id="a-twin", uri="root:twin.jpg")
        more = [*given_samples, twin]
        wider = writer.publish_source(more, [*(key_of(s.image_id) for s in given_samples), key_of("im001")])
        assert wider.image_ids == ["a-twin", "im000", "im001", "im002"]
        keys = [rows[1].key, rows[0].key, rows[1].key, wider.keys[3].tobytes()]
        assert [ref.row for ref in writer.states().find(keys[:3])] == [1, 0, 1]
        second = writer.publish(step_record("complete"), wider, keys)
    assert second.graph(0) == second.graph(2) == first.graph(1)
    assert second.graph(1) == first.graph(0)
    assert second.graph(3) == wider.graph(3)
    assert second.sample(0).uri == "root:twin.jpg"
    assert [call.call_id for call in second.provenance.of_image(0)] == ["complete-im001"]
    assert [call.call_id for call in second.provenance.of_image(2)] == ["complete-im001"]
    assert second.provenance.of_image(3) == []
    check_plain_zarr(second)


def test_an_image_that_goes_back_to_a_state_has_the_calls_of_that_state_alone(tmp_path):
    given_samples = people(2)
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source(given_samples, [key_of(s.image_id) for s in given_samples])
        rows = [answer(s, "complete", source.keys[i].tobytes(), ADD) for i, s in enumerate(source)]
        writer.journal.put(rows)
        done = writer.publish(step_record("complete"), source, [row.key for row in rows])
        back = writer.publish(step_record("again"), done, [source.keys[0].tobytes(), rows[1].key])
    assert [len(done.provenance.of_image(row)) for row in range(2)] == [1, 1]
    assert back.graph(0) == source.graph(0)
    assert back.provenance.of_image(0) == []
    assert [call.call_id for call in back.provenance.of_image(1)] == ["complete-im001"]


def test_publishing_again_returns_the_snapshot_there_is(tmp_path):
    given_samples = people(2)
    with DatasetWriter.open(tmp_path) as writer:
        keys = [key_of(s.image_id) for s in given_samples]
        source = writer.publish_source(given_samples, keys)
        assert writer.publish_source(list(reversed(given_samples)), list(reversed(keys))).id == source.id
        first = writer.publish(step_record("filter"), source, keys, {"im000": ("filter", "timeout")})
        assert writer.publish(step_record("filter"), source, keys, {"im000": ("filter", "timeout")}).id == first.id
        assert writer.publish(step_record("filter"), source, keys).id != first.id
        elsewhere = writer.publish(step_record("filter"), source, keys, {"im000": ("edit", "timeout")})
        assert elsewhere.id != first.id
        assert len(list(tmp_path.joinpath("snapshots").iterdir())) == 4


def test_an_unknown_key_and_an_edit_of_another_parent_are_errors(tmp_path):
    given_samples = people(2)
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source(given_samples, [key_of(s.image_id) for s in given_samples])
        wanted = [key_of("nowhere"), source.keys[1].tobytes()]
        with pytest.raises(DatasetError, match="'im000' has no answer"):
            writer.publish(step_record("filter"), source, wanted)
        writer.journal.put([JournalRow(wanted[0], "im000", "filter", pack_edit(Edit.reject(7, "iou")))])
        with pytest.raises(DatasetError, match="names relation 7 of 1"):
            writer.publish(step_record("filter"), source, wanted)
        assert writer.journal.has(wanted) == {wanted[0]}
        with pytest.raises(DatasetError, match="2 images and 1 key"):
            writer.publish(step_record("filter"), source, wanted[:1])
        with pytest.raises(DatasetError, match="'nobody' failed"):
            writer.publish(step_record("filter"), source, source.keys, {"nobody": ("filter", "timeout")})
    assert [path.name for path in tmp_path.joinpath("snapshots").iterdir()] == [source.id]


def test_selections_leave_out_failed_and_dropped_images(tmp_path):
    given_samples = people(4)
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source(given_samples, [key_of(s.image_id) for s in given_samples])
        assert source.rows().tolist() == [0, 1, 2, 3]
        assert source.rows(Selection(splits=("train",))).tolist() == [1, 3]
        assert source.rows(Selection(sources=("other",))).tolist() == []
        row = answer(given_samples[3], "filter", source.keys[3].tobytes(), Edit.drop("blurred"))
        writer.journal.put([row])
        keys = [*source.keys[:3], np.frombuffer(row.key, np.uint8)]
        child = writer.publish(step_record("filter"), source, np.stack(keys), {"im000": ("filter", "timeout")})
        writer.move_branch("main", child)
    assert child.rows().tolist() == [1, 2]
    assert child.rows(Selection(sources=("seed",), splits=("train",))).tolist() == [1]
    assert len(Dataset.open(tmp_path)) == 4


def test_a_step_that_goes_on_after_it_was_published_unfinished_is_another_snapshot(tmp_path):
    given_samples = people(2)
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source(given_samples, [key_of(s.image_id) for s in given_samples])
        unfinished = writer.publish(step_record("filter"), source, source.keys, partial=True)
        # Nothing more had to be answered: the states are the same, and only what is said of the step differs.
        finished = writer.publish(step_record("filter"), source, source.keys)
        assert (unfinished.meta.partial, finished.meta.partial) == (True, False)
        assert unfinished.id != finished.id


@pytest.mark.parametrize("field", ["name", "verb", "component", "fingerprint"])
def test_whatever_names_a_step_makes_another_snapshot(tmp_path, field):
    given_samples = people(1)
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source(given_samples, [key_of("im000")])
        step = step_record("filter")
        other = attrs.evolve(step, **{field: "another"})
        first, second = (writer.publish(each, source, source.keys) for each in (step, other))
        assert first.id != second.id
        assert getattr(second.meta.step, field) == "another"


def test_other_states_of_the_same_images_are_another_snapshot(tmp_path):
    """A step that was published when half of it was answered, and again when all was."""
    given_samples = people(2)
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source(given_samples, [key_of(s.image_id) for s in given_samples])
        rows = [answer(s, "filter", source.keys[i].tobytes(), Edit.reject(0, "iou")) for i, s in enumerate(source)]
        writer.journal.put(rows)
        half = writer.publish(step_record("filter"), source, [rows[0].key, source.keys[1].tobytes()], partial=True)
        whole = writer.publish(step_record("filter"), source, [row.key for row in rows], partial=True)
        assert half.id != whole.id
        assert [len(half.graph(row).relations) for row in range(2)] == [0, 1]
        assert [len(whole.graph(row).relations) for row in range(2)] == [0, 0]
        # What was published meanwhile is found without looking at the folder again.
        assert [ref is not None for ref in writer.states().find([row.key for row in rows])] == [True, True]


# Two state keys of one crc32c, found by trying.
TWINS = key_of("crc", 114423), key_of("crc", 203098)


def test_columns_of_one_checksum_are_told_apart_by_their_bytes(tmp_path):
    assert google_crc32c.value(TWINS[0]) == google_crc32c.value(TWINS[1])
    assert TWINS[0] != TWINS[1]
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source(people(1), [TWINS[0]])
        edit = pack_edit(Edit.reject(0, "iou"))
        writer.journal.put([JournalRow(TWINS[1], "im000", "filter", edit, parent_key=TWINS[0])])
        child = writer.publish(step_record("filter"), source, [TWINS[1]])
    assert Snapshot.open(source.path).keys.tobytes() == TWINS[0]
    assert Snapshot.open(child.path).keys.tobytes() == TWINS[1]
