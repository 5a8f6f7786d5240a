"""The contracts of `sgforge.testing`, held by every component of the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from sgforge.graph import Sample
from sgforge.testing import EditorContract, FilterContract, SegmenterContract, StudentContract, TeacherContract
from sgforge.testing.scenes import make_scene


class TestRegions(SegmenterContract):
    component = "regions"


class TestSuperpixels(SegmenterContract):
    component = "superpixels"
    options: ClassVar[Mapping[str, Any]] = {"levels": [8, 4], "segments": 40}


class TestGeometry(TeacherContract):
    component = "geometry"

    def samples(self, folder: Path) -> list[Sample]:
        return [*super().samples(folder), make_scene(3, 96).sample]


class TestSpatialRules(FilterContract):
    component = "spatial-rules"

    def samples(self, folder: Path) -> list[Sample]:
        return [*super().samples(folder), make_scene(3, 96).sample]


class TestPrior(StudentContract):
    component = "prior"

    def samples(self, folder: Path) -> list[Sample]:
        return [*super().samples(folder), make_scene(3, 96).sample]


class TestConsistency(EditorContract):
    component = "consistency"

    def samples(self, folder: Path) -> list[Sample]:
        return [*super().samples(folder), make_scene(3, 96).sample]
