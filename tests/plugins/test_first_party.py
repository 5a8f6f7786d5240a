"""Every first-party component that asks no model keeps the contract of its kind."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from plugins import format_contracts
from sgforge.edits import Edit
from sgforge.images import Roots
from sgforge.jsonl import dump_edit
from sgforge.plugins import load_plugins
from sgforge.stages import Resources
from sgforge.testing import (
    EditorContract,
    EvaluatorContract,
    ExporterContract,
    FilterContract,
    HolderContract,
    PolicyContract,
    RewardContract,
    SegmenterContract,
    SelectorContract,
    SourceContract,
    StudentContract,
    TeacherContract,
    tiny_samples,
)
from sgforge.testing.contracts.base import ComponentContract

globals().update({name: getattr(format_contracts, name) for name in format_contracts.__all__})
"""They are collected here, with the others."""


class TestRegions(SegmenterContract):
    component = "regions"


class TestSuperpixels(SegmenterContract):
    component = "superpixels"
    options = {"levels": [6, 3], "segments": 20}


class TestSam(SegmenterContract):
    component = "sam"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        from sam.tiny import FEW, saved_sam

        return {"checkpoint": str(saved_sam(folder)), "presets": ["default", "part"], "boxes": True, **FEW}


class TestSemanticSam(SegmenterContract):
    component = "semantic-sam"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        from sam.tiny import semantic_options

        return {**semantic_options(folder), "levels": [3, 5]}


class TestSelectRegions(SegmenterContract):
    component = "select-regions"
    options = {"unions": "yes", "merge": "non-overlap-or-area"}


class TestDepth(SegmenterContract):
    component = "depth"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        from depth.tiny_depth import saved_depth

        return {"checkpoint": str(saved_depth(folder))}


class TestSamText(SegmenterContract):
    component = "sam-text"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        from sam.tiny import text_options

        return text_options(folder)


class TestSamConcepts(SegmenterContract):
    component = "sam-concepts"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        from sam.tiny import tiny_concepts

        return {"checkpoint": str(tiny_concepts(folder / "sam3")), "phrases": ["cat"], "threshold": 0.0}


class TestGeometry(TeacherContract):
    component = "geometry"
    options = {"subjects": 2, "predicates": ["on", "left of"]}


class TestSpatialRules(FilterContract):
    component = "spatial-rules"


class TestRewardFilter(HolderContract, FilterContract):
    component = "reward"
    options = {"rewards": [{"use": "spatial", "untold": 0.5}], "least": 0.6}


class TestRewardEvaluator(HolderContract, EvaluatorContract):
    component = "reward"
    options = {"rewards": ["spatial"], "mode": "predcls"}


class TestSpatialReward(RewardContract):
    component = "spatial"


class TestPrior(StudentContract):
    component = "prior"
    options = {"relations_per_subject": 2}


class TestRobin(PolicyContract):
    component = "robin"
    options = {"steps": 2, "images": 1, "max_tokens": 12}

    def resources(self, folder: Path) -> Resources:
        return attrs.evolve(super().resources(folder), roots=Roots({"tiny": folder}))


class TestConsistency(EditorContract):
    component = "consistency"


class TestReplay(EditorContract):
    component = "replay"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        sample = tiny_samples(folder)[0]
        line = dump_edit(sample.image_id, sample.graph, Edit.set("region", 0, label="seen"))
        (folder / "edits.jsonl").write_bytes(line)
        return {"edits": str(folder / "edits.jsonl")}


class TestPredcls(EvaluatorContract):
    component = "predcls"
    options = {"k": [5, 10], "bootstrap": 20}


class TestSgcls(EvaluatorContract):
    component = "sgcls"


class TestSgdet(EvaluatorContract):
    component = "sgdet"


class TestBestOf(HolderContract, SelectorContract):
    component = "best-of"
    options = {"rewards": ["spatial"]}


class TestTopFraction(HolderContract, SelectorContract):
    component = "top-fraction"
    options = {"rewards": [{"use": "spatial", "untold": 0.5}], "fraction": 0.3, "others": "keep"}


class TestFolder(SourceContract):
    component = "folder"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        tiny_samples(folder)
        return {"images": "data:", "split": "val"}


class TestJsonl(SourceContract):
    component = "jsonl"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        line = {"image_id": "a", "width": 4, "height": 4, "regions": [{"label": "cup", "box": [0, 0, 2, 2]}]}
        (folder / "graphs.jsonl").write_text(json.dumps(line) + "\n")
        return {"graphs": "data:graphs.jsonl"}


class TestCoco(SourceContract):
    component = "coco"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        tiny_samples(folder)
        document = {
            "images": [{"id": 1, "file_name": "cup.png", "width": 64, "height": 48}],
            "categories": [{"id": 3, "name": "cup"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}],
        }
        (folder / "instances.json").write_text(json.dumps(document))
        return {"annotations": "data:instances.json", "images": "data:"}


class TestScenes(SourceContract):
    component = "scenes"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        return {"folder": str(folder / "scenes"), "count": 3, "size": 64}


class TestCocoExport(ExporterContract):
    component = "coco"


class TestJsonlExport(ExporterContract):
    component = "jsonl"


def contracts() -> Iterator[type[ComponentContract]]:
    """The contracts in all test modules; a module whose extra is missing has none here."""
    tests = Path(__file__).parents[1]
    for path in sorted(tests.rglob("test_*.py")):
        if "Contract" not in path.read_text():
            continue
        try:
            module = importlib.import_module(".".join(path.relative_to(tests).with_suffix("").parts))
        except pytest.skip.Exception:
            continue
        yield from (
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, ComponentContract) and hasattr(value, "component")
        )


def test_none_is_forgotten() -> None:
    held = {(contract.kind, contract.component) for contract in contracts()}
    registered = {
        (component.kind, component.name)
        for component in load_plugins().components()
        if component.kind not in ("model", "command")
        and not component.needs.model
        and all(importlib.util.find_spec(module) for module in component.needs.modules)
    }
    assert sorted(registered - held) == []
