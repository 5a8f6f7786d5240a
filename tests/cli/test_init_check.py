"""`sgforge init` writes a config that `sgforge check` accepts as it stands."""

from __future__ import annotations

import json
import re
import tomllib

import pytest

from sgforge.cli.main import main


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()


def test_init_then_check(tmp_path, capsys):
    assert main(["init"]) == 0
    assert main(["check", "pipeline.toml"]) == 0
    out = capsys.readouterr().out
    assert "next: sgforge check pipeline.toml && sgforge run pipeline.toml" in out
    assert "pipeline.toml is in order" in out
    assert "weights of 'train'" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "pipeline.toml"]


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ('use = "folder"\nimages = "none"', "none is no folder (looked in {here}): name one with the option images"),
        ('use = "folder"\nimages = "r:none"', "r:none is no folder (root 'r' is {here}): name one with"),
        ('use = "folder"\nimages = "no:x"', "'no:x': there is no root 'no'; known roots: r"),
        ('use = "folder"\nimages = "images"\ngraphs = "g"', "g: there is no such file (looked in {here}): check the"),
        ('use = "jsonl"\ngraphs = "{here}/g.jsonl"', "g.jsonl: there is no such file: check the option graphs"),
        ('use = "coco"\nannotations = "c.json"', "c.json: there is no such file (looked in {here}): check the option"),
        ('use = "coco"\nannotations = "p.toml"\nimages = "none"', "none is no folder (looked in {here})"),
        ('use = "coco"\nannotations = "p.toml"\npanoptic = "none"', "none is no folder (looked in {here})"),
        ('use = "scenes"\nfolder = "p.toml"', "p.toml is a file: name a folder with the option folder"),
    ],
)
@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_a_source_that_cannot_be_read_is_not_in_order(tmp_path, capsys, command, source, fault):
    source = source.format(here=tmp_path)
    (tmp_path / "p.toml").write_text(
        f'dataset = "runs/x"\n[roots]\nr = "."\n[source]\n{source}\n[[step]]\ncomplete = "geometry"\n'
    )
    assert main([command, "p.toml"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(r"p\.toml:[45]: source: ", captured.err)
    assert fault.format(here=tmp_path) in captured.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "p.toml"]


def test_the_faults_of_all_sources_are_told_at_once(tmp_path, capsys):
    (tmp_path / "p.toml").write_text(
        'dataset = "x"\n[sources.a]\nuse = "folder"\nimages = "none"\n[sources.b]\nuse = "jsonl"\ngraphs = "g"\n'
        '[[step]]\ncomplete = "geometry"\n'
    )
    assert main(["check", "p.toml"]) == 2
    error = capsys.readouterr().err
    assert "p.toml: 2 faults" in error
    assert "p.toml:2: sources.a: none is no folder" in error
    assert "p.toml:5: sources.b: g: there is no such file" in error


def test_init_never_overwrites_without_force(tmp_path, capsys):
    path = tmp_path / "pipeline.toml"
    path.write_text("mine")
    assert main(["init"]) == 2
    assert "pipeline.toml exists; --force replaces it" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main(["init", "--force"]) == 0
    assert tomllib.loads(path.read_text())["dataset"] == "runs/first"


def test_init_quotes_what_it_is_given(tmp_path):
    images = 'my "photos"\\new\tones'
    assert main(["init", "p.toml", "--images", images, "--dataset", "runs/über"]) == 0
    document = tomllib.loads((tmp_path / "p.toml").read_text())
    assert document["source"]["images"] == images
    assert document["dataset"] == "runs/über"


def test_init_into_a_folder_that_is_not_there(capsys):
    assert main(["init", "no/such/folder/p.toml"]) == 1
    assert "no/such/folder/p.toml: No such file or directory" in capsys.readouterr().err


def test_check_as_json_resolves_every_option(capsys):
    main(["init"])
    capsys.readouterr()
    assert main(["check", "pipeline.toml", "--json", "--set", "step.complete.subjects=7"]) == 0
    checked = json.loads(capsys.readouterr().out)
    steps = {step["name"]: step for step in checked["steps"]}
    assert list(steps) == ["segment", "complete", "filter", "train", "generate", "edit"]
    assert steps["complete"]["options"]["subjects"] == 7
    assert steps["complete"]["options"]["relations_per_subject"] == 6
    assert steps["generate"]["weights"] == "train"
    assert steps["train"]["on"]["split"] == ["train"]


def test_check_tells_faults_of_order_and_need_together(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "p.toml").write_text(
        'dataset = "x"\n[source]\nuse = "folder"\nimages = "i"\n'
        '[[step]]\ncomplete = "svg"\nmodel = "opnai/gpt-4o"\n[[step]]\ngenerate = "prior"\n'
        '[[step]]\nedit = "svg"\nmodel = "openai/gpt-4o"\n'
    )
    assert main(["check", "p.toml"]) == 2
    error = capsys.readouterr().err
    assert "there is no model 'opnai'; did you mean 'openai'?" in error
    assert "export OPENAI_API_KEY=..." in error
    assert "has no weights" in error
