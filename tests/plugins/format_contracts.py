"""The contracts of the sources and exporters of public formats, each source over a small file in its layout."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sgforge.testing import ExporterContract, SourceContract

__all__ = [
    "TestAde20k",
    "TestConversations",
    "TestGqa",
    "TestGraphmlExport",
    "TestHf",
    "TestHfExport",
    "TestJoin",
    "TestLabelStudio",
    "TestLabelStudioExport",
    "TestLlavaExport",
    "TestOpenImages",
    "TestOpenImagesExport",
    "TestPsg",
    "TestPsgExport",
    "TestR1Export",
    "TestR1Rows",
    "TestRefcoco",
    "TestRobinConversationsExport",
    "TestSvgRelease",
    "TestVg",
    "TestVg150",
    "TestVg150Export",
    "TestVgExport",
]

_OBJECT = {"x": 1, "y": 2, "w": 30, "h": 20}
_VRD = "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationshipLabel"


def _write(folder: Path, name: str, content: Any) -> str:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return f"data:{name}"


def _coco(folder: Path) -> str:
    image = {"id": 1, "file_name": "a.jpg", "width": 60, "height": 50}
    row = {"id": 3, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 20]}
    content = {"images": [image], "annotations": [row], "categories": [{"id": 1, "name": "cup"}]}
    return _write(folder, "instances.json", content)


class TestVg(SourceContract):
    component = "vg"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        rows = [{"image_id": 1, "objects": [{"object_id": 1, "names": ["cup"], **_OBJECT}], "relationships": []}]
        return {"scene_graphs": _write(folder, "scene_graphs.json", rows)}


class TestGqa(SourceContract):
    component = "gqa"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        objects = {"1": {"name": "cup", **_OBJECT}}
        return {"annotations": _write(folder, "gqa.json", {"5": {"width": 60, "height": 50, "objects": objects}})}


class TestSvgRelease(SourceContract):
    component = "svg-release"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        objects = {"1": {"name": "cup", "bbox": [1, 2, 31, 22]}}
        return {"annotations": _write(folder, "svg.json", {"5": {"width": 60, "height": 50, "objects": objects}})}


class TestVg150(SourceContract):
    component = "vg150"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        import h5py

        rows: dict[str, Any] = {"labels": [[1]], "boxes_1024": [[300, 200, 100, 80]], "split": [0]}
        with h5py.File(folder / "vg.h5", "w") as file:
            for name, values in {**rows, "img_to_first_box": [0], "img_to_last_box": [0]}.items():
                file[name] = values
        names = {"idx_to_label": {"1": "cup"}, "idx_to_predicate": {"1": "on"}}
        data = [{"image_id": 9, "width": 600, "height": 500}]
        files = {"dictionary": _write(folder, "d.json", names), "image_data": _write(folder, "i.json", data)}
        return {"annotations": "data:vg.h5", **files}


class TestPsg(SourceContract):
    component = "psg"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        entry = {"image_id": "1", "width": 60, "height": 50, "segments_info": [], "relations": []}
        entry["annotations"] = [{"bbox": [1, 2, 31, 22], "category_id": 0}]
        lists = {"thing_classes": ["cup"], "stuff_classes": [], "predicate_classes": ["on"]}
        return {"annotations": _write(folder, "psg.json", {"data": [entry], **lists})}


class TestOpenImages(SourceContract):
    component = "open-images"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        return {"relationships": _write(folder, "vrd.csv", f"{_VRD}\nx,a,b,0,0.5,0,0.5,0.5,1,0.5,1,on\n")}


class TestConversations(SourceContract):
    component = "conversations"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A cup."}]
        return {"annotations": _write(folder, "c.json", [{"id": "1", "conversations": turns}])}


class TestHf(SourceContract):
    component = "hf"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        return {"data": _write(folder, "rows.jsonl", json.dumps({"image_id": "1", "text": "a cup"}))}


class TestR1Rows(SourceContract):
    component = "r1-sgg"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        row = {"image_id": "1", "objects": '[{"id": "cup.1", "bbox": [1, 2, 31, 22]}]', "relationships": "[]"}
        return {"data": _write(folder, "rows.jsonl", json.dumps(row))}


class TestAde20k(SourceContract):
    component = "ade20k"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        (folder / "ade").mkdir(exist_ok=True)
        polygon = {"x": [1, 31, 31], "y": [2, 2, 22]}
        said = {"filename": "a.jpg", "imsize": [50, 60, 3], "object": [{"id": 0, "name": "cup", "polygon": polygon}]}
        _write(folder / "ade", "a.json", {"annotation": said})
        return {"folder": "data:ade"}


class TestRefcoco(SourceContract):
    component = "refcoco"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        sentences = [{"raw": "the cup", "sent": "the cup", "sent_id": 0}]
        ref = {"ref_id": 1, "ann_id": 3, "image_id": 1, "split": "val", "sentences": sentences}
        (folder / "refs.p").write_bytes(pickle.dumps([ref], 2))
        return {"refs": "data:refs.p", "instances": _coco(folder)}


class TestLabelStudio(SourceContract):
    component = "label-studio"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        return {"annotations": _write(folder, "t.json", [{"id": 1, "data": {"image": "a.jpg"}, "annotations": []}])}


class TestJoin(SourceContract):
    component = "join"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        coco = {"use": "coco", "annotations": _coco(folder)}
        return {"sets": [coco, {**coco, "name": "again"}]}


class TestVgExport(ExporterContract):
    component = "vg"


class TestVg150Export(ExporterContract):
    component = "vg150"


class TestPsgExport(ExporterContract):
    component = "psg"


class TestOpenImagesExport(ExporterContract):
    component = "open-images"


class TestLlavaExport(ExporterContract):
    component = "llava-conversations"


class TestRobinConversationsExport(ExporterContract):
    component = "robin-conversations"


class TestHfExport(ExporterContract):
    component = "hf"


class TestR1Export(ExporterContract):
    component = "r1-sgg"


class TestGraphmlExport(ExporterContract):
    component = "graphml"


class TestLabelStudioExport(ExporterContract):
    component = "label-studio"
