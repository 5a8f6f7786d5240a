"""Annotation files as people have them, from reading to the dataset and out again: tests/data/coco."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import sgforge as sg
from sgforge import masks
from sgforge.dataset import Dataset
from sgforge.decoding import decode_image
from sgforge_formats.coco.exporter import CocoExporter
from sgforge_formats.config import CocoExportOptions

CASES = Path(__file__).parents[1] / "data" / "coco"
LOADED = {path.stem: json.loads(path.read_text()) for path in sorted(CASES.glob("*.json"))}
SIZE = (20, 10)


def of_kind(kind: str) -> list[str]:
    return [name for name, case in LOADED.items() if kind in case]


def draw(path: Path, kind: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "junk":
        path.write_bytes(b"\0\5\x16\7\0\2\0\0")
    else:
        Image.new("L" if kind == "PPM" else "RGB", SIZE).save(path, kind)


def run(folder: Path, roots: Mapping[str, Path], use: str, **options: Any) -> tuple[Dataset, sg.RunReport]:
    report = sg.Pipeline(sg.segment("regions")).run(
        sg.source(use, **options), folder / "dataset", roots=roots, progress=False
    )
    assert report.status in ("done", "failed-items"), report
    return Dataset.open(folder / "dataset"), report


def area(region: sg.Region) -> int | None:
    if region.mask is None:
        return None
    return int(coco_mask.area({"size": [region.mask.height, region.mask.width], "counts": masks.to_coco(region.mask)}))


@pytest.mark.parametrize("name", of_kind("coco"))
def test_coco(tmp_path: Path, name: str) -> None:
    case = LOADED[name]
    (tmp_path / "a.json").write_text(json.dumps(case["coco"]))
    for file in case.get("images") or ():
        draw(tmp_path / "img" / file)
    images = "r:img" if case.get("root") else str(tmp_path / "img")
    options = {"images": images} if case.get("images") else {}
    dataset, _ = run(tmp_path, {"r": tmp_path}, "coco", annotations=str(tmp_path / "a.json"), **options)
    found = {
        sample.image_id: [[region.label, list(region.box or ()), area(region)] for region in sample.graph.all.regions]
        for sample in dataset
    }
    assert found == case["expect"]
    if "graph" in case:
        graphs = [sample.graph.all for sample in dataset]
        assert sum(len(graph.relations) for graph in graphs) == case["graph"]["relations"]
        assert [region.score for graph in graphs for region in graph.regions] == case["graph"]["scores"]
    if "export" in case:
        CocoExporter(CocoExportOptions()).export(dataset.snapshot, tmp_path / "out.json")
        written = json.loads((tmp_path / "out.json").read_text())
        got = {
            "image_ids": [row["id"] for row in written["images"]],
            "file_names": [row["file_name"] for row in written["images"]],
        }
        assert {key: got[key] for key in case["export"]} == case["export"]


@pytest.mark.parametrize("name", of_kind("folder"))
def test_folder(tmp_path: Path, name: str) -> None:
    case = LOADED[name]
    for file, kind in case["folder"].items():
        draw(tmp_path / "img" / file, kind)
    dataset, report = run(tmp_path, {}, "folder", images=str(tmp_path / "img"))
    assert sorted(sample.image_id for sample in dataset) == case["expect"]
    assert (report.status == "done") == (case["exit"] == 0)


@pytest.mark.parametrize("name", of_kind("decode"))
def test_decode(name: str) -> None:
    case = LOADED[name]
    picture = decode_image((CASES / case["decode"]).read_bytes(), name)
    x0, y0, x1, y1 = case["red"]
    assert list(picture.size) == case["size"]
    assert picture.crop((x0, y0, x1, y1)).getcolors() == [((x1 - x0) * (y1 - y0), (255, 0, 0))]


def test_every_case_is_run() -> None:
    assert sorted(of_kind("coco") + of_kind("folder") + of_kind("decode")) == sorted(LOADED)
    assert len(LOADED) >= 14
