"""GQA, VQA, A-OKVQA, region names and referring expressions."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from eval.answers import said
from support.environment import ANNOTATIONS

from sgforge_eval.tasks.answers import AokvqaOptions, AokvqaTask, GqaOptions, GqaTask, VqaOptions, VqaTask
from sgforge_eval.tasks.base import Predictions, TaskFileError
from sgforge_eval.tasks.refcoco import ReferringOptions, ReferringTask
from sgforge_eval.tasks.regions import RegionOptions, RegionTask, semantic_iou, semantic_similarity
from sgforge_eval.tasks.saying import boxes_in_text
from sgforge_eval.tasks.vqa_text import soft_accuracy, vqa_text


@pytest.mark.parametrize(
    ("text", "form"),
    [
        *(("The Dog.", "dog"), ("two", "2"), ("a red, small car", "red small car"), ("1,000", "1000"), ("3.5", "3.5")),
        *(("dont know", "don't know"), ("black/white", "black white"), ("what?", "what"), ("None", "0")),
    ],
)
def test_vqa_forms(text, form) -> None:
    assert vqa_text(text) == form


@pytest.mark.parametrize(("matches", "value"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_soft_accuracy_over_ten_answers(matches, value) -> None:
    assert soft_accuracy("The cat", ["cat"] * matches + ["dog"] * (10 - matches)) == pytest.approx(value)


TWO_OF_TEN = [{"answer": "yes"}] * 2 + [{"answer": "no"}] * 8


def test_vqa_joins_questions_and_annotations(tmp_path) -> None:
    questions = [
        {"question_id": 7, "image_id": 1, "question": "What?"},
        {"question_id": 8, "image_id": 1, "question": "?"},
    ]
    notes = [
        {"question_id": 7, "image_id": 1, "answer_type": "other", "answers": [{"answer": "cat"}] * 10},
        {
            "question_id": 8,
            "image_id": 1,
            "answer_type": "yes/no",
            "answers": [{"answer": "yes"}] * 2 + [{"answer": "no"}] * 8,
        },
    ]
    (tmp_path / "q").write_text(json.dumps({"questions": questions}))
    (tmp_path / "a").write_text(json.dumps({"annotations": notes}))
    report = VqaTask(VqaOptions(tmp_path / "q", tmp_path / "a")).evaluate(said({"7": "A cat.", "8": "Yes"}))
    assert report.values["accuracy"] == pytest.approx((1.0 + 0.6) / 2)
    assert {row["type"]: row["accuracy"] for row in report.tables["per_type"]}["yes/no"] == pytest.approx(0.6)
    (tmp_path / "q").write_text(json.dumps({"questions": questions[:1]}))
    with pytest.raises(TaskFileError, match="question 8 is not in"):
        VqaTask(VqaOptions(tmp_path / "q", tmp_path / "a")).evaluate(said({}))


def test_gqa_is_exact_and_balanced(tmp_path) -> None:
    rows = {
        "1": {"imageId": "n1", "question": "?", "answer": "left", "isBalanced": True, "types": {"structural": "query"}},
        "2": {"imageId": "n1", "question": "?", "answer": "no", "isBalanced": False},
        "3": {"imageId": "n2", "question": "?", "answer": "yes", "isBalanced": True, "types": {"structural": "verify"}},
    }
    (tmp_path / "g").write_text(json.dumps(rows))
    answers = {"1": "Left.", "2": "no", "3": "yes it is"}
    report = GqaTask(GqaOptions(tmp_path / "g")).evaluate(said(answers))
    assert report.values["accuracy"] == 0.5
    assert GqaTask(GqaOptions(tmp_path / "g", balanced=False)).evaluate(said(answers)).values[
        "accuracy"
    ] == pytest.approx(2 / 3)


def test_aokvqa_by_choice_and_directly(tmp_path) -> None:
    row = {"image_id": 1, "question": "?", "choices": ["a", "b", "c", "d"], "correct_choice_idx": 2}
    rows = [
        row | {"question_id": "x", "direct_answers": ["cat"] * 10, "difficult_direct_answer": False},
        row | {"question_id": "y", "direct_answers": ["dog"] * 10, "difficult_direct_answer": True},
    ]
    (tmp_path / "a").write_text(json.dumps(rows))
    assert AokvqaTask(AokvqaOptions(tmp_path / "a")).evaluate(said({"x": "C", "y": "d"})).values["accuracy"] == 0.5
    direct = AokvqaTask(AokvqaOptions(tmp_path / "a", direct=True)).evaluate(said({"x": "cat"}))
    assert direct.values["accuracy"] == 1.0
    assert direct.images_used == 1


def _letters(texts):
    """A toy encoder: counts of letters."""
    return np.array([[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], float)


def test_region_names() -> None:
    assert semantic_iou("a Red car", "red car park") == pytest.approx(2 / 4)
    assert semantic_iou("", "") == 0.0
    assert semantic_similarity(["ab", "", "ab"], ["ab", "x", "cd"], _letters) == pytest.approx([1.0, 0.0, 0.0])


def test_region_task_cleans_both_sides(tmp_path) -> None:
    data = [
        {"file_name": "x.jpg", "height": 1, "width": 1, "categories": ["traffic_light", "cup"], "annotations": [{}, {}]}
    ]
    (tmp_path / "r").write_text(json.dumps(data))
    task = RegionTask(RegionOptions(tmp_path / "r", encoder=""))
    report = task.evaluate(said({"x.jpg#0": "Category: traffic light.", "x.jpg#1": "tea cup"}))
    assert report.values["S-IoU"] == pytest.approx((1.0 + 0.5) / 2)
    assert "SS" not in report.values
    toy = RegionTask(RegionOptions(tmp_path / "r", encoder=f"{__name__}:_letters"))
    assert toy.evaluate(said({"x.jpg#0": "traffic light", "x.jpg#1": "cup"})).values["SS"] == pytest.approx(1.0)


def _referring(folder: Path, refs: object = None) -> ReferringOptions:
    sentences = [
        {"sent_id": 1, "sent": "left cup", "raw": "", "tokens": []},
        {"sent_id": 2, "sent": "it", "raw": "", "tokens": []},
    ]
    ref = {
        "ref_id": 0,
        "ann_id": 5,
        "image_id": 9,
        "category_id": 1,
        "split": "testA",
        "file_name": "x_5.jpg",
        "sent_ids": [1, 2],
        "sentences": sentences,
    }
    other = ref | {"split": "val", "sentences": [{"sent_id": 3, "sent": "y", "raw": "", "tokens": []}]}
    (folder / "refs(unc).p").write_bytes(pickle.dumps([ref, other] if refs is None else refs, protocol=2))
    coco = {
        "images": [{"id": 9, "width": 200, "height": 100, "file_name": "x.jpg"}],
        "annotations": [{"id": 5, "image_id": 9, "bbox": [10, 20, 40, 40]}],
    }
    (folder / "instances.json").write_text(json.dumps(coco))
    return ReferringOptions(folder / "refs(unc).p", folder / "instances.json")


def test_referring_from_the_pickle(tmp_path) -> None:
    options = _referring(tmp_path)
    task = ReferringTask(options)
    assert [(item.id, item.box, item.split) for item in task.expressions()] == [
        ("1", (10.0, 20.0, 50.0, 60.0), "testA"),
        ("2", (10.0, 20.0, 50.0, 60.0), "testA"),
        ("3", (10.0, 20.0, 50.0, 60.0), "val"),
    ]
    # Half of the box is IoU 0.5 exactly: not enough for the strict rule.
    report = task.evaluate(said({"1": [10, 20, 50, 60], "2": [10, 20, 50, 40], "3": [50, 60, 10, 20]}, "box"))
    assert report.values["accuracy"] == pytest.approx(1 / 3)
    assert {row["split"]: row["accuracy"] for row in report.tables["per_split"]} == {"testA": 0.5, "val": 0.0}
    assert report.images_skipped == {"answer without one box (x0 <= x1, y0 <= y1), counted as wrong": 1}
    lax = ReferringTask(ReferringOptions(options.questions, options.instances, split="testA", strict=False))
    assert lax.evaluate(said({"1": "[[10,20,50,40]]", "2": [10, 20, 50, 60]})).values["accuracy"] == 0.5


def test_scaled_boxes_with_and_without_padding(tmp_path) -> None:
    options = _referring(tmp_path)
    plain = ReferringTask(ReferringOptions(options.questions, options.instances, "val", "1000"))
    assert plain.evaluate(said({"3": "[50, 200, 250, 600]"})).values["mean_IoU"] == pytest.approx(1.0)
    # Padded to 200 x 200: 50 rows above and below.
    square = ReferringTask(ReferringOptions(options.questions, options.instances, "val", "1000", square=True))
    assert square.evaluate(said({"3": "[50, 350, 250, 550]"})).values["mean_IoU"] == pytest.approx(1.0)


class _Evil:
    def __reduce__(self):
        return (Path("/").joinpath, ("tmp", "owned"))


@pytest.mark.parametrize(
    "payload", [_Evil(), [_Evil()], {"x": print}, b"".join], ids=["object", "list", "function", "method"]
)
def test_a_pickle_that_names_anything_is_refused(tmp_path, payload) -> None:
    options = _referring(tmp_path, payload)
    with pytest.raises(TaskFileError, match="refused"):
        ReferringTask(options).expressions()


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x02]q\x00(", b"garbage", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff."]
)
def test_a_broken_pickle_is_refused(tmp_path, data) -> None:
    options = _referring(tmp_path)
    options.questions.write_bytes(data)
    with pytest.raises(TaskFileError, match="refused"):
        ReferringTask(options).expressions()


def test_boxes_in_texts() -> None:
    assert boxes_in_text("at [1, 2.5, 3, 4].") == [(1.0, 2.5, 3.0, 4.0)]
    assert boxes_in_text("[[1,2,3,4]]") == [(1.0, 2.0, 3.0, 4.0)]
    assert boxes_in_text("[1,2,3,4] or [5,6,7,8]") == [(1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0)]
    assert boxes_in_text("[1,2,3]") == []


def test_the_real_lvis_file_loads(tmp_path) -> None:
    task = RegionTask(RegionOptions(ANNOTATIONS / "lvis_val_100.json.gz", encoder=""))
    regions = task.regions()
    assert len(regions) == 977
    assert task.evaluate(said({region.id: region.name.replace("_", " ") for region in regions})).values["S-IoU"] == 1.0
    with gzip.open(ANNOTATIONS / "lvis_val_100.json.gz") as stream:
        assert regions[0].id == str(json.load(stream)["annotations"][0]["id"])


def test_lines_that_are_no_predictions_are_counted(tmp_path) -> None:
    lines = [
        "nope",
        "[1]",
        '{"answer": "x"}',
        '{"id": 1.5}',
        '{"id": true}',
        "",
        '{"id": 1, "answer": "a\u2028b"}',
        "{",
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    found = Predictions.read(path)
    assert found.rows == {"1": {"id": 1, "answer": "a\u2028b"}}
    assert found.skipped == {
        "prediction line that is not JSON: Expecting value": 1,
        "prediction line that is not a JSON object": 1,
        "prediction line that has no id (a text or a whole number)": 3,
        "prediction line that is not JSON: Expecting property name enclosed in double quotes": 1,
    }
    assert found.first["prediction line that has no id (a text or a whole number)"] == f"{path}:3"


@pytest.mark.parametrize(
    ("factor", "hint"), [(1.0, None), (1 / 40, "shares of a side (0..1)"), (1000 / 40, "they look like 1000ths")]
)
def test_boxes_in_another_unit_are_hinted_at(tmp_path, factor, hint) -> None:
    rows = [
        {"question_id": number, "image": "x", "text": "it", "bbox": [0, 0, 20 + number, 30], "category": "val"}
        | {"width": 40, "height": 40}
        for number in range(5)
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    predictions = Predictions()
    for row in rows:
        predictions.add({"id": row["question_id"], "box": [value * factor for value in row["bbox"]]})
    report = ReferringTask(ReferringOptions(tmp_path / "q.jsonl")).evaluate(predictions)
    assert report.values["accuracy"] == (1.0 if hint is None else 0.0)
    hints = [note for note in report.notes if note.startswith("hint")]
    assert hints == [] if hint is None else hint in hints[0] and "--set scale=" in hints[0]
