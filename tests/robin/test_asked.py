"""What is asked of an image by each task, against what its graph holds; how often each image is shown."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import attrs
from robin.worlds import STAGE, maker, scenes

from sgforge import Region, Relation, Sample, SceneGraph
from sgforge.graph import Question
from sgforge_robin.text.graphs import parse_graph
from sgforge_robin.text.tasks import Task
from sgforge_robin.training.asked import detection_of, show, turns
from sgforge_robin.training.stages import STAGES
from sgforge_robin.training.stream import PackedStream, Position

REGIONS = [
    Region("cup", (10, 20, 20, 40), attributes=("red", "small"), descriptions=("the cup on the left",)),
    Region("table", (0, 40, 100, 80)),
    Region("cup", (50, 20, 60, 40), descriptions=("the cup on the right",)),
    Region(None, (80, 0, 90, 10)),
]
RELATIONS = [Relation(0, "on", 1), Relation(2, "on", 1), Relation(0, "left of", 2)]
QUESTIONS = (
    Question(kind="relation", text="What is on the table?", answer="cups", references=(0, 1)),
    Question(kind="entity", text="Is there a dog?", answer="no", choices=("yes", "no")),
    Question(kind="entity", text="Nobody knows"),
)
SAMPLE = Sample("a", SceneGraph(100, 80, REGIONS, RELATIONS), values={"questions": QUESTIONS})


def asked(*tasks: Task, named: bool, sample: Sample = SAMPLE) -> dict[str, str]:
    """Questions with their answers, region numbers replaced by indices of the graph."""
    for seed in range(100):
        dice = random.Random(seed)
        shown = show(sample, dice, 1.0)
        if shown.named == named:
            found = {}
            for turn in turns(shown, tasks, dice):
                texts = [turn.question, turn.answer]
                for number, index in enumerate(shown.regions, start=1):
                    texts = [text.replace(f"region{number}", f"#{index}") for text in texts]
                found[texts[0]] = texts[1]
            return found
    raise AssertionError("the dice never fall so")


def test_which_region_is_meant_and_what_means_it() -> None:
    both = {
        "Which region is meant by: the cup on the left?": "#0",
        "Which region is meant by: the cup on the right?": "#2",
    }
    assert asked(Task.GROUNDING, named=True) == both
    # A label that nothing else has means its region, unless the prefix says it.
    assert asked(Task.GROUNDING, named=False) == both | {"Which region is meant by: table?": "#1"}
    assert set(asked(Task.REFERRING, named=False).values()) == {"the cup on the left", "the cup on the right"}
    assert asked(Task.ATTRIBUTES, named=True) == {"What is #0 like?": "red, small"}
    nothing = attrs.evolve(
        SAMPLE, graph=SceneGraph(100, 80, [Region("cup", (0, 0, 9, 9)), Region("cup", (9, 9, 20, 20))])
    )
    assert asked(Task.GROUNDING, Task.REFERRING, Task.ATTRIBUTES, Task.CHOICE, named=False, sample=nothing) == {}


def test_at_which_of_four_places() -> None:
    place = {0: "(100,250),(200,500)", 1: "(0,500),(1000,1000)", 2: "(500,250),(600,500)"}
    found = asked(Task.CHOICE, named=False)
    assert len(found) == 3
    for question, answer in found.items():
        name, _, places = question.partition("? ")
        right = {"the cup on the left": 0, "table": 1, "the cup on the right": 2}[name.removeprefix("Where is ")]
        assert place[right] in places.split(f"{answer}. ")[1].split(" ")[0]
        assert places.count("<|box_start|>") == 4


def test_questions_are_answered_through_the_graph_they_are_about() -> None:
    found = asked(Task.QUESTION, named=True)
    assert len(found) == 2
    through, _, answer = found["What is on the table? First give the graph that tells."].rpartition("\n\nAnswer: ")
    assert answer == "cups"
    assert sorted(through.split("\n")) == sorted(
        ["Objects:", "#0: cup is red, small", "#1: table", "", "Relations:", "#0: #1 on"]
    )
    assert found["Is there a dog? yes, no? First give the graph that tells."] == "Objects:\n\nAnswer: no"


def test_objects_are_found_the_largest_first() -> None:
    turn = detection_of(SAMPLE, random.Random(0))
    assert turn is not None
    read = parse_graph(turn.answer, detection=True)
    assert not read.dropped
    assert [(item.name, item.box, item.attributes) for item in read.objects] == [
        ("table", (0, 500, 1000, 1000), ()),
        ("cup", (100, 250, 200, 500), ("red", "small")),
        ("cup", (500, 250, 600, 500), ()),
    ]
    triplets = {(one.subject, one.predicate, one.object) for one in read.relations}
    assert triplets == {(2, "on", 1), (3, "on", 1), (2, "left of", 3)}
    assert (
        detection_of(attrs.evolve(SAMPLE, graph=SceneGraph(9, 9, [Region(None, (0, 0, 5, 5))])), random.Random())
        is None
    )


def test_some_examples_of_the_later_stages_show_no_region(tmp_path: Path) -> None:
    (sample,) = scenes(tmp_path, 1)
    for name in ("1", "2"):
        made = maker(STAGES[name])
        drafts = [draft for epoch in range(80) if (draft := made.draft(sample, epoch)) is not None]
        bare = [draft for draft in drafts if not draft.regions]
        assert 4 < len(bare) < 24
        example = made.finish(bare[0])
        assert example.masks is None
        assert len(example.branches) == 1
    early = [maker(STAGE).draft(sample, epoch) for epoch in range(50)]
    assert all(draft.regions for draft in early if draft is not None)


def test_images_are_shown_by_weight(tmp_path: Path) -> None:
    samples = scenes(tmp_path, 3)
    packed = PackedStream(samples, maker(), 2, Counter(), [0.0, 1.0, 2.5])
    assert packed.steps_an_epoch() == 2
    seen = Counter(place for epoch in range(40) for place, _ in packed._order(epoch))
    assert seen[0] == 0
    assert seen[1] == 40
    assert 90 <= seen[2] <= 110
    steps = packed.steps(Position())
    shown = [example for _ in range(8) for row in next(steps)[0] for example in row]
    again = [example for example in shown if example.image_id == samples[2].image_id]
    assert len({tuple(example.prefix) for example in again}) == len(again)  # never the same example twice


def test_questions_need_what_they_are_about() -> None:
    hidden = attrs.evolve(
        SAMPLE, values={"questions": (Question(kind="entity", text="What is it?", answer="a cup", references=(3,)),)}
    )
    bare = attrs.evolve(hidden, graph=attrs.evolve(hidden.graph, regions=REGIONS[:3], relations=RELATIONS))
    assert asked(Task.QUESTION, named=True, sample=bare) == {}
    assert len(asked(Task.QUESTION, named=True, sample=hidden)) == 1
