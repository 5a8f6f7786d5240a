"""Paired differences and intervals."""

from __future__ import annotations

import random

import numpy as np
import pytest
from eval.batches import batch_of_scenes, reference_scenes
from eval.graphs import line, relation, write

import sgforge_eval.measures.bootstrap
from sgforge_eval.compare import Difference, compare
from sgforge_eval.evaluate import Settings
from sgforge_eval.measures.bootstrap import Resamples, interval
from sgforge_eval.measures.conventions import CONVENTIONS
from sgforge_eval.measures.recall import measure_table
from sgforge_eval.measures.scorer import Measure, Scorer

ON = [relation(0, "on", 1), relation(2, "near", 1)]


def _file(path, hits: list[int]):
    """Image i has its first hits[i] of two relations right."""
    rows = [ON[:count] + [relation(0, "under", 1)] * (count < 2) for count in hits]
    return write(path, *(line(f"i{number}", None, row) for number, row in enumerate(rows)))


def test_equal_predictions_differ_by_nothing(tmp_path) -> None:
    truth = write(tmp_path / "t", *(line(f"i{number}", None, ON) for number in range(20)))
    said = _file(tmp_path / "a", [number % 3 for number in range(20)])
    comparison = compare(said, said, truth)
    assert {item.value for item in comparison.metrics} == {0.0}
    (without,) = (item for item in comparison.metrics if item.name == "detection_mAP50")
    assert np.isnan([without.low, without.high]).all()  # no sum over images
    drawn = [item for item in comparison.metrics if not item.name.startswith(("detection", "mAP"))]
    assert {(item.low, item.high) for item in drawn} == {(0.0, 0.0)}
    assert not any(item.clear for item in (*comparison.metrics, *comparison.predicates))


def test_a_paired_difference_is_clear_where_both_vary(tmp_path) -> None:
    # B finds one more in every image: the difference is the same in each resample, however recall itself varies.
    rng = random.Random(0)
    first = [rng.choice([0, 1]) for _ in range(60)]
    truth = write(tmp_path / "t", *(line(f"i{number}", None, ON) for number in range(60)))
    a, b = _file(tmp_path / "a", first), _file(tmp_path / "b", [count + 1 for count in first])
    found = {item.name: item for item in compare(a, b, truth).metrics}["R@20"]
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert found.clear
    rows = {item.name: item for item in compare(a, b, truth).predicates if item.metric == "R@20"}
    assert set(rows) == {"on", "near"}
    assert rows["on"].value + rows["near"].value == pytest.approx(1.0)


def test_failures_are_compared_with_an_interval(tmp_path) -> None:
    names = [f"i{number}" for number in range(40)]
    truth = write(tmp_path / "t", *(line(name, None, ON) for name in names))
    failing = write(tmp_path / "b", *(line(name, None, ON, failed="no") for name in names[:10]))
    found = {item.name: item for item in compare(truth, failing, truth, draws=200).metrics}["failure_rate"]
    assert (found.first, found.second) == (0.0, 0.25)
    assert 0.05 < found.low < 0.25 < found.high < 0.45


def test_mean_recall_divides_by_the_truth_s_predicates_alone(tmp_path) -> None:
    truth = write(tmp_path / "t", line("x", None, ON))
    a = write(tmp_path / "a", line("x", None, [*ON, relation(1, "beside", 2)]))
    b = write(tmp_path / "b", line("x", None, [*ON, relation(1, "behind", 2)]))
    values = {item.name: item for item in compare(a, b, truth, draws=10).metrics}
    assert values["mR@20"].first == values["mR@20"].second == 1.0


def _metrics(scenes):
    scorer = Scorer(Measure("sgdet", CONVENTIONS["sgb"], (20, 50)))
    scorer.add(batch_of_scenes(scenes, "sgdet", 16))
    return measure_table(scorer.table(), scorer.measure, 16)


# A product of full matrices at any share of filled cells, or none.
@pytest.mark.parametrize("filled", [0, 2])
@pytest.mark.parametrize("block", [7, 4096])
def test_resampled_sums_are_what_resampled_images_give(block: int, filled: float, monkeypatch) -> None:
    """However many images, or groups, are summed at once, and in whatever way."""
    monkeypatch.setattr(sgforge_eval.measures.bootstrap, "_BLOCK", block)
    monkeypatch.setattr(sgforge_eval.measures.bootstrap, "_CELLS", 5 * block)
    monkeypatch.setattr(sgforge_eval.measures.bootstrap, "_FILLED", filled)
    scenes = reference_scenes("sgdet")[:40]
    drawn = Resamples.of(40, draws=5, seed=3).values(_metrics(scenes))
    rng = np.random.default_rng(3)
    for draw in range(5):
        picked = rng.integers(0, 40, 40, np.int32)
        again = _metrics([scenes[image] for image in picked]).values()
        for name, values in drawn.items():
            assert values[draw] == pytest.approx(again[name], abs=1e-6), name


@pytest.mark.parametrize("filled", [0, 2])
def test_resampled_groups_are_what_resampled_images_give(filled: float, monkeypatch) -> None:
    monkeypatch.setattr(sgforge_eval.measures.bootstrap, "_FILLED", filled)
    scenes = reference_scenes("sgdet")[:12]
    groups = np.array([1, 2, 5, 7, 15])
    drawn = Resamples.of(12, draws=6, seed=3).by_group(_metrics(scenes).grouped[0], groups)
    rng = np.random.default_rng(3)
    tables = []
    for _ in range(6):
        picked = rng.integers(0, 12, 12, np.int32)
        tables.append(_metrics([scenes[image] for image in picked]).grouped[0].table()[groups])
    assert np.isnan(tables).any()
    np.testing.assert_allclose(drawn, np.array(tables), atol=1e-6)


def test_the_interval_covers_the_value_and_narrows_with_more_images() -> None:
    scenes = reference_scenes("sgdet")
    widths = []
    for count in (40, 320):
        metrics = _metrics(scenes[:count])
        drawn = Resamples.of(count, 400).values(metrics)
        low, high = interval(drawn["R@20"])
        assert low < metrics.values()["R@20"] < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


@pytest.mark.parametrize(
    ("low", "high", "clear"), [(1, 2, True), (-2, -1, True), (-1, 1, False), (0, 1, False), (-1, 0, False)]
)
def test_a_difference_is_clear_if_its_interval_leaves_out_0(low: float, high: float, clear: bool) -> None:
    assert Difference("R@20", "R@20", 0.0, (low + high) / 2, low, high).clear is clear


def test_draws_without_truth_are_left_out_of_an_interval() -> None:
    values = np.array([[np.nan, 1.0], [0.5, 1.0], [0.7, 1.0]])
    low, high = interval(values)
    assert low[0] == pytest.approx(0.505)
    assert high[0] == pytest.approx(0.695)
    assert (low[1], high[1]) == (1.0, 1.0)


def test_settings_are_those_of_a_single_evaluation(tmp_path) -> None:
    truth = write(tmp_path / "t", line("x", None, ON), line("y", None, ON))
    said = write(tmp_path / "a", line("x", None, ON))
    first = {item.name: item.first for item in compare(said, said, truth, Settings(convention="sgb"), draws=3).metrics}
    assert first["R@20"] == 1.0
    assert {item.name: item.first for item in compare(said, said, truth, draws=3).metrics}["R@20"] == 0.5
