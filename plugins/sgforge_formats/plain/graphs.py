"""Graph JSONL: the source `jsonl` and the exporter `jsonl`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from sgforge.errors import ConfigError, GraphError
from sgforge.graph import Sample
from sgforge.images import Roots, turned_uri, unturned_uri
from sgforge.jsonl import GraphLine, dump_lines, parse_graph_line
from sgforge.jsonl.files import numbered_lines
from sgforge.stages import SourceFailure, Stamp
from sgforge_formats.config import JsonlOptions
from sgforge_formats.reading.checks import is_plain, join_uri, locate, locate_folder
from sgforge_formats.reading.pictures import Turner
from sgforge_formats.writing.exports import exported, whole_file, without_collection

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["JsonlExporter", "JsonlSource", "read_graphs"]


def read_graphs(path: Path) -> Iterator[Sample | SourceFailure]:
    """Every line of a graph JSONL file: its sample, or why there is none.

    Reasons: bad-line, bad-label (a label or predicate with control characters), duplicate-image, failed-prediction.
    A file in which no line can be read is a `ConfigError`.
    """
    seen: set[str] = set()
    first_fault: SourceFailure | None = None
    for number, line in numbered_lines(path):
        item = _read_line(line, f"{path.name}:{number}", seen)
        if isinstance(item, Sample):
            first_fault = None
        elif number == 1:
            first_fault = item
        yield item
    if not seen and first_fault is not None:
        raise ConfigError(f"{path.name} is no graph JSONL: {first_fault.detail}")


def _read_line(line: bytes, where: str, seen: set[str]) -> Sample | SourceFailure:
    try:
        parsed = parse_graph_line(line, where)
    except GraphError as error:
        return SourceFailure(where, "bad-line", str(error))
    sample = parsed.sample
    if sample.image_id in seen:
        return SourceFailure(where, "duplicate-image", f"image {sample.image_id} was given before", sample.image_id)
    seen.add(sample.image_id)
    if parsed.failed is not None:
        return SourceFailure(where, "failed-prediction", parsed.failed, sample.image_id)
    for text in _names(sample):
        if not is_plain(text):
            return SourceFailure(where, "bad-label", f"{text!r} holds control characters", sample.image_id)
    return sample


def _names(sample: Sample) -> Iterator[str]:
    yield sample.image_id
    yield from (region.label for region in sample.graph.all.regions if region.label is not None)
    yield from (relation.predicate for relation in sample.graph.all.relations)


class JsonlSource:
    """Reads a graph JSONL file, line by line."""

    def __init__(self, options: JsonlOptions) -> None:
        self._options = options
        self._turner: Turner | None = None

    def remarks(self) -> Sequence[str]:
        """How many pictures the last reading turned."""
        return () if self._turner is None else tuple(self._turner.remarks())

    def check(self, roots: Roots, name: str) -> None:
        """A `ConfigError` unless the file and the folder are there."""
        self._located(roots, name)

    def _located(self, roots: Roots, name: str) -> tuple[Path, str | None]:
        """The file, and the uri of the folder of images."""
        options = self._options
        _, path = locate(roots, options.graphs, name, "graphs", root=f"{name}-graphs")
        return path, None if options.images is None else locate_folder(roots, options.images, name, "images")

    def stamp(self, roots: Roots, name: str) -> Stamp:
        """The graph file decides."""
        return Stamp((self._located(roots, name)[0],))

    def samples(self, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
        """Every line, in order; its uri is looked for in the folder `images`, if that is given."""
        path, images = self._located(roots, name)
        self._turner = turner = Turner(roots, self._options.orientation)
        for item in read_graphs(path):
            yield self._placed(item, images, turner) if isinstance(item, Sample) else item

    def _placed(self, sample: Sample, images: str | None, turner: Turner) -> Sample:
        uri = sample.uri
        if uri is not None and images is not None:
            given = join_uri(images, uri.partition(":")[2])
            uri = given if unturned_uri(uri) == uri else turned_uri(given)
        if uri is not None:
            uri = turner.place(uri)
        return attrs.evolve(sample, uri=uri, split=sample.split or self._options.split)


class JsonlExporter:
    """Writes graph JSONL, images in id order, rejected rows with their status; the file appears when it is whole."""

    def export(self, snapshot: Snapshot, output: Path) -> Mapping[str, int]:
        """Writes the file `output`; returns what was written and left out, by name."""
        counts: Counter[str] = Counter()
        with without_collection(), whole_file(output) as stream:
            for samples in exported(snapshot, counts):
                counts["regions"] += sum(len(sample.graph.all.regions) for sample in samples)
                counts["relations"] += sum(len(sample.graph.all.relations) for sample in samples)
                stream.writelines(dump_lines([GraphLine(sample) for sample in samples]))
        return counts
