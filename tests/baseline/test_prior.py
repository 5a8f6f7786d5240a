from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from baseline.world import LABELS, make_sample, publish, recall

from sgforge import (
    Checkpoint,
    Edit,
    Failure,
    Ranking,
    Region,
    Relation,
    Resources,
    Sample,
    SceneGraph,
    Selection,
    apply_edit,
)
from sgforge.errors import StepError
from sgforge.testing.scenes import make_scene
from sgforge_baseline.config import PriorOptions
from sgforge_baseline.prior import PriorStudent


def trained(folder: Path, samples: list[Sample], **options: object) -> PriorStudent:
    snapshot = publish(folder / "data", samples)
    student = PriorStudent(PriorOptions(**options))  # type: ignore[arg-type]
    checkpoint = student.train(snapshot.path, Selection(), folder / "weights", Resources())
    student.setup(Resources(checkpoint=checkpoint))
    return student


def rank(student: PriorStudent, *samples: Sample) -> list[Ranking]:
    rankings = student.rank(list(samples))
    assert all(isinstance(ranking, Ranking) for ranking in rankings)
    return rankings  # type: ignore[return-value]


def score(ranking: Ranking, subject: int, predicate: str, object_: int) -> float:
    (row,) = np.flatnonzero((ranking.pairs == (subject, object_)).all(axis=1))
    return float(ranking.scores[row, ranking.predicates.index(predicate)])


LEFT, RIGHT = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)


def two(name: str, first: str | None, second: str | None, *relations: Relation) -> Sample:
    regions = [Region(first, LEFT), Region(second, RIGHT)]
    return Sample(name, SceneGraph(100, 100, regions, relations), split="train")


def test_one_pair_counted_by_hand(tmp_path: Path) -> None:
    samples = [two(f"{i}", "cat", "mat", Relation(0, "facing", 1)) for i in range(3)]
    samples.append(two("3", "cat", "mat", Relation(0, "leaving", 1)))
    student = trained(tmp_path, samples, strength=1.0)
    (ranking,) = rank(student, two("x", "cat", "mat"))
    assert ranking.predicates == ("facing", "leaving")
    assert ranking.pairs.tolist() == [[0, 1], [1, 0]]
    # Four pairs of cat and mat, three of them "facing"; as many of mat and cat, which nobody described: half of the
    # regions are, so each of these weighs 0.5. All pairs, smoothed towards next to nothing with the weight of one pair:
    # 3/7. By subject, by object and by cell: (3 + 3/7) / 5 = 24/35. By both labels, from (24/35)² / (3/7), at most 1:
    # (3 + 1) / 5. By all, from 24/35 * 0.8 / (3/7), at most 1: (3 + 1) / 5.
    assert score(ranking, 0, "facing", 1) == pytest.approx(0.8, abs=1e-5)
    # "leaving": 1/7; 8/35; from (8/35)² * 7: 0.273143; from 8/35 * 0.273143 * 7 = 0.437029: (1 + 0.437029) / 5.
    assert score(ranking, 0, "leaving", 1) == pytest.approx(0.287406, abs=1e-5)
    # The other way round nothing was seen: the base, the labels' and the cell's (0 + rate) / 3 of it.
    assert score(ranking, 1, "facing", 0) < 0.1


def test_rejected_rows_teach_nothing(tmp_path: Path) -> None:
    good = [two(f"{i}", "cat", "mat", Relation(0, "facing", 1)) for i in range(3)]
    bad = two("bad", "cat", "mat", Relation(0, "eating", 1, status="rejected"))
    regions = [Region("cat", LEFT), Region("mat", RIGHT, status="rejected")]
    worse = Sample("worse", SceneGraph(100, 100, regions, [Relation(0, "eating", 1)]), split="train")
    (ranking,) = rank(trained(tmp_path / "a", [*good, bad, worse]), two("x", "cat", "mat"))
    (clean,) = rank(trained(tmp_path / "b", good), two("x", "cat", "mat"))
    assert score(ranking, 0, "eating", 1) < 1e-5
    assert score(ranking, 0, "facing", 1) == pytest.approx(score(clean, 0, "facing", 1), abs=1e-6)


def test_a_relation_counts_as_much_as_its_score(tmp_path: Path) -> None:
    samples = [two(f"{i}", "cat", "mat", Relation(0, "facing", 1, score=0.5)) for i in range(4)]
    (ranking,) = rank(trained(tmp_path, samples, strength=1.0), two("x", "cat", "mat"))
    # Two of four pairs and of two more for the other way round, smoothed with one: 2/7; 16/35 by each label;
    # (2 + (16/35)² * 7/2) / 5 = 0.546286 by both; then (2 + 16/35 * 0.546286 * 7/2) / 5.
    assert score(ranking, 0, "facing", 1) == pytest.approx(0.574811, abs=1e-5)


def test_silence_about_a_region_tells_more_the_more_others_are_described(tmp_path: Path) -> None:
    def scene(name: str, *relations: Relation) -> Sample:
        boxes = [(20.0 * i, 0.0, 20.0 * i + 10, 10.0) for i in range(4)]
        regions = [Region(label, box) for label, box in zip(("cat", "mat", "dog", "wall"), boxes, strict=True)]
        return Sample(name, SceneGraph(100, 100, regions, relations), split="train")

    facing = [Relation(0, "facing", 1), Relation(1, "facing", 2), Relation(2, "facing", 1)]
    one = [scene(f"{i}", facing[0]) for i in range(4)]
    most = [scene(f"{i}", *facing) for i in range(4)]
    asked = scene("x")
    # Nobody ever says anything of the wall; where one of four regions is described that means less than of three.
    (few,), (many,) = rank(trained(tmp_path / "a", one), asked), rank(trained(tmp_path / "b", most), asked)
    assert score(few, 3, "facing", 1) / score(few, 0, "facing", 1) > score(many, 3, "facing", 1) / score(
        many, 0, "facing", 1
    )


def test_doubled_rows_count_once(tmp_path: Path) -> None:
    once = [two(f"{i}", "cat", "mat", Relation(0, "facing", 1)) for i in range(3)]
    twice = [two(f"{i}", "cat", "mat", *[Relation(0, "facing", 1)] * 2) for i in range(3)]
    (first,) = rank(trained(tmp_path / "a", once), two("x", "cat", "mat"))
    (second,) = rank(trained(tmp_path / "b", twice), two("x", "cat", "mat"))
    assert np.array_equal(first.scores, second.scores)


def test_unseen_labels_fall_back_on_what_is_known(tmp_path: Path) -> None:
    student = trained(tmp_path, [make_sample(seed) for seed in range(300)], label_images=0)
    names = [("man", "dog"), ("man", "wolf"), ("wizard", "dog"), ("wizard", "wolf"), (None, None)]
    known, object_new, subject_new, both_new, none = (
        score(rank(student, two("x", *pair))[0], 0, "leading", 1) for pair in names
    )
    assert known > 0.9
    assert known > object_new > both_new > 0
    assert known > subject_new > both_new
    assert none == pytest.approx(both_new)
    turned = Sample("x", SceneGraph(100, 100, [Region("wizard", RIGHT), Region("wolf", LEFT)]))
    assert score(rank(student, turned)[0], 0, "leading", 1) < both_new, "the layout speaks where no label does"


def test_more_data_is_better_than_less_than_frequency_than_chance(tmp_path: Path) -> None:
    test = [make_sample(10_000 + seed, regions=8) for seed in range(60)]
    pool = [make_sample(seed) for seed in range(1000)]
    found = {}
    for size in (5, 40, 1000):
        student = trained(tmp_path / str(size), pool[:size])
        found[size] = recall(rank(student, *test), test, 10)
    frequency = recall([_by_frequency(sample, pool) for sample in test], test, 10)
    chance = recall([_by_chance(sample, seed) for seed, sample in enumerate(test)], test, 10)
    assert found[1000] > found[40] + 0.02 > found[5] + 0.1
    assert found[1000] > frequency + 0.1
    assert frequency > chance + 0.1


def _pairs(sample: Sample) -> np.ndarray:
    count = len(sample.graph.regions)
    return np.array([(i, j) for i in range(count) for j in range(count) if i != j], np.int32)


def _by_frequency(sample: Sample, pool: list[Sample]) -> Ranking:
    """P(predicate | both labels), as counted, without layout: the frequency baseline of scene-graph papers."""
    predicates = sorted({relation.predicate for one in pool for relation in one.graph.relations.values()})
    counts = np.zeros((len(LABELS), len(LABELS), len(predicates)))
    seen = np.zeros((len(LABELS), len(LABELS)))
    for one in pool:
        ids = [LABELS.index(region.label or "") for region in one.graph.all.regions]
        for i, j in _pairs(one).tolist():
            seen[ids[i], ids[j]] += 1
        for relation in one.graph.relations.values():
            counts[ids[relation.subject], ids[relation.object], predicates.index(relation.predicate)] += 1
    ids = [LABELS.index(region.label or "") for region in sample.graph.all.regions]
    pairs = _pairs(sample)
    rows = [counts[ids[i], ids[j]] / max(seen[ids[i], ids[j]], 1) for i, j in pairs.tolist()]
    return Ranking(sample.graph.all.regions, pairs, tuple(predicates), np.array(rows, np.float32))


def _by_chance(sample: Sample, seed: int) -> Ranking:
    predicates = ("leading", "following", "pulling", "reaching for", "dropping", "jumping on")
    pairs = _pairs(sample)
    scores = np.random.default_rng(seed).random((len(pairs), len(predicates)))
    return Ranking(sample.graph.all.regions, pairs, predicates, scores.astype(np.float32))


def test_it_learns_made_scenes(tmp_path: Path) -> None:
    scenes = [make_scene(seed, 96).sample for seed in range(60)]
    few = trained(tmp_path / "few", scenes[:3])
    many = trained(tmp_path / "many", scenes[:45])
    test = scenes[45:]
    assert recall(rank(many, *test), test, 50) > recall(rank(few, *test), test, 50) + 0.1


def test_labels_are_guessed_from_place_and_shape_for_unlabelled_regions(tmp_path: Path) -> None:
    def sample(name: str, *, labelled: bool) -> Sample:
        rng = np.random.default_rng(len(name))
        jitter = rng.uniform(0, 3)
        boxes = [("sky", (0, 0, 100, 30 + jitter)), ("road", (0, 70 + jitter, 100, 100)), ("bird", (40, 5, 46, 10))]
        regions = [Region(label if labelled else None, box) for label, box in boxes]
        return Sample(name, SceneGraph(100, 100, regions, [Relation(0, "above", 1)]), split="train")

    student = trained(tmp_path, [sample("x" * n, labelled=True) for n in range(1, 9)])
    (ranking,) = rank(student, sample("new", labelled=False))
    assert [region.label for region in ranking.regions] == ["sky", "road", "bird"]
    assert all(region.score is not None and 0.5 < region.score <= 1 for region in ranking.regions)
    student = trained(tmp_path / "none", [sample("x" * n, labelled=True) for n in range(1, 9)], label_images=0)
    assert {region.label for region in rank(student, sample("new", labelled=False))[0].regions} == {None}


def test_generate_adds_new_relations_up_to_its_limits(tmp_path: Path) -> None:
    student = trained(tmp_path, [make_sample(seed) for seed in range(300)], relations_per_subject=2, min_score=0.3)
    bare = make_sample(5000, regions=10)
    graph = SceneGraph(100, 100, bare.graph.all.regions)
    (edit,) = student.generate([Sample("x", graph)])
    assert isinstance(edit, Edit)
    subjects = [relation.subject for relation in edit.relations]
    assert len(subjects) > 5
    assert max(subjects.count(subject) for subject in subjects) == 2
    assert all(relation.score is not None and relation.score >= 0.3 for relation in edit.relations)
    assert {relation.category for relation in edit.relations} == {"interactional"}
    after = apply_edit(graph, edit, "generate")
    assert not after.counts
    (again,) = student.generate([Sample("x", after.graph)])
    assert isinstance(again, Edit)
    assert not {relation.triplet for relation in again.relations} & {relation.triplet for relation in edit.relations}


def test_generate_says_all_that_is_likely_of_a_pair_but_no_contradiction(tmp_path: Path) -> None:
    said = [Relation(0, "facing", 1), Relation(0, "left of", 1), Relation(0, "chasing", 1), Relation(1, "right of", 0)]
    samples = [two(f"{i}", "cat", "mat", *said) for i in range(8)]
    samples += [two(f"{i}", "cat", "mat", Relation(0, "right of", 1)) for i in range(8, 12)]
    student = trained(tmp_path, samples, min_score=0.2)
    (edit,) = student.generate([two("x", "cat", "mat")])
    assert isinstance(edit, Edit)
    assert {relation.triplet for relation in edit.relations} == {
        *((0, predicate, 1) for predicate in ("chasing", "facing", "left of")),
        (1, "right of", 0),
    }
    (ranking,) = rank(student, two("x", "cat", "mat"))
    assert score(ranking, 0, "right of", 1) > 0.2, "likely enough, but excluded"
    scores = [relation.score or 0 for relation in edit.relations]
    assert scores == sorted(scores, reverse=True)
    # What was rejected is not said again, nor as its inverse; what is said already is not said twice.
    rejected = Relation(0, "left of", 1, status="rejected")
    (edit,) = student.generate([two("x", "cat", "mat", rejected, Relation(0, "facing", 1))])
    assert isinstance(edit, Edit)
    held = {relation.triplet for relation in edit.relations}
    assert (0, "chasing", 1) in held
    assert not held & {(0, "left of", 1), (1, "right of", 0), (0, "facing", 1)}


def test_generate_names_regions_by_their_own_index(tmp_path: Path) -> None:
    student = trained(tmp_path, [two(f"{i}", "cat", "mat", Relation(0, "facing", 1)) for i in range(5)])
    regions = [Region("cat", LEFT, status="rejected"), Region("cat", LEFT), Region("ghost"), Region("mat", RIGHT)]
    (edit,) = student.generate([Sample("x", SceneGraph(100, 100, regions))])
    assert isinstance(edit, Edit)
    assert (1, "facing", 3) in {relation.triplet for relation in edit.relations}
    assert 0 not in {end for relation in edit.relations for end in (relation.subject, relation.object)}


@pytest.mark.parametrize("regions", [[], [Region("cat", LEFT)], [Region("cat"), Region()]])
def test_graphs_with_next_to_nothing(tmp_path: Path, regions: list[Region]) -> None:
    student = trained(tmp_path, [two(f"{i}", "cat", "mat", Relation(0, "facing", 1)) for i in range(3)])
    (ranking,) = rank(student, Sample("x", SceneGraph(0, 0, regions)))
    count = len(regions)
    assert ranking.pairs.shape == (count * (count - 1), 2)
    assert ranking.scores.shape == (count * (count - 1), 2 - 1)
    assert isinstance(student.generate([Sample("x", SceneGraph(0, 0, regions))])[0], Edit)


def test_two_thousand_regions_keep_the_nearest_pairs(tmp_path: Path) -> None:
    student = trained(tmp_path, [two(f"{i}", "cat", "mat", Relation(0, "facing", 1)) for i in range(3)])
    regions = [Region("cat", (i, 0, i + 0.5, 1)) for i in range(1999)] + [Region("ghost")]
    (ranking,) = rank(student, Sample("x", SceneGraph(2000, 10, regions)))
    assert ranking.pairs.shape == (40_000, 2)
    assert np.bincount(ranking.pairs[:, 0]).tolist() == [20] * 2000
    near = ranking.pairs[ranking.pairs[:, 0] == 500, 1]
    assert near.tolist() == [i for i in range(490, 511) if i != 500]


def test_far_too_many_regions_fail_alone(tmp_path: Path) -> None:
    student = trained(tmp_path, [two(f"{i}", "cat", "mat", Relation(0, "facing", 1)) for i in range(3)])
    crowd = Sample("crowd", SceneGraph(0, 0, [Region("cat", LEFT)] * 20_001))
    answers = student.rank([crowd, two("x", "cat", "mat")])
    assert isinstance(answers[0], Failure)
    assert answers[0].reason == "too-many-regions"
    assert isinstance(answers[1], Ranking)


def test_training_reads_the_selection_alone(tmp_path: Path) -> None:
    train = [two(f"{i}", "cat", "mat", Relation(0, "facing", 1)) for i in range(3)]
    held = Sample("held", two("held", "cat", "mat", Relation(0, "eating", 1)).graph, split="val")
    snapshot = publish(tmp_path / "data", [*train, held])
    student = PriorStudent(PriorOptions())
    checkpoint = student.train(snapshot.path, Selection(splits=("train",)), tmp_path / "w", Resources())
    assert checkpoint.metrics == {"images": 3, "relations": 3, "unreadable_images": 0}
    student.setup(Resources(checkpoint=checkpoint))
    assert score(rank(student, two("x", "cat", "mat"))[0], 0, "eating", 1) < 1e-5


def test_the_checkpoint_holds_no_code_and_is_the_same_every_time(tmp_path: Path) -> None:
    samples = [make_sample(seed) for seed in range(20)]
    trained(tmp_path / "a", samples)
    trained(tmp_path / "b", samples)
    first, second = tmp_path / "a" / "weights", tmp_path / "b" / "weights"
    assert sorted(path.name for path in first.iterdir()) == ["counts.npz", "model.json"]
    assert Checkpoint.of(first).sha256 == Checkpoint.of(second).sha256
    with np.load(first / "counts.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind in "if" for name in arrays)


def test_the_option_checkpoint_stands_in_for_a_training(tmp_path: Path) -> None:
    student = trained(tmp_path, [make_sample(seed) for seed in range(20)])
    other = PriorStudent(PriorOptions(checkpoint=tmp_path / "weights"))
    other.setup(Resources())
    sample = make_sample(99)
    assert np.array_equal(rank(other, sample)[0].scores, rank(student, sample)[0].scores)


def test_errors_name_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no weights: put a train step before it"):
        PriorStudent(PriorOptions()).rank([make_sample(1)])
    with pytest.raises(StepError, match="without any kept relation"):
        trained(tmp_path / "a", [two("1", "cat", "mat")])
    with pytest.raises(StepError, match="is no checkpoint of the prior"):
        PriorStudent(PriorOptions(checkpoint=tmp_path)).setup(Resources())
    trained(tmp_path / "b", [make_sample(1)])
    stated = tmp_path / "b" / "weights" / "model.json"
    stated.write_text(json.dumps(json.loads(stated.read_text()) | {"format": 99}))
    with pytest.raises(StepError, match="format 99"):
        PriorStudent(PriorOptions(checkpoint=tmp_path / "b" / "weights")).setup(Resources())
    (tmp_path / "b" / "weights" / "counts.npz").write_bytes(b"PK\x03\x04 cut off")
    stated.write_text(json.dumps(json.loads(stated.read_text()) | {"format": 1}))
    with pytest.raises(StepError, match="is no checkpoint of the prior"):
        PriorStudent(PriorOptions(checkpoint=tmp_path / "b" / "weights")).setup(Resources())


def test_an_unreadable_image_fails_where_pixels_are_needed(tmp_path: Path) -> None:
    from sgforge import Roots

    student = trained(tmp_path, [make_sample(seed) for seed in range(5)])
    image = Roots({"r": tmp_path}).image("r:missing.png")
    labelled, bare = two("x", "cat", "mat").graph, two("x", None, None).graph
    answers = student.rank([Sample("a", labelled, image=image), Sample("b", bare, image=image)])
    assert isinstance(answers[0], Ranking)
    assert isinstance(answers[1], Failure)
    assert answers[1].reason == "bad-image"
