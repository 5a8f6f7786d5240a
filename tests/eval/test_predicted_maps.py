"""Predicted panoptic PNGs: PQ, mIoU and mAP by hand, against plain masks, and against pycocotools."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sgforge.cli.main import main
from sgforge_eval.tasks.base import TaskFileError
from sgforge_eval.tasks.panoptic import PanopticOptions, PanopticTask

CLASSES = [
    {"id": 7, "name": "cat", "isthing": 1},
    {"id": 9, "name": "dog", "isthing": 1},
    {"id": 30, "name": "sky", "isthing": 0},
]
VOID = 0


def _save(folder: Path, name: str, ids: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    pixels = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2).astype(np.uint8)
    Image.fromarray(pixels).save(folder / name)


def _write(folder: Path, side: str, images: list[tuple[np.ndarray, list[dict]]]) -> Path:
    """A panoptic file and its PNGs."""
    rows = []
    for number, (ids, infos) in enumerate(images):
        _save(folder / side, f"{number}.png", ids)
        rows.append({"image_id": number, "file_name": f"{number}.png", "segments_info": infos})
    path = folder / f"{side}.json"
    path.write_text(json.dumps({"annotations": rows, "categories": CLASSES}))
    return path


def _info(segment: int, category: int, **more) -> dict:
    return {"id": segment, "category_id": category, "area": 1, **more}


def _report(folder: Path, true, predicted):
    truth, said = _write(folder, "true", true), _write(folder, "said", predicted)
    task = PanopticTask(PanopticOptions(truth, folder / "true", predicted=folder / "said"))
    return task.evaluate(task.read_predictions(said))


def test_matches_mistakes_and_void_are_counted_by_hand(tmp_path) -> None:
    true = np.zeros((10, 10), np.int64)
    true[:4], true[4:8] = 300, 66000  # 40 pixels of a cat, 40 of sky, 20 void
    said = np.zeros((10, 10), np.int64)
    said[:3], said[3:9], said[9:] = 1, 2, 3
    # cat: 30 of 40; sky: 40 of 60, 10 of which lie on void and do not count: 40 / 50; a dog all on void is no mistake.
    infos = [_info(1, 7, score=0.9), _info(2, 30), _info(3, 9)]
    report = _report(tmp_path, [(true, [_info(300, 7), _info(66000, 30)])], [(said, infos)])
    values = report.values
    assert values["PQ"] == pytest.approx((30 / 40 + 40 / 50) / 2)
    assert (values["PQ_things"], values["PQ_stuff"], values["RQ"]) == (0.75, pytest.approx(0.8), 1.0)
    # Pixels: cat 30 of 40; sky 40 of 50 (ten of the cat are called sky).
    assert values["mIoU"] == pytest.approx((30 / 40 + 40 / 50) / 2)
    assert values["mAP"] == pytest.approx(0.6)  # a cat at IoU 0.75 is right at 0.5, 0.55, 0.6, 0.65, 0.7 and 0.75
    assert [row["class"] for row in report.tables["per_class"]] == ["cat", "sky"]
    assert report.images_used == 1
    assert not report.images_skipped


def _random(rng: np.random.Generator, count: int) -> tuple[np.ndarray, list[dict]]:
    """A map of blocks, most of them segments."""
    coarse = rng.integers(0, count + 1, (4, 4))
    ids = np.repeat(np.repeat(coarse, 6, axis=0), 6, axis=1).astype(np.int64)
    present = [segment for segment in range(1, count + 1) if (ids == segment).any()]
    infos = [_info(segment, int(rng.choice([7, 7, 9, 30])), score=float(rng.random())) for segment in present]
    return ids, infos


def _near(rng: np.random.Generator, ids: np.ndarray, infos: list[dict]) -> tuple[np.ndarray, list[dict]]:
    """A prediction that resembles a truth: moved by a few pixels, some classes changed."""
    moved = np.roll(ids, int(rng.integers(0, 4)), axis=int(rng.integers(0, 2)))
    kept = [
        _info(info["id"], info["category_id"] if rng.random() < 0.8 else 9, score=round(float(rng.random()), 3))
        for info in infos
        if (moved == info["id"]).any()
    ]
    return moved, kept


@pytest.fixture(scope="module")
def scenes():
    rng = np.random.default_rng(5)
    found = []
    for number in range(30):
        ids, infos = _random(rng, 6)
        if number % 3 == 0 and infos:
            infos[0]["iscrowd"] = 1
        found.append(((ids, infos), _near(rng, ids, infos)))
    return found


def _plain_quality(scenes) -> float:
    """PQ over boolean masks, pair by pair, as its paper defines it."""
    sums = {category["id"]: [0.0, 0, 0, 0] for category in CLASSES}
    for (true, true_infos), (said, said_infos) in scenes:
        found_true, found_said = set(), set()
        for one in true_infos:
            for other in said_infos:
                if one.get("iscrowd") or one["category_id"] != other["category_id"]:
                    continue
                first, second = true == one["id"], (said == other["id"]) & (true != VOID)
                overlap = (first & second).sum() / (first | second).sum()
                if overlap > 0.5:
                    sums[one["category_id"]][0] += overlap
                    sums[one["category_id"]][1] += 1
                    found_true.add(one["id"])
                    found_said.add(other["id"])
        for one in true_infos:
            if not one.get("iscrowd") and one["id"] not in found_true:
                sums[one["category_id"]][3] += 1
        crowds = {one["category_id"]: one["id"] for one in true_infos if one.get("iscrowd")}
        for other in said_infos:
            if other["id"] in found_said:
                continue
            mask = said == other["id"]
            excused = mask & ((true == VOID) | (true == crowds.get(other["category_id"], VOID)))
            if excused.sum() / mask.sum() <= 0.5:
                sums[other["category_id"]][2] += 1
    quality = [total / (tp + fp / 2 + fn / 2) for total, tp, fp, fn in sums.values() if tp + fp + fn]
    return sum(quality) / len(quality)


def test_quality_agrees_with_plain_masks(scenes, tmp_path) -> None:
    report = _report(tmp_path, [true for true, _ in scenes], [said for _, said in scenes])
    assert 0.2 < report.values["PQ"] < 0.9
    assert report.values["PQ"] == pytest.approx(_plain_quality(scenes), abs=1e-12)


def test_pixels_agree_with_plain_masks(scenes, tmp_path) -> None:
    report = _report(tmp_path, [true for true, _ in scenes], [said for _, said in scenes])
    both, either = dict.fromkeys((7, 9, 30), 0), dict.fromkeys((7, 9, 30), 0)
    for (true, true_infos), (said, said_infos) in scenes:
        counted = np.isin(true, [info["id"] for info in true_infos if not info.get("iscrowd")])
        for category in both:
            first, second = (
                np.isin(ids, [info["id"] for info in infos if info["category_id"] == category]) & counted
                for ids, infos in ((true, true_infos), (said, said_infos))
            )
            both[category] += (first & second).sum()
            either[category] += (first | second).sum()
    assert report.values["mIoU"] == pytest.approx(np.mean([both[c] / either[c] for c in both]), abs=1e-12)


def test_precision_of_masks_agrees_with_pycocotools(scenes, tmp_path, capsys) -> None:
    def encoded(ids: np.ndarray, segment: int) -> dict:
        found = coco_mask.encode(np.asfortranarray(ids == segment).astype(np.uint8))
        return {"size": found["size"], "counts": found["counts"].decode()}

    truth = {"images": [], "annotations": [], "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}]}
    given = []
    for number, ((true, true_infos), (said, said_infos)) in enumerate(scenes):
        truth["images"].append({"id": number, "height": 24, "width": 24})
        for info in true_infos:
            if info["category_id"] != 30:
                area, place = int((true == info["id"]).sum()), len(truth["annotations"]) + 1
                row = {"id": place, "image_id": number, "category_id": info["category_id"], "area": area}
                crowd = {"iscrowd": info.get("iscrowd", 0), "bbox": [0, 0, 1, 1]}
                truth["annotations"].append({**row, **crowd, "segmentation": encoded(true, info["id"])})
        given += [
            {"image_id": number, "category_id": info["category_id"], "score": info["score"]}
            | {"segmentation": encoded(said, info["id"])}
            for info in said_infos
            if info["category_id"] != 30
        ]
    coco = COCO()
    coco.dataset = {"info": {}, **truth}
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(given), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    capsys.readouterr()
    report = _report(tmp_path, [true for true, _ in scenes], [said for _, said in scenes])
    assert 0.05 < report.values["mAP"] < 0.9
    assert report.values["mAP"] == pytest.approx(evaluation.stats[0], abs=1e-9)


def test_the_command_reads_the_public_files(scenes, tmp_path, capsys) -> None:
    truth, said = (_write(tmp_path, side, [scene[place] for scene in scenes]) for place, side in enumerate(("t", "s")))
    options = ["--set", f"segments={tmp_path / 't'}", "--set", f"predicted={tmp_path / 's'}"]
    assert main(["eval", str(said), str(truth), "--metric", "panoptic", *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["values"]["PQ"] == pytest.approx(_plain_quality(scenes))
    assert main(["eval", "--compare", str(said), str(said), str(truth), "--metric", "panoptic", *options]) == 0
    assert "PQ" in capsys.readouterr().out
    compare = ["eval", "--compare", str(said), str(said), str(truth), "--metric", "panoptic", *options, "--json"]
    assert main(compare) == 0
    assert json.loads(capsys.readouterr().out)["values"]["PQ"] == {
        "a": found["values"]["PQ"],
        "b": found["values"]["PQ"],
        "difference": 0.0,
        "low": None,
        "high": None,
    }
    assert main(["eval", str(said), str(truth), "--metric", "panoptic", *options, "--bootstrap", "10"]) == 0
    assert "no mean over questions, and without an interval: PQ" in capsys.readouterr().out


def test_what_is_not_as_it_should_be_is_counted(tmp_path) -> None:
    true = np.ones((4, 4), np.int64)
    same = [_info(1, 7)]
    said = [
        (true, [_info(1, 7), _info(5, 7), _info(1, 7), _info(2, 8), {"id": "x"}]),
        (np.ones((4, 5), np.int64), same),
        (np.full((4, 4), 3), []),
    ]
    report = _report(tmp_path, [(true, same)] * 5, said)
    assert report.values["PQ"] == pytest.approx(1 / (1 + 4 / 2))  # one found, four missed
    assert dict(report.images_skipped) == {
        "predicted segment without a pixel": 1,
        "predicted segment whose id occurred before": 1,
        "predicted segment without an id, or of no class, counted as void": 2,
        "predicted map of another size than the true one, left out": 1,
        "predicted map with ids that are none of its segments, counted as void": 1,
        "question without a prediction, counted as wrong": 2,
    }


def test_a_map_outside_of_the_folder_is_left_out_and_said(tmp_path) -> None:
    true = np.ones((4, 4), np.int64)
    _write(tmp_path, "said", [(true, [_info(1, 7)])])
    truth = _write(tmp_path, "true", [(true, [_info(1, 7)])])
    data = json.loads((tmp_path / "said.json").read_text())
    data["annotations"][0]["file_name"] = "../true/0.png"
    (tmp_path / "said.json").write_text(json.dumps(data))
    task = PanopticTask(PanopticOptions(truth, tmp_path / "true", predicted=tmp_path / "said"))
    report = task.evaluate(task.read_predictions(tmp_path / "said.json"))
    assert report.values["PQ"] == 0.0
    assert any("leaves its root" in note for note in report.notes)
    (tmp_path / "said.json").write_text("[]")
    with pytest.raises(TaskFileError, match="predicted panoptic file"):
        task.read_predictions(tmp_path / "said.json")


def test_labels_in_words_are_mapped_to_classes(tmp_path) -> None:
    true = np.ones((4, 4), np.int64)
    said = [{"id": 1, "label": "Cat", "score": 0.5}]
    assert _report(tmp_path, [(true, [_info(1, 7)])], [(true, said)]).values["PQ"] == 1.0
