"""Scenes written as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sgforge import Roots, jsonl
from sgforge.testing.scenes import make_scene, write_scenes


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


def test_a_spoilt_image_is_mended(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1, size=64)
    (tmp_path / "scene-000000.png").write_bytes(b"spoilt")
    write_scenes(tmp_path, 1, size=64)
    assert (np.asarray(Image.open(tmp_path / "scene-000000.png")) == make_scene(0, 64).image).all()
