"""`run --preview`: what is shown and written, what is bought once, and that no dataset is touched."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from models.raw_server import Raw, RawServer, completion
from models.test_cases import Server, good, sgforge, write_pipeline
from PIL import Image

import sgforge as sg
from sgforge.cli.main import main
from sgforge.jsonl import load_edits

GOOD = {"case": "good", "wire": "chat", "kind": "completion", "status": 200, "body": completion(good("four lists"))}
JUDGE = '[[step]]\nfilter = "vqa"\nname = "judged"\nmodel = "compat/m"\nprobe_rate = 0.0\nprobabilities = false\n'
SPATIAL = '[[step]]\nfilter = "spatial-rules"\nname = "rules"\n'


@pytest.fixture
def server() -> Iterator[RawServer]:
    def answer(body: dict[str, Any]) -> Raw:
        text = " ".join(part["text"] for part in body["messages"][-1]["content"] if "text" in part)
        return Raw(json.dumps(completion(good(text))).encode())

    with RawServer(answer) as started:
        yield started


def two_steps(folder: Path, server: RawServer) -> Path:
    config = write_pipeline(folder, GOOD, server, 4)
    with config.open("a") as file:
        file.write(JUDGE)
    return config


def tree(folder: Path) -> dict[str, str]:
    """The sha256 of every file but the answers'."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("responses.sqlite")
    }


def graphs(data: Path) -> dict[str, Any]:
    return {sample.image_id: sample.graph for sample in sg.Dataset.open(data)}


def sent_pictures(server: RawServer) -> set[bytes]:
    import base64

    urls = [
        part["image_url"]["url"]
        for body in server.bodies
        for turn in body["messages"]
        for part in turn["content"]
        if isinstance(part, dict) and part["type"] == "image_url"
    ]
    return {base64.b64decode(url.partition(",")[2]) for url in urls}


def test_a_preview_shows_and_writes_what_was_asked_and_makes_no_dataset(
    tmp_path: Path, server: RawServer, capsys: pytest.CaptureFixture[str]
) -> None:
    config = two_steps(tmp_path, server)
    assert main(["run", str(config), "--preview", "2"]) == 0
    said = capsys.readouterr().out
    assert len(server.bodies) == 4  # two images, each completed and judged
    names = {path.name.partition("-")[0] for path in (tmp_path / "data").iterdir()}
    assert names == {"responses.sqlite", "responses.sqlite.seal"}
    folder = tmp_path / "data-preview"
    assert sorted(path.name for path in folder.iterdir()) == ["1-0", "2-1", "preview.json"]
    written = {path.read_bytes() for path in folder.rglob("picture-*")}
    assert written == sent_pictures(server)
    assert {Image.open(io.BytesIO(data)).size for data in written} == {(512, 384)}
    # The schema in words is the gateway's, for servers that do not enforce it.
    asked = [
        part["text"].partition("Answer with one JSON")[0].rstrip()
        for body in server.bodies
        for part in body["messages"][-1]["content"]
        if "Choose at least" in part.get("text", "")
    ]
    assert len(asked) == 2
    for image in ("1-0", "2-1"):
        prompts = (folder / image / "1-asked/call-1.txt").read_text()
        assert any(text in prompts for text in asked)
        assert good("four lists") in prompts
        (edit,) = load_edits(folder / image / "1-asked/edit.jsonl")
        assert [relation.predicate for relation in edit.edit.relations] == ["holding"]
        (verdict,) = load_edits(folder / image / "2-judged/edit.jsonl")
        assert [(one.status, one.degree) for one in verdict.edit.verdicts] == [("kept", 1.0)]
    for told in ("4 questions, 4 answers bought for $", "1 relation", str(folder), "holding", "compat/m"):
        assert told in said


def test_a_run_after_a_preview_buys_the_rest_alone_and_makes_what_it_would_have_made(
    tmp_path: Path, server: RawServer, capsys: pytest.CaptureFixture[str]
) -> None:
    config = two_steps(tmp_path, server)
    code, report, _ = sgforge(capsys, "run", str(config), "--preview", "3", "--preview-to", str(tmp_path / "look"))
    assert (code, len(server.bodies), report["folder"]) == (0, 6, str(tmp_path / "look"))
    calls = [call for image in report["images"] for step in image["steps"] for call in step["calls"]]
    assert [call["cached"] for call in calls] == [False] * 6
    code, _, said = sgforge(capsys, "run", str(config))
    assert (code, len(server.bodies)) == (0, 8), said
    previewed = graphs(tmp_path / "data")
    # Again: nothing is bought, and not a byte of the dataset changes.
    before = tree(tmp_path / "data")
    _, report, _ = sgforge(capsys, "run", str(config), "--preview", "3", "--preview-to", str(tmp_path / "look"))
    calls = [call for image in report["images"] for step in image["steps"] for call in step["calls"]]
    assert [call["cached"] for call in calls] == [True] * 6
    assert (len(server.bodies), tree(tmp_path / "data")) == (8, before)
    assert main(["run", str(config), "--set", f"dataset={tmp_path}/other"]) == 0
    assert graphs(tmp_path / "other") == previewed


def test_nothing_is_left_where_no_model_was_asked(
    tmp_path: Path, server: RawServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_pipeline(tmp_path, GOOD, server)
    plain = config.read_text().partition("[[step]]")[0] + SPATIAL
    config.write_text(plain)
    assert main(["run", str(config), "--preview", "1"]) == 0
    assert not (tmp_path / "data").exists()
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    asks = plain.replace("compat/m", "openai/m") + '[[step]]\ncomplete = "svg"\nmodel = "openai/m"\n'
    config.write_text(asks.replace(f"{tmp_path}/data", f"{tmp_path}/deep/er/data"))
    assert main(["run", str(config), "--preview", "1", "--preview-to", str(tmp_path / "x")]) == 2
    assert "OPENAI_API_KEY" in capsys.readouterr().err
    assert [(tmp_path / name).exists() for name in ("deep", "x")] == [False, False]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--preview", "0"], "whole number of images from 1"),
        (["--preview-to", "x"], "--preview 5"),
        (["--preview", "1", "--preview-to", "{folder}"], "holds no preview"),
    ],
)
def test_a_preview_that_cannot_be_is_told_before_anything_is_asked(
    flags: list[str], told: str, tmp_path: Path, server: RawServer, capsys: pytest.CaptureFixture[str]
) -> None:
    config = two_steps(tmp_path, server)
    before = tree(tmp_path)
    assert main(["run", str(config), *(flag.format(folder=tmp_path) for flag in flags)]) == 2
    assert told in capsys.readouterr().err
    assert (server.bodies, tree(tmp_path)) == ([], before)


def test_what_fails_is_told_and_what_works_on_all_images_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing = {**GOOD, "body": completion(None, finish_reason="content_filter")}
    with RawServer(Server(refusing)) as server:
        config = two_steps(tmp_path, server)
        with config.open("a") as file:
            file.write('[[step]]\ntrain = "prior"\n[[step]]\ngenerate = "prior"\n')
        assert main(["run", str(config), "--preview", "2"]) == 4
        said = capsys.readouterr().out
    for told in ("failed, refused", "no answer: ", "not in a preview: train, generate"):
        assert told in said
    assert len(server.bodies) == 3  # the image that was refused goes no further


def test_a_preview_ends_at_the_budget(tmp_path: Path, server: RawServer, capsys: pytest.CaptureFixture[str]) -> None:
    config = two_steps(tmp_path, server)
    assert main(["run", str(config), "--preview", "2", "--set", "gateway.budget_usd=0.000001"]) == 3
    assert "budget" in capsys.readouterr().err
    assert (server.bodies, (tmp_path / "data").exists()) == ([], False)


def test_a_preview_from_python_works_where_an_event_loop_runs(tmp_path: Path, server: RawServer) -> None:
    from sgforge.config import load_config

    config = load_config(str(two_steps(tmp_path, server)), [])

    async def look() -> Any:
        pipeline = sg.Pipeline.from_config(config)
        return pipeline.preview(config.sources, config.dataset, 1, roots=config.roots)

    found = asyncio.run(look())
    (image,) = found.images
    assert [step.name for step in image.steps] == ["asked", "judged"]
    assert image.steps[0].exchanges[0].answer.text == good("four lists")
    assert [relation.predicate for relation in image.sample.graph.relations.values()] == ["holding"]
