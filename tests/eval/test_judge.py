"""Names matched by a judge: asked once through the gateway, kept in a file, scored again without a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eval.graphs import CUP, FAR, TABLE, line, region, relation, write

from sgforge.cli.main import main
from sgforge.errors import ConfigError
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider
from sgforge_eval import score
from sgforge_eval.tasks import judging
from sgforge_eval.tasks.ask import Asking
from sgforge_eval.tasks.judging import judge_names
from sgforge_eval.vocabulary_files import Verdict, read_verdicts, vocabulary_digest

SAME = {"mug": "cup", "desk": "table", "standing upon": "on"}
"""What the judge knows; all else is none."""


def judge(request) -> FakeAnswer:
    """Answers with the number under which the question lists what it knows."""
    name = request.text.split('"')[1]
    listed = dict(reversed(row.split(". ", 1)) for row in request.text.splitlines()[1:-1])
    return FakeAnswer(listed.get(SAME.get(name, ""), "0"))


@pytest.fixture
def graphs(tmp_path: Path) -> tuple[Path, Path]:
    """Truth: a cup on a table, and a chair. Said: a mug standing upon a desk, and a gizmo above the desk."""
    truth = line("a", [region("cup", CUP), region("table", TABLE), region("chair", FAR)], [relation(0, "on", 1)])
    regions = [region("mug", CUP), region("desk", TABLE), region("gizmo", FAR)]
    rows = [relation(0, "standing upon", 1, score=0.9), relation(2, "above", 1, score=0.5)]
    return write(tmp_path / "said.jsonl", line("a", regions, rows)), write(tmp_path / "truth.jsonl", truth)


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setenv("SGFORGE_COMPAT_API_KEY", "x")
    with FakeProvider(script=judge) as server:
        yield server


def test_a_judge_is_asked_once_and_anybody_scores_again_for_nothing(graphs, fake, tmp_path, capsys) -> None:
    verdicts, plain = tmp_path / "verdicts.jsonl", ["eval", *map(str, graphs), "--json"]
    judged = [*plain, "--match", "judge", "--verdicts", str(verdicts)]
    paid = [*judged, "--judge", "compat/m", "--base-url", fake.openai_url, "--responses", str(tmp_path / "r.sqlite")]
    assert main(paid) == 0
    first = json.loads(capsys.readouterr().out)
    assert fake.ledger.answered == 5  # mug, desk, gizmo; standing upon, above
    # One of two listed triplets is right, the other has a predicate that no name of the truth says.
    assert first["values"]["R@20"] == 1.0
    assert first["values"]["P@20"] == 0.5
    assert first["values"]["oneF1@20"] == pytest.approx(2 / 3)
    assert first["values"]["invalid_rate@20"] == 0.5
    assert (first["values"]["node_P"], first["values"]["node_R"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert first["values"]["node_invalid_rate"] == pytest.approx(1 / 3)
    assert any("labels" in note and "2 by the judge" in note for note in first["notes"])
    assert main(paid) == 0
    assert fake.ledger.answered == 5
    assert json.loads(capsys.readouterr().out) == first
    # With the file alone: no model, no answers of one.
    (tmp_path / "r.sqlite").unlink()
    assert main(judged) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert fake.ledger.answered == 5
    assert score(*graphs, matching="judge", verdicts=verdicts).values == first["values"]
    # And strictly nothing of it is right.
    assert main(plain) == 0
    assert json.loads(capsys.readouterr().out)["values"]["P@20"] == 0.0


def test_only_names_without_a_verdict_are_asked_about(graphs, fake, tmp_path, capsys) -> None:
    verdicts = tmp_path / "verdicts.jsonl"
    labels = vocabulary_digest(["chair", "table", "cup"])
    rows = [
        {"kind": "labels", "name": "mug", "means": "chair", "among": labels, "judge": "somebody"},
        {"kind": "labels", "name": "desk", "means": "chair", "among": vocabulary_digest(["chair"]), "judge": "x"},
    ]
    verdicts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["eval", *map(str, graphs), "--match", "judge", "--verdicts", str(verdicts), "--judge", "compat/m"]
    arguments += ["--base-url", fake.openai_url, "--responses", str(tmp_path / "r.sqlite"), "--json"]
    assert main(arguments) == 0
    # The verdict on "mug" stands; that on "desk" is about another vocabulary.
    assert fake.ledger.answered == 4
    assert json.loads(capsys.readouterr().out)["values"]["R@20"] == 0.0
    kept = read_verdicts(verdicts)
    assert [one.name for one in kept] == ["mug", "desk", "desk", "gizmo", "above", "standing upon"]
    assert {one.judge for one in kept[2:]} == {"compat/m"}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("2", "table"),
        ("2. table", "table"),
        ("Table.", "table"),
        ("0", None),
        ("The answer is 1", "cup"),
        ("None of them.", None),
    ],
)
def test_clear_replies_are_read(reply, said, fake, tmp_path) -> None:
    fake.script = lambda request: FakeAnswer(reply)
    asking = Asking("compat/m", responses=tmp_path / "r.sqlite", base_url=fake.openai_url)
    assert judge_names(["desk"], ["cup", "table"], "labels", asking) == {"desk": said}


@pytest.mark.parametrize("reply", ["", "1 or 2", "3", "-1 or none", "-"])
def test_what_is_not_clear_is_no_verdict(reply, fake, tmp_path) -> None:
    fake.script = lambda request: FakeAnswer(reply)
    asking = Asking("compat/m", responses=tmp_path / "r.sqlite", base_url=fake.openai_url)
    assert judge_names(["desk"], ["cup", "table"], "labels", asking) == {}


def test_a_large_vocabulary_is_asked_in_blocks_and_their_winners_once_more(fake, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(judging, "_AT_ONCE", 2)
    seen = []

    def script(request):
        seen.append([row.split(". ", 1)[1] for row in request.text.splitlines()[1:-1]])
        return FakeAnswer("0" if "cup" in seen[-1] else str(len(seen[-1])))

    fake.script = script
    asking = Asking("compat/m", responses=tmp_path / "r.sqlite", base_url=fake.openai_url)
    assert judge_names(["x"], ["cup", "a", "b", "c", "d"], "labels", asking) == {"x": "d"}
    assert sorted(seen) == [["b", "c"], ["c", "d"], ["cup", "a"], ["d"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--match", "judge"], "give --verdicts FILE, and --judge MODEL to ask"),
        (["--match", "judge", "--verdicts", "none.jsonl"], "holds no verdict: name a model to ask with --judge"),
        (["--verdicts", "v.jsonl"], "--verdicts works only with --match judge"),
        (["--judge", "compat/m"], "--judge works only with --match judge"),
        (["--match", "judge", "--verdicts", "broken.jsonl"], "verdicts file broken.jsonl, line 1"),
        (["--match", "judge", "--verdicts", "odd.jsonl"], "kind is 'words'"),
    ],
)
def test_wrong_options_say_what_to_do(arguments, message, graphs, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.jsonl").write_text("{\n")
    Path("odd.jsonl").write_text('{"kind": "words", "name": "a", "means": null, "among": "b", "judge": "c"}\n')
    assert main(["eval", *map(str, graphs), *arguments]) == 2
    assert message in capsys.readouterr().err
    with pytest.raises(ConfigError, match="belong together"):
        score(*graphs, matching="judge")


def test_a_digest_names_a_vocabulary_whatever_its_order() -> None:
    assert vocabulary_digest(["a", "b"]) == vocabulary_digest(["b", "a"]) != vocabulary_digest(["a"])
    assert Verdict(kind="labels", name="a", means=None, among="b", judge="c").means is None
