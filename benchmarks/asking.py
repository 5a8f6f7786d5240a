"""A pipeline whose one step asks a model about each item: what the gateway's benchmark runs, here or in a child.

`python benchmarks/asking.py DATASET BASE_URL ITEMS MODEL IN_FLIGHT` runs it once, in a process that may be killed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import attrs
import numpy as np
import zarr

import sgforge as sg
import sgforge_openai
from sgforge.edits import Edit
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.models import ChatRequest, GatewaySettings, Message, ModelSettings
from sgforge.stages import Needs
from sgforge.testing import IsolatedPlugins

PROMPT = "Name the relation between the two regions of this image. " + "Context. " * 80
MAX_TOKENS = 100
INPUT_USD, OUTPUT_USD = 1.0, 2.0


@attrs.frozen
class AskOptions:
    model: str


class AskTeacher:
    """One question an item; the answer becomes a relation."""

    def __init__(self, options: AskOptions) -> None:
        self.options = options

    def setup(self, resources):
        self.model = resources.model

    async def complete(self, sample):
        response = await self.model.complete(question(sample.image_id))
        return Edit(relations=[Relation(0, response.text[:20] or "?", 1)])


class BlankSource:
    """Items without pictures: two regions each."""

    def __init__(self, items: int) -> None:
        self.items = items

    def samples(self, roots, name):
        for number in range(self.items):
            regions = [Region(label="cup", box=(1, 1, 9, 9)), Region(label="table", box=(1, 5, 90, 90))]
            yield Sample(f"{number:06}", SceneGraph(128, 128, regions), split="train")


class AskPlugin:
    @sg.hookimpl
    def sgforge_register_teachers(self, register):
        register("ask", AskTeacher, config=AskOptions, needs=Needs(model=True, deterministic=False))


def question(item: str) -> ChatRequest:
    return ChatRequest((Message("user", f"{PROMPT}{item}"),), max_tokens=MAX_TOKENS)


def run_pipeline(dataset: Path, base_url: str, items: int, model: str, in_flight: int, **settings) -> tuple:
    """(report, seconds) of one run of the full engine: cache, ledger and journal on."""
    of_model = {"base_url": base_url, "max_in_flight": in_flight, "input_usd": INPUT_USD, "output_usd": OUTPUT_USD}
    timing = {name: settings.pop(name) for name in ("timeout_s", "deadline_s") if name in settings}
    with IsolatedPlugins(AskPlugin(), sgforge_openai):
        pipeline = sg.Pipeline(
            sg.complete("ask", model=model),
            models={model: ModelSettings(**of_model, **timing)},
            gateway=GatewaySettings(**settings),
        )
        begun = time.perf_counter()
        report = pipeline.run(BlankSource(items), dataset, progress=False)
        return report, time.perf_counter() - begun


def arrays(dataset: Path) -> dict[str, bytes]:
    """Every array of images, regions, relations and vocabularies, read by plain zarr."""
    group = zarr.open_group(str(sg.Dataset.open(dataset).snapshot.path), mode="r")
    found = {}
    for name in ("image", "region", "relation", "vocabulary"):
        for path, array in group[name].members():
            data = np.asarray(array[...])
            found[f"{name}/{path}"] = f"{data.dtype} {data.shape} ".encode() + data.tobytes()
    return found


def main() -> None:
    dataset, base_url, items, model, in_flight = sys.argv[1:6]
    print("ready", flush=True)
    used = time.process_time()
    report, _ = run_pipeline(Path(dataset), base_url, int(items), model, int(in_flight))
    print(report.status, flush=True)
    print(time.process_time() - used, flush=True)  # what of the time was this process's own, on a busy machine too


if __name__ == "__main__":
    main()
