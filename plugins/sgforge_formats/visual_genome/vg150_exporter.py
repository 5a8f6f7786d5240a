"""The exporter `vg150`: a folder of VG-SGG-with-attri.h5, its dictionary and image_data.json.

Labels, predicates and attributes are numbered from 1 by how often they occur, most frequent first, as the dictionary of
the benchmarks has them; or as a dictionary that is named has them, then others are left out and counted. Boxes are
whole numbers on a scale where the longer side of the image is 1024: at most half a unit is lost. Splits train and val
are 0, test is 2. Images of ids that the usual release left out, and those without a size, are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import numpy as np

from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge_formats.origin import Origin
from sgforge_formats.visual_genome.exporter import image_data_row
from sgforge_formats.visual_genome.options import Vg150ExportOptions
from sgforge_formats.visual_genome.vg150 import NEVER_USABLE, SCALE, read_names
from sgforge_formats.writing.exports import JsonList, dumped, exported, whole_folder, without_collection
from sgforge_formats.writing.holding import held

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["Vg150Exporter"]

_HOLDS: Final = ("attributes",)
_MOST_ATTRIBUTES: Final = 10
_TEST: Final = 2


@attrs.frozen
class _Numbers:
    """Numbers by name, from 1."""

    labels: Mapping[str, int]
    predicates: Mapping[str, int]
    attributes: Mapping[str, int]


@attrs.define
class _Columns:
    """What is written, grown image by image."""

    labels: list[int] = attrs.field(factory=list)
    boxes: list[Sequence[int]] = attrs.field(factory=list)
    attributes: list[Sequence[int]] = attrs.field(factory=list)
    pairs: list[tuple[int, int]] = attrs.field(factory=list)
    predicates: list[int] = attrs.field(factory=list)
    box_spans: list[tuple[int, int]] = attrs.field(factory=list)
    relation_spans: list[tuple[int, int]] = attrs.field(factory=list)
    split: list[int] = attrs.field(factory=list)


class Vg150Exporter:
    """Writes VG150 into a folder, which appears when it is whole."""

    def __init__(self, options: Vg150ExportOptions) -> None:
        self._options = options

    def export(self, snapshot: Snapshot, output: Path) -> Mapping[str, int]:
        """Writes the folder `output`; returns what was written and left out, by name."""
        try:
            import h5py
        except ImportError:
            raise ConfigError("VG150 needs h5py: pip install 'sgforge[formats]'") from None
        counts: Counter[str] = Counter()
        numbers, how_often = self._numbers(snapshot)
        columns = _Columns()
        with without_collection(), whole_folder(output) as folder:
            with (folder / "image_data.json").open("wb") as stream:
                images = JsonList(stream)
                for sample in _usable(snapshot, counts):
                    images.add(image_data_row(sample, Origin.of(sample)))
                    _add(columns, sample, numbers, counts)
                images.end()
            (folder / "VG-SGG-dicts-with-attri.json").write_bytes(dumped(_dictionary(numbers, how_often)))
            with h5py.File(folder / "VG-SGG-with-attri.h5", "w", track_order=True) as file:
                for name, array in _arrays(columns).items():
                    file.create_dataset(name, data=array, track_times=False)
        return counts

    def _numbers(self, snapshot: Snapshot) -> tuple[_Numbers, list[Counter[str]]]:
        """The numbers of all names, and how often each occurs."""
        found: list[Counter[str]] = [Counter(), Counter(), Counter()]
        for sample in _usable(snapshot, Counter()):
            rows = held(sample, Counter(), _HOLDS)
            found[0].update(region.label or "" for region in rows.regions.values())
            found[1].update(relation.predicate for relation in rows.relations.values())
            found[2].update(text for region in rows.regions.values() for text in region.attributes)
        if self._options.dictionary is None:
            tables = [[name for name, _ in sorted(one.items(), key=lambda pair: (-pair[1], pair[0]))] for one in found]
            return _Numbers(*({name: number for number, name in enumerate(names, 1)} for names in tables)), found
        names = read_names(Path(self._options.dictionary))
        given = (names.labels, names.predicates, names.attributes)
        return _Numbers(*({name: number for number, name in table.items()} for table in given)), found


def _usable(snapshot: Snapshot, counts: Counter[str]) -> Iterator[Sample]:
    for samples in exported(snapshot, counts):
        for sample in samples:
            if sample.image_id in NEVER_USABLE:
                counts["images of ids that the format leaves out"] += 1
            elif not (sample.graph.width and sample.graph.height):
                counts["images without a size left out"] += 1
            else:
                yield sample


def _add(columns: _Columns, sample: Sample, numbers: _Numbers, counts: Counter[str]) -> None:
    rows = held(sample, counts, _HOLDS, labels=numbers.labels, predicates=numbers.predicates)
    first, first_relation = len(columns.labels), len(columns.pairs)
    scale = SCALE / max(sample.graph.width, sample.graph.height)
    for index, region in rows.regions.items():
        columns.labels.append(numbers.labels[region.label or ""])
        columns.boxes.append(_scaled(rows.boxes[index], scale))
        known = [numbers.attributes[text] for text in region.attributes if text in numbers.attributes]
        counts["attributes left out"] += len(region.attributes) - len(known[:_MOST_ATTRIBUTES])
        columns.attributes.append((*known, *[0] * _MOST_ATTRIBUTES)[:_MOST_ATTRIBUTES])
    for relation in rows.relations.values():
        columns.pairs.append((first + rows.numbers[relation.subject], first + rows.numbers[relation.object]))
        columns.predicates.append(numbers.predicates[relation.predicate])
    columns.box_spans.append(_span(first, len(columns.labels)))
    columns.relation_spans.append(_span(first_relation, len(columns.pairs)))
    columns.split.append(_TEST if sample.split == "test" else 0)


def _scaled(box: Sequence[float], scale: float) -> tuple[int, int, int, int]:
    """Centre and sides on the scale, at least one unit wide and high."""
    width, height = (max(1, round((box[side + 2] - box[side]) * scale)) for side in (0, 1))
    x, y = (round((box[side] + box[side + 2]) / 2 * scale) for side in (0, 1))
    return x, y, width, height


def _span(first: int, end: int) -> tuple[int, int]:
    return (first, end - 1) if end > first else (-1, -1)


def _arrays(columns: _Columns) -> dict[str, np.ndarray]:
    boxes = np.array(columns.box_spans, np.int32).reshape(-1, 2)
    relations = np.array(columns.relation_spans, np.int32).reshape(-1, 2)
    return {
        "active_object_mask": np.ones((len(columns.labels), 1), np.bool_),
        "attributes": np.array(columns.attributes, np.int64).reshape(-1, _MOST_ATTRIBUTES),
        f"boxes_{SCALE}": np.array(columns.boxes, np.int32).reshape(-1, 4),
        "img_to_first_box": boxes[:, 0],
        "img_to_first_rel": relations[:, 0],
        "img_to_last_box": boxes[:, 1],
        "img_to_last_rel": relations[:, 1],
        "labels": np.array(columns.labels, np.int64).reshape(-1, 1),
        "predicates": np.array(columns.predicates, np.int64).reshape(-1, 1),
        "relationships": np.array(columns.pairs, np.int32).reshape(-1, 2),
        "split": np.array(columns.split, np.int32),
    }


def _dictionary(numbers: _Numbers, how_often: Sequence[Counter[str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    tables = zip(("label", "predicate", "attribute"), attrs.astuple(numbers, recurse=False), strict=True)
    for what, table in tables:
        found[f"{what}_to_idx"] = dict(table)
        found[f"idx_to_{what}"] = {str(number): name for name, number in table.items()}
    for what, counted in zip(("object", "predicate", "attribute"), how_often, strict=True):
        found[f"{what}_count"] = dict(counted.most_common())
    return found
