"""The whole default pipeline on real photos and made scenes: what `make demo` runs, from the root of the checkout.

It writes everything into the folder demo/ there. The pipeline is in demo.toml; this file prepares its data (`prepare`),
runs it, and shows what came of it.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import attrs
from photos import photo_samples
from pictures import draw_photos
from table import step_table, student_table

import sgforge as sg
from sgforge.config import load_config
from sgforge.jsonl import write_jsonl
from sgforge.testing.scenes import scene_samples

CONFIG = Path(__file__).with_name("demo.toml")
DEMO = Path("demo")
SCENES = {"seed": range(10), "new": range(10, 160), "held-out": range(160, 200)}
"""The seeds of the scenes of each source."""


def prepare(folder: Path) -> None:
    """Write the files that demo.toml names, and their images; a graph file that is there is left alone.

    predicates.txt lists what is said of the held-out images: what mean recall is the mean over, for every student.
    """
    for source, seeds in SCENES.items():
        if (folder / f"{source}.jsonl").exists():
            continue
        split = "val" if source == "held-out" else "train"
        made = scene_samples(folder / "scenes", len(seeds), seeds[0], size=256, uri="scenes:")
        samples = [attrs.evolve(sample, split=split) for sample in made]
        if source == "new":
            samples = [without_relations(sample) for sample in samples]
        else:
            samples += photo_samples(folder / "photos", split)
        if source == "held-out":
            said = {relation.predicate for sample in samples for relation in sample.graph.relations.values()}
            (folder / "predicates.txt").write_text("\n".join(sorted(said)) + "\n", encoding="utf-8")
        write_jsonl(samples, folder / f"{source}.jsonl")


def without_relations(sample: sg.Sample) -> sg.Sample:
    """The sample as if nobody had said anything about it but which regions there are."""
    graph = sample.graph
    return attrs.evolve(sample, graph=sg.SceneGraph(graph.width, graph.height, graph.all.regions))


def main() -> int:
    started = time.perf_counter()
    prepare(DEMO / "data")
    config = load_config(CONFIG, [])
    report = sg.Pipeline.from_config(config).run(config.sources, config.dataset, roots=config.roots)

    print(step_table(report), student_table(report, DEMO / "data"), sep="\n\n")
    dataset = sg.Dataset.open(config.dataset, roots=sg.Roots(config.roots))
    print("\nPictures of the photos with their regions and relations:")
    for path in draw_photos(dataset, DEMO / "pictures"):
        print(f"  {path}")
    print(NEXT.format(sgforge=command()))
    computed = sum(step.counts.computed for step in report.steps)
    what = f"{computed:,} answers computed" if computed else "nothing had to be computed again"
    print(f"\n{what}, {time.perf_counter() - started:.1f} s in all")
    return report.exit_code


def command() -> str:
    """How to call sgforge from here: by its name if that is on the path."""
    return "sgforge" if shutil.which("sgforge") else os.path.relpath(Path(sys.executable).with_name("sgforge"))


NEXT = """
Next, try:
  {sgforge} show demo/dataset astronaut
      what is known of one photo, and who said so
  {sgforge} log demo/dataset
      every version of the dataset
  {sgforge} run examples/demo/demo.toml --set step.generate.min_score=0.3
      a stricter student: only what follows is done again"""


if __name__ == "__main__":
    sys.exit(main())
