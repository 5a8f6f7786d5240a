"""PSG: segments and boxes in one order, classes over things and stuff, splits, bad rows, there and back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.there_and_back import read, said, trip
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from sgforge import masks
from sgforge.errors import ConfigError
from sgforge_formats.panoptic_graphs.exporter import PsgExporter
from sgforge_formats.panoptic_graphs.options import PsgExportOptions, PsgOptions
from sgforge_formats.panoptic_graphs.source import PsgSource

CLASSES = {"thing_classes": ["person", "dog"], "stuff_classes": ["sky"], "predicate_classes": ["on", "over"]}
IDS = np.zeros((6, 8), np.int32)
IDS[0:3, 0:4] = 300
IDS[3:6, 2:7] = 70000


def entry(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "image_id": "107902",
        "coco_image_id": "321",
        "file_name": "val2017/a.jpg",
        "pan_seg_file_name": "panoptic_val2017/a.png",
        "height": 6,
        "width": 8,
        "segments_info": [
            {"id": 300, "category_id": 0, "iscrowd": 0, "isthing": 1, "area": 12},
            {"id": 70000, "category_id": 2, "iscrowd": 1, "isthing": 0, "area": 15},
        ],
        "annotations": [
            {"bbox": [0, 0, 4, 3], "category_id": 0, "bbox_mode": 0},
            {"bbox": [2, 3, 5, 3], "category_id": 2, "bbox_mode": 1},
        ],
        "relations": [[1, 0, 1]],
    }
    return {**found, **changes}


def psg(folder: Path, *entries: Any, panoptic: bool = True, **more: Any) -> PsgSource:
    png = folder / "seg" / "panoptic_val2017" / "a.png"
    png.parent.mkdir(parents=True, exist_ok=True)
    # The colour of 300 is (44, 1, 0), that of 70000 is (112, 17, 1).
    rgb = np.zeros((*IDS.shape, 3), np.uint8)
    rgb[IDS == 300], rgb[IDS == 70000] = (44, 1, 0), (112, 17, 1)
    Image.fromarray(rgb).save(png)
    content = {"data": list(entries), "test_image_ids": ["107902"], **CLASSES, **more}
    (folder / "psg.json").write_text(json.dumps(content))
    return PsgSource(PsgOptions(str(folder / "psg.json"), panoptic=str(folder / "seg") if panoptic else None))


def test_segments_boxes_classes_relations_and_splits(tmp_path: Path) -> None:
    found = read(psg(tmp_path, entry(), entry(image_id="2", segments_info=[])))
    assert found.reasons == {}
    sample = found.samples["107902"]
    first, second = sample.graph.all.regions
    assert [(one.label, one.box, one.attributes) for one in (first, second)] == [
        ("person", (0, 0, 4, 3), ()),
        ("sky", (2, 3, 7, 6), ("crowd",)),
    ]
    assert first.mask is not None
    assert second.mask is not None
    assert (masks.to_array(first.mask) == (IDS == 300)).all()
    assert (masks.to_array(second.mask) == (IDS == 70000)).all()
    assert [one.triplet for one in sample.graph.all.relations] == [(1, "over", 0)]
    assert (sample.split, found.samples["2"].split) == ("test", "train")
    assert sample.values["formats.origin"]["regions"] == [300, 70000]
    assert found.samples["2"].graph.all.regions[0].mask is None


def test_without_the_folder_of_segments_there_are_boxes_alone(tmp_path: Path) -> None:
    found = read(psg(tmp_path, entry(), panoptic=False))
    assert [one.mask for one in found.samples["107902"].graph.all.regions] == [None, None]


def test_bad_rows_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    rows = [
        entry(relations=[[0, 1, 9], [0, 7, 0], [0, 0, 0], [0, 1], ["0", "1", "0"], 5]),
        entry(image_id="b", pan_seg_file_name="no.png", annotations=[{"bbox": [3, 3, 1, 1]}, 5]),
        entry(image_id="c", height=7),
        entry(image_id="d", segments_info=[{"id": 5, "category_id": 0}], annotations=[{"category_id": 44}]),
        entry(),
        entry(image_id=None),
        entry(image_id="e", width=0),
        "x",
    ]
    found = read(psg(tmp_path, *rows))
    assert sorted(found.samples) == ["107902", "b", "c", "d"]
    assert found.reasons == {
        **{"unknown-predicate": 1, "unknown-object": 3, "self-relation": 1, "bad-relation": 2},
        **{"bad-segments-file": 1, "bad-box": 1, "bad-annotation": 1, "mask-size": 1},
        **{"missing-segment": 1, "unknown-category": 1, "duplicate-image": 1, "bad-image": 3},
    }
    assert [one.triplet for one in found.samples["107902"].graph.all.relations] == [(0, "on", 1)]


@pytest.mark.parametrize("classes", [{"thing_classes": [], "stuff_classes": []}, {"stuff_classes": [7]}])
def test_a_file_without_classes_is_refused(tmp_path: Path, classes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"psg\.json"):
        read(psg(tmp_path, entry(), **classes))


def test_another_file_is_refused(tmp_path: Path) -> None:
    source = psg(tmp_path)
    (tmp_path / "psg.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(ConfigError, match="needs 'data'"):
        read(source)


@st.composite
def entries(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for name in draw(st.lists(st.text("ab1", min_size=1, max_size=3), min_size=1, max_size=3, unique=True)):
        number = draw(st.integers(0, 3))
        rows = []
        for _ in range(number):
            x, y, w, h = (draw(st.integers(0, 3)) for _ in "xyzw")
            box = [x, y, x + w + 1, y + h + 1]
            rows.append({"bbox": box, "category_id": draw(st.integers(0, 2)), "bbox_mode": 0})
        pairs = [[a, b, draw(st.integers(0, 1))] for a in range(number) for b in range(number) if a != b]
        relations = draw(st.lists(st.sampled_from(pairs), max_size=3)) if pairs else []
        segments = [{"id": 10 + at, "category_id": row["category_id"]} for at, row in enumerate(rows)]
        made = entry(image_id=name, annotations=rows, segments_info=segments, relations=relations)
        del made["pan_seg_file_name"]
        found.append(made)
    return found


@settings(max_examples=8, deadline=None, phases=(Phase.generate,))
@given(entries())
def test_there_and_back_is_an_identity(content: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        source = psg(folder, *content, panoptic=False)
        exporter = PsgExporter(PsgExportOptions(str(folder / "psg.json")))
        found = trip(folder, source, exporter, lambda out: PsgSource(PsgOptions(str(out / "psg.json"))))
        assert found.first.failures == found.again.failures == []
        assert {name: said(one) for name, one in found.again.samples.items()} == {
            name: said(one) for name, one in found.first.samples.items()
        }
        written = json.loads((folder / "out" / "psg.json").read_text())
    assert {key: written[key] for key in CLASSES} == CLASSES
    kept = ("image_id", "file_name", "coco_image_id", "relations", "width", "height")
    assert [{key: row[key] for key in kept} for row in written["data"]] == [
        {key: row[key] for key in kept} for row in sorted(content, key=lambda row: row["image_id"])
    ]


def test_masks_there_and_back(tmp_path: Path) -> None:
    def again(out: Path) -> PsgSource:
        return PsgSource(PsgOptions(str(out / "psg.json"), panoptic=str(out / "panoptic")))

    found = trip(tmp_path, psg(tmp_path, entry()), PsgExporter(PsgExportOptions()), again)
    assert said(found.again.samples["107902"]) == said(found.first.samples["107902"])
    written = json.loads((tmp_path / "out" / "psg.json").read_text())
    assert [row["area"] for row in written["data"][0]["segments_info"]] == [12, 15]
    assert (written["thing_classes"], written["stuff_classes"]) == (["person"], ["sky"])


def test_a_name_of_a_png_stays_in_the_folder(tmp_path: Path) -> None:
    source = psg(tmp_path, entry())
    first = read(source)
    sample = first.samples["107902"]
    value = sample.values["formats.origin"]
    value["more"]["image"]["pan_seg_file_name"] = "../../../../evil.png"
    from sgforge.testing.contracts.data import publish_samples

    PsgExporter(PsgExportOptions()).export(publish_samples(tmp_path, [sample]), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "panoptic").iterdir()] == ["107902.png"]
