"""Panoptic quality, mask AP and mean IoU from labels of true masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.environment import ANNOTATIONS

from sgforge_eval.tasks.base import Predictions, TaskFileError
from sgforge_eval.tasks.panoptic import PanopticOptions, PanopticTask

# A 10 x 10 image: two things of 20 pixels, three stuff segments of 30, 20 and 10.
AREAS = {1: 20, 2: 20, 3: 30, 4: 20, 5: 10}
CLASSES = {1: "cat", 2: "dog", 3: "sky", 4: "grass", 5: "sea"}
THINGS = ("cat", "dog")


def _files(folder: Path) -> PanopticOptions:
    ids = np.repeat(list(AREAS), list(AREAS.values())).reshape(10, 10)
    Image.fromarray(np.stack([ids, ids * 0, ids * 0], axis=-1).astype(np.uint8)).save(folder / "x.png")
    infos = [{"id": key, "category_id": 100 + key, "area": area, "iscrowd": 0} for key, area in AREAS.items()]
    data = {
        "annotations": [{"image_id": 1, "file_name": "x.png", "segments_info": infos}],
        "categories": [
            {"id": 100 + key, "name": name, "isthing": int(name in THINGS)} for key, name in CLASSES.items()
        ],
    }
    (folder / "p.json").write_text(json.dumps(data))
    return PanopticOptions(folder / "p.json", folder)


def _said(labels: dict[int, str], image: int = 1, **scores: float) -> Predictions:
    found = Predictions()
    for key, label in labels.items():
        found.add({"id": f"{image}/{key}", "label": label, "score": scores.get(f"s{key}", 1.0)})
    return found


def test_all_right(tmp_path) -> None:
    values = PanopticTask(_files(tmp_path)).evaluate(_said(CLASSES)).values
    assert {
        key: round(values[key], 9) for key in ("PQ", "SQ", "RQ", "PQ_things", "PQ_stuff", "mIoU", "mAP")
    } == dict.fromkeys(("PQ", "SQ", "RQ", "PQ_things", "PQ_stuff", "mIoU", "mAP"), 1.0)


def test_labels_and_scores_that_cannot_be_read_are_counted(tmp_path) -> None:
    report = PanopticTask(_files(tmp_path)).evaluate(_said(CLASSES | {1: 7}, s2="high", s3=float("nan")))
    assert report.images_skipped == {
        "label that is no text, counted as void": 1,
        "score that is no number, counted as 0": 2,
    }
    assert report.values["PQ"] == pytest.approx(4 / 5)


def test_merged_stuff_and_a_wrong_thing(tmp_path) -> None:
    # The dog is called a cat; the sea is called sky and merges with it: 30 of 40 pixels are sky.
    report = PanopticTask(_files(tmp_path)).evaluate(_said(CLASSES | {2: "cat", 5: "sky"}, s2=0.5))
    rows = {row["class"]: row for row in report.tables["per_class"]}
    assert rows["cat"] == {"class": "cat", "PQ": pytest.approx(1 / 1.5), "TP": 1, "FP": 1, "FN": 0}
    assert rows["dog"] == {"class": "dog", "PQ": 0.0, "TP": 0, "FP": 0, "FN": 1}
    assert rows["sky"] == {"class": "sky", "PQ": pytest.approx(0.75), "TP": 1, "FP": 0, "FN": 0}
    assert rows["sea"]["FN"] == 1
    assert report.values["PQ"] == pytest.approx((1 / 1.5 + 0 + 0.75 + 1 + 0) / 5)
    assert report.values["mIoU"] == pytest.approx((20 / 40 + 0 + 30 / 40 + 1 + 0) / 5)
    # Cat: its right mask comes first, so its precision is 1 at every recall; dog: never found.
    assert report.values["mAP"] == pytest.approx(0.5)


def test_a_smaller_part_of_a_merged_segment_does_not_match(tmp_path) -> None:
    # Everything called sea: 10 of 60 pixels of the stuff are.
    labels = CLASSES | {3: "sea", 4: "sea"}
    rows = {row["class"]: row for row in PanopticTask(_files(tmp_path)).evaluate(_said(labels)).tables["per_class"]}
    assert rows["sea"] == {"class": "sea", "PQ": 0.0, "TP": 0, "FP": 1, "FN": 1}


def test_segments_without_a_class_are_void(tmp_path) -> None:
    report = PanopticTask(_files(tmp_path)).evaluate(_said({1: "cat", 2: "unicorn", 3: "sky"}))
    assert report.images_skipped == {
        "label outside of the classes, counted as void": 1,
        "question without a prediction, counted as wrong": 2,
    }
    assert report.values["PQ"] == pytest.approx(2 / 5)
    assert report.values["mIoU"] == pytest.approx(2 / 5)


def test_a_file_name_may_not_leave_the_folder(tmp_path) -> None:
    options = _files(tmp_path)
    data = json.loads(options.questions.read_text())
    data["annotations"][0]["file_name"] = "../x.png"
    options.questions.write_text(json.dumps(data))
    with pytest.raises(TaskFileError, match="leaves its root"):
        PanopticTask(options).evaluate(_said(CLASSES))


def test_the_real_coco_files_load() -> None:
    folder = ANNOTATIONS / "coco_panoptic"
    categories = folder / "panoptic_coco_categories.json"
    task = PanopticTask(PanopticOptions(folder / "panoptic_examples.json", folder, categories))
    names = [row["name"] for row in json.loads(categories.read_text())]
    segments = list(task.segments())
    found = Predictions()
    for segment in segments:
        found.add({"id": segment.id, "label": names[segment.category]})
    report = task.evaluate(found)
    assert len(segments) > 10
    assert report.values["PQ"] == pytest.approx(1.0)
    assert report.values["mIoU"] == pytest.approx(1.0)
