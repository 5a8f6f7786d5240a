"""Engine overhead per item and step with stages that do nothing, with and without the journal; prints one JSON line.

The time between the first item's entry and the last one's end, over items x steps, the best of five rounds; reading a
source and publishing are not part of it (`whole_run_us` has them too, for comparison). A stage answers the empty Edit.
`python benchmarks/engine.py [--small]`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from sgforge.dataset import DatasetWriter
from sgforge.edits import Edit
from sgforge.engine.executors.local import LocalExecutor
from sgforge.engine.executors.work import Work
from sgforge.engine.items.stream import Stage, Stream, WorkItem
from sgforge.engine.planning.components import ComponentSpec
from sgforge.engine.planning.fingerprints import chain_key, source_key
from sgforge.engine.reporting.step_counts import Tally
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.pipeline import Pipeline, complete
from sgforge.stages import VERBS, Resources

BAR_US = {"without_journal": 30.0, "with_journal": 100.0}


class SyncStage:
    """A batch in, as many empty edits out."""

    def complete(self, samples):
        return [Edit() for _ in samples]


class AsyncStage:
    """One sample in, one empty edit out."""

    async def complete(self, sample):
        return Edit()


def make_items(count: int) -> list[WorkItem]:
    regions = [Region(label="cup", box=(n, n, n + 5, n + 5)) for n in range(18)]
    relations = [Relation(n % 17, "near", n % 17 + 1, score=0.5) for n in range(17)]
    graph = SceneGraph(640, 480, regions, relations)
    return [WorkItem(row, Sample(f"{row:08}", graph), {}) for row in range(count)]


async def stream(items: list[WorkItem], stages: list[object], writer: DatasetWriter | None) -> float:
    """Microseconds per item and step."""
    keys = [source_key(row.to_bytes(32, "big")) for row in range(len(items))]
    applies = [True] * len(items)
    built = []
    for number, instance in enumerate(stages):
        spec = ComponentSpec("teacher", f"noop-{number}", "", {}, instance=instance)
        crew = await LocalExecutor().open(Work(spec=spec, method="complete", resources=Resources()))
        parents, keys = keys, [chain_key(bytes([number]) * 32, key) for key in keys]
        name = f"step-{number}"
        built.append(
            Stage(
                name=name,
                verb=VERBS["complete"],
                crew=crew,
                applies=applies,
                keys=keys,
                parents=parents,
                shared=frozenset(),
                tally=Tally(name),
            )
        )
    runner = Stream(built, None if writer is None else writer.journal.keep, "benchmark")

    async def feed() -> AsyncIterator[list[WorkItem]]:
        for start in range(0, len(items), 256):
            yield items[start : start + 256]

    started = time.perf_counter()
    await runner.run(feed())
    seconds = time.perf_counter() - started
    assert all(stage.tally.computed == len(items) for stage in built)
    for stage in built:
        await stage.crew.close()
    return seconds * 1e6 / (len(items) * len(stages))


def measure(count: int, kind: type, journal: bool, folder: Path, repeats: int) -> float:
    """The best of a few rounds: what the engine costs, not what the machine does beside it."""
    rounds = []
    for repeat in range(repeats):
        items, stages = make_items(count), [kind() for _ in range(4)]
        if journal:
            with DatasetWriter.open(folder / f"{kind.__name__}-{repeat}") as writer:
                rounds.append(asyncio.run(stream(items, stages, writer)))
        else:
            rounds.append(asyncio.run(stream(items, stages, None)))
    return min(rounds)


class GivenSource:
    """The samples of `make_items`."""

    def __init__(self, count: int) -> None:
        self.count = count

    def samples(self, roots, name):
        yield from (item.sample for item in make_items(self.count))


def whole_run(count: int, folder: Path) -> float:
    """Microseconds per item and step of a whole run: source, keys, reading, journal and publishing included."""
    pipeline = Pipeline(*(complete(SyncStage()) for _ in range(4)))
    started = time.perf_counter()
    pipeline.run(GivenSource(count), folder, progress=False)
    return (time.perf_counter() - started) * 1e6 / (count * 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="2,000 items instead of 20,000")
    arguments = parser.parse_args()
    count = 2_000 if arguments.small else 20_000
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in (SyncStage, AsyncStage):
            for name, journal in (("without_journal", False), ("with_journal", True)):
                microseconds = measure(count, kind, journal, Path(folder), 5)
                label = f"{kind.__name__.removesuffix('Stage').lower()}_{name}"
                found[label] = {"us": round(microseconds, 2), "ratio": round(microseconds / BAR_US[name], 3)}
        whole = round(whole_run(count, Path(folder) / "whole"), 2)
    figures = {"items": count, "steps": 4, "bars_us": BAR_US, "found": found, "whole_run_us": whole}
    print(json.dumps({"benchmark": "engine", **figures}))


if __name__ == "__main__":
    main()
