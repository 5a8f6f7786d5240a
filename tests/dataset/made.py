"""Small datasets that the tests of reading, commands and damage start from."""

from __future__ import annotations

from pathlib import Path

from dataset.given import applied, key_of

from sgforge.dataset import DatasetWriter, JournalRow, RunRecord, Snapshot, StepRecord
from sgforge.edits import Edit
from sgforge.graph import Mask, Region, Relation, Sample, SceneGraph
from sgforge.packed import pack_edit

TEACHER = StepRecord("complete", "complete", "svg", "fp1", '{"model":"fake/one"}', {"computed": 3})
FILTER = StepRecord("spatial-rules", "filter", "spatial-rules", "fp2", "{}", {"computed": 2, "failed": 1})


def three_samples() -> list[Sample]:
    """Three images: a man with a hat and a dog; two boxes; nothing."""
    mask = Mask(80, 100, 10, 10, 4, 2, b"08")
    man = [
        Region("man", (10, 10, 50, 70), mask, ("a tall man",), ("tall",), 0.9, 1.5, source="sam"),
        Region("hat", (15, 5, 40, 20), parent=0, level=1),
        Region("dog", (50, 40, 90, 75), score=0.8),
    ]
    graph = SceneGraph(100, 80, man, [Relation(0, "wearing", 1, "functional", 0.9)], {"style": "photo"})
    two = SceneGraph(100, 80, [Region("cup", (1, 1, 9, 9)), Region("table", (0, 9, 99, 79))])
    return [
        Sample("a", graph, "coco:a.jpg", "train", "seed", "ab" * 32),
        Sample("b", two, "coco:b.jpg", "val", "seed"),
        Sample("c", SceneGraph(10, 10), "coco:c.jpg", "train", "new"),
    ]


def answers(snapshot: Snapshot, step: StepRecord, edits: dict[str, Edit]) -> list[JournalRow]:
    """Journal rows for these edits by image id."""
    rows = []
    for image_id, edit in edits.items():
        row = snapshot.row_of(image_id)
        parent_key = snapshot.keys[row].tobytes()
        done = applied(snapshot.graph(row), edit, step.name, may_restore=False)
        call = (f"call-{step.name}-{image_id}",)
        rows.append(
            JournalRow(
                key_of(step.name, parent_key), image_id, step.name, pack_edit(done.edit), call, "run-1", {}, parent_key
            )
        )
    return rows


def keys_after(snapshot: Snapshot, rows: list[JournalRow]) -> list[bytes]:
    """The keys wanted after these answers, in the snapshot's order."""
    known = {row.image_id: row.key for row in rows}
    return [known.get(image_id, snapshot.keys[row].tobytes()) for row, image_id in enumerate(snapshot.image_ids)]


TEACHER_EDITS = {
    "a": Edit.add(Relation(0, "next to", 2, "spatial", 0.6), Relation(2, "left of", 0, "spatial", 0.4)),
    "b": Edit.add(Relation(0, "on", 1, "spatial", 0.7), Relation(1, "under", 0, "spatial", 0.2)),
    "c": Edit(),
}
FILTER_EDITS = {"a": Edit.reject(2, "left-right", 0.05) + Edit.keep(1, None, 0.8), "c": Edit.drop("empty")}


def make_dataset(folder: Path) -> list[Snapshot]:
    """Source, teacher, filter (image b failed there); branch main stands for the last."""
    given = three_samples()
    with DatasetWriter.open(folder) as writer:
        writer.begin_run(RunRecord("run-1", '{"seed":1}', {"sgforge": "0.1.0"}, "2026-01-01T00:00:00"))
        snapshots = [writer.publish_source(given, [key_of(sample.image_id) for sample in given])]
        for step, edits, failures in (
            (TEACHER, TEACHER_EDITS, {}),
            (FILTER, FILTER_EDITS, {"b": (FILTER.name, "timeout")}),
        ):
            rows = answers(snapshots[-1], step, edits)
            writer.journal.put(rows)
            snapshots.append(writer.publish(step, snapshots[-1], keys_after(snapshots[-1], rows), failures))
        writer.move_branch("main", snapshots[-1])
        return snapshots
