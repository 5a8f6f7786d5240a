"""What the commands show of judge and editor: a run's report, `sgforge calibrate` and `sgforge diff`; over a socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sgforge.cli.main import main
from sgforge.dataset import Dataset
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest, FakeSettings

P_YES = {"holding": 0.9, "wearing": 0.7, "lighting": 0.4, "chasing": 0.1}
CONFIG = """
dataset = "runs/park"
[source]
use = "jsonl"
graphs = "given.jsonl"
[[step]]
filter = "vqa"
name = "vqa"
model = "compat/judge"
probe_rate = 0.0
[models."compat/judge"]
base_url = "{url}"
"""


def judge(request: FakeRequest) -> FakeAnswer:
    predicate = next(word for word in P_YES if f'"predicate":"{word}"' in request.text)
    yes = P_YES[predicate]
    return FakeAnswer("yes", tokens={"yes": yes, "no": 1 - yes})


@pytest.fixture
def park(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An image with four relations, in given.jsonl; its line."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save("park.png")
    regions = [{"label": "boy", "box": [0, 0, 20, 20]}, {"label": "lamp", "box": [30, 30, 50, 50]}]
    rows = [{"subject": 0, "predicate": predicate, "object": 1, "category": "functional"} for predicate in P_YES]
    line = {
        "image_id": "park",
        "width": 64,
        "height": 64,
        "uri": "here:park.png",
        "regions": regions,
        "relations": rows,
    }
    Path("given.jsonl").write_text(json.dumps(line) + "\n")
    return line


@pytest.fixture
def filtered(park: dict[str, Any]) -> Callable[..., Path]:
    """Filters the image; gives a function that writes labels, by predicate."""
    with FakeProvider(judge, FakeSettings(latency_s=0.0)) as fake:
        Path("p.toml").write_text(CONFIG.format(url=fake.openai_url))
        assert main(["run", "p.toml", "--root", "here=."]) == 0

    def label(**right: bool) -> Path:
        chosen = [
            {**row, "status": "kept" if right[row["predicate"]] else "rejected"}
            for row in park["relations"]
            if row["predicate"] in right
        ]
        Path("labels.jsonl").write_text(json.dumps({**park, "relations": chosen}) + "\n")
        return Path("labels.jsonl")

    return label


def test_precision_and_recall_at_each_threshold(
    filtered: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    labels = filtered(holding=True, wearing=False, lighting=True, chasing=False)
    capsys.readouterr()
    assert main(["calibrate", "runs/park@main", str(labels)]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()[2:]] == [
        ["0.100", "0.500", "1.000", "100.0%"],
        ["0.400", "0.667", "1.000", "75.0%", "best", "F1"],
        ["0.700", "0.500", "0.500", "50.0%"],
        ["0.900", "1.000", "0.500", "25.0%"],
    ]
    assert err == ""
    assert main(["calibrate", "runs/park", str(labels), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["relations"] == 4
    assert found["best_threshold"] == pytest.approx(0.4)


def test_labels_that_only_repeat_the_judge_are_remarked(
    filtered: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    labels = filtered(holding=True, wearing=True, lighting=False)
    capsys.readouterr()
    assert main(["calibrate", "runs/park", str(labels)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("3 labelled relations\n")
    assert err == "sgforge: labels.jsonl: all labels are the judge's own verdicts; did a person set them?\n"


def test_labels_without_a_right_relation_or_of_another_image_are_refused(
    filtered: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["calibrate", "runs/park", str(filtered(chasing=False))]) == 2
    assert "1 of its relations were judged by step 'vqa' and none is labelled right" in capsys.readouterr().err
    labels = filtered(holding=True)
    assert main(["calibrate", "runs/park", str(labels), "--step", "other"]) == 2
    assert "0 of its relations were judged by step 'other'" in capsys.readouterr().err
    labels.write_text(labels.read_text().replace('"park"', '"beach"'))
    assert main(["calibrate", "runs/park", str(labels)]) == 2
    assert "image 'beach' is not in the dataset" in capsys.readouterr().err


def test_degrees_are_what_the_judge_gave_and_scores_stay_empty(filtered: Callable[..., Path]) -> None:
    rows = Dataset.open("runs/park")["park"].graph.all.relations
    assert {row.predicate: (row.degree, row.status, row.score) for row in rows} == {
        "holding": (pytest.approx(0.9), "kept", None),
        "wearing": (pytest.approx(0.7), "kept", None),
        "lighting": (pytest.approx(0.4), "rejected", None),
        "chasing": (pytest.approx(0.1), "rejected", None),
    }


@pytest.mark.parametrize("machine", [False, True])
def test_a_judge_that_says_yes_to_everything_is_reported_by_the_run(
    machine: bool, park: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(park["relations"]) == 4
    with FakeProvider(lambda _: FakeAnswer("Yes"), FakeSettings(latency_s=0.0)) as fake:
        Path("p.toml").write_text(CONFIG.format(url=fake.openai_url).replace("probe_rate = 0.0", "probe_rate = 1.0"))
        command = ["run", "p.toml", "--root", "here=.", *(["--json"] if machine else [])]
        assert main(command) == 0
    out = capsys.readouterr().out
    said = json.loads(out)["steps"]["vqa"]["notes"] if machine else [line.strip() for line in out.splitlines()]
    assert sum("it says yes to almost anything, do not trust its verdicts" in line for line in said) >= 1
    assert "judge gave no probability for 8 answers: their yes or no was taken as P(yes) of 1 or 0" in said
    if machine:
        faults = json.loads(out)["steps"]["vqa"]["faults"]
        assert faults.pop("no-probability") == 8
        assert sum(faults.values()) == 4
        assert set(faults) <= {"probe-absent-yes", "probe-swapped-yes"}


EDIT = """
dataset = "runs/edited"
[source]
use = "jsonl"
graphs = "given.jsonl"
[[step]]
edit = "svg"
scope = "all"
model = "compat/editor"
[models."compat/editor"]
base_url = "{url}"
"""


def test_diff_shows_what_an_editor_removed_added_and_sharpened(
    park: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    park["regions"][0] |= {"descriptions": ["a boy"], "attributes": ["young", "sad"]}
    Path("given.jsonl").write_text(json.dumps(park) + "\n")
    answer = {
        "remove": [{"relation": 4, "reason": "not-visible", "explanation": "no one runs"}],
        "add": [{"subject": 2, "predicate": "Standing\u202e by\x1b", "object": 1, "category": "spatial"}],
        "descriptions": [{"region": 1, "description": "a boy who holds a lamp"}],
        "attributes": [{"region": 1, "attributes": ["young", "barefoot"]}],
    }
    with FakeProvider(lambda _: FakeAnswer(json.dumps(answer)), FakeSettings(latency_s=0.0)) as fake:
        Path("p.toml").write_text(EDIT.format(url=fake.openai_url))
        assert main(["run", "p.toml", "--root", "here=."]) == 0
    given = next(meta for meta in Dataset.open("runs/edited").log() if meta.step.name == "source")
    capsys.readouterr()
    assert main(["diff", f"runs/edited@{given.snapshot_id}", "runs/edited"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "park (changed)",
        "  - boy(0) chasing lamp(1)  (not-visible, by edit)",
        "  + lamp(1) standing by boy(0)",
        '  ~ boy(0): descriptions +"a boy who holds a lamp", attributes -"sad" +"barefoot"',
        "1 image changed, 1 relation added, 1 region changed, 1 relation changed, 1 relation rejected",
    ]
