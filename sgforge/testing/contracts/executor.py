"""What holds for executors: a component gives away from the driver what it gives there, and a stop is a stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sgforge.engine.executors.crew import Crew, ask
from sgforge.engine.executors.local import LocalExecutor
from sgforge.engine.executors.work import Work
from sgforge.engine.planning.components import find_spec
from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.pipeline import Pipeline, complete, edit, evaluate, executor, filter, generate, train
from sgforge.stages import Resources
from sgforge.testing.contracts.base import ComponentContract
from sgforge.testing.samples import tiny_samples

__all__ = ["ExecutorContract"]

T = TypeVar("T")


class ExecutorContract(ComponentContract):
    """Contract of an executor. A subclass may override `pipeline` and `work` where other plugins are there to run."""

    kind = "executor"

    def pipeline(self) -> Pipeline:
        """Deterministic components that may leave the driver; the source is of four small pictures."""
        return Pipeline(
            complete("geometry", workers=2),
            filter("spatial-rules"),
            train("prior", on={"split": ("train", "val")}),
            generate("prior"),
            edit("consistency"),
            evaluate("predcls", on={"split": ("train", "val")}),
        )

    def work(self, folder: Path) -> Work:
        """Two workers of a deterministic component, one image a batch."""
        spec, faults = find_spec(self.registry(), "teacher", "geometry", {})
        assert not faults
        images = Roots({"tiny": folder})
        return Work(spec=spec, method="complete", resources=Resources(), images=images, batch_size=1, workers=2)

    def with_crew(self, folder: Path, use: Callable[[Crew], Awaitable[T]]) -> T:
        """What `use` makes of a crew, which is closed after it."""

        async def using() -> T:
            with self.built(folder) as opener:
                crew: Crew = await opener.open(self.work(folder))
                try:
                    return await use(crew)
                finally:
                    await crew.close()

        return asyncio.run(using())

    def test_snapshots_and_reports_are_those_of_the_driver(self, tmp_path: Path) -> None:
        away = executor(self.component, **self.options_in(tmp_path))
        here = _run(self.pipeline(), tmp_path, "here", "local")
        assert _run(self.pipeline(), tmp_path, "away", away) == here, "another executor gave other answers"

    def test_answers_come_in_the_order_of_the_samples(self, tmp_path: Path) -> None:
        samples = tiny_samples(tmp_path)
        given = self.with_crew(tmp_path, lambda crew: ask(crew, samples))

        async def here() -> list[Any]:
            crew = await LocalExecutor().open(self.work(tmp_path))
            try:
                return await ask(crew, samples)
            finally:
                await crew.close()

        assert given == asyncio.run(here())

    def test_nothing_is_asked_after_a_stop(self, tmp_path: Path) -> None:
        samples = tiny_samples(tmp_path)

        async def stopped(crew: Crew) -> list[Any]:
            crew.stop()
            return [outcome for lane in crew.lanes for outcome in await lane.answer(samples[:1])]

        assert self.with_crew(tmp_path, stopped) == []

    def test_lanes_take_something(self, tmp_path: Path) -> None:
        async def sizes(crew: Crew) -> list[tuple[int, int]]:
            return [(lane.batch, lane.depth) for lane in crew.lanes]

        found = self.with_crew(tmp_path, sizes)
        assert found, "a crew without a lane answers nothing"
        assert all(batch >= 1 and depth >= 1 for batch, depth in found)


class _TinySource:
    """The tiny samples as a source."""

    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    def samples(self, roots: Roots, name: str) -> Iterator[Sample]:
        """All of them; `roots` has the folder of their pictures already."""
        yield from self._samples


def _run(pipeline: Pipeline, folder: Path, name: str, executor: Any) -> list[Any]:
    """What a run says and leaves: counts, values, and every array of its snapshot but those of provenance."""
    import zarr

    pictures, data = folder / "pictures", folder / name
    pictures.mkdir(exist_ok=True)
    source = _TinySource(tiny_samples(pictures))
    report = pipeline.run(source, data, roots={"tiny": pictures}, executor=executor, progress=False)
    told = [(one.name, one.counts, None if one.report is None else one.report.values) for one in report.steps]
    group: Any = zarr.open_group(str(data / "snapshots" / str(report.snapshot)), mode="r")
    arrays = {}
    for name in ("image", "region", "relation", "vocabulary"):
        for path, array in group[name].members():
            values = np.asarray(array[...])
            arrays[f"{name}/{path}"] = (str(values.dtype), values.shape, values.tobytes())
    return [told, arrays]
