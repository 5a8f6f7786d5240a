"""Evaluation: what the student may see, what truth is, what is left out and what is saved."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest
from engine_toys import EvaluatorOptions, ToyEvaluator, ToyStudent, arrays
from PIL import Image

import sgforge as sg
from sgforge.edits import Edit
from sgforge.engine.barriers.evaluation import bare_sample, compact_truth, saved_relations
from sgforge.errors import PreflightError, StepError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.jsonl import read_lines
from sgforge.stages import Checkpoint, Failure, Ranking


def run(folder: Path, *steps, **settings):
    source = settings.pop("source", sg.source("toy", count=20))
    return sg.Pipeline(*steps).run(source, folder, progress=False, **settings)


class Spy(ToyStudent):
    """Keeps every sample that `rank` was given, and what it was set up with."""

    seen: tuple[Sample, ...] = ()
    given: tuple[object, ...] = ()

    def setup(self, resources):
        super().setup(resources)
        Spy.given += (resources,)

    def rank(self, samples):
        Spy.seen += tuple(samples)
        return super().rank(samples)


@pytest.fixture
def spy() -> type[Spy]:
    Spy.seen, Spy.given = (), ()
    return Spy


def evaluator(mode: str, **options) -> ToyEvaluator:
    made = ToyEvaluator(EvaluatorOptions(**options))
    made.mode = mode
    made.revision = 1
    return made


def all_texts(value: object) -> str:
    """Everything that a value holds, at any depth; its own repr may leave things out."""
    if attrs.has(type(value)):
        return all_texts([getattr(value, field.name) for field in attrs.fields(type(value))])
    if isinstance(value, dict):
        return all_texts(list(value.items()))
    if isinstance(value, (list, tuple)):
        return " ".join(map(all_texts, value))
    return repr(value)


def test_predcls_shows_boxes_and_labels_and_no_relation(toys, tmp_path, spy):
    run(tmp_path / "data", sg.complete("toy"), sg.train(spy()), sg.evaluate(evaluator("predcls")))
    assert [sample.image_id for sample in spy.seen] == ["00004", "00009", "00014", "00019"]
    for sample in spy.seen:
        assert sample.graph.all.relations == ()
        assert [region.label for region in sample.graph.all.regions] == ["person", "cup", "table"]
        assert all(region == Region(label=region.label, box=region.box) for region in sample.graph.all.regions)
        assert (sample.split, sample.source, sample.sha256) == (None, None, None)


def test_sgcls_shows_boxes_alone(toys, tmp_path, spy):
    run(tmp_path / "data", sg.complete("toy"), sg.train(spy()), sg.evaluate(evaluator("sgcls")))
    for sample in spy.seen:
        assert sample.graph.all.relations == ()
        assert all(region == Region(box=region.box) for region in sample.graph.all.regions)
        assert len(sample.graph.all.regions) == 3


def test_sgdet_shows_what_the_segmenters_find_on_the_bare_image(toys, tmp_path, spy):
    run(
        tmp_path / "data",
        sg.segment("toy", amount=4),
        sg.complete("toy"),
        sg.train(spy()),
        sg.evaluate(evaluator("sgdet")),
    )
    for sample in spy.seen:
        assert sample.graph.all.relations == ()
        boxes = [region.box for region in sample.graph.all.regions]
        assert boxes == [(4.0 * n, 2.0, 4.0 * n + 9, 30.0) for n in range(4)]
        assert {region.label for region in sample.graph.all.regions} == {None}


def test_sgdet_without_a_segmenter_shows_the_image_alone(toys, tmp_path, spy):
    run(tmp_path / "data", sg.train(spy()), sg.evaluate(evaluator("sgdet")))
    for sample in spy.seen:
        assert sample.graph == SceneGraph(64, 64)


def test_nothing_that_a_student_is_given_leads_to_the_truth(toys, tmp_path, spy):
    """Every value of the truth is marked; no mark may reach the student by any way."""

    class Marked:
        def samples(self, roots, name):
            for number in range(20):
                region = Region(
                    label="LABEL", box=(1, 1, 9, 9), descriptions=("SECRET",), attributes=("SECRET",), score=0.123
                )
                other = Region(label="LABEL", box=(20, 20, 40, 40), parent=0, level=3, source="SECRET", depth=0.77)
                relations = [Relation(0, "SECRET", 1, "social", score=0.5)]
                graph = SceneGraph(64, 64, [region, other], relations, {"style": "SECRET"})
                yield Sample(f"{number:02}", graph, split="val" if number > 15 else "train")

    for mode in ("predcls", "sgcls", "sgdet"):
        run(tmp_path / mode, sg.train(spy()), sg.evaluate(evaluator(mode)), source=Marked())
    assert len(spy.seen) == 12
    shown = all_texts(spy.seen)
    for secret in ("SECRET", "0.123", "0.77", "social", "style"):
        assert secret not in shown
    labels = [all_texts(sample).count("LABEL") for sample in spy.seen]
    assert labels == [2] * 4 + [0] * 8
    data = str(tmp_path)
    for resources in spy.given:
        assert data not in all_texts(resources.scratch)
        # Of roots only the one of pictures that steps have made may be there: no folder of annotations.
        assert resources.roots is None or set(resources.roots.names()) <= {"files"}


def test_evaluation_changes_no_graph(toys, tmp_path, spy):
    report = run(tmp_path / "data", sg.complete("toy"), sg.train(spy()))
    before = arrays(tmp_path / "data")
    after = run(tmp_path / "data", sg.complete("toy"), sg.train(spy()), sg.evaluate("toy"))
    assert arrays(tmp_path / "data") == before
    assert after.snapshot == report.snapshot


class Keeping(ToyEvaluator):
    """Keeps what it was given."""

    judged: tuple = ()

    def evaluate(self, judged):
        Keeping.judged = tuple(judged)
        return super().evaluate(Keeping.judged)


def test_truth_is_what_the_source_gave_whatever_the_steps_did(toys, tmp_path):
    class Rejecting:
        """Rejects everything, the source's relations too."""

        def filter(self, samples):
            return [Edit.sum(Edit.reject(i, "no") for i in sample.graph.relations) for sample in samples]

    report = run(
        tmp_path / "data", sg.complete("toy"), sg.train(ToyStudent()), sg.filter(Rejecting()), sg.evaluate(Keeping())
    )
    assert report.step("evaluate").report.values["truths"] == 4.0
    for item in Keeping.judged:
        assert [relation.made_by for relation in item.truth.relations.values()] == [None]


def test_truth_of_the_graph_is_taken_on_request_and_printed(toys, tmp_path):
    steps = (sg.complete("toy", amount=6), sg.train(ToyStudent()))
    report = run(tmp_path / "data", *steps, sg.evaluate("toy"), sg.evaluate("toy", truth="graph"))
    plain, whole = report.step("evaluate").report, report.step("evaluate-2").report
    assert plain.values["truths"] == 4.0
    assert whole.values["truths"] > 4.0
    assert plain.notes == ()
    assert whole.notes == ("truth: all kept relations of the graph, not only those that the source gave",)


def test_without_true_relations_the_error_says_what_to_do(toys, tmp_path):
    source = sg.source("toy", count=20, relations=0)
    with pytest.raises(StepError, match=r'gave no relation for any of the 4 held-out images.*truth = "graph"'):
        run(tmp_path / "data", sg.complete("toy"), sg.train(ToyStudent()), sg.evaluate("toy"), source=source)


def test_without_held_out_images_nothing_begins(toys, tmp_path):
    source = sg.source("toy", count=4)
    with pytest.raises(PreflightError, match=r"step 'evaluate' has no held-out images to evaluate on: .* 4 in train"):
        run(tmp_path / "data", sg.complete("toy"), sg.train(ToyStudent()), sg.evaluate("toy"), source=source)


def test_images_that_failed_before_are_left_out_and_counted(toys, tmp_path):
    steps = (sg.complete("toy", fail=["00004", "00000"], drop=["00009"]), sg.train(ToyStudent()), sg.evaluate("toy"))
    report = run(tmp_path / "data", *steps)
    found = report.step("evaluate").report
    assert found.images_used == 2
    assert found.images_skipped == {"dropped": 1, "failed at complete: unwilling": 1}
    assert report.step("train").counts.computed == 15


class Uneven(ToyStudent):
    """Fails for one image, raises for another, and answers nonsense for a third."""

    def rank(self, samples):
        answers = super().rank(samples)
        for place, sample in enumerate(samples):
            if sample.image_id == "00004":
                answers[place] = Failure("too-hard")
            if sample.image_id == "00009":
                raise ValueError("no")
            if sample.image_id == "00014":
                answers[place] = Ranking(sample.graph.all.regions, np.zeros((1, 2)), ("on",), np.full((1, 1), 7.0))
        return answers


def test_a_prediction_that_fails_is_a_failure_of_its_image(toys, tmp_path):
    report = run(tmp_path / "data", sg.train(Uneven()), sg.evaluate("toy"))
    assert report.step("evaluate").report.values["failures"] == 3.0
    assert report.step("evaluate").report.images_used == 1


class Nonsense(ToyStudent):
    """Answers something else for the first image."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def rank(self, samples):
        first, *others = super().rank(samples)
        return [self.change(first), *others]


@pytest.mark.parametrize(
    "change",
    [
        lambda good: attrs.evolve(good, scores=np.asarray(good.scores) - 2.0),
        lambda good: attrs.evolve(good, scores=np.asarray(good.scores) * np.nan),
        lambda good: attrs.evolve(good, scores=np.asarray(good.scores)[:, :-1]),
        lambda good: attrs.evolve(good, pairs=np.asarray(good.pairs) - 1),
        lambda good: attrs.evolve(good, pairs=np.asarray(good.pairs) + len(good.regions)),
        lambda good: attrs.evolve(good, pairs=np.asarray(good.pairs)[:, :1]),
        lambda good: good.scores,
    ],
    ids=["below 0", "nan", "a score short", "index -1", "index too high", "no pairs", "no ranking"],
)
def test_a_ranking_against_the_contract_is_a_failure_of_its_image_alone(toys, tmp_path, change):
    report = run(tmp_path / "data", sg.train(Nonsense(change)), sg.evaluate("toy"))
    (file,) = (tmp_path / "data" / "steps").glob("*/predictions.jsonl")
    failed = [line.failed for line in read_lines(file)]
    assert failed[0] == "contract"
    assert report.step("evaluate").report.values["failures"] == failed.count("contract")
    assert None in failed


class Lawless(ToyStudent):
    """Ranks with a predicate or a label that no file can hold."""

    def rank(self, samples):
        answers = super().rank(samples)
        answers[0] = attrs.evolve(answers[0], regions=(Region("\ud83d"), *answers[0].regions[1:]))
        answers[-1] = attrs.evolve(answers[-1], predicates=("",) * len(answers[-1].predicates))
        return answers


def test_a_ranking_that_no_graph_can_hold_is_a_failure_of_its_image(toys, tmp_path):
    report = run(tmp_path / "data", sg.train(Lawless()), sg.evaluate("toy"))
    assert report.step("evaluate").report.values["failures"] == 2.0
    (file,) = (tmp_path / "data" / "steps").glob("*/predictions.jsonl")
    assert [line.failed for line in read_lines(file)] == ["contract", None, None, "contract"]
    assert file.read_bytes().count(b"\n") == 4


class Altering(ToyStudent):
    """Ranks other regions than it is shown: all boxes a pixel aside, one more region, or every label another."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def rank(self, samples):
        return [attrs.evolve(answer, regions=self._altered(answer.regions)) for answer in super().rank(samples)]

    def _altered(self, regions):
        if self.how == "more":
            return (*regions, Region("person", (0, 0, 9, 9)))
        if self.how == "label":
            return tuple(attrs.evolve(region, label="person") for region in regions)
        return tuple(attrs.evolve(row, box=(row.box[0] + 1, *row.box[1:])) for row in regions)


@pytest.mark.parametrize(
    ("mode", "how", "failures"),
    [
        *(("predcls", how, 4.0) for how in ("boxes", "more", "label")),
        *(("sgcls", how, 4.0) for how in ("boxes", "more")),
        ("sgcls", "label", 0.0),
        *(("sgdet", how, 0.0) for how in ("boxes", "more", "label")),
    ],
)
def test_regions_that_are_shown_must_be_ranked_as_they_are(toys, tmp_path, mode, how, failures):
    steps = (sg.segment("toy", amount=2), sg.train(Altering(how)), sg.evaluate(evaluator(mode)))
    assert run(tmp_path / "data", *steps).step("evaluate").report.values["failures"] == failures
    (file,) = (tmp_path / "data" / "steps").glob("*/predictions.jsonl")
    assert {line.failed for line in read_lines(file)} == ({"contract"} if failures else {None})


class Doubling(ToyStudent):
    """Ranks every pair twice, so that both its predicates would be listed."""

    def rank(self, samples):
        return [
            attrs.evolve(answer, pairs=np.concatenate([answer.pairs] * 2), scores=np.concatenate([answer.scores] * 2))
            for answer in super().rank(samples)
        ]


def test_a_pair_is_ranked_once(toys, tmp_path):
    report = run(tmp_path / "data", sg.train(Doubling()), sg.evaluate("toy"))
    assert report.step("evaluate").report.values["failures"] == 4.0


class Sure:
    """A student without options and revision: it learns the same every time and ranks with its class's score."""

    score = 0.5

    def train(self, snapshot_path, selection, out_dir, resources):
        (out_dir / "weights").write_text("none")
        return Checkpoint.of(out_dir)

    def generate(self, samples):
        return [Edit() for _ in samples]

    def rank(self, samples):
        pairs = np.array([[0, 1]], np.int32)
        return [Ranking(row.graph.all.regions, pairs, ("on",), np.full((1, 1), self.score)) for row in samples]


def test_a_student_that_cannot_be_recognised_is_evaluated_again(toys, tmp_path):
    for score in (0.5, 0.25):
        Sure.score = score
        report = run(tmp_path / "data", sg.train(Sure()), sg.evaluate("toy"))
        assert report.step("evaluate").counts.computed == 4
    scores = {
        line.sample.graph.all.relations[0].score
        for file in (tmp_path / "data" / "steps").glob("*/predictions.jsonl")
        for line in read_lines(file)
    }
    assert scores == {0.5, 0.25}


def test_a_report_counts_the_images_that_this_run_left_out(toys, tmp_path):
    for how, counted in (("fail", "failed at complete: unwilling"), ("drop", "dropped")):
        steps = (sg.complete("toy", **{how: ["00004"]}), sg.train(ToyStudent()), sg.evaluate("toy"))
        assert run(tmp_path / "data", *steps).step("evaluate").report.images_skipped == {counted: 1}


def test_held_out_images_that_were_trained_on_are_told(toys, tmp_path):
    clean = run(tmp_path / "data", sg.train(ToyStudent()), sg.evaluate("toy"))
    assert clean.step("evaluate").report.notes == ()
    on = {"split": ["train", "val"]}
    leaky = run(tmp_path / "data", sg.train(ToyStudent(), on=on), sg.evaluate("toy"))
    (note,) = leaky.step("evaluate").report.notes
    assert note.startswith("4 of the 4 held-out images were trained on too")


def test_a_photo_that_was_trained_on_under_another_id_is_told(toys, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(folder / f"{number}.png")
    (folder / "3.png").write_bytes((folder / "0.png").read_bytes())

    class Photos:
        def samples(self, roots, name):
            graph = SceneGraph(64, 64, [Region("a", (0, 0, 9, 9)), Region("b", (1, 1, 5, 5))], [Relation(0, "on", 1)])
            for number in range(4):
                yield Sample(str(number), graph, f"photos:{number}.png", "train" if number < 2 else "val")

    roots = sg.Roots({"photos": folder})
    report = run(tmp_path / "data", sg.train(ToyStudent()), sg.evaluate("toy"), source=Photos(), roots=roots)
    (note,) = report.step("evaluate").report.notes
    assert note.startswith("1 of the 2 held-out images were trained on too")


def test_predictions_and_report_are_saved_with_the_step(toys, tmp_path):
    report = run(tmp_path / "data", sg.train(Uneven()), sg.evaluate("toy"))
    (file,) = (tmp_path / "data" / "steps").glob("*/predictions.jsonl")
    lines = {line.sample.image_id: line for line in read_lines(file)}
    assert [lines[name].failed for name in sorted(lines)] == ["too-hard", "exception", "contract", None]
    notes = report.step("evaluate").report.notes
    assert [note.partition(", such as ")[0] for note in notes] == [
        f"no prediction for 1 image: {reason}" for reason in ("too-hard", "exception", "contract")
    ]
    assert "(test_evaluation.py, line " in notes[1]
    graph = lines["00019"].sample.graph
    assert len({(row.subject, row.object) for row in graph.all.relations}) == 6
    assert [region.label for region in graph.all.regions] == ["person", "cup", "table"]
    saved = json.loads((file.parent / "report.json").read_text())
    assert saved["values"] == report.step("evaluate").report.values


def test_saved_relations_keep_each_pair_s_best_and_the_best_of_all():
    regions = tuple(Region(box=(n, n, n + 5, n + 5), score=1.0 - n / 100) for n in range(50))
    pairs = np.array([(a, b) for a in range(50) for b in range(50) if a != b], np.int32)
    scores = np.random.default_rng(3).random((len(pairs), 4)).astype(np.float32)
    rows = saved_relations(Ranking(regions, pairs, ("a", "b", "c", "d"), scores))
    best = {(row.subject, row.object): row for row in reversed(rows)}
    assert len(best) == len(pairs)
    for pair, values in zip(pairs.tolist(), scores, strict=True):
        assert best[tuple(pair)].score == pytest.approx(values.max())
    weight = np.array([region.score for region in regions], np.float32)
    ranked = scores * (weight[pairs[:, 0]] * weight[pairs[:, 1]])[:, None]
    top = {(*pairs[n // 4].tolist(), "abcd"[n % 4]) for n in np.argsort(-ranked, axis=None)[:1000]}
    assert top <= {(row.subject, row.object, row.predicate) for row in rows}


def test_truth_is_renumbered_over_kept_rows():
    regions = [
        Region(box=(0, 0, 5, 5), status="rejected"),
        Region("a", (1, 1, 2, 2)),
        Region("b", (2, 2, 3, 3), parent=1),
    ]
    relations = [Relation(1, "on", 2), Relation(2, "off", 1, status="rejected"), Relation(0, "near", 1)]
    truth = compact_truth(SceneGraph(9, 9, regions, relations))
    assert [(row.label, row.parent) for row in truth.all.regions] == [("a", None), ("b", 0)]
    assert [row.triplet for row in truth.all.relations] == [(0, "on", 1)]


def test_a_bare_sample_keeps_the_image(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    image = sg.Roots({"r": tmp_path}).image("r:a.png")
    bare = bare_sample(Sample("a", SceneGraph(8, 6), "r:a.png", "val", "s", "0" * 64, image), "sgdet")
    assert bare.image.array().shape == (6, 8, 3)
    assert bare == Sample("a", SceneGraph(8, 6), "r:a.png")


def _pictures(folder: Path, count: int = 20) -> Path:
    """Random pictures under the names of the toy source."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(count):
        pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:05}.png")
    return folder


@pytest.mark.parametrize("mode", ["predcls", "sgdet"])
def test_a_student_is_shown_a_blank_picture_of_equal_size_where_that_is_asked(toys, tmp_path, spy, mode):
    folder = _pictures(tmp_path / "pictures")
    measure = "toy-looking" if mode == "predcls" else "toy-looking-sgdet"
    steps = (sg.segment("toy", amount=2), sg.complete("toy"), sg.train(spy()))
    data, source = tmp_path / "data", sg.source("toy", count=20, folder=str(folder))
    plain = run(data, *steps, sg.evaluate(measure), source=source)
    seen, Spy.seen = Spy.seen, ()
    assert [bool(np.ptp(sample.image.array())) for sample in seen] == [True] * 4
    blank = run(data, *steps, sg.evaluate(measure, image="blank"), source=source)
    assert [sample.image_id for sample in Spy.seen] == [sample.image_id for sample in seen]
    for sample, before in zip(Spy.seen, seen, strict=True):
        assert sample.image.array().shape == before.image.array().shape == (64, 64, 3)
        assert np.ptp(sample.image.array()) == 0
        assert attrs.evolve(sample, uri=None) == attrs.evolve(before, uri=None)
    assert plain.step("evaluate").report.metric == "toy"
    assert (plain.step("evaluate").report.convention, blank.step("evaluate").report.convention) == ("", "blank images")
    assert blank.step("evaluate").report.metric == "toy on blank images"
    assert "(convention: blank images)" in str(blank)


def test_an_evaluator_that_answers_something_else_fails_the_step(toys, tmp_path):
    class Wrong(ToyEvaluator):
        def evaluate(self, judged):
            return {"recall": 1.0}

    with pytest.raises(StepError, match=r"step 'evaluate': Wrong answered dict, not a Report"):
        run(tmp_path / "data", sg.train(ToyStudent()), sg.evaluate(Wrong()))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("0.5", "is '0.5', not a number"),
        (True, "is True, not a number"),
        (float("nan"), "is nan: leave out what is undefined"),
        (np.float64("inf"), "is inf: leave out what is undefined"),
    ],
)
def test_a_value_that_no_report_can_hold_fails_the_step(toys, tmp_path, value, told):
    class Wrong(ToyEvaluator):
        def evaluate(self, judged):
            return attrs.evolve(super().evaluate(judged), values={"R@20": value})

    with pytest.raises(StepError, match=f"step 'evaluate': Wrong: value 'R@20' {told}"):
        run(tmp_path / "data", sg.train(ToyStudent()), sg.evaluate(Wrong()))
