"""Public files as one side of an evaluation: what a source reads of them, as columns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from sgforge.columns import GraphColumns
from sgforge.config import source_options, structure_options
from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.plugins import load_plugins
from sgforge.stages import SourceFailure
from sgforge_eval.intake.dropped import Dropped

__all__ = ["read_public_files"]


def read_public_files(text: str, dropped: Dropped, what: str, chunk_images: int) -> Iterator[GraphColumns]:
    """What a source reads of the files behind its name: psg:psg.json, vg150:FILE,FILE,FILE@test.

    With a split behind @ only its images. What the source cannot read is counted in `dropped`.
    """
    name, _, rest = text.partition(":")
    files, sign, split = rest.rpartition("@")
    if not sign:
        files, split = rest, ""
    component = load_plugins().lookup("source", name)
    options = structure_options(component, source_options(component, files.split(",")), f"{what} {name}")
    items = component.build(options).samples(Roots(), what)
    while part := list(islice(_kept(items, split, dropped, what), chunk_images)):
        yield GraphColumns.from_samples(part)


def _kept(items: Iterator[Sample | SourceFailure], split: str, dropped: Dropped, what: str) -> Iterator[Sample]:
    for item in items:
        if not isinstance(item, Sample):
            lost = "image" if item.loses == "image" else "annotation"
            dropped.add(f"{what}: {lost} that cannot be read, {item.reason}", 1, f"{item.where}: {item.detail}")
        elif not split or item.split == split:
            yield item
