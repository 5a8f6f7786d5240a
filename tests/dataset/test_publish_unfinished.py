"""Sealing: what an unfinished run left in the journal becomes partial snapshots, step by step."""

from __future__ import annotations

import pytest
from dataset.given import key_of
from dataset.made import FILTER, TEACHER, TEACHER_EDITS, answers, three_samples

from sgforge.dataset import Dataset, DatasetWriter, JournalRow, StepRecord
from sgforge.dataset.maintenance.publish_unfinished import seal
from sgforge.edits import Edit
from sgforge.errors import DatasetError
from sgforge.packed import pack_edit


def test_sealing_publishes_an_unfinished_chain_step_by_step(tmp_path):
    samples = three_samples()
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source(samples, [key_of(sample.image_id) for sample in samples])
        writer.begin_step(TEACHER)
        rows = answers(source, TEACHER, {"a": TEACHER_EDITS["a"], "c": TEACHER_EDITS["c"]})
        writer.journal.put(rows)
        # Image a went on to the filter before the run stopped.
        later = JournalRow(
            key_of("filter", rows[0].key),
            "a",
            FILTER.name,
            pack_edit(Edit.reject(2, "left-right")),
            (),
            "r",
            {},
            rows[0].key,
        )
        writer.journal.put([later])
        sealed = seal(writer)
        assert [snapshot.meta.step.name for snapshot in sealed] == ["complete", "spatial-rules"]
        assert [snapshot.meta.partial for snapshot in sealed] == [True, True]
        assert sealed[0].meta.step.component == "svg"
        assert len(writer.journal) == 0
        assert seal(writer) == []
    dataset = Dataset.open(tmp_path)
    assert dataset.snapshot.id == sealed[1].id
    assert [relation.status for relation in dataset["a"].graph.all.relations] == ["kept", "kept", "rejected"]
    assert dataset["b"] == samples[1]


@pytest.mark.parametrize("chosen", [0, 1])
def test_of_two_snapshots_that_fit_alike_the_one_of_the_branch_is_sealed_on(tmp_path, chosen):
    samples = three_samples()
    with DatasetWriter.open(tmp_path) as writer:
        sources = [
            writer.publish_source(part, [key_of(sample.image_id) for sample in part]) for part in (samples[:2], samples)
        ]
        writer.move_branch("main", sources[chosen])
        writer.begin_step(TEACHER)
        writer.journal.put(answers(sources[0], TEACHER, {"a": TEACHER_EDITS["a"]}))
        (sealed,) = seal(writer)
        assert sealed.meta.parents == (sources[chosen].id,)
        assert sealed.image_ids == sources[chosen].image_ids


def test_steps_are_sealed_in_the_order_in_which_they_answered_first(tmp_path):
    """Image a took both steps, image b only the second: each step is sealed once, for all its images."""
    first, second = StepRecord("zoom", "complete", "svg", "fp1"), StepRecord("again", "complete", "svg", "fp2")
    samples = three_samples()
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source(samples, [key_of(sample.image_id) for sample in samples])
        for step in (first, second):
            writer.begin_step(step)
        (one,) = answers(source, first, {"a": TEACHER_EDITS["a"]})
        (other,) = answers(source, second, {"b": TEACHER_EDITS["b"]})
        more = pack_edit(Edit.reject(2, "left-right"))
        two = JournalRow(key_of("again", one.key), "a", second.name, more, (), "r", {}, one.key)
        writer.journal.put([one, two, other])
        sealed = seal(writer)
    assert [snapshot.meta.step.name for snapshot in sealed] == ["zoom", "again"]
    assert [len(sealed[-1].graph(row).all.relations) for row in range(3)] == [3, 2, 0]


def test_of_two_answers_to_one_state_the_later_one_is_sealed(tmp_path):
    """Two runs with another option each: the answers have keys of their own, and the last run's counts."""
    samples = three_samples()
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source(samples, [key_of(sample.image_id) for sample in samples])
        keys = key_of("first run"), key_of("second run")
        for key, reason in zip(keys, ("early", "late"), strict=True):
            edit = pack_edit(Edit.reject(0, reason))
            writer.journal.put(
                [JournalRow(key, "a", FILTER.name, edit, parent_key=source.keys[0].tobytes())],
            )
        (sealed,) = seal(writer)
    assert sealed.keys[0].tobytes() == keys[1]
    assert sealed.graph(0).all.relations[0].reason == "late"


def test_an_answer_that_a_snapshot_holds_is_not_sealed_again(tmp_path):
    samples = three_samples()
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source(samples, [key_of(sample.image_id) for sample in samples])
        rows = answers(source, TEACHER, {"a": TEACHER_EDITS["a"]})
        keys = [rows[0].key, *(key.tobytes() for key in source.keys[1:])]
        writer.journal.put(rows)
        published = writer.publish(TEACHER, source, keys)
        writer.move_branch("main", published)
    # As after a kill between publishing and forgetting.
    with DatasetWriter.open(tmp_path) as writer:
        writer.journal.put(rows)
        assert seal(writer) == []
        assert writer.branches()["main"] == published.id


def test_answers_of_no_snapshot_cannot_be_sealed(tmp_path):
    with DatasetWriter.open(tmp_path) as writer:
        writer.publish_source(three_samples(), [key_of(sample.image_id) for sample in three_samples()])
        writer.journal.put(
            [JournalRow(key_of("later"), "a", TEACHER.name, pack_edit(Edit()), parent_key=key_of("lost"))]
        )
        with pytest.raises(DatasetError, match="belong to no snapshot"):
            seal(writer)
