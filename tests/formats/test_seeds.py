"""examples/svg/seeds.toml over small files in the layouts of COCO, LVIS, RefCOCO, Visual Genome and GQA."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from depth.tiny_depth import saved_depth
from PIL import Image
from support.environment import ROOT

from sgforge.cli.main import main
from sgforge.dataset import Dataset

WEIGHTS = "depth-anything/Depth-Anything-V2-Large-hf"
SIZE = (48, 32)
NAMES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "table"}]


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def instances(*images: int, name: str = "{:012d}.jpg") -> dict[str, Any]:
    """A cat in each image; of LVIS the box is almost the same."""
    rows = [{"id": n, "file_name": name.format(n), "width": SIZE[0], "height": SIZE[1]} for n in images]
    boxes = [{"id": 10 * n, "image_id": n, "bbox": [4, 4, 20, 20], "category_id": 1} for n in images]
    return {"images": rows, "annotations": boxes, "categories": NAMES}


def write_data(folder: Path) -> None:
    """COCO has images 1 to 6, LVIS five of them, RefCOCO four, Visual Genome three, GQA two; one of these is cut."""
    write(folder / "coco/annotations/instances_train2017.json", instances(1, 2, 3, 4, 5, 6))
    for number in range(1, 7):
        path = folder / "coco" / "train2017" / f"{number:012d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.effect_noise(SIZE, 80).convert("RGB").save(path)
    cut = folder / "coco" / "train2017" / f"{2:012d}.jpg"
    cut.write_bytes(cut.read_bytes()[:400])
    write(folder / "lvis/lvis_v1_train.json", instances(1, 2, 3, 4, 5))
    write(folder / "refcoco/instances.json", instances(1, 2, 3, 4, name="COCO_train2014_{:012d}.jpg"))
    refs = [
        {
            "ref_id": n,
            "ann_id": 10 * n,
            "image_id": n,
            "split": "train",
            "sentences": [{"raw": f"cat {n}", "sent": "x"}],
        }
        | {"file_name": f"COCO_train2014_{n:012d}_{n}.jpg"}
        for n in (1, 2, 3, 4)
    ]
    (folder / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    objects = [
        {"object_id": 1, "x": 4, "y": 4, "w": 20, "h": 20, "names": ["cat"], "attributes": ["black"]},
        {"object_id": 2, "x": 0, "y": 20, "w": 40, "h": 10, "names": ["table"]},
    ]
    related = [{"relationship_id": 1, "predicate": "on", "subject_id": 1, "object_id": 2}]
    write(
        folder / "vg/scene_graphs.json",
        [{"image_id": 100 + n, "objects": objects, "relationships": related} for n in (1, 2, 3, 9)],
    )
    region = {"region_id": 5, "x": 2, "y": 2, "width": 30, "height": 28, "phrase": "a cat on a table"}
    write(folder / "vg/region_descriptions.json", [{"id": 100 + n, "regions": [region]} for n in (1, 2, 3, 9)])
    write(
        folder / "vg/image_data.json",
        [
            {"image_id": 100 + n, "width": SIZE[0], "height": SIZE[1], "coco_id": None if n == 9 else n}
            for n in (1, 2, 3, 9)
        ],
    )
    things = {
        "1": {"name": "cat", "x": 4, "y": 4, "w": 20, "h": 20, "relations": [{"object": "2", "name": "lying on"}]},
        "2": {"name": "table", "x": 0, "y": 20, "w": 40, "h": 10, "relations": []},
    }
    graph = {"width": SIZE[0], "height": SIZE[1], "objects": things}
    write(folder / "gqa/train_sceneGraphs.json", {str(100 + n): graph for n in (1, 2, 9)})


def test_each_condition_of_the_paper_leaves_what_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    text = (ROOT / "examples" / "svg" / "seeds.toml").read_text()
    assert WEIGHTS in text
    Path("seeds.toml").write_text(text.replace(WEIGHTS, str(saved_depth(tmp_path))))
    roots = [word for name in ("coco", "lvis", "refcoco", "vg", "gqa") for word in ("--root", f"{name}={name}")]
    assert main(["run", "seeds.toml", *roots]) == 4  # the picture that is cut off
    told = capsys.readouterr().out
    for line in (
        *("vg-gqa: images of vg: 4", "vg-gqa: left after gqa: 3", "vg-gqa: left out as gqa has them not: 1"),
        *("images of coco: 6", "left out as lvis has them not: 1", "left after lvis: 5"),
        *("left out as refcoco has them not: 1", "left after refcoco: 4"),
        *("left out as vg-gqa has them not: 2", "left after vg-gqa: 2", "1 failed: image-truncated"),
    ):
        assert line in told
    (seed,) = Dataset.open("runs/svg-seeds")
    assert (seed.image_id, seed.uri) == ("1", "coco:train2017/000000000001.jpg")
    cat, table, phrase = seed.graph.all.regions
    assert (cat.label, cat.source) == ("cat", "coco+lvis+refcoco+vg-gqa")
    assert (cat.descriptions, cat.attributes) == (("cat 1",), ("black",))
    assert (table.label, table.source) == ("table", "vg-gqa:vg+gqa")
    assert (phrase.label, phrase.descriptions, phrase.box) == (None, ("a cat on a table",), (2, 2, 32, 30))
    assert [one.triplet for one in seed.graph.all.relations] == [(0, "on", 1), (0, "lying on", 1)]
    assert None not in [one.depth for one in seed.graph.all.regions]
    assert "transformers.depth_map" in seed.values
