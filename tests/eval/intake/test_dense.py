"""Predictions as arrays: every form of them gives the numbers of the same rows, and of the public evaluators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from eval.batches import reference_numbers, reference_scenes
from eval.graphs import CUP, FAR, TABLE, line, relation, write
from eval.oracle import Scene

from sgforge.cli.main import main
from sgforge.errors import ConfigError
from sgforge.graph import Region
from sgforge.jsonl import read_columns
from sgforge.jsonl.pair_tables import pair_table
from sgforge.masks import from_arrays, to_coco
from sgforge.stages import Ranking
from sgforge_eval import score
from sgforge_eval.intake.dense import DenseGraphs, DenseImage
from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.intake.inputs import Tabled, read_chunks

NAMES = tuple(f"p{code}" for code in range(16))


def _image(number: int, scene: Scene) -> DenseImage:
    return DenseImage(
        image_id=f"{number:04}",
        labels=[f"c{label}" for label in scene.labels],
        pairs=np.array(scene.pairs, np.int64).reshape(-1, 2),
        scores=np.array(scene.table, np.float32).reshape(-1, len(NAMES)),
        predicates=NAMES,
        boxes=np.array(scene.boxes, np.float32).reshape(-1, 4),
        object_scores=np.array(scene.scores, np.float32),
    )


def _line(number: int, boxes: Any, labels: Any, relations: list[dict[str, Any]], scores: Any = None) -> dict[str, Any]:
    given = scores or [None] * len(labels)
    regions = [{"label": f"c{la}", "box": list(b), "score": s} for la, b, s in zip(labels, boxes, given, strict=True)]
    return {"image_id": f"{number:04}", "width": 900, "height": 900, "regions": regions, "relations": relations}


def _truth(path: Path, scenes: list[Scene]) -> Path:
    lines = []
    for number, scene in enumerate(scenes):
        rows = [relation(s, NAMES[p], o) for s, o, p in scene.truth]
        lines.append(_line(number, scene.true_boxes, scene.true_labels, rows))
    return write(path, *lines)


def _rows(path: Path, scenes: list[Scene]) -> Path:
    lines = []
    for number, scene in enumerate(scenes):
        relations = [
            relation(s, name, o, score=float(np.float32(value)))
            for (s, o), row in zip(scene.pairs, scene.table, strict=True)
            for name, value in zip(NAMES, row, strict=True)
        ]
        lines.append(_line(number, scene.boxes, scene.labels, relations, scene.scores))
    return write(path, *lines)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return reference_scenes("sgdet")


@pytest.mark.parametrize(("base", "name"), [("scene_graph_benchmark", "sgb"), ("openpsg_bbox_dedup_gt", "openpsg")])
def test_arrays_through_the_public_entry_give_the_public_numbers(tmp_path, scenes, base, name) -> None:
    images = map(_image, range(len(scenes)), scenes)
    report = score(images, _truth(tmp_path / "t", scenes), convention=name, predicates=NAMES)
    official = reference_numbers()["sgdet"][base]
    for key in ("R", "mR", *(("ngR", "ngmR") if name == "sgb" else ())):
        for k, value in official[key].items():
            assert report.values[f"{key}@{k}"] == pytest.approx(value, abs=1e-9), (key, k)
    assert report.images_used == official["n_images_averaged"]


@pytest.mark.parametrize("metric", ["sgdet", "sgcls", "predcls"])
def test_every_form_gives_the_numbers_of_rows(tmp_path, scenes, metric) -> None:
    part = [Scene(**vars(scene)) for scene in scenes[:60]]
    if metric != "sgdet":  # regions are the truth's
        part = [_told(scene) for scene in part]
    truth = _truth(tmp_path / "t", part)
    images = [_image(number, scene) for number, scene in enumerate(part)]
    shuffled = write(tmp_path / "mixed", *_unordered(_rows(tmp_path / "rows", part)))
    expected = score(shuffled, truth, metric=metric, k=(5, 20))
    graphs = DenseGraphs.of(images)
    graphs.write(tmp_path / "p.npz")
    graphs.write(tmp_path / "p.zarr")
    rankings = {image.image_id: _ranking(image) for image in images}
    columns = next(iter(read_columns(tmp_path / "rows", strict=False, report=print, chunk_images=1000)))
    for form in (
        iter(images),
        graphs,
        str(tmp_path / "p.npz"),
        tmp_path / "p.zarr",
        rankings,
        tmp_path / "rows",
        columns,
    ):
        found = score(form, truth, metric=metric, k=(5, 20))
        assert found.values == pytest.approx(expected.values, abs=1e-12), form
        assert found.tables["per_predicate"] == expected.tables["per_predicate"]


def _told(scene: Scene) -> Scene:
    count = len(scene.true_labels)
    pairs = list(dict.fromkeys((s % count, o % count) for s, o in scene.pairs)) if count else []
    scene.pairs, scene.table = pairs, scene.table[: len(pairs)]
    scene.boxes, scene.labels, scene.scores = scene.true_boxes, scene.true_labels, [0.5] * count
    return scene


def _ranking(image: DenseImage) -> Ranking:
    boxes = [tuple(box) if box[0] < box[2] and box[1] < box[3] else None for box in image.boxes.tolist()]
    regions = tuple(
        Region(label, box, score=float(value))
        for label, box, value in zip(image.labels, boxes, image.object_scores, strict=True)
    )
    return Ranking(regions, image.pairs.astype(np.int32), NAMES, image.scores)


def _unordered(path: Path) -> list[dict[str, Any]]:
    """The same lines, with relations in an order that is no table."""
    lines = [json.loads(row) for row in path.read_text().splitlines()]
    for row in lines:
        row["relations"].sort(key=lambda item: (item["predicate"], item["subject"], item["object"]))
    return lines


def test_lines_that_are_tables_are_read_as_tables(tmp_path, scenes) -> None:
    path = _rows(tmp_path / "rows", scenes[:30])
    tables = 0
    for chunk in read_chunks(path, Dropped(), what="prediction"):
        if isinstance(chunk, Tabled):
            tables += len(chunk.tables)
            assert not len(chunk.columns.relation.subject)
    assert tables == sum(bool(scene.pairs) for scene in scenes[:30])
    assert not any(isinstance(chunk, Tabled) for chunk in read_chunks(path, Dropped(), what="truth"))


FULL = [
    *(relation(0, "on", 1, score=0.5), relation(0, "by", 1, score=0.1)),
    *(relation(1, "on", 0, score=0), relation(1, "by", 0, score=1)),
]


def test_a_table_is_pairs_and_scores() -> None:
    found = pair_table(line("a", None, FULL))
    assert found is not None
    assert found.pairs.tolist() == [[0, 1], [1, 0]]
    assert found.scores.tolist() == [[0.5, np.float32(0.1)], [0.0, 1.0]]
    assert found.predicates == ("on", "by")


@pytest.mark.parametrize(
    "change",
    [
        *({"score": value} for value in (True, None, 1.5, "1", float("nan"))),
        *({"subject": value} for value in (7, -1, True, 2**70)),
        *({"predicate": value} for value in ("under", "", 5)),
        *({"object": 2}, {"status": "rejected"}, {"subject": 1, "object": 0}),
    ],
)
@pytest.mark.parametrize("row", [0, 1])
def test_what_is_no_table_or_breaks_a_rule_is_left_to_the_rows(change, row) -> None:
    rows = [dict(item) for item in FULL]
    rows[row] |= change
    if len(change) == 2:  # both rows of the pair: it stands twice
        rows[1 - row] |= change
    assert pair_table(line("a", None, rows)) is None


@pytest.mark.parametrize(
    "data", [None, [], {}, {"relations": FULL}, {"relations": 5, "regions": []}, line("a", None, FULL[:1])]
)
def test_other_values_are_no_table(data) -> None:
    assert pair_table(data) is None
    assert pair_table(line("a", None, [*FULL, 5])) is None
    assert pair_table(line("a", None, FULL[:3])) is None


def test_repeated_and_faulty_lines_lose_their_tables(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, FULL[:1]), line("b", None, FULL[:1]))
    bad = line("b", None, FULL)
    bad["regions"][0]["score"] = 7
    shown = write(tmp_path / "p", line("a", None, FULL), line("a", None, FULL), bad)
    report = score(shown, truth)
    assert report.values["R@20"] == 1.0
    assert {row["reason"]: row["count"] for row in report.tables["counted"]} == {
        "prediction: image id that occurred before": 1,
        "prediction: value outside its range, or not finite": 1,
        "prediction: predicate name that the truth does not have, which no mean divides by": 1,
    }


def test_tables_beside_rows_and_other_predicates(tmp_path) -> None:
    other = [{**row, "predicate": f"not {row['predicate']}"} for row in FULL]
    truth = write(tmp_path / "t", *(line(name, None, FULL[:1]) for name in "abcd"))
    shown = write(tmp_path / "p", line("a", None, FULL), line("b", None, FULL[:1]), line("c", None, other), line("d"))
    assert score(shown, truth).values["R@20"] == pytest.approx(2 / 4)


def _mask(x: int, y: int) -> np.ndarray:
    found = np.zeros((20, 30), bool)
    found[y : y + 5, x : x + 5] = True
    return found


def test_masks_as_arrays(tmp_path) -> None:
    shapes = np.stack([_mask(0, 0), _mask(12, 8)])
    image = DenseImage("a", ["cup", "table"], [[0, 1]], [[0.9, 0.2]], ("on", "by"), masks=shapes, width=30, height=20)
    graphs = DenseGraphs.of([image])
    graphs.write(tmp_path / "p.npz")
    coded = [{"size": [20, 30], "counts": to_coco(item).decode()} for item in from_arrays(shapes)]
    regions = [{"label": name, "mask": item} for name, item in zip(("cup", "table"), coded, strict=True)]
    head = {"image_id": "a", "width": 30, "height": 20}
    truth = write(tmp_path / "t", {**head, "regions": regions, "relations": FULL[:1]})
    for form in (graphs, tmp_path / "p.npz", iter([image])):
        assert score(form, truth, localization="mask").values["R@20"] == 1.0
    shifted = attrs.evolve(image, masks=np.stack([_mask(0, 0), _mask(16, 8)]))
    assert score([shifted], truth, localization="mask").values["R@20"] == 0.0
    with pytest.raises(ConfigError, match="have no masks"):
        score([attrs.evolve(image, masks=None, boxes=[CUP, TABLE])], truth, localization="mask")


def test_an_npz_on_the_command_line(tmp_path, capsys) -> None:
    truth = write(tmp_path / "t.jsonl", line("a", None, FULL[:1]))
    labels, pairs, scores = ["cup", "table", "chair"], [[0, 1], [5, 0]], [[0.9, 0.1]] * 2
    DenseGraphs.of([DenseImage("a", labels, pairs, scores, ("on", "by"), [CUP, TABLE, FAR])]).write(tmp_path / "p.npz")
    assert main(["eval", str(tmp_path / "p.npz"), str(truth), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["values"]["R@20"] == 1.0
    assert found["counted"]["prediction: pair with a region index out of range"] == 1
    assert main(["eval", str(truth), str(tmp_path / "p.npz")]) == 2
    assert "arrays hold predictions" in capsys.readouterr().err


def test_arrays_that_do_not_fit_are_named(tmp_path) -> None:
    image = DenseImage("x7", ["cup", "table"], [[0, 1]], [[0.9, 0.2]], ("on", "by"), [CUP, TABLE])
    for change, message in (
        ({"boxes": [CUP]}, "'x7' has 1 boxes for 2 labels"),
        ({"boxes": None}, "neither boxes nor masks"),
        ({"scores": [[0.9]]}, "scores have shape"),
        ({"object_scores": [1.0]}, "1 object_scores for 2 labels"),
    ):
        with pytest.raises(ConfigError, match=message):
            DenseGraphs.of([attrs.evolve(image, **change)])
    with pytest.raises(ConfigError, match="other predicates than 'x7'"):
        DenseGraphs.of([image, attrs.evolve(image, predicates=("by", "on"))])
    graphs = DenseGraphs.of([image])
    for name, value, message in (
        ("pair_offsets", np.array([0, 2]), "pair_offsets must rise"),
        ("labels", np.array([0, 9], np.int32), "labels must index"),
        ("boxes", graphs.boxes[:1], "boxes has shape"),
    ):
        with pytest.raises(ConfigError, match=message):
            attrs.evolve(graphs, **{name: value})


def test_files_that_hold_no_such_arrays_are_refused(tmp_path) -> None:
    np.savez(tmp_path / "p.npz", boxes=np.zeros((1, 4)))
    with pytest.raises(ConfigError, match="has no array"):
        DenseGraphs.read(tmp_path / "p.npz")
    np.savez(tmp_path / "o.npz", ids=np.array([{"a": 1}], object))
    with pytest.raises(ConfigError, match="cannot be read"):
        DenseGraphs.read(tmp_path / "o.npz")
    (tmp_path / "t.npz").write_text("no zip")
    with pytest.raises(ConfigError, match="cannot be read"):
        DenseGraphs.read(tmp_path / "t.npz")


def test_images_with_other_lists_of_predicates_are_scored_together(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, FULL[:1]), line("b", None, FULL[1:2]))
    one = DenseImage("a", ["cup", "table"], [[0, 1]], [[0.9, 0.2]], ("on", "by"), [CUP, TABLE])
    two = attrs.evolve(one, image_id="b", predicates=("by", "on"))
    assert score([one, two], truth).values["R@20"] == 1.0
    closed = score([one, two], truth, predicates=["on"])
    assert closed.values["R@20"] == 1.0
