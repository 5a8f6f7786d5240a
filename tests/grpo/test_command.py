"""`sgforge reward` on files as people have them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from grpo.graphs import said, sample

from sgforge.cli.main import main
from sgforge.jsonl import dump_sample, write_jsonl

TRUTH = sample([("cup", (10, 10, 30, 50)), ("table", (0, 40, 100, 100))], [(0, "on", 1)])
GOOD = said([("cup.1", (100, 100, 300, 500)), ("table.2", (0, 400, 1000, 1000))], [("cup.1", "on", "table.2")])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    completions, truth = tmp_path / "completions.jsonl", tmp_path / "truth.jsonl"
    lines = [{"image_id": "a", "completion": text} for text in (GOOD, GOOD.replace('"on"', '"under"'), "no idea")]
    completions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_jsonl([TRUTH], truth)
    return completions, truth


def test_every_completion_is_scored(files, capsys):
    assert main(["reward", *map(str, files), "--preset", "hard", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [one["total"] for one in report["completions"]] == [6.0, 1.0, 0.0]
    assert report["mean"] == pytest.approx(7 / 3)
    assert (report["images"], report["answers"], report["unreadable"], report["faults"]) == (1, 3, 1, {"unreadable": 1})
    assert report["completions"][0]["relations"] == [["cup", "on", "table", 5.0]]


def test_people_get_means_and_faults(files, capsys):
    assert main(["reward", *map(str, files)]) == 0
    out = capsys.readouterr().out
    assert "3 answers about 1 image: hard 2.3333 of 0 to 6" in out
    assert "1x unreadable" in out


def test_graph_lines_and_other_units_count_too(files, tmp_path, capsys):
    completions, truth = files
    pixels = said([("cup.1", (10, 10, 30, 50)), ("table.2", (0, 40, 100, 100))], [("cup.1", "on", "table.2")])
    completions.write_text(json.dumps({"image_id": "a", "text": pixels}) + "\n" + dump_sample(TRUTH).decode() + "\n")
    assert main(["reward", str(completions), str(truth), "--preset", "f1", "--boxes", "pixels", "--json"]) == 0
    assert [one["total"] for one in json.loads(capsys.readouterr().out)["completions"]] == [1.0, 1.0]
    seen = said([("cup.1", (50, 20, 150, 100)), ("table.2", (0, 80, 500, 200))], [("cup.1", "on", "table.2")])
    completions.write_text(json.dumps({"image_id": "a", "response": seen, "processed": [500, 200]}) + "\n")
    assert main(["reward", str(completions), str(truth), "--boxes", "processed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"] == 6.0


@pytest.mark.parametrize(
    ("line", "options", "told"),
    [
        ('{"image_id": "b", "completion": ""}', [], "image 'b' is not in the truth"),
        ('{"completion": ""}', [], 'has no "image_id"'),
        ('{"image_id": "a"}', [], "has no text of a model"),
        ('{"image_id": "a", "completion": "", "processed": [0, 1]}', [], '"processed" must be [width, height]'),
        ("{", [], "completions.jsonl:1"),
        ('{"image_id": "a", "completion": ""}', ["--preset", "hart"], "hard"),
        ('{"image_id": "a", "completion": ""}', ["--set", "iou=0"], "iou"),
        ('{"image_id": "a", "completion": ""}', ["--set", "modus=1"], "mode"),
        ('{"image_id": "a", "completion": ""}', ["--set", "similarity=exakt"], "choose exact, normal, lemma"),
        ('{"image_id": "a", "completion": ""}', ["--preset", "gate", "--set", 'rewards=["f1"]'], "in a pipeline"),
    ],
)  # fmt: skip
def test_faults_say_what_to_do(files, capsys, line, options, told):
    completions, truth = files
    completions.write_text(line + "\n")
    assert main(["reward", str(completions), str(truth), *options]) in (1, 2)
    assert told in capsys.readouterr().err


def test_the_plugin_is_light():
    script = (
        "import sgforge_grpo, sys; print([m for m in ('numpy', 'torch', 'orjson', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
