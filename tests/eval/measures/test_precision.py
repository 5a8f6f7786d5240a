"""Precision one to one, recall relative to the truth, single regions, and average precision per predicate and class."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest
from eval.batches import batch_of_scenes, reference_scenes
from eval.graphs import CUP, FAR, TABLE, line, region, relation, write
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sgforge_eval import score
from sgforge_eval.measures.average_precision import (
    Detections,
    box_detections,
    coco_average_precision,
    envelope_average_precision,
    triplet_average_precision,
)
from sgforge_eval.measures.conventions import CONVENTIONS
from sgforge_eval.measures.scorer import COCO_THRESHOLDS

DATA = Path(__file__).parents[2] / "data" / "evals"
ON = [relation(0, "on", 1), relation(2, "near", 1)]


def test_precision_counts_each_truth_row_once(tmp_path) -> None:
    # Of four listed triplets the cup is on the table twice (two cups over one another): one is right, one is not.
    twice = [*line("a")["regions"], region("cup", CUP)]
    said = [relation(0, "on", 1, score=0.9), relation(3, "on", 1, score=0.8), relation(1, "by", 0, score=0.7)]
    truth = write(tmp_path / "t", line("a", None, ON), line("b", None, ON))
    shown = write(tmp_path / "p", line("a", twice, [*said, relation(2, "near", 1, score=0.6)]))
    values = score(shown, truth, k=(1, 2, 4)).values
    assert [values[f"P@{k}"] for k in (1, 2, 4)] == [
        1 / 2,
        1 / 4,
        1 / 4,
    ]  # of image a: 1, 1/2, 1/2; image b says nothing
    assert [values[f"oneR@{k}"] for k in (1, 2, 4)] == [1 / 4, 1 / 4, 1 / 2]
    assert values["oneF1@4"] == pytest.approx(2 * (1 / 4) * (1 / 2) / (3 / 4))
    assert values["relations_per_image"] == 2.0
    # Four regions of a are predicted, three are right one to one; b has none of its three.
    assert (values["node_P"], values["node_R"]) == (3 / 4, 3 / 6)
    assert values["node_F1"] == pytest.approx(0.6)
    left_out = score(shown, truth, k=(4,), convention="sgb").values
    assert left_out["P@4"] == 1 / 2
    pooled = score(shown, truth, convention="asmv2").values
    assert (pooled["P"], pooled["oneR"]) == (2 / 4, 2 / 4)


def test_names_outside_of_a_closed_vocabulary_are_invalid(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, ON))
    said = [relation(0, "on", 1), relation(0, "hovers", 1), relation(1, "near", 0), relation(2, "near", 1)]
    regions = [region("cup", CUP), region("table", TABLE), region("blob", FAR)]
    shown = write(tmp_path / "p", line("a", regions, said))
    values = score(shown, truth, convention="svg", predicates=["on", "near"], labels=["cup", "table", "chair"]).values
    assert values["invalid_rate@20"] == 2 / 4
    assert not any(name.startswith("invalid_rate") for name in score(shown, truth).values)


def test_relative_recall_cuts_at_as_many_as_there_are(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, ON), line("b", None, ON[:1]))
    said = [relation(1, "by", 0, score=0.9), relation(0, "on", 1, score=0.8), relation(2, "near", 1, score=0.7)]
    shown = write(tmp_path / "p", line("a", None, said), line("b", None, said))
    report = score(shown, truth, k=(1,))
    assert report.values["relR"] == (1 / 2 + 0) / 2  # a: two of two rows, the second found; b: one, not found
    assert report.values["relmR"] == (1 / 2 + 0) / 2  # on: 1 and 0; near: 0
    many = [relation(0, f"p{number}", 1) for number in range(30)]
    whole = write(tmp_path / "w", line("a", None, many))
    assert score(whole, whole, k=(5,), convention="svg").values["relR"] == 1.0


def test_single_regions_agree_with_sgbench(tmp_path) -> None:
    stored = json.loads((DATA / "sgbench.json").read_text())
    true, said = [], []
    for number, image in enumerate(stored["images"]):
        for lines, boxes, labels, rows in (
            (true, image["boxes"], image["labels"], image["relations"]),
            (said, image["predicted_boxes"], image["predicted_labels"], image["triplets"]),
        ):
            regions = [region(f"c{label}", box) for label, box in zip(labels, boxes, strict=True)]
            lines.append(line(str(number), regions, [relation(s, f"p{p}", o) for s, o, p in rows]))
    files = write(tmp_path / "p", *said), write(tmp_path / "t", *true)
    values = score(*files, convention="single", k=(2, 5, 20), in_order=True).values
    for name, official in stored["official"].items():
        assert values[name] == pytest.approx(official, abs=1e-9), name


def test_an_object_listed_several_times_gets_one_guess_and_a_warning(tmp_path) -> None:
    cups = [region("cup", CUP, score=1.0), region("table", TABLE), region("cup", [0, 0, 10, 9], score=0.9)]
    truth = write(tmp_path / "t", line("a", cups[:2], [relation(0, "on", 1), relation(0, "beside", 1)]))
    said = [relation(0, "under", 1, score=0.9), relation(2, "on", 1, score=0.8), relation(2, "beside", 1, score=0.3)]
    shown = write(tmp_path / "p", line("a", cups, said))
    report = score(shown, truth, convention="single")
    assert (report.values["R@20"], report.values["openR@20"]) == (0.0, 0.5)
    assert any("R@20 is 50.0 points higher" in note for note in report.notes)
    fair = score(truth, truth, convention="single")
    assert not any(note.startswith("warning") for note in fair.notes)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.booleans()), max_size=25), st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_average_precision_of_all_groups_at_once_is_that_of_each(rows, more) -> None:
    group, points, right = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0, int),) * 3
    found = Detections(
        image=np.arange(len(group)),
        group=group,
        score=points / 4,
        right=right.astype(bool),
        truth=np.bincount(group[right.astype(bool)], minlength=5) + np.array([more, 0, 1, 0, 0]),
    )
    several = triplet_average_precision(found)
    expected = envelope_average_precision(found)
    assert np.isnan(several).tolist() == (found.truth == 0).tolist()
    np.testing.assert_allclose(np.nan_to_num(several), expected, atol=1e-12)


def test_average_precision_per_predicate_and_its_mean(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, ON), line("b", None, ON[:1]))
    # on: wrong at 0.9, right at 0.8, one of two: precision 1/2 at recall 1/2; near: found first.
    said = [relation(1, "on", 0, score=0.9), relation(0, "on", 1, score=0.8), relation(2, "near", 1, score=0.7)]
    for convention in ("sgforge", "sgb", "maelic", "openpsg"):
        report = score(write(tmp_path / "p", line("a", None, said)), truth, convention=convention)
        assert {row["predicate"]: row["AP"] for row in report.tables["per_predicate"]} == {"on": 0.25, "near": 1.0}
        assert report.values["mAP_rel"] == (0.25 + 1.0) / 2


def test_average_precision_from_half_to_nearly_all(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, ON))
    # IoU of the cup 0.8, of the table 1, of the chair 0.
    regions = [region("cup", [0, 0, 10, 8]), region("table", TABLE), region("chair", [0, 90, 5, 95])]
    report = score(write(tmp_path / "p", line("a", regions, ON)), truth, detection=True)
    assert report.values["detection_mAP50"] == pytest.approx(2 / 3)
    assert report.values["detection_mAP50_95"] == pytest.approx((7 / 10 + 1) / 3)
    assert {row["label"]: row["AP50_95"] for row in report.tables["per_class"]} == pytest.approx(
        {"cup": 0.7, "table": 1.0, "chair": 0.0}
    )
    assert "per_class" not in score(truth, truth).tables


def test_average_precision_over_thresholds_is_that_of_pycocotools() -> None:
    scenes = reference_scenes("sgdet")[:80]
    batch = attrs.evolve(batch_of_scenes(scenes, "sgdet", 16), labels=30)
    own = [coco_average_precision(box_detections(batch, CONVENTIONS["sgforge"], least)) for least in COCO_THRESHOLDS]
    truth, found = COCO(), []
    annotations = []
    for image, scene in enumerate(scenes):
        for box, label in zip(scene.true_boxes, scene.true_labels, strict=True):
            sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": label, "bbox": sides, "iscrowd": 0}
                | {"area": sides[2] * sides[3]}
            )
        for box, label, value in zip(scene.boxes, scene.labels, scene.scores, strict=True):
            found.append([image, box[0], box[1], box[2] - box[0], box[3] - box[1], value, label])
    truth.dataset = {
        "images": [{"id": image} for image in range(len(scenes))],
        "categories": [{"id": label} for label in range(30)],
        "annotations": annotations,
        "info": {},
    }
    truth.createIndex()
    evaluated = COCOeval(truth, truth.loadRes(np.array(found)), "bbox")
    evaluated.evaluate()
    evaluated.accumulate()
    precision = evaluated.eval["precision"][:, :, :, 0, -1]
    for place, values in enumerate(own):
        official = np.array([row[row > -1].mean() if (row > -1).any() else np.nan for row in precision[place].T])
        np.testing.assert_allclose(values[:30], official, atol=1e-9)


def test_boxes_beyond_the_hundredth_are_said(tmp_path) -> None:
    cups = [region("cup", [n, 0, n + 5, 5], score=0.5) for n in range(103)]
    truth = write(tmp_path / "t", line("a", None, ON))
    notes = score(write(tmp_path / "p", line("a", cups, [relation(0, "on", 1)])), truth).notes
    assert "3 boxes beyond the 100 best of a class and image are not counted in detection mAP" in notes
