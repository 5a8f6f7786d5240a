"""Graphs by image id: GQA, and the form of Synthetic Visual Genome's release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from formats.there_and_back import read
from pycocotools import mask as coco_mask

from sgforge import masks
from sgforge.errors import ConfigError
from sgforge_formats.visual_genome.gqa import GqaSource
from sgforge_formats.visual_genome.options import GqaOptions

OBJECTS: dict[str, Any] = {
    "681": {"name": "banana", "x": 1, "y": 2, "w": 30, "h": 40, "attributes": ["small"]}
    | {"relations": [{"name": "to the left of", "object": "682"}]},
    "682": {"name": "shoes", "x": 40, "y": 2, "w": 30, "h": 40, "attributes": []}
    | {"relations": [{"name": "to the right of", "object": "681"}]},
}


def gqa(folder: Path, content: Any, name: str = "a.json") -> GqaSource:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return GqaSource(GqaOptions(str(folder / name)))


def test_gqa(tmp_path: Path) -> None:
    image = {"width": 100, "height": 90, "location": "indoors", "weather": None, "objects": OBJECTS}
    found = read(gqa(tmp_path, {"2407890": image, "17": {"width": 5, "height": 6, "objects": {}}}))
    assert found.failures == []
    graph = found.samples["2407890"].graph
    assert [(one.label, one.box, one.attributes) for one in graph.all.regions] == [
        ("banana", (1, 2, 31, 42), ("small",)),
        ("shoes", (40, 2, 70, 42), ()),
    ]
    assert [one.triplet for one in graph.all.relations] == [(0, "to the left of", 1), (1, "to the right of", 0)]
    assert graph.attributes == {"location": "indoors"}
    assert found.samples["2407890"].values["formats.origin"] == {"regions": ["681", "682"]}
    assert (found.samples["17"].graph.width, found.samples["17"].graph.height) == (5, 6)


def test_the_release_has_boxes_by_corners_and_outlines(tmp_path: Path) -> None:
    outline = coco_mask.merge(coco_mask.frPyObjects([[2, 2, 8, 2, 8, 9]], 20, 30))
    run_lengths = {"size": [20, 30], "counts": outline["counts"].decode()}
    objects = {
        "0": {"name": "cup", "bbox": [1, 2, 11, 12], "segmentation": run_lengths},
        "1": {"name": "table", "bbox": [0, 0, 30, 20], "segmentation": [[2, 2, 8, 2, 8, 9]]}
        | {"relations": [{"object": 0, "name": "under"}]},
    }
    found = read(gqa(tmp_path, {"x": {"width": 30, "height": 20, "objects": objects}}))
    assert found.failures == []
    first, second = found.samples["x"].graph.all.regions
    assert first.box == (1, 2, 11, 12)
    assert first.mask == second.mask == masks.from_polygons([[2, 2, 8, 2, 8, 9]], 20, 30)
    assert [one.triplet for one in found.samples["x"].graph.all.relations] == [(1, "under", 0)]


def test_one_graph_a_line(tmp_path: Path) -> None:
    lines = [{"file_name": "a/1.jpg", "width": 100, "height": 90, "objects": OBJECTS}, {"image_id": 7, "objects": {}}]
    found = read(gqa(tmp_path, "\n".join(map(json.dumps, lines)) + "\n\n{", "a.jsonl"))
    assert list(found.samples) == ["a/1.jpg", "7"]
    assert found.reasons == {"bad-row": 1}


def test_bad_rows_cost_themselves(tmp_path: Path) -> None:
    objects = {
        **OBJECTS,
        "a": 5,
        "b": {"name": 7, "x": 1, "y": 1, "w": 0, "h": 3, "relations": 5},
        "c": {"name": "c", "relations": {"0": {"name": "on", "object": "681"}, "1": {"name": "on", "object": "no"}}},
        "d": {"name": "d", "bbox": [1, 2, 3], "segmentation": [[1, 1]], "relations": [7]},
    }
    content = {"1": {"width": 100, "height": 90, "objects": objects}, "2": 5, "3": {"width": -1, "objects": []}}
    content["4"] = {"objects": []}
    found = read(gqa(tmp_path, content))
    assert list(found.samples) == ["1", "4"]
    assert found.reasons == {
        **{"bad-object": 2, "bad-label": 1, "bad-box": 2, "bad-mask": 1, "bad-relation": 2, "unknown-object": 1},
        "bad-image": 2,
    }
    graph = found.samples["1"].graph.all
    assert [one.label for one in graph.regions] == ["banana", "shoes", None, "c", "d"]
    assert (3, "on", 0) in [one.triplet for one in graph.relations]


def test_many_images_on_one_line_are_streamed(tmp_path: Path) -> None:
    content = {str(number): {"width": 9, "height": 9, "objects": {}, "s": '{"],}'} for number in range(3000)}
    found = read(gqa(tmp_path, content))
    assert len(found.samples) == 3000
    assert found.failures == []


@pytest.mark.parametrize("text", ["", "{", '{"1": {"objects"', "<a>"])
def test_what_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"a\.json is no file of graphs by image id"):
        read(gqa(tmp_path, text))
