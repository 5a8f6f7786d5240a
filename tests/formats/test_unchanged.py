"""Runs over sources that have not changed: nothing is read, nothing drawn, and the pictures can still be opened."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from formats.conftest import COCO, HEIGHT, WIDTH
from PIL import Image

import sgforge as sg
from sgforge.cli.main import main
from sgforge.edits import Edit
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.jsonl import write_jsonl
from sgforge.testing.scenes import _files
from sgforge_formats.coco.source import CocoSource
from sgforge_formats.plain.folder import FolderSource
from sgforge_formats.plain.graphs import JsonlSource
from sgforge_formats.plain.made import ScenesSource

SOURCES = {"coco": CocoSource, "folder": FolderSource, "jsonl": JsonlSource, "scenes": ScenesSource}


class Opens:
    """A filter that opens every picture; always done again, as it has no revision."""

    def filter(self, samples):
        for sample in samples:
            assert sample.image is None or sample.image.array().shape[2] == 3
        return [Edit() for _ in samples]


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """The names of the sources that were read."""
    found: list[str] = []
    for name, kind in SOURCES.items():

        def samples(self, roots, source, *, name=name, real=kind.samples):
            found.append(name)
            return real(self, roots, source)

        monkeypatch.setattr(kind, "samples", samples)
    return found


def run(source: sg.SourceStep, folder: Path, **more) -> sg.RunReport:
    report = sg.Pipeline(sg.filter(Opens())).run(source, folder / "dataset", progress=False, **more)
    assert report.step("filter").counts.failed == 0
    return report


def pictures(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 60 * number, np.uint8)).save(path)
        os.utime(path, (1e9, 1e9))
    return folder


def test_graph_lines(tmp_path, calls):
    images = pictures(tmp_path / "images", "a.png", "b.png")
    graphs = tmp_path / "graphs.jsonl"
    graph = SceneGraph(
        WIDTH, HEIGHT, (Region("dog", (1, 1, 5, 5)), Region("ball", (2, 2, 9, 9))), (Relation(0, "near", 1),)
    )
    samples = [Sample(name, graph, f"old:{name}.png") for name in "ab"]
    write_jsonl(samples, graphs)
    source = sg.source("jsonl", graphs=str(graphs), images=str(images))
    first, again = run(source, tmp_path), run(source, tmp_path)
    assert calls == ["jsonl"]
    assert first.step("source").snapshot == again.step("source").snapshot
    write_jsonl([*samples, Sample("c", graph)], graphs)
    run(source, tmp_path)
    assert calls == ["jsonl"] * 2


def test_pictures_that_their_tag_turns(tmp_path, calls):
    folder = tmp_path / "images"
    folder.mkdir()
    tag = Image.Exif()
    tag[274] = 6
    for name, kind in (("a.jpg", "JPEG"), ("b.tif", "TIFF")):
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / name, kind, exif=tag)
        os.utime(folder / name, (1e9, 1e9))
    for orientation in ("apply", "stored"):
        source = sg.source("folder", images=str(folder), orientation=orientation)
        first, again = run(source, tmp_path), run(source, tmp_path)
        assert first.step("source").notes == again.step("source").notes
    assert calls == ["folder"] * 2


def test_a_folder(tmp_path, calls):
    folder = pictures(tmp_path / "images", "a.png", "sub/b.png")
    source = sg.source("folder", images=str(folder))
    run(source, tmp_path)
    run(source, tmp_path)
    assert calls == ["folder"]
    # Another picture, one less, and a file that a remark tells of: the names decide.
    pictures(folder, "c.png")
    assert len(sg.Dataset.open(run(source, tmp_path).dataset).snapshot) == 3
    (folder / "c.png").unlink()
    assert len(sg.Dataset.open(run(source, tmp_path).dataset).snapshot) == 2
    (folder / "notes.txt").write_text("x")
    assert "files passed over" in " ".join(run(source, tmp_path).step("source").notes)
    assert calls == ["folder"] * 4
    assert "files passed over" in " ".join(run(source, tmp_path).step("source").notes)
    assert calls == ["folder"] * 4


def test_coco(tmp_path, calls):
    folder = pictures(tmp_path / "images", "a.png", "b.png")
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(COCO))
    source = sg.source("coco", annotations=str(file), images=str(folder))
    run(source, tmp_path)
    run(source, tmp_path)
    assert calls == ["coco"]
    results = tmp_path / "results.json"
    rows = [{"image_id": 7, "category_id": 3, "bbox": [1, 1, 9, 9], "score": 0.5}]
    results.write_text(json.dumps(rows))
    detected = sg.source("coco", annotations=str(file), images=str(folder), results=str(results))
    run(detected, tmp_path)
    run(detected, tmp_path)
    assert calls == ["coco"] * 2
    results.write_text(json.dumps([{**rows[0], "score": 0.25}]))
    run(detected, tmp_path)
    assert calls == ["coco"] * 3


def test_a_picture_that_comes_under_another_spelling_is_found(tmp_path, calls):
    folder = pictures(tmp_path / "images", "a.png")
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(COCO))
    source = sg.source("coco", annotations=str(file), images=str(folder))
    assert run(source, tmp_path).step("source").reasons == {"image-missing": 1}
    assert run(source, tmp_path).step("source").reasons == {"image-missing": 1}
    assert calls == ["coco"]
    pictures(folder, "B.PNG")
    assert run(source, tmp_path).step("source").reasons == {}
    assert calls == ["coco"] * 2


def test_the_segments_of_a_panoptic_file_count_too(tmp_path, calls):
    folder = pictures(tmp_path / "images", "a.png")
    segments = tmp_path / "panoptic"
    segments.mkdir()
    ids = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    ids[:10, :, 0] = 1
    Image.fromarray(ids).save(segments / "a.png")
    os.utime(segments / "a.png", (1e9, 1e9))
    segment = {"id": 1, "category_id": 3, "bbox": [0, 0, WIDTH, 10], "area": 10 * WIDTH, "iscrowd": 0}
    document = {
        **COCO,
        "images": COCO["images"][:1],
        "annotations": [{"image_id": 7, "file_name": "a.png", "segments_info": [segment]}],
    }
    file = tmp_path / "panoptic.json"
    file.write_text(json.dumps(document))
    source = sg.source("coco", annotations=str(file), images=str(folder))
    assert run(source, tmp_path).step("source").counts.faults == {}
    run(source, tmp_path)
    assert calls == ["coco"]
    ids[10:15, :, 0] = 2
    Image.fromarray(ids).save(segments / "a.png")  # just now: what is read of it is not trusted the next time either
    assert run(source, tmp_path).step("source").counts.faults == {"unlisted-segment": 1}
    assert run(source, tmp_path).step("source").counts.faults == {"unlisted-segment": 1}
    (segments / "a.png").unlink()
    assert run(source, tmp_path).step("source").counts.faults == {"bad-segments-file": 1}
    run(source, tmp_path)
    assert calls == ["coco"] * 4


def test_scenes_that_are_there_are_not_drawn_again(tmp_path, calls, monkeypatch):
    drawn = []

    def make(seed, *more):
        drawn.append(seed)
        return real(seed, *more)

    real = _files.make_scene
    monkeypatch.setattr(_files, "make_scene", make)
    source = sg.source("scenes", folder=str(tmp_path / "scenes"), count=3, size=64)
    first = run(source, tmp_path)
    again = run(source, tmp_path)
    assert drawn == [0, 1, 2]
    assert first.step("source").snapshot == again.step("source").snapshot
    lost = next((tmp_path / "scenes").glob("*.png"))
    lost.unlink()
    assert run(source, tmp_path).step("source").snapshot == first.step("source").snapshot
    assert drawn == [0, 1, 2, int(lost.stem.removeprefix("scene-"))]
    assert lost.exists()


def test_the_command_reads_all_when_it_is_told_to(tmp_path, calls, capsys):
    folder = pictures(tmp_path / "images", "a.png")
    config = tmp_path / "pipeline.toml"
    config.write_text(
        f'dataset = "{tmp_path / "dataset"}"\n[source]\nuse = "folder"\nimages = "{folder}"\n'
        '[[step]]\nfilter = "spatial-rules"\n'
    )
    assert main(["run", str(config)]) == 0
    assert main(["run", str(config)]) == 0
    assert calls == ["folder"]
    assert main(["run", str(config), "--verify-files"]) == 0
    assert calls == ["folder"] * 2
    assert "reused" in capsys.readouterr().out
