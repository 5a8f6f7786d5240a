"""Counts of a step: all of them, however few are shown."""

from __future__ import annotations

from sgforge.engine.reporting.step_counts import MAX_FAILED_SHOWN, Tally
from sgforge.stages import Failure


def test_every_failed_image_counts_and_the_first_are_shown() -> None:
    tally = Tally("filter")
    for row in range(MAX_FAILED_SHOWN + 50):
        tally.fail(row, f"image-{row}", Failure("timeout" if row % 2 else "refused", "why"))
    tally.answer({"unknown": 2})
    tally.answer({"unknown": 1, "empty": 1})
    tally.reuse(7)
    tally.drop(3)
    counts = tally.counts(MAX_FAILED_SHOWN + 50 + 2 + 7 + 11)
    assert (counts.computed, counts.reused, counts.failed, counts.skipped, counts.dropped) == (2, 7, 250, 11, 1)
    assert counts.faults == {"empty": 1, "unknown": 3}
    assert tally.reasons == {"timeout": 125, "refused": 125}
    assert [failed.image_id for failed in tally.shown] == [f"image-{row}" for row in range(MAX_FAILED_SHOWN)]


def test_batches_are_told_together_and_none_is_lost() -> None:
    told: list[tuple[int, int, float]] = []
    tally = Tally("filter", lambda _, items, failed, seconds: told.append((items, failed, seconds)))
    for _ in range(5):
        tally.batch(20, 1, 0.5)
    tally.flush()
    tally.flush()
    assert told == [(80, 4, 2.0), (20, 1, 0.5)]
