"""VG150 in HDF5: boxes on the scale of 1024, splits, attributes, files that lack something, there and back."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.there_and_back import read, said, trip
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.extras import needs_extra

from sgforge import Roots
from sgforge.errors import ConfigError
from sgforge_formats.visual_genome.options import Vg150ExportOptions, Vg150Options
from sgforge_formats.visual_genome.vg150 import Vg150Source
from sgforge_formats.visual_genome.vg150_exporter import Vg150Exporter

needs_extra("formats")
DICTIONARY = {
    "idx_to_label": {"1": "man", "2": "horse", "3": "hat"},
    "idx_to_predicate": {"1": "riding", "2": "wearing"},
    "idx_to_attribute": {"1": "tall", "2": "brown"},
}
DATA = [
    {"image_id": 1, "width": 2048, "height": 1024},
    {"image_id": 1592, "width": 9, "height": 9},
    {"image_id": 2, "width": 512, "height": 256},
    {"image_id": 3, "width": 100, "height": 100},
]
ARRAYS: dict[str, Any] = {
    "labels": [[1], [2], [3]],
    "boxes_1024": [[512, 256, 100, 50], [100, 100, 20, 40], [500, 250, 10, 10]],
    "attributes": [[1, 2, *[0] * 8], [2, *[0] * 9], [0] * 10],
    "img_to_first_box": [0, 2, -1],
    "img_to_last_box": [1, 2, -1],
    "relationships": [[0, 1]],
    "predicates": [[1]],
    "img_to_first_rel": [0, -1, -1],
    "img_to_last_rel": [0, -1, -1],
    "split": [0, 0, 2],
}


def vg150(folder: Path, arrays: dict[str, Any] = ARRAYS, data: Any = DATA, **options: Any) -> Vg150Source:
    import h5py

    with h5py.File(folder / "a.h5", "w") as file:
        for name, rows in arrays.items():
            file[name] = np.array(rows)
    (folder / "d.json").write_text(json.dumps(DICTIONARY))
    (folder / "i.json").write_text(json.dumps(data))
    files = {"annotations": "a.h5", "dictionary": "d.json", "image_data": "i.json"}
    return Vg150Source(Vg150Options(**{name: str(folder / file) for name, file in files.items()}, **options))


def test_boxes_labels_attributes_relations_and_splits(tmp_path: Path) -> None:
    found = read(vg150(tmp_path, validation=1))
    assert found.failures == []
    first, second, third = found.samples.values()
    # 2048 wide: one unit is two pixels; centre (512, 256), sides (100, 50).
    assert [(one.label, one.box, one.attributes) for one in first.graph.all.regions] == [
        ("man", (924, 462, 1124, 562), ("tall", "brown")),
        ("horse", (180, 160, 220, 240), ("brown",)),
    ]
    assert [one.triplet for one in first.graph.all.relations] == [(0, "riding", 1)]
    assert [one.box for one in second.graph.all.regions] == [(247.5, 122.5, 252.5, 127.5)]
    assert third.graph.all.regions == ()
    assert [one.image_id for one in (first, second, third)] == ["1", "2", "3"]
    assert [one.split for one in (first, second, third)] == ["val", "train", "test"]


def test_numbers_that_name_nothing_are_counted(tmp_path: Path) -> None:
    spoilt = {**ARRAYS, "labels": [[1], [9], [3]], "relationships": [[0, 2], [0, 1]], "predicates": [[1], [7]]}
    spoilt |= {"img_to_last_rel": [1, -1, -1], "attributes": [[5, *[0] * 9], [0] * 10, [0] * 10]}
    found = read(vg150(tmp_path, spoilt))
    assert found.reasons == {"unknown-label": 1, "unknown-object": 1, "unknown-predicate": 1, "unknown-attribute": 1}
    assert [one.label for one in found.samples["1"].graph.all.regions] == ["man", None]


@pytest.mark.parametrize(("lacks", "told"), [("attributes", "attributes"), ("predicates", "relationships")])
def test_a_file_without_attributes_or_relationships_is_read(tmp_path: Path, lacks: str, told: str) -> None:
    source = vg150(tmp_path, {name: rows for name, rows in ARRAYS.items() if name != lacks})
    found = read(source)
    assert len(found.samples) == 3
    assert list(source.remarks()) == [f"images read without {told}, as the file has none: 3"]


@pytest.mark.parametrize("lacks", ["labels", "boxes_1024", "img_to_first_box"])
def test_a_file_without_what_is_needed_is_refused(tmp_path: Path, lacks: str) -> None:
    source = vg150(tmp_path, {name: rows for name, rows in ARRAYS.items() if name != lacks})
    with pytest.raises(ConfigError, match=re.escape(f"it has no {lacks}; it has")):
        read(source)


def test_files_of_different_releases_and_of_other_formats_are_refused(tmp_path: Path) -> None:
    source = vg150(tmp_path)
    (tmp_path / "i.json").write_text(json.dumps(DATA[:2]))
    with pytest.raises(ConfigError, match=r"has 3 images, i\.json 1"):
        read(source)
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    with pytest.raises(ConfigError, match=r"a\.h5 is no HDF5 file"):
        read(source)
    (tmp_path / "d.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"d\.json is no VG150 dictionary"):
        read(source)


SQUARES = [{"image_id": number, "width": side, "height": side} for number, side in ((1, 1024), (2, 512), (3, 2048))]


@settings(max_examples=8, deadline=None, phases=(Phase.generate,))
@given(st.data())
def test_there_and_back_is_an_identity(data: st.DataObject) -> None:
    """Boxes are centre and sides in whole units, so that they come back exactly."""
    counts = data.draw(st.lists(st.integers(0, 3), min_size=3, max_size=3))
    total = sum(counts)
    sides = st.tuples(*[st.integers(200, 800)] * 2, *[st.integers(1, 200)] * 2)
    first = np.cumsum([0, *counts])[:3].tolist()
    pairs = [(a, b) for at, n in zip(first, counts, strict=True) for a in range(at, at + n) for b in range(at, at + n)]
    apart = [pair for pair in pairs if pair[0] != pair[1]]
    related = sorted(data.draw(st.sets(st.sampled_from(apart)))) if apart else []
    spans, at = [], 0
    for begin, number in zip(first, counts, strict=True):
        mine = [pair for pair in related if begin <= pair[0] < begin + number]
        spans.append((at, at + len(mine) - 1) if mine else (-1, -1))
        at += len(mine)
    rows = np.array([begin if number else -1 for begin, number in zip(first, counts, strict=True)])
    arrays = {
        "labels": [[data.draw(st.integers(1, 3))] for _ in range(total)] or np.zeros((0, 1), int),
        "boxes_1024": [data.draw(sides) for _ in range(total)] or np.zeros((0, 4), int),
        "attributes": [[*data.draw(st.permutations([1, 2])), *[0] * 8] for _ in range(total)] or np.zeros((0, 10), int),
        "img_to_first_box": rows,
        "img_to_last_box": [int(row) + number - 1 if number else -1 for row, number in zip(rows, counts, strict=True)],
        "relationships": related or np.zeros((0, 2), int),
        "predicates": [[data.draw(st.integers(1, 2))] for _ in related] or np.zeros((0, 1), int),
        "img_to_first_rel": [span[0] for span in spans],
        "img_to_last_rel": [span[1] for span in spans],
        "split": [data.draw(st.sampled_from([0, 2])) for _ in range(3)],
    }
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        source = vg150(folder, arrays, SQUARES, validation=0)

        def again(out: Path) -> Vg150Source:
            names = {"annotations": "VG-SGG-with-attri.h5", "dictionary": "VG-SGG-dicts-with-attri.json"}
            files = {**names, "image_data": "image_data.json"}
            return Vg150Source(Vg150Options(**{key: str(out / name) for key, name in files.items()}, validation=0))

        found = trip(folder, source, Vg150Exporter(Vg150ExportOptions()), again)
        assert found.first.failures == found.again.failures == []
        assert {name: said(one) for name, one in found.again.samples.items()} == {
            name: said(one) for name, one in found.first.samples.items()
        }


def test_check_reads_nothing(tmp_path: Path) -> None:
    vg150(tmp_path).check(Roots(), "x")
    with pytest.raises(ConfigError, match="there is no such file"):
        Vg150Source(Vg150Options(str(tmp_path / "no.h5"), "d", "i")).check(Roots(), "x")
