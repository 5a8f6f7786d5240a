"""Source to dataset to exporter to source: what was read, and what is read of the export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from formats.reading import Result, sort_out

from sgforge import Roots, Sample
from sgforge.testing.contracts.data import publish_samples


@attrs.frozen
class Trip:
    """What was read first and again, and the counts of the export."""

    first: Result
    again: Result
    counts: Mapping[str, int]


def read(source: Any, roots: Mapping[str, Path] | None = None) -> Result:
    """All that a source gives."""
    return sort_out(source.samples(Roots(roots or {}), "given"))


def trip(folder: Path, source: Any, exporter: Any, source_of: Callable[[Path], Any]) -> Trip:
    """Read, published, exported into `folder`/out, read by what `source_of` makes of that."""
    first = read(source)
    snapshot = publish_samples(folder, list(first.samples.values()))
    counts = exporter.export(snapshot, folder / "out")
    return Trip(first, read(source_of(folder / "out")), counts)


def said(sample: Sample, *names: str) -> dict[str, Any]:
    """What makes two readings the same: id, split, graph, and values by column."""
    values = {name: sample.values[name] for name in sample.values}
    return {"id": sample.image_id, "split": sample.split, "graph": sample.graph, "values": values}
