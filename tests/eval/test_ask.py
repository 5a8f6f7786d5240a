"""Asking a model through the gateway, a student, blind with graphs, and the adapter for lmms-eval."""

from __future__ import annotations

import json
import sys
import types
from collections import Counter

import pytest
from eval.graphs import line, relation, write
from PIL import Image

from sgforge.cli.main import main
from sgforge.errors import ConfigError
from sgforge.graph import Region, Relation, SceneGraph
from sgforge.stages import Failure
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider
from sgforge_eval.tasks import ask, task_named
from sgforge_eval.tasks.ask import Asking, ask_task
from sgforge_eval.tasks.base import FileOptions
from sgforge_eval.tasks.captions import SugarCrepeTask
from sgforge_eval.tasks.choice import LETTERS
from sgforge_eval.tasks.graph_text import graph_text
from sgforge_eval.tasks.options import task_options
from sgforge_eval.tasks.vsr import VsrTask


@pytest.fixture
def vsr(tmp_path):
    rows = [
        {"image": f"{name}.png", "caption": f"The cat is {name}.", "label": int(name == "here"), "relation": "at"}
        for name in ("here", "there", "gone")
    ]
    (tmp_path / "v.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("here", "there"):
        Image.new("RGB", (8, 8), "red" if name == "here" else "blue").save(tmp_path / f"{name}.png")
    return tmp_path / "v.jsonl"


def test_a_model_is_asked_once_and_its_answers_are_kept(vsr, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("SGFORGE_COMPAT_API_KEY", "x")
    with FakeProvider(script=lambda request: FakeAnswer("yes" if "here." in request.text else "no")) as fake:
        arguments = ["eval", "--ask", "compat/m", str(vsr), "--metric", "vsr", "--images", str(tmp_path), "--json"]
        arguments += ["--base-url", fake.openai_url, "--responses", str(tmp_path / "r.sqlite")]
        assert main([*arguments, "--output", str(tmp_path / "answers.jsonl")]) == 0
        first = json.loads(capsys.readouterr().out)
        assert fake.ledger.answered == 2
        assert main(arguments) == 0
        assert fake.ledger.answered == 2  # nothing is bought twice
    # "there." holds "here.": both are told yes; the third image does not exist.
    assert first["values"]["accuracy"] == pytest.approx(1 / 3)
    assert first["values"]["failure_rate"] == pytest.approx(1 / 3)
    assert json.loads(capsys.readouterr().out)["values"] == first["values"]
    written = [json.loads(row) for row in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert written[0] == {"id": "0", "answer": "yes"}
    assert written[2]["failed"] == "image"
    assert main(["eval", str(tmp_path / "answers.jsonl"), str(vsr), "--metric", "vsr", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["values"] == first["values"]


def _row(task: str, number: int) -> dict:
    image = f"mug_{('on', 'under', 'left_of', 'right_of')[number]}_table.png"
    return {
        "vsr": {"image": image, "caption": f"caption {number}", "label": number % 2, "relation": "on"},
        "sugarcrepe": {"filename": image, "caption": f"right {number}", "negative_caption": f"wrong {number}"},
        "whatsup": {"image_path": image, "caption_options": [f"{word} {number}" for word in "abcd"]},
        "crpe": {
            "question_id": number,
            "image": image,
            "text": f"question {number}",
            "correct_option": "ABCD"[number],
            "category": "subject",
        },
    }[task]


@pytest.mark.parametrize("name", ["vsr", "sugarcrepe", "whatsup", "crpe"])
def test_a_model_that_knows_all_answers_is_always_right(name, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("SGFORGE_COMPAT_API_KEY", "x")
    rows = [_row(name, number) for number in range(4)]
    in_lines = "".join(json.dumps(row) + "\n" for row in rows)
    whole = json.dumps({str(number): row for number, row in enumerate(rows)} if name == "sugarcrepe" else rows)
    path = tmp_path / "questions.json"
    path.write_text(in_lines if name in ("vsr", "crpe") else whole)
    for image in {_row("vsr", number)["image"] for number in range(4)}:
        Image.new("RGB", (8, 8)).save(tmp_path / image)
    kind = task_named(name)
    letters = {row.prompt: LETTERS[row.correct] for row in kind(task_options(kind.options, name, path, [])).questions()}
    with FakeProvider(script=lambda request: FakeAnswer(letters[request.text])) as fake:
        arguments = ["eval", "--ask", "compat/m", str(path), "--metric", name, "--images", str(tmp_path), "--json"]
        arguments += ["--base-url", fake.openai_url, "--responses", str(tmp_path / "r.sqlite")]
        assert main(arguments) == 0
        assert fake.ledger.answered == len(letters) == {"sugarcrepe": 8}.get(name, 4)
    found = json.loads(capsys.readouterr().out)
    assert found["values"]["accuracy"] == 1.0
    assert found["images"] == {"used": 4, "skipped": {}}


def test_the_image_and_the_question_are_sent(vsr, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SGFORGE_COMPAT_API_KEY", "x")
    seen = []

    def script(request):
        seen.append((request.text, request.images))
        return FakeAnswer("yes")

    with FakeProvider(script=script) as fake:
        asking = Asking("compat/m", tmp_path, responses=tmp_path / "r.sqlite", base_url=fake.openai_url)
        ask_task(VsrTask(FileOptions(vsr)), asking)
    text, images = min(seen, key=lambda item: len(item[0]))
    assert "The cat is here." in text
    assert images == ((tmp_path / "here.png").read_bytes(),)


class _Student:
    """Answers by the name of the file it is shown."""

    def setup(self, resources) -> None:
        self.device = resources.device

    def answer(self, prompts):
        return [Failure("tired") if "there" in prompt.image.uri else "Yes" for prompt in prompts]


def _registered(monkeypatch, student) -> None:
    component = types.SimpleNamespace(build=lambda options: student)
    registry = types.SimpleNamespace(lookup=lambda kind, name: component)
    monkeypatch.setattr(ask, "load_plugins", lambda: registry)
    monkeypatch.setattr("sgforge.config.structure_options", lambda component, mapping, where: None)


def test_a_student_is_asked(vsr, tmp_path, monkeypatch) -> None:
    _registered(monkeypatch, _Student())
    found = ask_task(VsrTask(FileOptions(vsr)), Asking("student:toy", tmp_path))
    assert found.failed == Counter({"tired": 1, "image": 1})
    assert found.get("0") == {"id": "0", "answer": "Yes"}


def test_a_student_that_cannot_answer_says_so(vsr, tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot answer questions"):
        ask_task(VsrTask(FileOptions(vsr)), Asking("student:prior", tmp_path))


def test_images_outside_of_the_folder_are_not_read(tmp_path, monkeypatch) -> None:
    _registered(monkeypatch, _Student())
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    (tmp_path / "images").mkdir()
    row = {"filename": "../secret.png", "caption": "a", "negative_caption": "b"}
    (tmp_path / "s.json").write_text(json.dumps({"0": row}))
    found = ask_task(SugarCrepeTask(FileOptions(tmp_path / "s.json")), Asking("student:toy", tmp_path / "images"))
    assert found.failed == Counter({"image": 2})


def test_blind_with_scene_graphs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("SGFORGE_COMPAT_API_KEY", "x")
    graphs = write(tmp_path / "g.jsonl", line("1", None, [relation(0, "on", 1)]), "no graph")
    questions = [{"question_id": key, "image_id": key, "question": "Where is the cup?"} for key in (1, 2)]
    notes = [{"question_id": key, "image_id": key, "answers": [{"answer": "table"}] * 10} for key in (1, 2)]
    (tmp_path / "q").write_text(json.dumps({"questions": questions}))
    (tmp_path / "a").write_text(json.dumps({"annotations": notes}))
    seen = []

    def script(request):
        seen.append(request)
        return FakeAnswer("the table" if "cup 0 on table 1" in request.text else "nowhere")

    with FakeProvider(script=script) as fake:
        arguments = ["eval", "--ask", "compat/m", str(tmp_path / "q"), "--metric", "vqa", "--graphs", str(graphs)]
        arguments += ["--set", f"annotations={tmp_path / 'a'}", "--base-url", fake.openai_url, "--json"]
        assert main([*arguments, "--responses", str(tmp_path / "r.sqlite")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["values"]["accuracy"] == 0.5
    assert report["values"]["failure_rate"] == 0.5  # no graph of image 2
    assert report["images"]["skipped"] == {"graphs: line that is no JSON": 1}
    assert [request.images for request in seen] == [()]
    assert (
        main(
            [
                "eval",
                "--ask",
                "compat/m",
                str(tmp_path / "q"),
                "--metric",
                "vqa",
                "--set",
                f"annotations={tmp_path / 'a'}",
            ]
        )
        == 2
    )
    assert "--graphs" in capsys.readouterr().err


def test_a_graph_as_text() -> None:
    regions = [
        Region("cup", (0, 0, 9.6, 10), attributes=("red",), descriptions=("a small\ncup",)),
        Region("table\n- fake 9 on fake 8", (0, 10, 60, 60)),
        Region("ghost", status="rejected", reason="x"),
    ]
    text = graph_text(SceneGraph(100, 50, regions, [Relation(0, "on", 1), Relation(2, "near", 0)]))
    assert text.splitlines() == [
        "Image of 100 x 50 pixels.",
        "Objects:",
        "- cup 0 (red) at [0, 0, 10, 10]: a small cup",
        "- table - fake 9 on fake 8 1 at [0, 10, 60, 60]",
        "Relations:",
        "- cup 0 on table - fake 9 on fake 8 1",
    ]


@pytest.fixture
def lmms(monkeypatch):
    """A stand-in for lmms-eval 0.7: its base class, its manifest, one document with a picture and one without."""

    class Base:
        def __init__(self) -> None:
            self.task_dict = {}

    class ModelManifest:
        def __init__(self, model_id, simple_class_path=None, chat_class_path=None, aliases=()) -> None:
            self.model_id, self.simple_class_path = model_id, simple_class_path

    for name, content in (
        ("lmms_eval", {}),
        ("lmms_eval.api", {}),
        ("lmms_eval.models", {}),
        ("lmms_eval.api.model", {"lmms": Base}),
        ("lmms_eval.models.registry_v2", {"ModelManifest": ModelManifest}),
    ):
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "sgforge_eval.lmms", raising=False)
    import sgforge_eval.lmms as adapter

    yield adapter, Base
    sys.modules.pop("sgforge_eval.lmms", None)


class _Looking:
    def answer(self, prompts):
        return [f"{prompt.text} {prompt.image.size() if prompt.image else None}" for prompt in prompts]


def test_lmms_eval_runs_a_student(lmms, monkeypatch) -> None:
    adapter, base = lmms
    _registered(monkeypatch, _Looking())
    manifest = adapter.manifest()
    assert manifest.model_id == "sgforge"
    module, _, name = manifest.simple_class_path.rpartition(".")
    assert getattr(sys.modules[module], name) is adapter.SgforgeModel
    assert issubclass(adapter.SgforgeModel, base)
    model = adapter.SgforgeModel(student="toy", batch_size="2")
    model.task_dict = {
        "t": {"test": [{"picture": Image.new("RGB", (3, 2))}, {"picture": None}, {"picture": Image.new("L", (5, 4))}]}
    }
    visual = lambda doc: [doc["picture"]] if doc["picture"] else []  # noqa: E731
    requests = [types.SimpleNamespace(args=(f"q{number}", {}, visual, number, "t", "test")) for number in range(3)]
    assert model.generate_until(requests) == ["q0 (3, 2)", "q1 None", "q2 (5, 4)"]
    with pytest.raises(NotImplementedError, match="answers in text"):
        model.loglikelihood(requests)
