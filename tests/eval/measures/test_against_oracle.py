"""The fast evaluator against the plain one, on random small scenes, in every convention, mode and form of input."""

from __future__ import annotations

from collections import Counter

import attrs
import numpy as np
import pytest
from eval.batches import batch_of_scenes, reference_scenes, reference_zero_shot
from eval.oracle import RULES, Scene, evaluate, first_ranks, ranked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgforge_eval.intake.batch import Codebook
from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.measures.conventions import CONVENTIONS
from sgforge_eval.measures.scorer import Measure, Scorer, triplet_codes
from sgforge_eval.report import Outcome, recall_report

PREDICATES = 3
KS = (1, 2, 4)
# Sums of products of eighths are exact in float32, so ties are real ties on both sides.
EIGHTHS = st.integers(0, 8).map(lambda value: value / 8)
SIDES = st.integers(0, 5)


@st.composite
def _boxes(draw, count: int):
    boxes = []
    for _ in range(count):
        x, y, width, height = (draw(SIDES) for _ in range(4))
        boxes.append((float(x), float(y), float(x + width), float(y + height)))
    return boxes


@st.composite
def _scenes(draw, *, repeated_pairs: bool):
    true, seen = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    true_boxes = draw(_boxes(true))
    # Predictions near the truth, or nothing would ever match.
    boxes = [draw(st.sampled_from(true_boxes)) if draw(st.booleans()) else draw(_boxes(1))[0] for _ in range(seen)]
    region, label = st.integers(0, true - 1), st.integers(0, 1)
    relation = st.tuples(region, region, st.integers(0, PREDICATES - 1))
    count = draw(st.integers(0, 5))
    pair = st.tuples(st.integers(0, seen - 1), st.integers(0, seen - 1))
    return Scene(
        true_boxes,
        [draw(label) for _ in range(true)],
        draw(st.lists(relation, max_size=5)),
        boxes,
        [draw(label) for _ in range(seen)],
        [draw(EIGHTHS) for _ in range(seen)],
        draw(st.lists(pair, min_size=count, max_size=count, unique=not repeated_pairs) if count else st.just([])),
        [[draw(EIGHTHS) for _ in range(PREDICATES)] for _ in range(count)],
    )


def _few_enough(scene: Scene) -> Scene:
    """As many scores as pairs, where too few different pairs exist."""
    scene.table = scene.table[: len(scene.pairs)]
    return scene


def scenes(*, repeated_pairs: bool):
    return st.lists(_scenes(repeated_pairs=repeated_pairs), min_size=1, max_size=4)


def _aligned(scene: Scene) -> Scene:
    """The same scene for a student that is told the boxes."""
    count = len(scene.true_labels)
    labels = (scene.labels * count)[:count]
    scores = (scene.scores * count)[:count]
    pairs = [(subject % count, target % count) for subject, target in scene.pairs]
    return Scene(scene.true_boxes, scene.true_labels, scene.truth, scene.true_boxes, labels, scores, pairs, scene.table)


def _values(batches, mode: str, name: str, zero_shot=frozenset(), *, ks=KS, predicates=PREDICATES) -> dict[str, float]:
    rows = np.array(sorted(zero_shot), np.int64).reshape(-1, 3)
    codes = np.unique(triplet_codes(rows[:, 0], rows[:, 1], rows[:, 2]))
    measure = Measure(mode, CONVENTIONS[name], ks, zero_shot=lambda: codes, detection=False)
    scorer = Scorer(measure)
    for batch in batches:
        scorer.add(batch)
    book = Codebook(str(code) for code in range(predicates))
    return dict(recall_report(Outcome(scorer, book, Dropped(), Counter())).values)


_UNKNOWN = ("mAP", "wmAP", "score", "failure", "P", "one", "invalid", "relations_per", "relmR", "node")


def _differences(found: dict[str, float], expected: dict[str, float]) -> dict[str, tuple[float | None, float | None]]:
    """Values that the two do not share to 1e-12; what the oracle does not know (AP, failures) is left out."""
    ours = {key: value for key, value in found.items() if not key.startswith(_UNKNOWN)}
    return {
        key: (ours.get(key), expected.get(key))
        for key in ours.keys() | expected.keys()
        if key not in ours or key not in expected or ours[key] != pytest.approx(expected[key], rel=0, abs=1e-12)
    }


SLOW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize("mode", ["sgdet", "sgcls", "predcls"])
@SLOW
@given(listed=scenes(repeated_pairs=True), zero=st.sets(st.tuples(*[st.integers(0, 1)] * 3), max_size=4))
def test_tables_agree(mode, listed, zero) -> None:
    if mode != "sgdet":
        listed = [_aligned(scene) for scene in listed]
    together = [batch_of_scenes(listed, mode, PREDICATES)]
    # One image a batch gives the same as all at once.
    apart = [batch_of_scenes([scene], mode, PREDICATES) for scene in listed]
    # To draw scenes takes longer than to evaluate them: each serves all conventions.
    for name in RULES:
        expected = evaluate(listed, name, mode, KS, PREDICATES, zero)
        assert (name, _differences(_values(together, mode, name, zero), expected)) == (name, {})
        assert (name, _differences(_values(apart, mode, name, zero), expected)) == (name, {})


@SLOW
@given(listed=scenes(repeated_pairs=False))
def test_listed_rows_agree_with_tables(listed) -> None:
    listed = [_few_enough(scene) for scene in listed]
    batch = batch_of_scenes(listed, "sgdet", PREDICATES, listed=True)
    for name in RULES:
        expected = evaluate(listed, name, "sgdet", KS, PREDICATES)
        assert (name, _differences(_values([batch], "sgdet", name), expected)) == (name, {})


@pytest.mark.parametrize("name", RULES)
def test_reference_images_agree(name) -> None:
    listed, zero = reference_scenes("sgdet")[:120], reference_zero_shot()
    expected = evaluate(listed, name, "sgdet", (20, 50, 100), 16, zero)
    batch = batch_of_scenes(listed, "sgdet", 16)
    batch = attrs.evolve(batch, labels=30)
    assert _differences(_values([batch], "sgdet", name, zero, ks=(20, 50, 100), predicates=16), expected) == {}


def test_millions_of_names_do_not_overflow() -> None:
    listed = reference_scenes("sgdet")[:60]
    expected = _values([batch_of_scenes(listed, "sgdet", 16)], "sgdet", "sgb", predicates=16)
    far = 2**31 - 40  # every code moved to the far end of a vocabulary of two billion names
    for scene in listed:
        scene.true_labels = [label + far for label in scene.true_labels]
        scene.labels = [label + far for label in scene.labels]
    batch = attrs.evolve(batch_of_scenes(listed, "sgdet", 16), labels=2**31)
    assert _values([batch], "sgdet", "sgb", predicates=16) == expected


def _average_precision(scenes: list[Scene], predicate: int, *, phrase: bool) -> float:
    """Open Images' AP of one predicate by its definition: each triplet against its best truth row, in score order."""
    rules = RULES["oi"]
    detections, count = [], 0
    for image, scene in enumerate(scenes):
        count += sum(p == predicate for *_, p in scene.truth)
        for s, p, o, score in ranked(scene, "sgdet", 2, rules.least)[: max(KS)]:
            if p == predicate:
                detections.append((score, image, s, o))
    detections.sort(key=lambda row: -row[0])
    used, right = set(), []
    for _, image, s, o in detections:
        scene = scenes[image]
        best, best_row = 0.0, None
        for row, (ts, to, p) in enumerate(scene.truth):
            same = (scene.labels[s], scene.labels[o]) == (scene.true_labels[ts], scene.true_labels[to])
            if p != predicate or not same:
                continue
            value = _overlap_of(scene, (s, o), (ts, to), phrase)
            if value > best:
                best, best_row = value, (image, row)
        right.append(best > 0.5 and best_row not in used)
        if best > 0.5:
            used.add(best_row)
    return _area(right, count)


def _overlap_of(scene: Scene, pair, truth, phrase: bool) -> float:
    from eval.oracle import around, overlap

    rules = RULES["oi"]
    if phrase:
        return overlap(
            around(scene.true_boxes[truth[0]], scene.true_boxes[truth[1]]),
            around(scene.boxes[pair[0]], scene.boxes[pair[1]]),
            rules,
        )
    return min(
        overlap(scene.true_boxes[truth[0]], scene.boxes[pair[0]], rules),
        overlap(scene.true_boxes[truth[1]], scene.boxes[pair[1]], rules),
    )


def _area(right: list[bool], count: int) -> float:
    if not count:
        return 0.0
    points, hits = [], 0
    for place, is_right in enumerate(right, 1):
        hits += is_right
        points.append((hits / count, hits / place))
    area, before = 0.0, 0.0
    for place, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[place:])
        before = recall
    return area


@SLOW
@given(listed=scenes(repeated_pairs=True))
def test_open_images_scores_agree(listed) -> None:
    found = _values([batch_of_scenes(listed, "sgdet", PREDICATES)], "sgdet", "oi", ks=(1, 2, 4))
    counts = [sum(p == predicate for scene in listed for *_, p in scene.truth) for predicate in range(PREDICATES)]
    if not sum(counts):
        assert "wmAP_rel" not in found
        return
    for kind, phrase in (("rel", False), ("phr", True)):
        each = [_average_precision(listed, predicate, phrase=phrase) for predicate in range(PREDICATES)]
        weighted = sum(value * count for value, count in zip(each, counts, strict=True)) / sum(counts)
        assert found[f"mAP_{kind}"] == pytest.approx(sum(each) / PREDICATES, abs=1e-9)
        assert found[f"wmAP_{kind}"] == pytest.approx(weighted, abs=1e-9)


def test_the_oracle_finds_a_hit_and_a_miss() -> None:
    boxes = [(0, 0, 9, 9), (20, 0, 29, 9)]
    seen = [(0, 0, 9, 8), (20, 0, 29, 9)]
    scene = Scene(boxes, [0, 1], [(0, 1, 0), (0, 1, 2)], seen, [0, 1], [1.0, 1.0], [(0, 1)], [[0.5, 0.25, 0.0]])
    rows = ranked(scene, "sgdet", None)
    assert rows == [(0, 0, 1, 0.5), (0, 1, 1, 0.25)]
    assert first_ranks(scene, "sgdet", rows, scene.truth, RULES["sgb"]) == [0, float("inf")]
