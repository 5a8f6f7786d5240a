"""`sgforge eval` and `sgforge quality` as processes and in-process: output, options, errors."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from eval.graphs import line, region, relation, write
from PIL import Image
from support.waiting import LONGEST

from sgforge.cli.main import main
from sgforge.columns import GraphColumns
from sgforge.dataset import DatasetWriter
from sgforge.graph import Region, Relation, SceneGraph
from sgforge.jsonl import read_columns
from sgforge.stages import Failure, Judged, Ranking
from sgforge.statekey import KEY_BYTES
from sgforge_eval.config import RecallOptions
from sgforge_eval.pipeline.evaluators import SgdetEvaluator

ON = [relation(0, "on", 1), relation(2, "near", 1)]


@pytest.fixture
def files(tmp_path):
    truth = write(tmp_path / "truth.jsonl", *(line(name, None, ON) for name in "abcd"))
    said = write(tmp_path / "said.jsonl", *(line(name, None, ON[: 1 + (name > "b")]) for name in "abcd"))
    return str(said), str(truth)


def test_the_json_object(files, capsys) -> None:
    assert main(["eval", *files, "--metric", "sgdet", "--convention", "sgb", "--k", "20,50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"metric", "convention", "localization", "values", "per_predicate", "images"} <= found.keys()
    assert (found["metric"], found["convention"], found["localization"]) == ("sgdet", "sgb", "box")
    assert found["values"]["R@20"] == 0.75
    assert found["values"]["failure_rate"] == 0.0
    assert "R@100" not in found["values"]
    assert found["per_predicate"]["near"]["R@50"] == 0.5
    assert found["images"] == {"used": 4, "skipped": {}}
    assert found["per_category"] == {"unknown": {"images": 4, "R@20": 0.75, "R@50": 0.75}}
    assert found["predicates"] == ["near", "on"]
    assert found["counted"] == {}


def test_the_json_object_counts_by_reason(files, tmp_path, capsys) -> None:
    _, truth = files
    said = write(tmp_path / "p", line("a", None, ON), line("b", None, [relation(0, "on", 9)]), line("c", failed="no"))
    assert main(["eval", str(said), truth, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counted"] == {
        "failed prediction: no": 1,
        "prediction: relation with a region index out of range": 1,
        "truth: image without a prediction": 1,
    }


def test_a_pipe_is_read_like_a_file(files, tmp_path, capsys) -> None:
    said, truth = files
    read, written = os.pipe()
    with os.fdopen(written, "wb") as stream:
        stream.write(Path(said).read_bytes())
    assert main(["eval", f"/dev/fd/{read}", truth, "--json"]) == 0
    os.close(read)
    piped = capsys.readouterr().out
    assert main(["eval", said, truth, "--json"]) == 0
    assert piped == capsys.readouterr().out


def test_a_process_prints_the_convention_and_the_vocabulary(files) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sgforge", "eval", *files], capture_output=True, text=True, check=True, timeout=LONGEST
    )
    assert "convention sgforge: plain IoU >= 0.5" in done.stdout
    assert "mean recall over 2 predicates: near, on" in done.stdout
    assert "4 images or questions used" in done.stdout


def test_tables_as_markdown_and_csv(files, capsys) -> None:
    assert main(["eval", *files, "--format", "markdown"]) == 0
    assert "| R  " in capsys.readouterr().out
    assert main(["eval", *files, "--format", "csv", "--per-predicate"]) == 0
    output = capsys.readouterr()
    rows = list(csv.reader(io.StringIO(output.out)))
    assert ["R", "0.75", "0.75", "0.75", "", "sgforge"] in rows
    assert any(row[:1] == ["near"] and row[-1] == "sgforge" for row in rows)
    assert "4 images or questions used" in output.err
    assert "4 images or questions used" not in output.out


def test_plots(files, tmp_path) -> None:
    for suffix in ("svg", "png"):
        assert main(["eval", *files, "--plot", str(tmp_path / f"plot.{suffix}")]) == 0
    root = ElementTree.parse(tmp_path / "plot.svg").getroot()
    bars = [item for item in root.iter("{http://www.w3.org/2000/svg}rect") if item.get("height") != "100%"]
    assert {float(bar.get("width")) for bar in bars} == {420.0, 210.0}  # on: all found, near: half
    named = {item.text for item in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"R@20", "R@50", "R@100", "near", "on"} <= named
    assert (np.asarray(Image.open(tmp_path / "plot.png")) != 255).any()
    assert main(["eval", *files, "--plot", str(tmp_path / "plot.gif")]) == 2
    assert main(["eval", *files, "--plot", str(tmp_path / "nowhere" / "plot.svg")]) == 2


def test_compare(files, capsys) -> None:
    said, truth = files
    assert main(["eval", "--compare", said, truth, truth, "--bootstrap", "200", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["values"]["R@20"]["difference"] == 0.25
    assert found["values"]["R@20"]["low"] <= 0.25 <= found["values"]["R@20"]["high"]
    assert found["per_predicate"]["near"]["R@20"]["a"] == 0.5
    assert main(["eval", "--compare", said, truth, truth]) == 0
    assert "B - A, 95 % interval of 1000 paired resamples" in capsys.readouterr().out


def test_a_dataset_gives_the_numbers_of_its_file(files, tmp_path, capsys) -> None:
    for path, name in zip(files, ("said", "truth"), strict=True):
        columns = GraphColumns.concat(list(read_columns(path)))
        with DatasetWriter.open(tmp_path / name) as writer:
            keys = np.arange(len(columns) * KEY_BYTES, dtype=np.uint8).reshape(-1, KEY_BYTES)
            writer.move_branch("main", writer.publish_source(columns, keys))
    assert main(["eval", f"{tmp_path / 'said'}@main", str(tmp_path / "truth"), "--json"]) == 0
    from_dataset = json.loads(capsys.readouterr().out)
    assert main(["eval", *files, "--json"]) == 0
    assert from_dataset == json.loads(capsys.readouterr().out)
    assert main(["stats", str(tmp_path / "truth"), "--quality", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["values"]["triplets_per_image"] == 2.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "sgdett"], "sgdet"),
        (["--metric", "vrs"], "vsr"),
        (["--convention", "sgg"], "choose one of"),
        (["--k", "20,x"], "whole numbers"),
        (["--k", "0"], "1 or more"),
        (["--compare"], "A B GROUND_TRUTH"),
        (["--threshold", "0.5"], "--match"),
        (["--metric", "vsr", "--set", "splitt=x"], "no option"),
        (["--metric", "refcoco", "--set", "strict=maybe"], "true or false"),
        (["--metric", "refcoco", "--set", "scale=5"], "choose one of"),
        (["--metric", "vqa"], "also needs annotations"),
        (["--metric", "vsr", "--set", "split"], "KEY=VALUE"),
        (["--predicates", "/nowhere"], "cannot be read"),
        (["--convention", "oi", "--localization", "mask"], "no scores by mask"),
        (["--bootstrap", "-5"], "bootstrap = -5"),
        (["--set", "scale=999"], "--set works not with sgdet"),
        (["--ask", "openai/gpt-4o"], "--ask works not with sgdet"),
        (["--images", "photos"], "--images works only with --ask"),
        (["--metric", "vsr", "--convention", "sgb"], "--convention works not with vsr"),
        (["--metric", "vsr", "--budget", "3"], "--budget works only with --ask"),
        (["--compare", "--plot", "plot.svg"], "--plot works not with --compare"),
        (["--json", "--format", "csv"], "--format works not with --json"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(files, arguments, message, capsys) -> None:
    assert main(["eval", *files, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_names_with_escapes_are_shown_not_sent(tmp_path, capsys) -> None:
    bad = "on\x1b[31m\nx"
    path = str(write(tmp_path / "t", line("a\x1b", None, [relation(0, bad, 1)])))
    assert main(["eval", path, path, "--per-predicate"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_task_from_the_command(tmp_path, capsys) -> None:
    row = {"image": "x.jpg", "caption": "c", "label": 1, "relation": "on"}
    (tmp_path / "v.jsonl").write_text((json.dumps(row) + "\n") * 2)
    (tmp_path / "p.jsonl").write_text('{"id": 0, "answer": "yes"}\n{"id": 1, "answer": "no"}\n')
    assert main(["eval", str(tmp_path / "p.jsonl"), str(tmp_path / "v.jsonl"), "--metric", "vsr", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["values"]["accuracy"] == 0.5


def test_the_evaluator_of_a_pipeline_gives_the_same_numbers(files, capsys) -> None:
    assert main(["eval", *files, "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    regions = tuple(Region(name, tuple(box)) for name, box in zip(("cup", "table", "chair"), BOXES, strict=True))
    truth = SceneGraph(100, 100, regions, [Relation(0, "on", 1), Relation(2, "near", 1)])
    judged = []
    for name in "abcd":
        scores = np.array([[1, 0], [0, 1]], np.float32)[: 1 + (name > "b")]
        pairs = np.array([[0, 1], [2, 1]], np.int32)[: len(scores)]
        judged.append(Judged(name, truth, Ranking(regions, pairs, ("on", "near"), scores)))
    report = SgdetEvaluator(RecallOptions(bootstrap=0)).evaluate(judged)
    assert dict(report.values) == pytest.approx(expected["values"])
    assert report.images_used == 4
    failing = [*judged[:3], Judged("d", truth, Failure("refused"))]
    report = SgdetEvaluator(RecallOptions(bootstrap=50)).evaluate(iter(failing))
    assert report.values["failure_rate"] == 0.25
    assert report.values["R@20"] == pytest.approx((0.5 + 0.5 + 1 + 0) / 4)
    low, high = next((row["low"], row["high"]) for row in report.tables["interval"] if row["metric"] == "R@20")
    assert low <= report.values["R@20"] <= high


BOXES = ([0, 0, 10, 10], [0, 10, 60, 60], [80, 80, 90, 90])


def test_the_command_module_is_light() -> None:
    code = "import sys, sgforge_eval, sgforge_eval.config; "
    code += "print([name for name in ('numpy', 'PIL', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LONGEST)
    assert done.stdout.strip() == "[]"


def test_quality_as_a_command(tmp_path, capsys) -> None:
    path = write(tmp_path / "g.jsonl", line("a", [region("x", [0, 0, 5, 5]), region("y", [50, 0, 60, 5])], ON[:1]))
    assert main(["quality", str(path)]) == 0
    assert "predicate_entropy_bits" in capsys.readouterr().out


def test_a_truth_without_a_whole_line_says_where_it_breaks(tmp_path, capsys) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"image_id":"a","width":10,')
    assert main(["eval", str(broken), str(broken)]) == 1
    said = capsys.readouterr().err
    assert "1 x truth: line that is no JSON (first: line 1: " in said
    assert said.count("\n") == 1


def test_a_task_without_a_question_is_no_accuracy_of_0(tmp_path, capsys) -> None:
    (tmp_path / "q.json").write_text("{}")
    write(tmp_path / "a.jsonl", {"id": "1", "answer": "yes"})
    assert main(["eval", str(tmp_path / "a.jsonl"), str(tmp_path / "q.json"), "--metric", "gqa"]) == 2
    assert "q.json holds no question to score" in capsys.readouterr().err


@pytest.mark.parametrize(
    "points", ["{}", "[]", '[{"name": "a", "cost": -1, "recall": 0.5}]', '[{"name": "a", "cost": 1, "recall": 50}]']
)
def test_points_that_cannot_be_drawn_are_refused(points, tmp_path, capsys) -> None:
    (tmp_path / "p.json").write_text(points)
    plot = tmp_path / "c.svg"
    assert main(["eval", "--chart", "cost", str(tmp_path / "p.json"), "--plot", str(plot)]) == 2
    assert "must be a JSON list" in capsys.readouterr().err
    assert not plot.exists()


def test_arrays_that_are_none_are_refused_without_advice_to_load_them_all_the_same(tmp_path, capsys) -> None:
    truth = write(tmp_path / "t.jsonl", line("a", None, [relation(0, "on", 1)]))
    (tmp_path / "noise.npz").write_bytes(bytes(range(256)))
    np.savez(tmp_path / "objects.npz", ids=np.array([{"a": 1}], object))
    for name, message in (("noise", "it is no .npz file"), ("objects", "it holds objects, which are not loaded")):
        assert main(["eval", str(tmp_path / f"{name}.npz"), str(truth)]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert "allow_pickle" not in said


@pytest.mark.parametrize("arguments", [["{truth}", "--match", "lemma"], ["{said}", "--match", "judge"]])
def test_a_pipe_whose_names_are_looked_up_first_is_refused(arguments, tmp_path, capsys) -> None:
    """It can be read once: scored afterwards, it would hold nothing."""
    path = write(tmp_path / "t.jsonl", line("a", None, [relation(0, "on", 1)]))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    files = [path, pipe] if "truth" in arguments[0] else [pipe, path]
    more = ["--verdicts", str(tmp_path / "v.jsonl"), "--judge", "compat/m"] if "judge" in arguments else []
    assert main(["eval", *map(str, files), *arguments[1:], *more]) == 2
    assert "is a pipe, and its names are looked up first" in capsys.readouterr().err
