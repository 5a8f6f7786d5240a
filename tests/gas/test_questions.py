"""Questions that a graph answers, and what answers are worth."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge.errors import GraphError
from sgforge.graph import Question, Region, Relation, SceneGraph
from sgforge.testing import QuestionerContract
from sgforge_gas.config import GasOptions
from sgforge_gas.questions import Asker, rightness, score_answers
from sgforge_gas.sampling import Sampler
from sgforge_gas.vocabulary import starter
from sgforge_gas.vocabulary.mining import mine

DATA = Path(__file__).parents[1] / "data/gas"
GRAPHS = {row["id"]: row for row in json.loads((DATA / "graphs.json").read_text())}
SCORED = json.loads((DATA / "qa_scores.json").read_text())


class TestGas(QuestionerContract):
    component = "gas"


def of_fixture(row: dict) -> SceneGraph:
    regions = [
        Region(label=node["name"], attributes=[one["value"] for one in node["attributes"]]) for node in row["nodes"]
    ]
    return SceneGraph(
        0, 0, regions, [Relation(edge["subject"], edge["predicate"], edge["object"]) for edge in row["edges"]]
    )


@pytest.mark.parametrize("case", SCORED, ids=lambda case: str(case["graph"]))
def test_scores_are_those_of_the_fixture(case: dict) -> None:
    row = GRAPHS[case["graph"]]
    if "duplicate_attribute" in row["tags"]:
        pytest.skip("an attribute that stands twice is asked about once")
    graph = of_fixture(row)
    questions = Asker(counts=False, negatives=False).ask(graph)
    assert len(questions) == row["complexity"] == len(case["answers"])
    order = {"object": 0, "attribute": 1, "relation": 2}
    answers = sorted(case["answers"], key=lambda one: order[one["kind"]])
    expected = {"object": "existence", "attribute": "attribute", "relation": "relation"}
    assert [question.kind for question in questions] == [expected[one["kind"]] for one in answers]
    scores = score_answers(questions, [float(one["answer"]) for one in answers])
    assert scores.plain == pytest.approx(case["score_without_dependencies"])
    assert scores.gated == pytest.approx(case["score_with_dependencies"])
    assert scores.combined == pytest.approx(case["combined"])
    assert scores.balanced == scores.gated


def graph(labels, relations=(), attributes=None) -> SceneGraph:
    rows = [row if isinstance(row, tuple) else (row,) for row in labels]
    regions = [Region(label=label, attributes=words) for label, *words in rows]
    return SceneGraph(0, 0, regions, [Relation(*row) for row in relations], attributes or {})


def test_questions_by_hand() -> None:
    given_graph = graph(
        [("dog", "red"), ("dog", "red", "facing left"), "scissors", "man"],
        [(0, "next to", 2), (1, "next to", 2), (3, "wears", 2), (2, "is above", 3), (3, "has", 0)],
        {"weather": "foggy"},
    )
    asked = Asker(negatives=False).ask(given_graph)
    assert [(one.kind, one.text, one.answer, one.dependencies) for one in asked] == [
        ("existence", "Is there a dog?", "yes", ()),
        ("existence", "Are there at least two dogs?", "yes", ()),
        ("existence", "Are there scissors?", "yes", ()),
        ("existence", "Is there a man?", "yes", ()),
        ("attribute", "Is one of the dogs red?", "yes", (0,)),
        ("attribute", "Are at least two of the dogs red?", "yes", (1,)),
        ("attribute", "Is one of the dogs facing left?", "yes", (1,)),
        ("relation", "Is one of the dogs next to the scissors?", "yes", (0, 2)),
        ("relation", "Is another one of the dogs next to the scissors?", "yes", (1, 2)),
        ("relation", "Does the man wear the scissors?", "yes", (3, 2)),
        ("relation", "Are the scissors above the man?", "yes", (2, 3)),
        ("relation", "Does the man have one of the dogs?", "yes", (3, 0)),
        ("scene", "Is it true that the scene has foggy weather?", "yes", ()),
        ("count", "How many dogs are there?", "2", (0,)),
        ("count", "How many men are there?", "1", (3,)),
    ]
    assert asked[13].choices == ("0", "1", "2", "3")
    assert asked[13].references == (0, 1)


def test_questions_leave_a_label_s_own_article_out() -> None:
    given_graph = graph(
        [("the man", "tall"), "a dog", "the dog", "some water"],
        [(0, "on a", 3), (1, "near the", 0), (0, "holds an", 3)],
    )
    assert [(one.text, one.answer) for one in Asker(negatives=False).ask(given_graph)] == [
        ("Is there a man?", "yes"),
        ("Is there a dog?", "yes"),
        ("Are there at least two dogs?", "yes"),
        ("Is there some water?", "yes"),
        ("Is the man tall?", "yes"),
        ("Is the man on the water?", "yes"),
        ("Is one of the dogs near the man?", "yes"),
        ("Does the man hold the water?", "yes"),
        ("How many men are there?", "1"),
        ("How many dogs are there?", "2"),
    ]


def test_absent_objects_of_mined_words_are_asked_for_with_one_article() -> None:
    words = mine([graph(["the man", "a dog", "an apple", "the scissors"])], "photos")
    asked = [one.text for one in Asker(words, counts=False).ask(graph(["man"])) if one.answer == "no"]
    assert len(asked) == 1
    assert asked[0] in ("Is there a dog?", "Is there an apple?", "Are there scissors?")
    everything = [one.text for one in Asker(words, counts=False).ask(graph(["cat", "pig", "owl", "ox"]))]
    assert {"Is there a man?", "Is there a dog?", "Is there an apple?", "Are there scissors?"} <= set(everything)


def test_what_is_asked_falsely_is_false_for_sure() -> None:
    words = starter()
    kinds = set()
    for sample in Sampler(GasOptions(complexity=(4, 9), cycles=False, seed=7)).samples(range(300)):
        found = [one for one in Asker().ask(sample.graph) if one.answer == "no"]
        assert found
        labels = [row.label for row in sample.graph.regions.values()]
        for one in found:
            kinds.add(one.kind)
            if one.kind == "existence":
                assert not any(word in one.text.rstrip("?").split() for label in labels for word in label.split())
            elif one.kind == "attribute":
                (index,) = one.references
                wrong = next(w for w in words.adjective_of if one.text.endswith(f" {w}?"))
                for row in sample.graph.regions.values():
                    if row.label == sample.graph.regions[index].label:
                        assert any(wrong in words.excluded_by(own) for own in row.attributes)
                        assert wrong not in row.attributes
            else:
                subject, object_ = one.references
                predicates = [
                    row.predicate
                    for row in sample.graph.relations.values()
                    if (row.subject, row.object) == (object_, subject)
                ]
                backwards = [words.predicate_of[word].inverse for word in predicates]
                assert any(inverse not in (None, word) for inverse, word in zip(backwards, predicates, strict=True))
                assert not any((row.subject, row.object) == (subject, object_) and row.predicate in predicates
                               for row in sample.graph.relations.values())  # fmt: skip
    assert kinds == {"existence", "attribute", "relation"}


def test_wrong_choices_exclude_every_right_one() -> None:
    words = starter()
    seen = set()
    for sample in Sampler(GasOptions(complexity=(5, 9), seed=8)).samples(range(300)):
        for one in Asker(choices=True).ask(sample.graph):
            if set(one.choices) == {"yes", "no"}:
                continue
            seen.add(one.kind)
            assert one.choices.count(one.answer) == 1
            if one.kind == "attribute":
                own = sample.graph.regions[one.references[0]].attributes
                assert all(choice == one.answer or choice not in own for choice in one.choices)
                assert all(c == one.answer or c in words.excluded_by(one.answer) for c in one.choices)
            elif one.kind == "relation":
                said = {
                    row.predicate
                    for row in sample.graph.relations.values()
                    if (row.subject, row.object) == one.references
                }
                assert all(choice == one.answer or choice not in said for choice in one.choices)
            else:
                assert one.answer == str(len(one.references))
    assert seen == {"attribute", "relation", "count"}


@pytest.mark.parametrize("word", [0.0, 1.0])
def test_one_word_for_everything_is_worth_at_most_half(word: float) -> None:
    for sample in Sampler(GasOptions(complexity=(1, 9), cycles=False, seed=3)).samples(range(200)):
        asked = [one for one in Asker(counts=False).ask(sample.graph) if one.choices == ("yes", "no")]
        assert score_answers(asked, [word] * len(asked)).balanced <= 0.5


def test_right_answers_are_worth_one() -> None:
    for sample in Sampler(GasOptions(complexity=(1, 9), seed=4)).samples(range(100)):
        asked = Asker(choices=True).ask(sample.graph)
        scores = score_answers(asked, [0.0 if one.answer == "no" else 1.0 for one in asked])
        assert (scores.plain, scores.gated, scores.balanced, scores.arithmetic, scores.geometric) == (1, 1, 1, 1, 1)


def test_means_by_hand() -> None:
    asked = [
        Question("existence", "a?", "yes", ("yes", "no")),
        Question("attribute", "b?", "yes", ("yes", "no"), dependencies=(0,)),
        Question("attribute", "c?", "no", ("yes", "no"), dependencies=(0,)),
        Question("count", "d?", "2", ("1", "2")),
    ]
    scores = score_answers(asked, [0.4, 0.9, 0.2, 0.5])
    # Right: 0.4, 0.9, 0.8, 0.5; of the second and third the object was said not to be there.
    assert (scores.plain, scores.gated, scores.combined) == (0.75, 0.25, 0.5)
    assert scores.balanced == pytest.approx((1 / 3 + 0) / 2)
    assert scores.arithmetic == pytest.approx(0.65)
    assert scores.geometric == pytest.approx((0.4 * 0.9 * 0.8 * 0.5) ** 0.25)
    assert scores.by_kind == pytest.approx({"attribute": 0.85, "count": 0.5, "existence": 0.4})
    assert rightness(asked[1], None) == 0.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_figures_stay_in_the_unit(yes: list[float]) -> None:
    asked = [
        Question("existence", "a?", "no" if n % 2 else "yes", dependencies=(0,) if n else ()) for n in range(len(yes))
    ]
    scores = score_answers(asked, yes)
    for name in ("plain", "gated", "combined", "balanced", "arithmetic", "geometric"):
        assert 0 <= scores.named(name) <= 1
    assert scores.geometric <= scores.arithmetic + 1.1e-6
    assert scores.gated <= scores.plain
    assert math.isfinite(scores.geometric)


def test_answers_out_of_form_are_refused() -> None:
    asked = [Question("existence", "a?", "yes")]
    for wrong in ([], [2.0], ["yes"], [float("nan")]):
        with pytest.raises(GraphError):
            score_answers(asked, wrong)
    assert score_answers([], []).plain == 0.0


def test_the_same_graph_is_asked_the_same() -> None:
    sample = next(iter(Sampler(GasOptions(complexity=(7,))).samples(range(1))))
    assert Asker().ask(sample.graph) == Asker().ask(sample.graph)
    others = [Asker(seed=seed).ask(sample.graph) for seed in range(4)]
    assert len({tuple(one) for one in others}) > 1
