"""The evaluators of a pipeline, given rankings, against the plain evaluator and against masks by hand."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from eval.batches import reference_scenes
from eval.oracle import RULES, Scene, evaluate

import sgforge_eval.pipeline.reader
from sgforge.config import structure_options
from sgforge.errors import ConfigError
from sgforge.graph import Region, Relation, SceneGraph
from sgforge.masks import from_arrays
from sgforge.plugins import load_plugins
from sgforge.stages import Failure, Judged, Ranking
from sgforge_eval.config import RecallOptions
from sgforge_eval.measures.conventions import CONVENTIONS
from sgforge_eval.pipeline.evaluators import PredclsEvaluator, SgclsEvaluator, SgdetEvaluator

EVALUATORS = {"predcls": PredclsEvaluator, "sgcls": SgclsEvaluator, "sgdet": SgdetEvaluator}
PREDICATES = tuple(f"p{code}" for code in range(16))


@pytest.fixture(params=["held as tables", "held as cells"])
def form(request, monkeypatch) -> str:
    """Both forms that rankings are held in; the second is that of rankings over very many predicates."""
    if request.param == "held as cells":
        monkeypatch.setattr(sgforge_eval.pipeline.reader, "_WIDE", 1)
    return request.param


def _judged(
    number: int, scene: Scene, columns: tuple[str, ...] = PREDICATES, names: tuple[str, ...] = PREDICATES
) -> Judged:
    """The scene, its table's columns in the order of `columns`, which are of `names`."""
    true = [Region(f"l{label}", box) for label, box in zip(scene.true_labels, scene.true_boxes, strict=True)]
    said = tuple(
        Region(f"l{label}", box, score=score)
        for label, box, score in zip(scene.labels, scene.boxes, scene.scores, strict=True)
    )
    relations = [Relation(s, f"p{p}", o) for s, o, p in scene.truth]
    table = np.array(scene.table, np.float32).reshape(-1, len(names))
    order = [names.index(name) for name in columns]
    pairs = np.array(scene.pairs, np.int32).reshape(-1, 2)
    return Judged(str(number), SceneGraph(0, 0, true, relations), Ranking(said, pairs, columns, table[:, order]))


def _scenes(mode: str) -> list[Scene]:
    scenes = reference_scenes(mode)[:80]
    for scene in scenes:
        scene.truth = [row for row in scene.truth if row[0] != row[1]]
    return scenes


@pytest.mark.parametrize("mode", EVALUATORS)
@pytest.mark.parametrize("convention", RULES)
@pytest.mark.usefixtures("form")
def test_rankings_agree_with_the_plain_evaluator(mode, convention) -> None:
    scenes = _scenes(mode)
    names = {f"p{p}" for scene in scenes for *_, p in scene.truth}
    # The 16th predicate is the student's alone: mean recall does not divide by it.
    expected = evaluate(scenes, convention, mode, (2, 7, 20, 50), len(names))
    options = RecallOptions(convention, k=(2, 7, 20, 50), bootstrap=0)
    turned = PREDICATES[::-1]  # the order of the columns is each student's own
    judged = (_judged(number, scene, turned if number % 3 else PREDICATES) for number, scene in enumerate(scenes))
    report = EVALUATORS[mode](options).evaluate(judged)
    assert len(names) == 15
    for key, value in expected.items():
        assert report.values[key] == pytest.approx(value, abs=1e-9), key


def _wide_scene(rng: np.random.Generator, predicates: int) -> Scene:
    """Five regions that overlap or not, every pair with many proposed predicates and ties."""
    boxes = [(x, 0.0, x + 10.0, 10.0) for x in (0.0, 2.0, 20.0, 40.0, 60.0)]
    pairs = [(s, o) for s in range(5) for o in range(5) if s != o]
    table = (rng.integers(0, 9, (len(pairs), predicates)) * (rng.random((len(pairs), predicates)) < 0.4) / 8).tolist()
    triplets = [(s, o, int(rng.integers(0, predicates))) for s, o in pairs[::2]]
    triplets += [(s, o, int(np.argmax(table[row]))) for row, (s, o) in enumerate(pairs) if rng.random() < 0.5]
    labels = [0, 1, 1, 2, 2]
    return Scene(boxes, labels, triplets, boxes, labels, [1.0, 0.5, 1.0, 0.25, 0.5], pairs, table)


@pytest.mark.parametrize("mode", EVALUATORS)
@pytest.mark.parametrize("convention", RULES)
def test_hundreds_of_predicates_agree_with_the_plain_evaluator(mode, convention) -> None:
    rng = np.random.default_rng(3)
    names = tuple(f"p{code}" for code in range(sgforge_eval.pipeline.reader._WIDE + 9))
    scenes = [_wide_scene(rng, len(names)) for _ in range(3)]
    judged = (_judged(number, scene, names, names) for number, scene in enumerate(scenes))
    own = {p for scene in scenes for *_, p in scene.truth}
    expected = evaluate(scenes, convention, mode, (5, 20, 50), len(own))
    report = EVALUATORS[mode](RecallOptions(convention, k=(5, 20, 50), bootstrap=0)).evaluate(judged)
    assert 0 < report.values["R@50" if RULES[convention].ranked else "R"] <= 1
    for key, value in expected.items():
        assert report.values[key] == pytest.approx(value, abs=1e-9), key


def test_masks_decide_where_they_are_asked_for() -> None:
    shapes = np.zeros((3, 20, 20), bool)
    shapes[0, :10, :10], shapes[1, :10, :10], shapes[2, 12:, 12:] = True, np.eye(10, dtype=bool), True
    full, thin, other = from_arrays(shapes)
    truth = SceneGraph(20, 20, [Region("a", mask=full), Region("b", mask=other)], [Relation(0, "on", 1)])
    pairs, scores = np.array([[0, 1]], np.int32), np.ones((1, 1), np.float32)

    def value(mask, localization: str) -> float:
        ranking = Ranking((Region("a", mask=mask), Region("b", mask=other)), pairs, ("on",), scores)
        options = RecallOptions(localization=localization, bootstrap=0)
        return SgdetEvaluator(options).evaluate([Judged("x", truth, ranking)]).values["R@20"]

    assert (value(full, "mask"), value(thin, "mask"), value(thin, "box")) == (1.0, 0.0, 1.0)


@pytest.mark.usefixtures("form")
def test_a_told_student_may_see_the_kept_regions_alone() -> None:
    regions = [Region("x", status="rejected", reason="r"), Region("a", (0, 0, 9, 9)), Region("b", (20, 0, 30, 9))]
    truth = SceneGraph(50, 50, regions, [Relation(1, "on", 2)])
    kept = (Region("a", (0, 0, 9, 9)), Region("b", (20, 0, 30, 9)))
    ranking = Ranking(kept, np.array([[0, 1]], np.int32), ("on",), np.ones((1, 1), np.float32))
    values = PredclsEvaluator(RecallOptions(bootstrap=0)).evaluate([Judged("x", truth, ranking)]).values
    assert (values["R@20"], values["A@20"]) == (1.0, 1.0)
    named = SgclsEvaluator(RecallOptions(bootstrap=0)).evaluate([Judged("x", truth, ranking)]).values
    assert named["R@20"] == 1.0


@pytest.mark.usefixtures("form")
def test_faulty_rankings_are_counted() -> None:
    regions = (Region("a", (0, 0, 9, 9)), Region("b", (20, 0, 30, 9)))
    truth = SceneGraph(50, 50, regions, [Relation(0, "on", 1)])
    pairs = np.array([[0, 1], [0, 7], [-1, 1]], np.int32)
    scores = np.array([[0.5, np.nan], [1, 1], [1, 1]], np.float32)
    report = SgdetEvaluator(RecallOptions(bootstrap=0)).evaluate(
        [Judged("x", truth, Ranking(regions, pairs, ("on", "near"), scores)), Judged("y", truth, Failure("refused"))]
    )
    assert report.values["R@20"] == 0.5
    assert report.values["ngR@20"] == 0.5
    assert report.values["failure_rate"] == 0.5
    assert "2 x pair with a region index out of range" in report.notes
    assert "1 x score that is not finite" in report.notes
    assert "1 failed predictions: refused" in report.notes


def _free_text(tmp_path, **options) -> RecallOptions:
    (tmp_path / "labels").write_text("person\nhorse\n")
    (tmp_path / "predicates").write_text("riding\nnear\n")
    (tmp_path / "aliases").write_text('{"pony": "horse"}')
    return RecallOptions(
        bootstrap=0, labels=tmp_path / "labels", predicates=tmp_path / "predicates", k=(1, 2), **options
    )


def _rider() -> Judged:
    """A person riding a horse and watching a dog, in the words of a student that lists both predicates of a pair."""
    boxes = (0, 0, 9, 9), (20, 0, 30, 9), (50, 0, 60, 9)
    names = ("person", "horse", "dog")
    relations = [Relation(0, "riding", 1), Relation(0, "watching", 1), Relation(0, "near", 2)]
    regions = [Region(name, box) for name, box in zip(names, boxes, strict=True)]
    said = tuple(Region(name, box) for name, box in zip(("two people", "pony", "dog"), boxes, strict=True))
    scores = np.array([[0.5, 0.9, 0.7]], np.float32)
    predicates = ("rides", "is riding", "gazing at")
    return Judged(
        "x", SceneGraph(99, 99, regions, relations), Ranking(said, np.array([[0, 1]], np.int32), predicates, scores)
    )


@pytest.mark.usefixtures("form")
def test_free_text_is_mapped_to_the_closed_vocabulary(tmp_path) -> None:
    options = _free_text(tmp_path, match="lemma", aliases=tmp_path / "aliases")
    report = SgdetEvaluator(options).evaluate([_rider()])
    assert report.values["R@1"] == 1.0  # watching and dog are outside of it
    assert report.values["ngR@1"] == 1.0
    for note in (
        "1 x truth: relation with a predicate outside the vocabulary",
        "1 x truth: relation of a region with a label outside the vocabulary",
        "unique predicates not in the vocabulary as they stand: 2 lemma, 1 unmatched",
    ):
        assert note in report.notes
    assert SgdetEvaluator(_free_text(tmp_path)).evaluate([_rider()]).values["R@1"] == 0.0


def test_two_names_of_one_predicate_take_one_rank(tmp_path) -> None:
    options = _free_text(tmp_path, match="lemma", aliases=tmp_path / "aliases")
    judged = _rider()
    scores = np.array([[0.9, 0.8, 0.0]], np.float32)
    ranking = attrs.evolve(judged.prediction, scores=scores, predicates=("rides", "is riding", "near"))
    near = attrs.evolve(ranking, scores=np.array([[0.9, 0.8, 0.7]], np.float32))
    truth = SceneGraph(99, 99, judged.truth.all.regions, [Relation(0, "near", 1)])
    assert SgdetEvaluator(options).evaluate([Judged("x", truth, near)]).values["ngR@2"] == 1.0
    assert SgdetEvaluator(options).evaluate([Judged("x", truth, ranking)]).values["ngR@2"] == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"convention": "best"}, "convention"),
        ({"k": []}, "k"),
        ({"k": [20, 0]}, "k"),
        ({"bootstrap": -1}, "bootstrap"),
        ({"convention": "oi", "localization": "mask"}, "no scores by mask"),
        ({"match": "exact"}, "give labels and predicates"),
        ({"threshold": 0.5}, "least cosine of similarity"),
        ({"aliases": "a.json"}, "change nothing"),
        ({"threshold": 2.0}, "threshold"),
    ],
)
def test_wrong_options_are_errors_of_the_config(options, message) -> None:
    component = load_plugins().lookup("evaluator", "sgdet")
    with pytest.raises(ConfigError, match=message):
        structure_options(component, options, "step 1")


@pytest.mark.parametrize("name", [*CONVENTIONS, "sgb+unanswered=zero"])
def test_every_convention_is_an_option(name) -> None:
    assert RecallOptions(name).convention == name


def test_nothing_judged_is_said() -> None:
    report = SgdetEvaluator(RecallOptions()).evaluate([])
    assert (report.values, report.images_used) == ({}, 0)
    assert report.notes == ("there were no images to evaluate",)
