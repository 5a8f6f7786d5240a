"""Agreement with the numbers that the public evaluators give, to 1e-9."""

from __future__ import annotations

from collections import Counter

import attrs
import numpy as np
import pytest
from eval.batches import batch_of_scenes, edge_cases, reference_numbers, reference_scenes, reference_zero_shot
from eval.oracle import Scene

from sgforge_eval.intake.batch import Codebook
from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.measures.conventions import CONVENTIONS, Convention
from sgforge_eval.measures.recall import measure_table
from sgforge_eval.measures.scorer import Measure, Scorer, triplet_codes
from sgforge_eval.report import Outcome, recall_report

PREDICATES = 16
CODE_BASES = {
    "scene_graph_benchmark": CONVENTIONS["sgb"],
    "scene_graph_benchmark_phrdet": CONVENTIONS["sgb"],
    "openpsg_bbox_dedup_gt": CONVENTIONS["openpsg"],
    "openpsg_bbox_keep_dups": attrs.evolve(CONVENTIONS["openpsg"], duplicates="keep"),
    "maelic_sgg_benchmark": CONVENTIONS["maelic"],
}
NAMES = {"phrdet_R": "phrR", "phrdet_mR": "phrmR"}
REFERENCE = reference_numbers()
CASES = [(mode, base) for mode, bases in REFERENCE.items() for base in bases]


def _zero_shot() -> np.ndarray:
    rows = np.array(sorted(reference_zero_shot()), np.int64)
    return np.unique(triplet_codes(rows[:, 0], rows[:, 1], rows[:, 2]))


@pytest.fixture(scope="module")
def batches():
    return {mode: batch_of_scenes(reference_scenes(mode), mode, PREDICATES) for mode in REFERENCE}


def _scored(batch, mode: str, convention: Convention, **switches) -> Scorer:
    scorer = Scorer(Measure.of(mode, convention, (20, 50, 100), zero_shot=_zero_shot, **switches))
    scorer.add(attrs.evolve(batch, labels=30))
    return scorer


def _report(scorer: Scorer):
    book = Codebook(str(code) for code in range(PREDICATES))
    return recall_report(Outcome(scorer, book, Dropped(), Counter()))


@pytest.fixture(scope="module")
def listed():
    return {mode: batch_of_scenes(reference_scenes(mode), mode, PREDICATES, listed=True) for mode in REFERENCE}


@pytest.mark.parametrize("form", ["tables", "rows"])
@pytest.mark.parametrize("in_order", [False, True], ids=["by score", "as listed"])
@pytest.mark.parametrize(("mode", "base"), CASES)
def test_values_agree(batches, listed, mode, base, in_order, form) -> None:
    batch = batches[mode] if form == "tables" else listed[mode]
    report = _report(_scored(batch, mode, CODE_BASES[base], in_order=in_order))
    compared = 0
    for key, expected in REFERENCE[mode][base].items():
        if not isinstance(expected, dict):
            continue
        if "_per_predicate" in key or key.startswith("per_image"):
            continue
        name = f"phr{key}" if base.endswith("phrdet") else NAMES.get(key, key)
        is_free = key.endswith("_by_labels_per_pair")  # all 16 predicates of a pair: no constraint
        for k, value in (expected["16"] if is_free else expected).items():
            name = name.removesuffix("_by_labels_per_pair")
            assert report.values[f"{name}@{k}"] == pytest.approx(value, abs=1e-9), (name, k)
            compared += 1
    assert compared >= 6


@pytest.mark.parametrize(
    ("mode", "base"), [case for case in CASES if "n_images_averaged" in REFERENCE[case[0]][case[1]]]
)
def test_images_used_agree(batches, mode, base) -> None:
    report = _report(_scored(batches[mode], mode, CODE_BASES[base]))
    assert report.images_used == REFERENCE[mode][base]["n_images_averaged"]
    assert report.images_used + sum(report.images_skipped.values()) == 320


@pytest.mark.parametrize("mode", list(REFERENCE))
def test_each_image_and_each_predicate_agree(batches, mode) -> None:
    scorer = _scored(batches[mode], mode, CONVENTIONS["sgb"])
    metrics = measure_table(scorer.table(), scorer.measure, PREDICATES)
    expected = REFERENCE[mode]["scene_graph_benchmark"]
    for place, (family, per_image) in enumerate((("R", "per_image_R"), ("ngR", "per_image_ngR"))):
        found = next(item for item in metrics.families if item.names[0].startswith(f"{family}@"))
        for column, k in enumerate(("20", "50", "100")):
            if k in expected[per_image]:
                values = found.top[metrics.used, column]
                assert values == pytest.approx(expected[per_image][k], abs=1e-9)
        table = np.nan_to_num(metrics.grouped[place].table())
        name = "mR_per_predicate" if family == "R" else "ngmR_per_predicate"
        for column, k in enumerate(("20", "50", "100")):
            assert table[:, column] == pytest.approx(expected[name][k], abs=1e-9)


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("mode", list(REFERENCE))
def test_a_few_predicates_a_pair_agree(batches, mode, limit) -> None:
    convention = attrs.evolve(CONVENTIONS["openpsg"], pair_limit=limit)
    values = _report(_scored(batches[mode], mode, convention)).values
    expected = REFERENCE[mode]["openpsg_bbox_dedup_gt"]
    for key, name in (("ngR_by_labels_per_pair", "R"), ("ngmR_by_labels_per_pair", "mR")):
        for k, value in expected[key][str(limit)].items():
            assert values[f"{name}@{k}"] == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("mode", list(REFERENCE))
def test_detection_precision_agrees_with_its_defect(batches, mode) -> None:
    expected = REFERENCE[mode]["scene_graph_benchmark"]["detection_mAP50"]
    batch = attrs.evolve(batches[mode], aligned=False)
    found = _report(_scored(batch, "sgdet", CONVENTIONS["sgb"])).values["detection_mAP50"]
    assert round(found, 4) == expected
    right = attrs.evolve(CONVENTIONS["sgb"], loses_first_box=False)
    assert _report(_scored(batch, "sgdet", right)).values["detection_mAP50"] > found


def test_open_images_scores_agree(batches) -> None:
    # Figures of PySGG's oi_evaluation on these images, known in per cent with two decimals.
    values = _report(_scored(batches["sgdet"], "sgdet", CONVENTIONS["oi"])).values
    for name, percent in (("R@50", 33.49), ("wmAP_rel", 10.45), ("wmAP_phr", 11.03), ("score_wtd", 15.29)):
        assert 100 * values[name] == pytest.approx(percent, abs=0.005), name


EDGE_BASES = {
    "scene_graph_benchmark": "sgb",
    "openpsg_bbox_dedup_gt": "openpsg",
    "maelic_sgg_benchmark": "maelic",
}


@pytest.mark.parametrize("base", EDGE_BASES)
@pytest.mark.parametrize("case", edge_cases(), ids=lambda case: case["name"])
def test_edge_case_agrees(case, base) -> None:
    labels = [label - 1 for label in case["labels"]]
    scene = Scene(
        case["gt_boxes"],
        [label - 1 for label in case["gt_labels"]],
        [(s, o, p - 1) for s, o, p in case["gt_rels"]],
        case["boxes"],
        labels,
        case["scores"],
        [tuple(pair) for pair in case["pairs"]],
        [row[1:] for row in case["rel_scores"]],
    )
    mode = case["mode"]
    batch = batch_of_scenes([scene], mode, 4)
    scorer = Scorer(Measure.of(mode, CONVENTIONS[EDGE_BASES[base]], (20, 50, 100), in_order=True))
    scorer.add(batch)
    metrics = measure_table(scorer.table(), scorer.measure, 4)
    values = metrics.values()
    for key, expected in case["official"][base].items():
        name = {"phrR": "phrR", "A_hit": "A"}.get(key, key)
        for k, value in expected.items():
            if value is None:
                assert not metrics.used.any()
            elif key == "A_hit":
                assert values.get(f"A@{k}", 0.0) * max(len(case["gt_rels"]), 1) == pytest.approx(value, abs=1e-9)
            else:
                assert values.get(f"{name}@{k}", 0.0) == pytest.approx(value, abs=1e-9), (name, k)
