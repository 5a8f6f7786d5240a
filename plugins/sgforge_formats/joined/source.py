"""The source `join`: several annotation sets of the same images as one, regions and relations put together.

Regions of two sets are one where their labels are equal, but for case, and their boxes overlap by `iou` or more, best
pairs first, each once; regions of one set are never one. What is one keeps the place of the first, a mask that the
first lacks, and the descriptions and attributes of both; its `source` names the sets, such as `coco+lvis`. Boxes of a
set that says another size of the image are scaled. Samples of the sets behind the first wait in a temporary file.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import IO, Any, Final

import attrs
import numpy as np

from sgforge import boxes as boxes_
from sgforge.config import structure_options
from sgforge.errors import ConfigError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.images import Roots
from sgforge.packed import pack_sample, unpack_sample
from sgforge.plugins import load_plugins
from sgforge.stages import SourceFailure, Stamp
from sgforge.text.wording import shortened
from sgforge_formats.joined.options import JoinOptions
from sgforge_formats.origin import Origin

__all__ = ["JoinSource", "joined"]

_NUMBER: Final = re.compile(r"([0-9]+)$")


class JoinSource:
    """Reads the sets, and gives the images of the first with what all say of them."""

    def __init__(self, options: JoinOptions) -> None:
        if len(options.sets) < 2:
            raise ConfigError("join: name two sets or more")
        if not 0 < options.iou <= 1:
            raise ConfigError(f"join: iou must be above 0 and at most 1, got {options.iou}")
        self._options = options
        self._names = _names(options.sets)
        unknown = [name for name in options.need if name not in self._names]
        if unknown:
            raise ConfigError(f"join: need names {unknown[0]!r}, which is no set: there are {', '.join(self._names)}")
        self._sources = [_built(one) for one in options.sets]
        self._remarks: list[str] = []

    def remarks(self) -> Sequence[str]:
        """How many images each condition left, what was merged, and what the sets remark."""
        told = list(self._remarks)
        for name, source in zip(self._names, self._sources, strict=True):
            told += [f"{name}: {remark}" for remark in (source.remarks() if hasattr(source, "remarks") else ())]
        return told

    def check(self, roots: Roots, name: str) -> None:
        """A `ConfigError` unless the files of every set are there."""
        for set_name, source in zip(self._names, self._sources, strict=True):
            if hasattr(source, "check"):
                source.check(roots, f"{name}-{set_name}")

    def stamp(self, roots: Roots, name: str) -> Stamp | None:
        """What decides for all sets; None where one of them cannot tell."""
        stamps = []
        for set_name, source in zip(self._names, self._sources, strict=True):
            stamp = source.stamp(roots, f"{name}-{set_name}") if hasattr(source, "stamp") else None
            if stamp is None:
                return None
            stamps.append(stamp)
        return Stamp(
            tuple(dict.fromkeys(path for stamp in stamps for path in stamp.files)),
            " ".join(stamp.facts for stamp in stamps),
        )

    def samples(self, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
        """The images of the first set that the needed ones have too."""
        counts: Counter[str] = Counter()
        self._remarks = []
        with tempfile.TemporaryFile(prefix="sgforge-join-") as file:
            others = []
            for set_name, source in zip(self._names[1:], self._sources[1:], strict=True):
                waiting = _Waiting(file)
                for item in source.samples(roots, f"{name}-{set_name}"):
                    if isinstance(item, Sample):
                        waiting.add(_key(item, self._options.by), item)
                    else:
                        yield attrs.evolve(item, where=f"{set_name}: {item.where}", loses="annotation")
                others.append(waiting)
            for item in self._sources[0].samples(roots, f"{name}-{self._names[0]}"):
                if isinstance(item, SourceFailure):
                    yield attrs.evolve(item, where=f"{self._names[0]}: {item.where}")
                    continue
                sample = self._joined(item, others, counts)
                if sample is not None:
                    yield sample
        self._remarks = [f"{what}: {count}" for what, count in counts.items()]

    def _joined(self, first: Sample, others: Sequence[_Waiting], counts: Counter[str]) -> Sample | None:
        key = _key(first, self._options.by)
        found = {self._names[0]: [first]}
        found |= {name: waiting.take(key) for name, waiting in zip(self._names[1:], others, strict=True)}
        counts[f"images of {self._names[0]}"] += 1
        for name in self._options.need:
            if not found[name]:
                counts[f"left out as {name} has them not"] += 1
                return None
            counts[f"left after {name}"] += 1
        given = [(name, sample) for name, samples in found.items() for sample in samples]
        return joined(given, self._options.iou, counts)


def _names(sets: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the sets are called: their name, else that of their source."""
    for one in sets:
        if not isinstance(one.get("use"), str) or not isinstance(one.get("name", ""), str):
            raise ConfigError(f"join: a set must say its source, use = ..., not {shortened(dict(one))}")
    names = [one.get("name") or one["use"] for one in sets]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"join: two sets are named {twice[0]!r}: give them a name = ...")
    return names


def _built(given: Mapping[str, Any]) -> Any:
    component = load_plugins().lookup("source", given["use"])
    options = {name: value for name, value in given.items() if name not in ("use", "name")}
    return component.build(structure_options(component, options, f"join: set {given.get('name') or given['use']}"))


def _key(sample: Sample, by: str) -> str:
    """What makes an image the same in two sets."""
    if by == "id":
        return sample.image_id
    said = Origin.of(sample).image
    if by == "coco":
        given = next((said[name] for name in ("coco_id", "coco_image_id") if said.get(name) is not None), None)
        if given is not None:
            return str(given)
    name = said.get("file_name") or sample.graph.attributes.get("coco.file_name")
    if sample.uri is not None:
        name = sample.uri.partition(":")[2]
    stem = PurePosixPath(name).stem if isinstance(name, str) and name else sample.image_id
    number = _NUMBER.search(stem)
    return str(int(number[1])) if number else stem


class _Waiting:
    """Samples of one set by key, packed in a file: in memory are their places."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._places: dict[str, list[tuple[int, int]]] = {}

    def add(self, key: str, sample: Sample) -> None:
        """Keep a sample for later."""
        data = pack_sample(sample)
        self._file.seek(0, 2)
        self._places.setdefault(key, []).append((self._file.tell(), len(data)))
        self._file.write(data)

    def take(self, key: str) -> list[Sample]:
        """The samples of a key, in the order in which they came."""
        found = []
        for start, length in self._places.get(key, ()):
            self._file.seek(start)
            found.append(unpack_sample(self._file.read(length)))
        return found


def joined(given: Sequence[tuple[str, Sample]], iou: float, counts: Counter[str]) -> Sample:
    """One sample of what several sets, by name, say of an image; the first gives id, picture, split and size."""
    name, first = given[0]
    regions = [_of(region, name) for region in first.graph.all.regions]
    relations = list(first.graph.all.relations)
    attributes, ids = dict(first.graph.attributes), {name: first.image_id}
    values = dict(first.values)
    size = (first.graph.width, first.graph.height)
    for name, sample in given[1:]:
        size = size if size[0] else (sample.graph.width, sample.graph.height)
        graph = _scaled(sample.graph, size, counts)
        places = _places(regions, graph.all.regions, iou)
        numbers: dict[int, int] = {}
        for index, region in enumerate(graph.all.regions):
            if index in places:
                regions[places[index]] = _merged(regions[places[index]], region, name)
                counts["regions of two sets that are one"] += 1
            numbers[index] = places.get(index, len(regions))
            if index not in places:
                regions.append(attrs.evolve(_of(region, name), parent=None))
        for index, region in enumerate(graph.all.regions):
            parent = None if region.parent is None else numbers[region.parent]
            if parent is not None and regions[numbers[index]].parent is None and parent != numbers[index]:
                regions[numbers[index]] = attrs.evolve(regions[numbers[index]], parent=parent)
        relations += _moved(graph.all.relations, numbers, relations, counts)
        attributes = {**graph.attributes, **attributes}
        values = {**dict(sample.values), **values}
        ids[name] = sample.image_id
    origin = Origin.of(first)
    values |= attrs.evolve(origin, image={**origin.image, "joined": ids}).values()
    graph = SceneGraph(width=size[0], height=size[1], regions=regions, relations=relations, attributes=attributes)
    return attrs.evolve(first, graph=graph, values=values)


def _of(region: Region, name: str) -> Region:
    return attrs.evolve(region, source=name if region.source is None else f"{name}:{region.source}")


def _merged(old: Region, new: Region, name: str) -> Region:
    return attrs.evolve(
        old,
        mask=old.mask or new.mask,
        descriptions=tuple(dict.fromkeys((*old.descriptions, *new.descriptions))),
        attributes=tuple(dict.fromkeys((*old.attributes, *new.attributes))),
        source=f"{old.source}+{name}",
    )


def _places(known: Sequence[Region], more: Sequence[Region], iou: float) -> dict[int, int]:
    """Which region of `known` each of `more` is, by index; best pairs first, each once."""
    old = [(index, region) for index, region in enumerate(known) if region.label and region.box]
    new = [(index, region) for index, region in enumerate(more) if region.label and region.box]
    if not old or not new:
        return {}
    table = boxes_.iou(
        np.array([region.box for _, region in new], np.float64), np.array([region.box for _, region in old], np.float64)
    )
    words = [[(region.label or "").casefold() for _, region in rows] for rows in (new, old)]
    table = np.where(np.array(words[0])[:, None] == np.array(words[1])[None], table, 0)
    found: dict[int, int] = {}
    for flat in np.argsort(-table, axis=None, kind="stable").tolist():
        row, column = divmod(flat, len(old))
        if table[row, column] < iou:
            break
        if new[row][0] not in found and old[column][0] not in found.values():
            found[new[row][0]] = old[column][0]
    return found


def _moved(
    rows: Sequence[Relation], numbers: Mapping[int, int], known: Sequence[Relation], counts: Counter[str]
) -> list[Relation]:
    """Relations by the indices of the joined graph; those that it has already, and of a region to itself, left out."""
    there = {one.triplet for one in known}
    found = []
    for one in rows:
        subject, other = numbers[one.subject], numbers[one.object]
        if subject == other or (subject, one.predicate, other) in there:
            counts["relations that are there already, or of two regions that are one"] += 1
            continue
        found.append(attrs.evolve(one, subject=subject, object=other))
    return found


def _scaled(graph: SceneGraph, size: tuple[int, int], counts: Counter[str]) -> SceneGraph:
    """The graph with its boxes on an image of another size; masks, which do not fit it, are left out."""
    if not graph.width or (graph.width, graph.height) == size:
        return graph
    counts["images of another size in a set, boxes scaled"] += 1
    x, y = size[0] / graph.width, size[1] / graph.height
    regions = []
    for one in graph.all.regions:
        box = None if one.box is None else [number * by for number, by in zip(one.box, (x, y) * 2, strict=True)]
        regions.append(attrs.evolve(one, mask=None, box=box))
    return SceneGraph(
        width=size[0],
        height=size[1],
        regions=regions,
        relations=graph.all.relations,
        attributes=graph.attributes,
    )
