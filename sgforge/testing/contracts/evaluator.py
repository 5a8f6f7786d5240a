"""What holds for evaluators: figures that are fractions, and every image either used or counted as skipped."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import numpy as np

from sgforge.graph import Region, Relation, SceneGraph
from sgforge.stages import Failure, Judged, Mode, Ranking, Report
from sgforge.testing.contracts.base import ComponentContract

__all__ = ["EvaluatorContract"]

_PREDICATES = ("on", "holding")


class EvaluatorContract(ComponentContract):
    """Contract of an evaluator."""

    kind = "evaluator"

    def judged(self) -> list[Judged]:
        """One image the student got right, one it got wrong, one it failed on."""
        regions = (Region("cup", (24, 10, 36, 22), score=1.0), Region("table", (4, 20, 60, 44), score=1.0))
        truth = SceneGraph(64, 48, regions, [Relation(0, "on", 1)])
        right, wrong = _ranking(regions, (0.9, 0.1)), _ranking(regions, (0.0, 0.8))
        return [
            Judged("right", truth, right),
            Judged("wrong", truth, wrong),
            Judged("failed", truth, Failure("timeout", "no answer")),
        ]

    def report(self, folder: Path, judged: list[Judged]) -> Report:
        """The report of a new instance."""
        with self.built(folder) as evaluator:
            report = evaluator.evaluate(iter(judged))
        assert isinstance(report, Report)
        return report

    def test_mode_is_known(self, tmp_path: Path) -> None:
        with self.built(tmp_path) as evaluator:
            assert evaluator.mode in get_args(Mode)

    def test_figures_are_fractions(self, tmp_path: Path) -> None:
        report = self.report(tmp_path, self.judged())
        assert report.values, "a report without figures"
        for name, value in report.values.items():
            assert math.isnan(value) or 0.0 <= value <= 1.0, f"{name} = {value}: figures are fractions"

    def test_every_image_is_accounted_for(self, tmp_path: Path) -> None:
        judged = self.judged()
        report = self.report(tmp_path, judged)
        assert report.images_used + sum(report.images_skipped.values()) == len(judged), (
            f"{len(judged)} images; used {report.images_used}, skipped {dict(report.images_skipped)}"
        )

    def test_no_images_at_all(self, tmp_path: Path) -> None:
        assert self.report(tmp_path, []).images_used == 0

    def test_order_of_images_makes_no_difference(self, tmp_path: Path) -> None:
        judged = self.judged()
        forth, back = self.report(tmp_path, judged).values, self.report(tmp_path, judged[::-1]).values
        assert forth.keys() == back.keys()
        for name, value in forth.items():
            assert math.isclose(value, back[name]) or (math.isnan(value) and math.isnan(back[name])), name


def _ranking(regions: tuple[Region, ...], scores: tuple[float, float]) -> Ranking:
    return Ranking(regions, np.array([[0, 1]], np.int32), _PREDICATES, np.array([scores], np.float32))
