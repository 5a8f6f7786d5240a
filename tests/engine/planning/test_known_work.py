"""What of a group of steps is known: keys chained over steps, states before answers, the last graph and no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import attrs
import pytest
from engine_toys import sample
from hypothesis import given
from hypothesis import strategies as st

import sgforge as sg
from sgforge.dataset import DatasetWriter, JournalRow, StateRef
from sgforge.edits import Edit
from sgforge.engine.items.load_known import recall
from sgforge.engine.planning.components import ComponentSpec
from sgforge.engine.planning.known_work import Images, Known, OpenAnswers, StepWork, plan_group
from sgforge.engine.planning.plan import PlannedStep
from sgforge.graph import Region
from sgforge.packed import pack_edit
from sgforge.stages import VERBS, Selection


def step(name: str, *splits: str) -> PlannedStep:
    spec = ComponentSpec("segmenter", "toy", "", {})
    return PlannedStep(name=name, verb=VERBS["segment"], spec=spec, on=Selection(None, splits or None))


def fingerprint(number: int) -> str:
    return f"{number:064x}"


@attrs.frozen
class Given:
    """Images with their splits and whether they live, and steps with the splits they work on."""

    splits: tuple[str, ...]
    alive: tuple[bool, ...]
    steps: tuple[tuple[str, ...], ...]

    def images(self) -> Images:
        count = len(self.splits)
        keys = [bytes([row]) * 16 for row in range(count)]
        return Images([f"{row}" for row in range(count)], keys, ["s"] * count, self.splits, self.alive)

    def works(self, fingerprints: Sequence[int], states: dict[bytes, StateRef], answers: set[bytes]) -> list[StepWork]:
        steps = [
            (step(f"{number}", *splits), fingerprint(one))
            for number, (splits, one) in enumerate(zip(self.steps, fingerprints, strict=True))
        ]
        return plan_group(self.images(), steps, lambda keys: [states.get(key) for key in keys], answers.intersection)


SPLITS = st.sampled_from(["train", "val"])
GIVEN = st.lists(st.tuples(SPLITS, st.booleans()), min_size=1, max_size=6).flatmap(
    lambda rows: st.builds(
        Given,
        st.just(tuple(split for split, _ in rows)),
        st.just(tuple(alive for _, alive in rows)),
        st.lists(st.sampled_from([(), ("train",), ("val",)]), min_size=1, max_size=4).map(tuple),
    )
)


def test_an_answer_that_left_questions_open_is_followed_by_the_newer_one_and_by_another_only_where_they_are_asked():
    images = Images(["0", "1"], [bytes([row]) * 16 for row in range(2)], ["s"] * 2, ["train"] * 2, [True] * 2)
    steps = [(step("a"), fingerprint(1)), (step("b"), fingerprint(2))]

    def planned(answers: set[bytes], *still_open: bytes, asks: bool = False) -> list[StepWork]:
        opened = OpenAnswers(frozenset(still_open), ask_again=asks)
        return plan_group(images, steps, lambda keys: [None] * len(keys), answers.intersection, opened)

    def keys_of(works: list[StepWork]) -> list[list[bytes]]:
        return [list(work.keys) for work in works]

    plain = planned(set())
    first, other = plain[0].keys
    answers = {first, other, *plain[1].keys}
    # Open, and not asked: all is as it was.
    assert keys_of(planned(answers, first)) == keys_of(plain)
    assert [work.to_compute for work in planned(answers, first)] == [0, 0]
    # Asked: that image is to be done under another key, and what follows with it.
    again = planned(answers, first, asks=True)
    second = again[0].keys[0]
    assert again[0].keys[1:] == plain[0].keys[1:]
    assert len({first, second, *plain[1].keys, *again[1].keys}) == 5
    assert [work.to_compute for work in again] == [1, 1]
    assert again[0].replaced == {0: first}
    # Once it is there, every run uses it; while it is open itself, the next that asks makes a third.
    answers.add(second)
    for asks in (False, True):
        known = planned(answers, first, asks=asks)
        assert (known[0].keys[0], known[0].to_compute, known[0].replaced) == (second, 0, {0: first})
    assert planned(answers, first, second)[0].keys[0] == second
    third = planned(answers, first, second, asks=True)[0]
    assert (third.keys[0] in {first, second}, third.to_compute, third.replaced) == (False, 1, {0: second})
    # An open answer that is gone is made again where nothing is asked again.
    assert keys_of(planned({other}, first)) == keys_of(plain)


@given(GIVEN)
def test_a_step_works_on_what_lives_and_is_selected_and_changes_the_key_of_nothing_else(given_one):
    works = given_one.works(range(len(given_one.steps)), {}, set())
    before = given_one.images().keys
    for work, splits in zip(works, given_one.steps, strict=True):
        for row, split in enumerate(given_one.splits):
            works_here = given_one.alive[row] and (not splits or split in splits)
            assert work.applies[row] == works_here
            assert (work.keys[row] != before[row]) == works_here
        assert work.parents == before
        assert len(set(work.keys)) == len(work.keys)
        before = work.keys


@given(GIVEN, st.data())
def test_a_changed_step_changes_its_keys_and_those_that_follow_from_it(given_one, data):
    count = len(given_one.steps)
    changed = data.draw(st.integers(0, count - 1))
    first = given_one.works(range(count), {}, set())
    second = given_one.works([100 if number == changed else number for number in range(count)], {}, set())
    for row in range(len(given_one.splits)):
        touched = first[changed].applies[row]
        for number in range(count):
            same = first[number].keys[row] == second[number].keys[row]
            assert same == (number < changed or not touched)


@given(GIVEN, st.data())
def test_what_is_known_is_a_state_or_else_an_answer_and_counts_add_up(given_one, data):
    count = len(given_one.steps)
    keys = {key for work in given_one.works(range(count), {}, set()) for key in work.keys}
    pick = st.sets(st.sampled_from(sorted(keys)))
    states = {key: StateRef("a" * 32, number) for number, key in enumerate(sorted(data.draw(pick)))}
    answers = data.draw(pick)
    for work in given_one.works(range(count), states, answers):
        for row, known in enumerate(work.known):
            key = work.keys[row]
            if not work.applies[row] or key not in {*states, *answers}:
                assert known is None
            else:
                assert known == Known(states.get(key))
        assert work.reused + work.to_compute == sum(work.applies)


def test_the_journal_is_asked_only_about_what_no_snapshot_has():
    asked: list[bytes] = []
    images = Given(("train",) * 3, (True,) * 3, ((),)).images()
    (work,) = plan_group(images, [(step("a"), fingerprint(1))], lambda keys: [None] * len(keys), lambda keys: set())

    def has_answers(keys: Sequence[bytes]) -> set[bytes]:
        asked.extend(keys)
        return set(keys)

    ref = StateRef("a" * 32, 0)
    (work,) = plan_group(
        images,
        [(step("a"), fingerprint(1))],
        lambda keys: [ref if key == work.keys[1] else None for key in keys],
        has_answers,
    )
    assert asked == [work.keys[0], work.keys[2]]
    assert work.known == [Known(), Known(ref), Known()]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=10))
def test_shared_keys_are_those_that_several_images_are_computed_under(rows):
    keys = [bytes([number]) * 16 for number, _, _ in rows]
    known = [Known() if is_known and applies else None for _, applies, is_known in rows]
    work = StepWork(step("a"), fingerprint(1), [applies for _, applies, _ in rows], keys, keys, known)
    counted = Counter(bytes([number]) * 16 for number, applies, is_known in rows if applies and not is_known)
    assert work.shared() == {one for one, count in counted.items() if count > 1}


class Source:
    def samples(self, roots: object, name: str) -> Iterator[object]:
        for number in range(6):
            yield sample(f"{number}")


@attrs.frozen
class Published:
    """Six images; after step "one" (`one`: its snapshot) they have a fourth region, after "two" a fifth."""

    path: Path
    one: str
    two: str


@pytest.fixture
def published(toys, tmp_path: Path) -> Published:
    steps = sg.segment("toy", name="one", amount=1), sg.segment("toy", name="two", amount=1)
    report = sg.Pipeline(*steps).run(Source(), tmp_path / "data", progress=False)
    return Published(tmp_path / "data", report.step("one").snapshot, report.step("two").snapshot)


DROP = Edit.drop("dull")


def work(number: int, how: str) -> StepWork:
    """A step over six images: known by the states of a snapshot (its id), by an "answer", "new", or a "pass"."""
    keys = [f"{number:08}{row:08}".encode() for row in range(6)]
    known: list[Known | None] = [Known(StateRef(how, row)) for row in range(6)]
    if how in ("answer", "new", "pass"):
        known = [Known() if how == "answer" else None] * 6
    return StepWork(step(f"{number}"), fingerprint(number), [how != "pass"] * 6, keys, keys, known)


def recalled(published: Published, *known: str, rows: Sequence[int] = (0, 2, 5)) -> dict[int, dict[int, str]]:
    """What `recall` gives: "N regions" for a graph, "edit", "drop" or "told" alone, by row and step."""

    def plain(one) -> str:
        if one.state is not None:
            return f"{len(one.state.graph.all.regions)} regions"
        return "told" if one.edit is None else "drop" if one.dropped else "edit"

    works = [work(number, how) for number, how in enumerate(known)]
    with DatasetWriter.open(published.path) as writer:
        for one in works:
            answers = [
                JournalRow(
                    key, f"{row}", one.step.name, pack_edit(Edit.drop("x") if row == 2 else Edit.add(Region("r")))
                )
                for row, key in enumerate(one.keys)
                if one.known[row] == Known()
            ]
            writer.journal.put(answers)
        found = recall(works, rows, writer.states(), writer.journal)
    return {row: {number: plain(one) for number, one in steps.items()} for row, steps in found.items()}


def test_of_known_steps_in_a_row_only_the_last_graph_is_loaded(published):
    expected = {0: "told", 1: "5 regions"}
    assert recalled(published, published.one, published.two) == dict.fromkeys((0, 2, 5), expected)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (("one", "new"), {0: "4 regions"}),
        (("one", "pass", "two"), {0: "told", 2: "5 regions"}),
        (("one", "new", "two"), {0: "4 regions", 2: "5 regions"}),
        (("new", "two"), {1: "5 regions"}),
        (("new", "new"), {}),
        (("pass", "one"), {1: "4 regions"}),
        (("one", "two", "pass"), {0: "told", 1: "5 regions"}),
    ],
)
def test_a_graph_is_loaded_where_a_step_starts_from_it(published, known, expected):
    names = {"one": published.one, "two": published.two}
    assert recalled(published, *(names.get(how, how) for how in known)) == dict.fromkeys((0, 2, 5), expected)


def test_an_answer_stands_on_the_graph_before_it_and_says_whether_it_drops(published):
    found = recalled(published, published.one, "answer")
    assert found == {0: {0: "4 regions", 1: "edit"}, 2: {0: "4 regions", 1: "drop"}, 5: {0: "4 regions", 1: "edit"}}


def test_far_and_near_rows_are_read_alike(published):
    """Rows that lie close together are read in one go, others one by one."""
    with DatasetWriter.open(published.path) as writer:
        snapshot = writer.snapshot(published.two)
        graphs = [snapshot.graph(row) for row in range(6)]
        for count in (1, 2, 3, 6):
            for rows in combinations(range(6), count):
                found = [sample.graph for sample, _ in snapshot.samples_of(rows)]
                assert found == [graphs[row] for row in rows]
