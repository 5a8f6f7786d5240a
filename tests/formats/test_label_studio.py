"""Label Studio: boxes in hundredths, polygons, relations by direction, there and back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from formats.there_and_back import read, said, trip
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from sgforge import masks
from sgforge_formats.label_studio.exporter import LabelStudioExporter
from sgforge_formats.label_studio.options import LabelStudioOptions
from sgforge_formats.label_studio.source import LabelStudioSource


def result(key: str, label: str | None, x: Any = 10, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": [label] if label else []}
    size = {"original_width": 200, "original_height": 100, "image_rotation": 0}
    return {
        "id": key,
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        **size,
        "value": value,
        **more,
    }


def related(one: str, other: str, **more: Any) -> dict[str, Any]:
    return {"type": "relation", "from_id": one, "to_id": other, "direction": "right", "labels": ["on"], **more}


def studio(folder: Path, *tasks: Any, **options: str) -> LabelStudioSource:
    (folder / "tasks.json").write_text(json.dumps(tasks))
    return LabelStudioSource(LabelStudioOptions(str(folder / "tasks.json"), **options))


def task(number: Any, *results: Any, **more: Any) -> dict[str, Any]:
    row = {"id": number, "data": {"image": "/data/upload/1/0a1b2c3d-a.png"}, "annotations": [{"result": list(results)}]}
    return {**row, **more}


def test_boxes_polygons_relations_and_what_is_said_of_regions(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    Image.new("RGB", (200, 100)).save(tmp_path / "img" / "a.png")
    polygon = {"points": [[10, 10], [50, 10], [50, 60]], "polygonlabels": ["sail"]}
    results = [
        result("r1", "boat", score=0.5),
        {"id": "r2", "type": "polygonlabels", "original_width": 200, "original_height": 100, "value": polygon},
        {"id": "r1", "type": "choices", "value": {"choices": ["red", "old"]}},
        {"id": "r1", "type": "textarea", "value": {"text": ["a small boat"]}},
        related("r1", "r2", direction="bi", labels=["has", "under"]),
        related("r1", "r2", direction="left", labels=[]),
    ]
    found = read(studio(tmp_path, task(7, *results), images=str(tmp_path / "img")))
    assert found.failures == []
    sample = found.samples["7"]
    first, second = sample.graph.all.regions
    assert (sample.uri, sample.graph.width, sample.graph.height) == ("given:a.png", 200, 100)
    assert (first.label, first.box, first.score) == ("boat", (20, 20, 80, 60), 0.5)
    assert (first.attributes, first.descriptions) == (("red", "old"), ("a small boat",))
    assert second.mask == masks.from_polygons([[20, 10, 100, 10, 100, 60]], 100, 200)
    assert [one.triplet for one in sample.graph.all.relations] == [
        *((0, "has", 1), (0, "under", 1), (1, "has", 0), (1, "under", 0)),
        (1, "related to", 0),
    ]


def test_the_last_annotation_counts_and_bad_results_cost_themselves(tmp_path: Path) -> None:
    old, new = {"result": [result("a", "old")]}, {"result": [result("a", "new")]}
    turned = result("t", "x")
    turned["value"]["rotation"] = 30
    rows = [
        task(1, annotations=[old, new, {"result": [], "was_cancelled": True}]),
        task(2, annotations=[], predictions=[old]),
        task(
            3, turned, {"id": "b", "type": "brushlabels", "value": {}}, result("c", "x", x="?"), related("c", "no"), 5
        ),
        task(1),
        {"data": {}},
    ]
    found = read(studio(tmp_path, *rows))
    labels = [[one.label for one in sample.graph.all.regions] for sample in found.samples.values()]
    assert labels == [["new"], ["old"], ["x"]]
    assert found.reasons == {
        **{"bad-result": 2, "bad-box": 1, "unknown-object": 1},
        **{"duplicate-image": 1, "bad-image": 1},
    }


@settings(max_examples=8, deadline=None, phases=(Phase.generate,))
@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 60)), max_size=4), st.booleans())
def test_there_and_back_is_an_identity(regions: list[tuple[str | None, int]], is_related: bool) -> None:
    results = [result(f"r{at}", label, x) for at, (label, x) in enumerate(regions)]
    results += [related("r0", f"r{at}") for at in range(1, len(regions))] if is_related else []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if not regions:
            return
        found = trip(
            folder,
            studio(folder, task(5, *results)),
            LabelStudioExporter(),
            lambda out: LabelStudioSource(LabelStudioOptions(str(out))),
        )
        assert found.first.failures == found.again.failures == []
        assert said(found.again.samples["5"]) == said(found.first.samples["5"])
        (written,) = json.loads((folder / "out").read_text())
    fields = ("id", "value", "labels", "from_id")
    kept = [{key: row.get(key) for key in fields} for row in written["annotations"][0]["result"]]
    assert kept == [{key: row.get(key) for key in fields} for row in results]
