"""Rows of tables: R1-SGG, detection columns, pictures inside Parquet, image folders, load_dataset, GraphML."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import pytest
from formats.there_and_back import read, said, trip
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from jsonl.graphs import samples
from PIL import Image
from support.extras import needs_extra

import sgforge as sg
from sgforge.errors import ConfigError
from sgforge.graph import Caption, Region, Relation
from sgforge.testing.contracts.data import publish_samples
from sgforge_formats.tabular.exporter import GraphmlExporter, HfExporter, R1Exporter
from sgforge_formats.tabular.options import HfExportOptions, HfOptions
from sgforge_formats.tabular.source import HfSource

needs_extra("formats")


def png(shade: int = 0) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (50, 40), (shade, 0, 0)).save(data, "PNG")
    return data.getvalue()


def parquet(path: Path, rows: list[dict[str, Any]], features: Any = None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(rows)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def r1_row(**changes: Any) -> dict[str, Any]:
    objects = [{"id": "man.1", "bbox": [1, 2, 30, 35.5]}, {"id": "hat.2", "bbox": [5, 2, 9, 9]}]
    related = [{"subject": "man.1", "predicate": "wears", "object": "hat.2"}]
    row = {"image_id": "7", "objects": json.dumps(objects), "relationships": json.dumps(related), "prompt_open": "x"}
    return {**row, **changes}


def test_rows_of_r1_sgg_with_pictures_inside(tmp_path: Path) -> None:
    rows = [
        r1_row(image={"bytes": png(), "path": "a/7.png"}),
        r1_row(image_id="8", image={"bytes": png(1), "path": None}),
    ]
    parquet(tmp_path / "d" / "train-00000-of-00001.parquet", rows)
    source = HfSource(HfOptions(str(tmp_path / "d"), images=str(tmp_path / "img")))
    found = read(source)
    assert found.failures == []
    sample = found.samples["7"]
    assert [(one.label, one.box) for one in sample.graph.all.regions] == [
        ("man", (1, 2, 30, 35.5)),
        ("hat", (5, 2, 9, 9)),
    ]
    assert [one.triplet for one in sample.graph.all.relations] == [(0, "wears", 1)]
    assert (sample.split, sample.uri, found.samples["8"].uri) == ("train", "given:a/7.png", "given:8.png")
    assert (tmp_path / "img" / "8.png").read_bytes() == png(1)
    assert list(source.remarks()) == ["cells that have no place in a graph, of column prompt_open: 2"]
    assert read(source).samples == found.samples


def test_a_name_that_leaves_the_folder_is_not_followed(tmp_path: Path) -> None:
    rows = [
        {"id": name, "image": {"bytes": png(number), "path": path}}
        for number, (name, path) in enumerate(
            [("a", "../evil.png"), ("b", "/tmp/evil.png"), ("c", "same.png"), ("d", "same.png")]
        )
    ]
    parquet(tmp_path / "d.parquet", rows)
    found = read(HfSource(HfOptions(str(tmp_path / "d.parquet"), images=str(tmp_path / "img"))))
    names = sorted(path.name for path in (tmp_path / "img").iterdir())
    assert names[1:] == ["a.png", "b.png", "same.png"] or sorted(names) == names
    assert len(names) == 4
    assert not (tmp_path / "evil.png").exists()
    for number, name in enumerate("abcd"):
        uri = found.samples[name].uri or ""
        assert (tmp_path / "img" / uri.partition(":")[2]).read_bytes() == png(number)


def test_detection_columns_with_names_of_classes(tmp_path: Path) -> None:
    rows = [
        {
            "image_id": 1,
            "width": 50,
            "height": 40,
            "objects": {"bbox": [[1, 2, 3, 4], [0, 0, 0, 1]], "category": [1, 9]},
        }
    ]
    label = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    features = {"objects": {"feature": {"bbox": {}, "category": label}, "_type": "Sequence"}}
    parquet(tmp_path / "validation.parquet", rows, features)
    found = read(HfSource(HfOptions(str(tmp_path / "validation.parquet"))))
    sample = found.samples["1"]
    assert [(one.label, one.box) for one in sample.graph.all.regions] == [("dog", (1, 2, 4, 6)), ("9", None)]
    assert (sample.split, found.reasons) == ("val", {"bad-box": 1})


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_image_folder(tmp_path: Path, form: str) -> None:
    for name in ("train/a.png", "test/b.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png())
        if form == "jsonl":
            (path.parent / "metadata.jsonl").write_text(json.dumps({"file_name": path.name, "text": "a cup"}) + "\n")
        else:
            (path.parent / "metadata.csv").write_text(f"file_name,text\n{path.name},a cup\n")
    found = read(HfSource(HfOptions(str(tmp_path), images=str(tmp_path))))
    assert {name: (one.uri, one.split, one.values["caption"]) for name, one in found.samples.items()} == {
        "test/b.png": ("given:test/b.png", "test", Caption("a cup")),
        "train/a.png": ("given:train/a.png", "train", Caption("a cup")),
    }


def test_bad_rows_cost_themselves(tmp_path: Path) -> None:
    rows = [
        r1_row(objects="{", relationships="[]"),
        r1_row(),
        r1_row(image_id="b", objects="5", relationships='[{"subject": "x"}]'),
        r1_row(image_id="c", width="x"),
        5,
    ]
    (tmp_path / "r.json").write_text(json.dumps(rows))
    found = read(HfSource(HfOptions(str(tmp_path / "r.json"))))
    assert found.reasons == {
        **{"bad-graph": 2, "duplicate-image": 1, "unknown-object": 1},
        **{"bad-image": 1, "bad-row": 1},
    }


@pytest.mark.parametrize("name", ["x.parquet", "x.json", "."])
def test_what_is_no_table_is_refused(tmp_path: Path, name: str) -> None:
    if name != ".":
        (tmp_path / name).write_bytes(b"PAR1 no")
    with pytest.raises(ConfigError, match=r"no table|no Parquet|no file of rows"):
        read(HfSource(HfOptions(str(tmp_path / name))))


def graphs() -> list[sg.Sample]:
    regions = [
        Region("cup", (1, 2, 11, 12.5), score=0.5, descriptions=("blue",)),
        Region("<table>", attributes=("a&b",)),
    ]
    graph = sg.SceneGraph(50, 40, regions, [Relation(0, "on", 1, "spatial", score=0.25)], {"style": "flat"})
    values = {"caption": Caption("a cup"), "formats.origin": {"regions": [3]}}
    return [
        sg.Sample("a", graph, "r:sub/a.png", split="val", source="s", values=values),
        sg.Sample("b", sg.SceneGraph(50, 40), "r:b.png", split="train", source="s"),
        sg.Sample("c", sg.SceneGraph()),
    ]


def test_the_folder_is_what_load_dataset_reads(tmp_path: Path) -> None:
    import datasets  # the library that is to read it, which `dev` brings

    for name in ("sub/a.png", "b.png"):
        (tmp_path / "img" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "img" / name).write_bytes(png(9))
    exporter = HfExporter(HfExportOptions(str(tmp_path / "img"), rows_a_file=1))
    counts = exporter.export(publish_samples(tmp_path, graphs()), tmp_path / "out")
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: loaded[split]["image_id"][:] for split in loaded} == {"train": ["b", "c"], "validation": ["a"]}
    assert loaded["validation"][0]["image"].getpixel((0, 0)) == (9, 0, 0)
    assert (counts["pictures"], counts["images without a picture in the folder"]) == (2, 1)
    found = read(HfSource(HfOptions(str(tmp_path / "out"), images=str(tmp_path / "again"))))
    assert {name: (one.graph, dict(one.values), one.split) for name, one in found.samples.items()} == {
        one.image_id: (one.graph, dict(one.values), "train" if one.image_id == "c" else one.split) for one in graphs()
    }
    assert (tmp_path / "again" / "sub" / "a.png").read_bytes() == png(9)


def test_without_pictures_rows_name_them(tmp_path: Path) -> None:
    counts = HfExporter(HfExportOptions()).export(publish_samples(tmp_path, graphs()), tmp_path / "out")
    assert counts["pictures named, not written, as no folder images is named"] == 2
    found = read(HfSource(HfOptions(str(tmp_path / "out"))))
    assert {name: one.graph for name, one in found.samples.items()} == {one.image_id: one.graph for one in graphs()}


ids = st.text("aé0/ .", min_size=1, max_size=5).filter(str.strip)
rows_of_images = st.lists(
    st.tuples(ids.flatmap(samples), st.sampled_from([None, "train", "val", "test", "mine"]), ids),
    min_size=1,
    max_size=3,
    unique_by=lambda row: row[0].image_id,
)


@settings(max_examples=8, deadline=None, phases=(Phase.generate,))
@given(rows_of_images, st.integers(1, 3))
def test_any_graph_there_and_back(rows: list[tuple[sg.Sample, str | None, str]], rows_a_file: int) -> None:
    graphs_come_back(rows, rows_a_file)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, phases=(Phase.generate,))
@given(rows_of_images, st.integers(1, 3))
def test_more_graphs_there_and_back(rows: list[tuple[sg.Sample, str | None, str]], rows_a_file: int) -> None:
    graphs_come_back(rows, rows_a_file)


def graphs_come_back(rows: list[tuple[sg.Sample, str | None, str]], rows_a_file: int) -> None:
    given = [attrs.evolve(one, split=split, uri=f"r:{name}.png", source=None) for one, split, name in rows]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        exporter = HfExporter(HfExportOptions(rows_a_file=rows_a_file))
        exporter.export(publish_samples(folder, given), folder / "out")
        found = read(HfSource(HfOptions(str(folder / "out"), images="r:")), {"r": folder})
    assert found.failures == []
    assert {name: (one.graph, one.split, one.uri) for name, one in found.samples.items()} == {
        one.image_id: (one.graph, one.split or "train", one.uri) for one in given
    }


labels = st.text("ab ", min_size=1, max_size=3).filter(str.strip)


@settings(max_examples=8, deadline=None, phases=(Phase.generate,))
@given(
    st.lists(st.lists(st.tuples(labels, st.integers(0, 20), st.integers(21, 40)), max_size=3), min_size=1, max_size=3)
)
def test_rows_of_r1_there_and_back(content: list[list[tuple[str, int, int]]]) -> None:
    rows = []
    for key, objects in enumerate(content):
        named = [{"id": f"{name}.{at}", "bbox": [low, 1, high, 30]} for at, (name, low, high) in enumerate(objects)]
        pairs = [(a["id"], b["id"]) for a in named for b in named if a is not b]
        related = [{"subject": a, "predicate": "on", "object": b} for a, b in pairs]
        rows.append({"image_id": key, "width": 50, "height": 40, "objects": json.dumps(named)})
        rows[-1] |= {"relationships": json.dumps(related), "split": "test"}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))

        def again(out: Path) -> HfSource:
            return HfSource(HfOptions(str(out.rename(out.with_suffix(".jsonl")))))

        found = trip(folder, HfSource(HfOptions(str(folder / "in.jsonl"))), R1Exporter(), again)
        assert found.first.failures == found.again.failures == []
        assert {name: said(one) for name, one in found.again.samples.items()} == {
            name: said(one) for name, one in found.first.samples.items()
        }
        written = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert written == rows


def test_graphml_is_a_graph_a_file(tmp_path: Path) -> None:
    counts = GraphmlExporter().export(publish_samples(tmp_path, graphs()), tmp_path / "out")
    names = {"g": "http://graphml.graphdrawing.org/xmlns"}
    tree = ElementTree.parse(tmp_path / "out" / "a.graphml").getroot()
    data = {one.get("key"): one.text for one in tree.findall(".//g:node[@id='n0']/g:data", names)}
    assert data == {
        **{"label": "cup", "score": "0.5", "descriptions": "blue"},
        "x0": "1",
        "y0": "2",
        "x1": "11",
        "y1": "12.5",
    }
    assert [one.text for one in tree.findall(".//g:node[@id='n1']/g:data", names)] == ["<table>", "a&b"]
    edge = tree.find(".//g:edge", names)
    assert edge is not None
    assert (edge.get("source"), edge.get("target")) == ("n0", "n1")
    assert counts["regions"] == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.graphml", "b.graphml", "c.graphml"]
