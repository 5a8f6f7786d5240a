"""Scenes written as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sgforge import Roots, jsonl
from sgforge.graph import Sample
from sgforge.packed import pack_sample
from sgforge.testing.scenes import Scene, _files, make_scene, write_scenes
from sgforge.testing.scenes._files import scene_samples


def test_files_hold_the_scenes(tmp_path: Path) -> None:
    graphs = write_scenes(tmp_path / "made", 3, seed=20, size=96)
    samples = list(jsonl.read_jsonl(graphs))
    assert [sample.image_id for sample in samples] == ["scene-000020", "scene-000021", "scene-000022"]
    roots = Roots({"scenes": tmp_path / "made"})
    for seed, sample in enumerate(samples, 20):
        scene = make_scene(seed, 96)
        assert sample.graph == scene.sample.graph
        assert sample.uri is not None
        assert (roots.image(sample.uri).array() == scene.image).all()


def test_writing_again_touches_no_image(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2, size=64)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.png")}
    text = (tmp_path / "graphs.jsonl").read_bytes()
    write_scenes(tmp_path, 2, size=64)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.png")} == before
    assert (tmp_path / "graphs.jsonl").read_bytes() == text


def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds that are drawn from now on."""
    seeds: list[int] = []

    def draw(seed: int, size: int, pixel_relations: bool) -> Scene:
        seeds.append(seed)
        return make_scene(seed, size, pixel_relations)

    monkeypatch.setattr(_files, "make_scene", draw)
    return seeds


def samples(folder: Path, count: int, size: int = 64, *, pixel_relations: bool = False) -> list[Sample]:
    return list(scene_samples(folder, count, 0, size=size, uri="scenes:", pixel_relations=pixel_relations))


def test_only_what_is_not_there_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = drawn(monkeypatch)
    first = samples(tmp_path, 4)
    assert seeds == [0, 1, 2, 3]
    (tmp_path / "scene-000002.png").unlink()
    # More of them, as after a limit or a kill.
    again = samples(tmp_path, 6)
    assert seeds == [0, 1, 2, 3, 2, 4, 5]
    assert again[:4] == first
    assert list(map(pack_sample, again[:4])) == list(map(pack_sample, first))
    for seed, sample in enumerate(again):
        assert sample.graph == make_scene(seed, 64).sample.graph


def test_other_scenes_are_drawn_in_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples(tmp_path, 1)
    seeds = drawn(monkeypatch)
    assert samples(tmp_path, 1, 80)[0].graph.width == 80
    assert samples(tmp_path, 1, 80, pixel_relations=True) == samples(tmp_path, 1, 80, pixel_relations=True)
    assert seeds == [0, 0]


@pytest.mark.parametrize("part", ["cut short", "another's", "another picture"])
def test_a_truth_that_does_not_belong_to_its_picture_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    first = samples(tmp_path, 2)
    truth = tmp_path / ".scenes" / "scene-000000"
    if part == "cut short":
        truth.write_bytes(truth.read_bytes()[:-1])
    elif part == "another's":
        truth.write_bytes((tmp_path / ".scenes" / "scene-000001").read_bytes())
    else:
        (tmp_path / "scene-000000.png").write_bytes((tmp_path / "scene-000001.png").read_bytes())
    seeds = drawn(monkeypatch)
    assert samples(tmp_path, 2) == first
    assert samples(tmp_path, 2) == first
    assert seeds == [0]


def test_a_spoilt_image_is_mended(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1, size=64)
    (tmp_path / "scene-000000.png").write_bytes(b"spoilt")
    write_scenes(tmp_path, 1, size=64)
    assert (np.asarray(Image.open(tmp_path / "scene-000000.png")) == make_scene(0, 64).image).all()
