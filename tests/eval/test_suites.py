"""Tasks with intervals and paired differences, and the paper's tables as rows of a folder."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from eval.graphs import line, relation, write
from PIL import Image
from support.environment import ANNOTATIONS

from sgforge.cli.main import main
from sgforge.errors import ConfigError
from sgforge_eval.suites import SUITES, run_suite
from sgforge_eval.tasks.base import FileOptions, Predictions
from sgforge_eval.tasks.captions import SugarCrepeTask
from sgforge_eval.tasks.units import compare_answers, drawn_means, with_intervals
from sgforge_eval.tasks.vsr import VsrTask


def _vsr(folder: Path, right: int, total: int = 60) -> Path:
    """Statements that are all true; the first `right` answers say so."""
    folder.mkdir(parents=True, exist_ok=True)
    row = {"image": "x.jpg", "caption": "c", "label": 1, "relation": "on"}
    (folder / "questions.jsonl").write_text((json.dumps(row) + "\n") * total)
    answers = [{"id": str(number), "answer": "yes" if number < right else "no"} for number in range(total)]
    return write(folder / "predictions.jsonl", *answers)


def test_an_interval_is_that_of_resampled_questions(tmp_path) -> None:
    path = _vsr(tmp_path / "v", 45)
    answers = Predictions.read(path)
    report = with_intervals(VsrTask(FileOptions(tmp_path / "v/questions.jsonl")).evaluate(answers), answers, 4000)
    (row,) = report.tables["interval"]
    assert (row["metric"], row["value"]) == ("accuracy", 0.75)
    # A binomial share of 60: its standard error is sqrt(0.75 * 0.25 / 60) = 0.056.
    assert row["low"] == pytest.approx(0.75 - 1.96 * 0.0559, abs=0.02)
    assert row["high"] == pytest.approx(0.75 + 1.96 * 0.0559, abs=0.02)
    rng = np.random.default_rng(0)
    assert drawn_means([0.0, 1.0, 5.0], 2).tolist() == [
        np.array([0.0, 1.0, 5.0])[row].mean() for row in rng.integers(0, 3, (2, 3))
    ]


def test_every_unit_has_the_mean_that_is_reported() -> None:
    task = SugarCrepeTask(FileOptions(ANNOTATIONS / "sugarcrepe_replace_rel.json.gz"))
    answers = Predictions()
    for number, question in enumerate(task.questions()):
        answers.add({"id": question.id, "answer": "A" if number % 3 else "B"})
    report = task.evaluate(answers)
    assert set(answers.units) == {"accuracy", "both_orders"}
    for name, scores in answers.units.items():
        assert len(scores) == 1406
        assert np.mean(scores) == pytest.approx(report.values[name], abs=1e-12)


def test_two_answers_are_compared_by_question(tmp_path) -> None:
    one, two = _vsr(tmp_path / "a", 30), _vsr(tmp_path / "b", 45)
    task = VsrTask(FileOptions(tmp_path / "a/questions.jsonl"))
    (row, *others), reports = compare_answers(task, Predictions.read(one), Predictions.read(two), 2000)
    assert [(other.metric, other.units) for other in others] == [
        (name, 0) for name in ("precision", "recall", "F1", "failure_rate")
    ]
    assert all(math.isnan(other.low) and math.isnan(other.high) for other in others)
    assert (row.first, row.second, row.units) == (0.5, 0.75, 60)
    # 15 of 60 questions differ: the standard error is sqrt(0.25 * 0.75 / 60), whatever each side varies by itself.
    assert row.low == pytest.approx(0.25 - 1.96 * 0.0559, abs=0.02)
    assert row.high == pytest.approx(0.25 + 1.96 * 0.0559, abs=0.02)
    assert reports["B"].values["accuracy"] == 0.75


def test_intervals_and_comparisons_of_tasks_on_the_command_line(tmp_path, capsys) -> None:
    one, two = _vsr(tmp_path / "a", 10, 20), _vsr(tmp_path / "b", 15, 20)
    questions = str(tmp_path / "a/questions.jsonl")
    assert main(["eval", str(one), questions, "--metric", "vsr", "--bootstrap", "200", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["interval"]["accuracy"][0] < 0.5 < found["interval"]["accuracy"][1]
    assert "intervals over 20 questions: below 50, percentile intervals are too narrow" in found["notes"]
    assert main(["eval", "--compare", str(one), str(two), questions, "--metric", "vsr", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["values"]["accuracy"]
    assert (found["a"], found["b"], found["difference"]) == (0.5, 0.75, 0.25)
    assert main(["eval", "--compare", str(one), str(two), questions, "--metric", "vsr"]) == 0
    assert "B - A, 95 % interval of 1000 paired resamples" in capsys.readouterr().out


def _box_split(folder: Path, right: int) -> None:
    folder.mkdir(parents=True)
    head = {"text": "the cup", "bbox": [0, 0, 10, 10], "width": 20, "height": 20, "category": "val", "image": "x"}
    write(folder / "questions.jsonl", *({"question_id": str(number), **head} for number in range(4)))
    boxes = [{"id": str(n), "answer": "[0, 0, 10, 10]" if n < right else "(10,10),(20,20)"} for n in range(4)]
    write(folder / "predictions.jsonl", *boxes)


def test_table_3_has_both_averages_and_says_what_is_missing(tmp_path, capsys) -> None:
    splits = [column.folder for column in SUITES["svg-table3"].columns]
    for number, split in enumerate(splits):
        _box_split(tmp_path / split, number % 4 + 1)
    report = run_suite("svg-table3", tmp_path, draws=2000)
    shares = [(number % 4 + 1) / 4 for number in range(8)]
    assert [report.values[split] for split in splits] == shares
    assert report.values["average of all splits"] == pytest.approx(sum(shares) / 8)
    tests = [share for split, share in zip(splits, shares, strict=True) if "test" in split]
    assert len(tests) == 5
    assert report.values["average of test splits"] == pytest.approx(sum(tests) / 5)
    rows = {row["metric"]: row for row in report.tables["interval"]}
    assert set(rows) == {*splits, "average of all splits", "average of test splits"}
    # Splits of four questions each, resampled by themselves: the standard error of their average.
    error = math.sqrt(sum(share * (1 - share) / 4 for share in shares)) / 8
    average = rows["average of all splits"]
    assert average["high"] - average["low"] == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert average["low"] < average["value"] < average["high"]
    (tmp_path / "refcoco_val/predictions.jsonl").unlink()
    assert main(["eval", "--suite", "svg-table3", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "average of test splits" in found["values"]
    assert "average of all splits" not in found["values"]
    assert any(note.startswith("missing: refcoco_val: there is no ") for note in found["notes"])
    assert "missing: average of all splits: without refcoco_val" in found["notes"]


def test_table_2_runs_what_is_there(tmp_path, capsys) -> None:
    _vsr(tmp_path / "vsr", 45)
    (tmp_path / "sugarcrepe").mkdir()
    caption = {"filename": "x.jpg", "caption": "a", "negative_caption": "b"}
    (tmp_path / "sugarcrepe/questions.json").write_text(json.dumps({"0": caption}))
    write(
        tmp_path / "sugarcrepe/predictions.jsonl",
        {"id": "0#0", "answer": "Output (1)."},
        {"id": "0#1", "answer": "(1)"},
    )
    assert main(["eval", "--suite", "svg-table2", str(tmp_path), "--format", "markdown"]) == 0
    out = capsys.readouterr().out
    assert "| VSR" in out
    assert "missing: gqa" in out
    assert run_suite("svg-table2", tmp_path, draws=10).values == {"VSR": 0.75, "SugarCrepe": 0.5}


def test_table_4_takes_options_from_the_folder(tmp_path) -> None:
    (tmp_path / "lvis").mkdir()
    data = {"categories": [{"id": 1, "name": "big_dog"}], "annotations": [{"id": 7, "category_id": 1, "image_id": 1}]}
    (tmp_path / "lvis/questions.json").write_text(json.dumps(data))
    write(tmp_path / "lvis/predictions.jsonl", {"id": "7", "answer": "a dog"})
    report = run_suite("svg-table4", tmp_path, draws=0, encoder="")
    assert report.values == {"LVIS S-IoU": pytest.approx(1 / 3)}
    (tmp_path / "lvis/options.json").write_text('{"encodr": "x"}')
    assert any("did you mean 'encoder'" in note for note in run_suite("svg-table4", tmp_path, encoder="").notes)


def test_table_5_is_the_protocol_of_open_answers(tmp_path) -> None:
    (tmp_path / "psg").mkdir()
    write(tmp_path / "psg/truth.jsonl", line("a", None, [relation(0, "sitting on", 1)]))
    write(tmp_path / "psg/predictions.jsonl", line("a", None, [relation(0, "sits on", 1), relation(1, "under", 0)]))
    (tmp_path / "psg/predicates.txt").write_text("sitting on\nunder\n")
    report = run_suite("svg-table5", tmp_path, draws=20, encoder="")
    assert report.values == {"R@20": 1.0, "mR@20": 0.5, "# relations": 2.0}
    assert any("convention svg" in note for note in report.notes)


def test_suites_that_do_not_exist_are_said(tmp_path, capsys) -> None:
    with pytest.raises(ConfigError, match="did you mean 'svg-table3'"):
        run_suite("svg-tabel3", tmp_path)
    with pytest.raises(ConfigError, match="is no folder"):
        run_suite("svg-table2", tmp_path / "none")
    assert main(["eval", "--suite", "svg-table2", str(tmp_path), "--k", "20"]) == 2
    assert "--k works not with --suite" in capsys.readouterr().err


def test_table_4_takes_predicted_maps(tmp_path) -> None:
    folder = tmp_path / "ade20k"
    (folder / "segments").mkdir(parents=True)
    (folder / "predicted").mkdir()
    for name in ("segments", "predicted"):
        Image.new("RGB", (4, 4), (1, 0, 0)).save(folder / name / "a.png")
    info = {"id": 1, "category_id": 3, "area": 16}
    rows = {"annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": [info]}]}
    rows["categories"] = [{"id": 3, "name": "cat", "isthing": 1}]
    (folder / "questions.json").write_text(json.dumps(rows))
    (folder / "predictions.json").write_text(json.dumps(rows))
    report = run_suite("svg-table4", tmp_path, draws=0, encoder="")
    assert {name: report.values[name] for name in ("ADE20K PQ", "ADE20K mAP", "ADE20K mIoU")} == dict.fromkeys(
        ("ADE20K PQ", "ADE20K mAP", "ADE20K mIoU"), 1.0
    )
