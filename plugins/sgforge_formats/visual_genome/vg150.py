"""The source `vg150`: Visual Genome with 150 classes and 50 predicates in HDF5 (Xu et al. 2017; with attributes: Tang).

Boxes are centre and sides on a scale where the longer side of the image is 1024; `img_to_first_box` and `_last_box`,
inclusive, say which rows are an image's, -1 for none; relationships name rows of the whole table. Images stand in the
order of image_data.json without the four that were never usable. Split 0 is train, 2 test; val are the first images of
train that have boxes and relations, as the benchmarks' loaders take them. Failures of rows: those of `GraphBuilder`,
unknown-label, unknown-predicate, unknown-attribute. A file without attributes or relationships is read without them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs
import numpy as np
import numpy.typing as npt

from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge.stages import SourceFailure
from sgforge_formats.reading.annotated import AnnotatedSource, Reading
from sgforge_formats.reading.graph_builder import GraphBuilder
from sgforge_formats.visual_genome.image_data import ImageFacts, read_image_data
from sgforge_formats.visual_genome.source import file_names

__all__ = ["NEVER_USABLE", "SCALE", "SPLITS", "Names", "Vg150Source", "read_names"]

SCALE: Final = 1024
"""The longer side of every image in `boxes_1024`."""
NEVER_USABLE: Final = frozenset({"1592", "1722", "4616", "4617"})
"""Images of image_data.json that the file has no rows for."""
SPLITS: Final[Mapping[int, str]] = {0: "train", 2: "test"}
_NEEDED: Final = ("labels", f"boxes_{SCALE}", "img_to_first_box", "img_to_last_box")
_OF_RELATIONS: Final = ("relationships", "predicates", "img_to_first_rel", "img_to_last_rel")

Ints = npt.NDArray[np.int64]


@attrs.frozen
class Names:
    """The names of the dictionary by number, from 1."""

    labels: Mapping[int, str]
    predicates: Mapping[int, str]
    attributes: Mapping[int, str]


def read_names(path: Path) -> Names:
    """The names of a VG150 dictionary; another file is a `ConfigError`."""
    try:
        value = json.loads(path.read_bytes())
        missing = [key for key in ("idx_to_label", "idx_to_predicate") if key not in value]
        tables = [
            {int(number): str(name) for number, name in value.get(f"idx_to_{what}", {}).items()}
            for what in ("label", "predicate", "attribute")
        ]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{path.name} is no VG150 dictionary: {error}: check the option dictionary") from None
    if missing:
        raise ConfigError(f"{path.name} is no VG150 dictionary: it has no {' and no '.join(missing)}")
    return Names(*tables)


@attrs.frozen(eq=False)
class _Tables:
    """The arrays of the file; `relations` (R, 2) rows of boxes, all empty where the file has no relationships."""

    labels: Ints
    boxes: Ints
    first_box: Ints
    last_box: Ints
    relations: Ints
    predicates: Ints
    first_relation: Ints
    last_relation: Ints
    attributes: Ints
    split: Ints | None


class Vg150Source(AnnotatedSource):
    """Reads VG150, image by image, in the order of image_data.json."""

    files: ClassVar[tuple[str, ...]] = ("annotations", "dictionary", "image_data")

    def read(self, reading: Reading) -> Iterator[Sample | SourceFailure]:
        """Every image."""
        paths = reading.files
        names = read_names(paths["dictionary"])
        data = read_image_data(paths["image_data"])
        yield from data.failures
        images = [(image_id, facts) for image_id, facts in data.images.items() if image_id not in NEVER_USABLE]
        tables = _tables(paths["annotations"], reading)
        if len(images) != len(tables.first_box):
            raise ConfigError(
                f"{paths['annotations'].name} has {len(tables.first_box)} images, {paths['image_data'].name} "
                f"{len(images)} (without {len(NEVER_USABLE)} that are never usable): they must be of one release"
            )
        splits = _splits(tables, self.options.validation)
        for number, (image_id, facts) in enumerate(images):
            if not facts.width or not facts.height:
                where = f"{paths['image_data'].name}: image {image_id}"
                yield SourceFailure(where, "bad-image", "without width and height its boxes have no scale", image_id)
                continue
            builder = GraphBuilder(
                where=f"{paths['annotations'].name}: image {image_id}",
                image_id=image_id,
                width=facts.width,
                height=facts.height,
                tally=reading.tally,
            )
            _fill(builder, number, tables, names)
            uri = reading.uri(*file_names(image_id, facts.url))
            sample = builder.sample(uri, reading.split or splits[number], more=_more(facts))
            yield from builder.faults
            yield sample


def _more(facts: ImageFacts) -> dict[str, Any]:
    return facts.more()


def _tables(path: Path, reading: Reading) -> _Tables:
    try:
        import h5py

        with h5py.File(path, "r") as file:
            found = {name: np.asarray(file[name][()]).astype(np.int64) for name in file if hasattr(file[name], "shape")}
    except ImportError:
        raise ConfigError("VG150 needs h5py: pip install 'sgforge[formats]'") from None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path.name} is no HDF5 file that can be read: {error}") from None
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        shown = ", ".join(found) or "nothing"
        raise ConfigError(f"{path.name} is no VG150 file: it has no {' and no '.join(missing)}; it has {shown}")
    images = len(found["img_to_first_box"])
    none = np.full(images, -1, np.int64)
    has_relations = all(name in found for name in _OF_RELATIONS)
    for is_there, what in ((has_relations, "relationships"), ("attributes" in found, "attributes")):
        if not is_there:
            reading.tally.add(f"images read without {what}, as the file has none", images)
    return _Tables(
        labels=found["labels"].reshape(-1),
        boxes=found[f"boxes_{SCALE}"].reshape(-1, 4),
        first_box=found["img_to_first_box"].reshape(-1),
        last_box=found["img_to_last_box"].reshape(-1),
        relations=found["relationships"].reshape(-1, 2) if has_relations else np.zeros((0, 2), np.int64),
        predicates=found["predicates"].reshape(-1) if has_relations else np.zeros(0, np.int64),
        first_relation=found["img_to_first_rel"].reshape(-1) if has_relations else none,
        last_relation=found["img_to_last_rel"].reshape(-1) if has_relations else none,
        attributes=found.get("attributes", np.zeros((len(found["labels"]), 0), np.int64)),
        split=found["split"].reshape(-1) if "split" in found else None,
    )


def _splits(tables: _Tables, validation: int) -> Sequence[str | None]:
    if tables.split is None:
        return [None] * len(tables.first_box)
    splits = [SPLITS.get(number) for number in tables.split.tolist()]
    usable = (tables.split == 0) & (tables.first_box >= 0) & (tables.first_relation >= 0)
    for number in np.flatnonzero(usable)[:validation].tolist():
        splits[number] = "val"
    return splits


def _fill(builder: GraphBuilder, number: int, tables: _Tables, names: Names) -> None:
    first, last = int(tables.first_box[number]), int(tables.last_box[number])
    if first < 0:
        return
    rows = range(max(first, 0), min(last + 1, len(tables.labels)))
    scale = max(builder.width, builder.height) / SCALE
    boxes = tables.boxes[rows.start : rows.stop]
    low = (boxes[:, :2] - boxes[:, 2:] / 2) * scale
    corners = np.concatenate([low, low + boxes[:, 2:] * scale], axis=1).tolist()
    for row, box, label, found in zip(
        rows,
        corners,
        tables.labels[rows.start : rows.stop].tolist(),
        tables.attributes[rows.start : rows.stop].tolist(),
        strict=True,
    ):
        item = f"labels[{row}]"
        if label not in names.labels:
            builder.fault("unknown-label", f"label {label} is not in the dictionary", item)
        index = builder.region(row, names.labels.get(label), box, item)
        builder.attributes(index, [names.attributes[one] for one in found if one in names.attributes], item)
        for one in found:
            if one and one not in names.attributes:
                builder.fault("unknown-attribute", f"attribute {one} is not in the dictionary", item)
    _relate(builder, number, tables, names)


def _relate(builder: GraphBuilder, number: int, tables: _Tables, names: Names) -> None:
    first, last = int(tables.first_relation[number]), int(tables.last_relation[number])
    if first < 0:
        return
    pairs = tables.relations[first : last + 1].tolist()
    for row, ((subject, other), predicate) in enumerate(
        zip(pairs, tables.predicates[first : last + 1].tolist(), strict=True), first
    ):
        item = f"relationships[{row}]"
        name = names.predicates.get(predicate)
        if name is None:
            builder.fault("unknown-predicate", f"predicate {predicate} is not in the dictionary", item)
            continue
        builder.relate(builder.index_of(subject), name, builder.index_of(other), item)
