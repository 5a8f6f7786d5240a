"""GQA, MMBench, SEED and RefCOCO asked with their images, and one blind model over several sets of graphs."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
from eval.graphs import line, relation, write
from PIL import Image

from sgforge.cli.main import main
from sgforge.errors import ConfigError
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider
from sgforge_eval.tasks import task_named
from sgforge_eval.tasks.ask import Asking, ask_task
from sgforge_eval.tasks.options import task_options

COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255)}


def _png(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 20), COLOURS[colour]).save(stream, "PNG")
    return stream.getvalue()


def _colour(request) -> str:
    """What colour the one picture of a request is."""
    (data,) = request.images
    pixel = Image.open(io.BytesIO(data)).convert("RGB").getpixel((1, 1))
    return next(name for name, value in COLOURS.items() if value == pixel)


def _letter(request) -> str:
    """The letter of the shown picture's colour among the choices of the question."""
    rows = [row.split(". ", 1) for row in request.text.splitlines() if row[1:3] == ". "]
    return next(letter for letter, choice in rows if choice == _colour(request))


def _box(request) -> str:
    assert "[x0, y0, x1, y1]" in request.text
    return "[0, 0, 1000, 500]" if "from 0 to 1000" in request.text else "[0, 0, 40, 10]"


def _gqa(folder: Path) -> Path:
    rows = {
        str(number): {"imageId": f"n{number}", "question": "Which colour?", "answer": colour, "isBalanced": True}
        for number, colour in enumerate(COLOURS)
    }
    for number, colour in enumerate(COLOURS):
        (folder / f"n{number}.jpg").write_bytes(_png(colour))  # a picture is read whatever its name says it is
    (folder / "q.json").write_text(json.dumps(rows))
    return folder / "q.json"


def _seed(folder: Path) -> Path:
    rows = [
        {"question_id": f"q{number}", "data_id": f"d{number}", "data_type": "image", "question": "Which colour?"}
        | {"choice_a": "red", "choice_b": "green", "choice_c": "blue", "choice_d": "grey", "answer": "AC"[number]}
        for number in range(2)
    ]
    for number, colour in enumerate(COLOURS):
        (folder / f"d{number}").write_bytes(_png(colour))
    (folder / "q.json").write_text(json.dumps({"questions": rows}))
    return folder / "q.json"


def _mmbench(folder: Path) -> Path:
    lines = ["index\tquestion\thint\tA\tB\tanswer\tcategory\timage"]
    for number, colour in enumerate(COLOURS):
        picture = base64.b64encode(_png(colour)).decode()
        lines.append(f"{number + 5}\tWhich colour?\t\tred\tblue\t{'AB'[number]}\tcolour\t{picture}")
    # A later row may name the row that holds its picture.
    lines.append("9\tWhich is it?\t\tblue\tred\tB\tcolour\t5")
    (folder / "q.tsv").write_text("\n".join(lines) + "\n")
    return folder / "q.tsv"


def _refcoco(folder: Path) -> Path:
    row = {"question_id": 1, "image": "a.png", "text": "the upper half", "bbox": [0, 0, 40, 10], "category": "val"}
    (folder / "a.png").write_bytes(_png("red"))
    (folder / "q.jsonl").write_text(json.dumps({**row, "width": 40, "height": 20}) + "\n")
    return folder / "q.jsonl"


CASES = {
    "gqa": (_gqa, _colour, 2, True),
    "seed": (_seed, _letter, 2, True),
    "mmbench": (_mmbench, _letter, 6, False),
    "refcoco": (_refcoco, _box, 1, True),
}


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setenv("SGFORGE_COMPAT_API_KEY", "x")
    with FakeProvider() as server:
        yield server


@pytest.mark.parametrize("name", CASES)
def test_a_model_that_looks_at_the_pictures_is_right(name, fake, tmp_path, capsys) -> None:
    make, look, count, has_folder = CASES[name]
    fake.script = lambda request: FakeAnswer(look(request))
    arguments = ["eval", "--ask", "compat/m", str(make(tmp_path)), "--metric", name, "--json"]
    arguments += ["--images", str(tmp_path)] if has_folder else []
    arguments += ["--base-url", fake.openai_url, "--responses", str(tmp_path / "r.sqlite")]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["values"]["accuracy"] == 1.0, found
    assert found["values"]["failure_rate"] == 0.0
    assert fake.ledger.answered == count
    assert main(arguments) == 0
    assert fake.ledger.answered == count  # kept


def test_boxes_are_asked_for_in_the_unit_in_which_they_are_scored(fake, tmp_path) -> None:
    fake.script = lambda request: FakeAnswer(_box(request))
    kind = task_named("refcoco")
    for scale in ("pixels", "1000"):
        task = kind(task_options(kind.options, "refcoco", _refcoco(tmp_path), [f"scale={scale}"]))
        asking = Asking("compat/m", tmp_path, responses=tmp_path / "r.sqlite", base_url=fake.openai_url)
        assert task.evaluate(ask_task(task, asking)).values["accuracy"] == 1.0, scale


def test_pictures_that_are_none_are_said(tmp_path) -> None:
    path = _mmbench(tmp_path)
    kind = task_named("mmbench")
    path.write_text(path.read_text().replace("\t5\n", "\t!!!\n"))
    with pytest.raises(ConfigError, match=r"q.tsv:4: image is no base64"):
        ask_task(kind(task_options(kind.options, "mmbench", path, [])), Asking("compat/m"))
    with pytest.raises(ConfigError, match="leave out --images"):
        ask_task(kind(task_options(kind.options, "mmbench", path, [])), Asking("compat/m", tmp_path))


@pytest.fixture
def study(tmp_path, fake) -> list[str]:
    """Two questions about two images; the model knows what the graph says, and "nowhere" else."""
    questions = {
        str(number): {"imageId": str(number), "question": "Where is the cup?", "answer": "table"} for number in range(2)
    }
    (tmp_path / "q.json").write_text(json.dumps(questions))
    both, none = ([relation(0, "on", 1)], [])
    write(tmp_path / "given.jsonl", line("0", None, none), line("1", None, none))
    write(tmp_path / "edited.jsonl", line("0", None, both))
    write(tmp_path / "both.jsonl", line("0", None, both), line("1", None, both))
    fake.script = lambda request: FakeAnswer("table" if "cup 0 on table 1" in request.text else "nowhere")
    arguments = ["eval", "--ask", "compat/m", str(tmp_path / "q.json"), "--metric", "gqa"]
    return [*arguments, "--base-url", fake.openai_url, "--responses", str(tmp_path / "r.sqlite")]


def test_one_command_compares_sets_of_graphs(study, fake, tmp_path, capsys) -> None:
    sets = [word for name in ("given", "edited", "both") for word in ("--graphs", f"{name}={tmp_path}/{name}.jsonl")]
    assert main([*study, *sets, "--json", "--output", str(tmp_path / "answers")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["values"] == {"given": 0.0, "edited": 0.5, "both": 1.0}
    # Five questions in all, of two different texts: what reads the same was paid for once.
    assert fake.ledger.answered == 2
    assert [(row["graphs"], row["minus"], row["difference"]) for row in found["against_first"]] == [
        ("edited", "given", 0.5),
        ("both", "given", 1.0),
    ]
    assert found["against_first"][1]["low"] == found["against_first"][1]["high"] == 1.0
    assert found["interval"]["both"] == [1.0, 1.0]
    assert "edited: 1 question without a graph or an answer, counted as wrong" in found["notes"]
    assert any("too narrow" in note for note in found["notes"])
    rows = [json.loads(row) for row in (tmp_path / "answers" / "edited.jsonl").read_text().splitlines()]
    assert rows == [{"id": "0", "answer": "table"}, {"id": "1", "failed": "no scene graph of its image"}]
    assert main([*study, *sets]) == 0
    printed = capsys.readouterr().out
    assert "accuracy of compat/m by the graphs it reads" in printed
    assert "difference" in printed


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["given.jsonl", "both.jsonl"], "several sets are named"),
        (["a=given.jsonl", "a=both.jsonl"], "each by another"),
        (["../a=given.jsonl", "b=both.jsonl"], "letters, digits"),
        (["a=gone.jsonl", "b=both.jsonl"], "does not exist"),
    ],
)
def test_sets_that_cannot_be_told_apart_are_refused(study, sets, message, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*study, *(word for name in sets for word in ("--graphs", name))]) == 2
    assert message in capsys.readouterr().err
