"""What a run did, as lines for people: the end of `sgforge run`, and a `RunReport` in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sgforge.visible import visible

if TYPE_CHECKING:
    from sgforge.engine.report import RunReport

__all__ = ["summary_lines"]

_FAILURES_SHOWN: Final = 5


def summary_lines(report: RunReport) -> Iterator[str]:
    """A table of the steps, then what failed and what was made; safe to print to a terminal."""
    width = max((len(step.name) for step in report.steps), default=4)
    yield f"{'step':<{width}}  {'computed':>9} {'reused':>9} {'failed':>7} {'left out':>8}"
    for step in report.steps:
        counts = step.counts
        numbers = f"{counts.computed:>9} {counts.reused:>9} {counts.failed:>7} {counts.skipped:>8}"
        yield f"{step.name:<{width}}  {numbers}{'  (not finished)' if step.status == 'unfinished' else ''}"
        for reason, count in step.reasons.items():
            yield f"{'':<{width}}  {count} failed: {visible(reason)}"
        if counts.faults:
            counted = ", ".join(f"{count} {visible(reason)}" for reason, count in sorted(counts.faults.items()))
            yield f"{'':<{width}}  counted: {counted}"
        yield from (f"{'':<{width}}  {visible(note)}" for note in step.notes)
    for step in report.steps:
        if step.report is not None:
            values = ", ".join(f"{visible(name)} {value:.4g}" for name, value in step.report.values.items())
            yield f"{step.name}: {values or 'no values'} ({step.report.images_used} images)"
            yield from (f"{step.name}: {visible(note)}" for note in step.report.notes)
    for failed in report.failures[:_FAILURES_SHOWN]:
        yield f"failed at {failed.step}: {visible(failed.image_id)}: {visible(failed.detail or failed.reason)}"
    total = sum(step.counts.failed for step in report.steps)
    if total > _FAILURES_SHOWN:
        yield f"... and {total - _FAILURES_SHOWN} more; the next run tries all of them again"
    if report.status == "done" and not any(step.counts.computed for step in report.steps):
        yield "nothing had to be computed again"
    yield from _made(report)


def _made(report: RunReport) -> Iterator[str]:
    """The version that the run made, and the branch where it stayed behind."""
    has_stayed = bool(report.message) and report.status != "budget"
    if report.snapshot is not None:
        branch = "" if has_stayed else f"branch {report.branch}, "
        yield f"{report.dataset} ({branch}snapshot {report.snapshot[:12]}) in {report.seconds:.1f} s"
    if has_stayed:
        yield report.message
