"""ADE20K: mixed types, parts of parts, circles, polygons, scenes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from formats.there_and_back import read
from PIL import Image

import sgforge as sg
from sgforge import masks
from sgforge.dataset import Dataset
from sgforge.errors import ConfigError
from sgforge_formats.ade20k.options import Ade20kOptions
from sgforge_formats.ade20k.source import Ade20kSource

SQUARE = {"x": [2, 10, 10, 2], "y": [3, 3, 9, 9]}


def thing(number: Any, name: str, *, part_of: Any = (), parts: Any = (), **more: Any) -> dict[str, Any]:
    tree = {"hasparts": list(parts) if isinstance(parts, tuple) else parts, "part_level": 0}
    tree["ispartof"] = list(part_of) if isinstance(part_of, tuple) else part_of
    row = {
        "id": number,
        "name": name,
        "raw_name": name,
        "attributes": [],
        "occluded": "no",
        "crop": "0",
        "polygon": SQUARE,
    }
    return {**row, "parts": tree, **more}


def ade(folder: Path, *objects: Any, name: str = "training/urban/a", **more: Any) -> Ade20kSource:
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {
        "filename": f"{path.stem}.jpg",
        "imsize": [20, 30, 3],
        "scene": ["/urban", "street"],
        "object": list(objects),
    }
    path.write_text(json.dumps({"annotation": {**said, **more}}))
    return Ade20kSource(Ade20kOptions(str(folder)))


def test_objects_parts_and_types_that_vary(tmp_path: Path) -> None:
    objects = [
        thing(0, "car, auto", parts=1, attributes="parked", occluded="yes", crop="1", depth_ordering_rank=3),
        thing(1, "wheel", part_of=[0], parts=[2], attributes=["round", "dirty"]),
        thing(2, "rim", part_of=1, occluded=[]),
    ]
    found = read(ade(tmp_path, *objects))
    assert found.failures == []
    sample = found.samples["training/urban/a"]
    graph = sample.graph
    assert (graph.width, graph.height, dict(graph.attributes), sample.split) == (
        30,
        20,
        {"scene": "urban/street"},
        "train",
    )
    assert [(one.label, one.attributes, one.parent) for one in graph.all.regions] == [
        ("car", ("parked", "occluded", "cropped"), None),
        ("wheel", ("round", "dirty"), 0),
        ("rim", (), 1),
    ]
    assert graph.all.regions[0].mask == masks.from_polygons([[2, 3, 10, 3, 10, 9, 2, 9]], 20, 30)
    assert [one.triplet for one in graph.all.relations] == [(1, "part of", 0), (2, "part of", 1)]
    assert sample.values["formats.origin"]["more"]["regions"]["0"] == {
        **{"names": ["car", "auto"], "depth_ordering_rank": 3},
        "raw_name": "car, auto",
    }


def test_circles_and_what_is_none_are_counted(tmp_path: Path) -> None:
    objects = [
        thing(0, "a", part_of=1),
        thing(1, "b", part_of=2),
        thing(2, "c", part_of=0),
        thing(3, "d", part_of=3),
        thing(4, "e", part_of=[0, 77], polygon={"x": [1, 2], "y": [1]}),
        thing(5, "f", parts=4, polygon=None, attributes=[""]),
        "x",
        thing("6", "g\nh", polygon={"x": [-9, -5, -9], "y": [1, 1, 5]}),
    ]
    found = read(ade(tmp_path, *objects))
    graph = found.samples["training/urban/a"].graph
    assert [one.parent for one in graph.all.regions] == [1, 2, None, None, 0, None, None]
    assert found.reasons == {
        **{"bad-parent": 3, "unknown-object": 1, "bad-mask": 1, "bad-object": 1, "bad-label": 1, "outside-image": 1},
    }


def test_files_that_are_none_cost_themselves(tmp_path: Path) -> None:
    ade(tmp_path, thing(0, "a"))
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.json").write_text('{"images": []}')
    (tmp_path / "d.json").write_bytes('{"annotation": {"object": {"id": 0, "name": "café"}}}'.encode("latin-1"))
    found = read(ade(tmp_path, thing(0, "a"), name="validation/z", imsize="x", object=None))
    assert sorted(found.samples) == ["d", "training/urban/a", "validation/z"]
    assert found.samples["d"].graph.all.regions[0].label == "café"
    assert found.samples["validation/z"].split == "val"
    assert found.reasons == {"bad-image": 2}


def test_pictures_lie_beside_and_nothing_is_read_again(tmp_path: Path) -> None:
    ade(tmp_path / "ade", thing(0, "a"))
    Image.new("RGB", (30, 20)).save(tmp_path / "ade" / "training" / "urban" / "a.jpg")
    source = sg.source("ade20k", folder=str(tmp_path / "ade"), part_relations=False)
    for _ in range(2):
        report = sg.Pipeline(sg.segment("regions")).run(source, tmp_path / "dataset", progress=False)
    assert report.step("source").counts.computed == 0
    (sample,) = Dataset.open(tmp_path / "dataset")
    assert sample.uri == "source:training/urban/a.jpg"


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no JSON file of ADE20K"):
        read(Ade20kSource(Ade20kOptions(str(tmp_path))))
