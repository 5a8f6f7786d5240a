"""The sources `folder`, `jsonl` and `scenes`, and the exporter `jsonl`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from formats.reading import sort_out
from PIL import Image

import sgforge as sg
from sgforge import Region, Roots, Sample, SceneGraph, jsonl
from sgforge.engine.sources.reading import FileHashes, read_sources
from sgforge.errors import ConfigError
from sgforge.testing import ExporterContract, SourceContract
from sgforge.testing.scenes import make_scene, write_scenes
from sgforge_formats.config import FolderOptions, JsonlOptions, ScenesOptions
from sgforge_formats.plain.folder import FolderSource
from sgforge_formats.plain.graphs import JsonlSource
from sgforge_formats.plain.made import ScenesSource


def picture(path: Path, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


class TestFolderContract(SourceContract):
    component = "folder"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        picture(folder / "photos" / "a.png")
        return {"images": "data:photos"}


class TestJsonlContract(SourceContract):
    component = "jsonl"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        write_scenes(folder, 2, size=64, root="data")
        return {"graphs": "data:graphs.jsonl"}


class TestScenesContract(SourceContract):
    component = "scenes"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        return {"folder": "data:", "count": 2, "size": 64}


class TestJsonlExporterContract(ExporterContract):
    component = "jsonl"


def read_folder(folder: Path, **options: Any) -> Any:
    return sort_out(FolderSource(FolderOptions("data:photos", **options)).samples(Roots({"data": folder}), "given"))


def test_folder_finds_images_in_subfolders(tmp_path: Path) -> None:
    for name in ("b.png", "a/x.JPG", "a/y.webp"):
        picture(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    (tmp_path / "photos" / "album.png").mkdir()
    found = read_folder(tmp_path, split="train")
    assert list(found.samples) == ["a/x.JPG", "a/y.webp", "b.png"]
    assert found.samples["a/x.JPG"].uri == "data:photos/a/x.JPG"
    assert found.samples["a/x.JPG"].split == "train"


def test_folder_with_graphs(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "photos" / name)
    known = SceneGraph(8, 6, [Region("dog", (1, 1, 4, 4))])
    jsonl.write_jsonl([Sample("b.png", known), Sample("gone.png", known)], tmp_path / "known.jsonl")
    with (tmp_path / "known.jsonl").open("a") as stream:
        stream.write("{broken\n")
    found = read_folder(tmp_path, graphs="data:known.jsonl")
    assert found.samples["b.png"].graph == known
    assert found.samples["b.png"].uri == "data:photos/b.png"
    assert len(found.samples["a.png"].graph.regions) == 0
    assert found.reasons == {"unknown-image": 1, "bad-line": 1}


def test_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(ConfigError, match="holds no image"):
        read_folder(tmp_path)


def test_files_of_other_suffixes_are_counted(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "a.PNG")
    for name in ("b.heic", "sub/c.HEIC", "notes.txt", "README", "graphs.jsonl"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    source = FolderSource(FolderOptions("data:photos", graphs="data:photos/graphs.jsonl"))
    assert source.remarks() == ()
    for _ in range(2):
        assert len(list(source.samples(Roots({"data": tmp_path}), "given"))) == 1
        told = "files passed over, as their suffix is none of an image: 4 (none, .heic, .txt)"
        assert source.remarks() == (told,)
    report = sg.Pipeline(sg.complete("geometry")).run(
        sg.source("folder", images=str(tmp_path / "photos")), tmp_path / "data", progress=False
    )
    assert report.step("source").notes == (told.replace("4 (none, .heic,", "5 (none, .heic, .jsonl,"),)


def test_folders_that_are_links_are_not_entered_and_counted(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "b.png")
    picture(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "round").symlink_to(tmp_path / "photos")
    source = FolderSource(FolderOptions("data:photos"))
    (found,) = source.samples(Roots({"data": tmp_path}), "given")
    assert isinstance(found, Sample)
    assert found.image_id == "a.png"
    assert source.remarks() == ("folders passed over, as they are links: 2 (more, round)",)


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.jfif", "JPEG"), ("a.JPE", "JPEG"), ("a.pgm", "PPM"), ("a.pbm", "PPM"), ("a.pnm", "PPM"), ("a.mpo", "MPO")],
)
def test_other_suffixes_of_formats_that_are_read(tmp_path: Path, name: str, form: str) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("L" if form == "PPM" else "RGB", (8, 6)).save(tmp_path / "photos" / name, form)
    readings = read_sources(
        {"given": FolderSource(FolderOptions("data:photos"))}, Roots({"data": tmp_path}), FileHashes.none()
    )
    assert [(r.sample.image_id, r.sample.graph.width) for r in readings if r.sample is not None] == [(name, 8)]


@pytest.mark.parametrize("is_there", [True, False])
def test_avif_is_read_where_pillow_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool) -> None:
    picture(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "b.avif").write_bytes(b"")
    monkeypatch.setattr("sgforge_formats.plain.folder.can_decode", lambda form: is_there)
    source = FolderSource(FolderOptions("data:photos"))
    found = sort_out(source.samples(Roots({"data": tmp_path}), "given"))
    assert list(found.samples) == (["a.png", "b.avif"] if is_there else ["a.png"])
    told = "files passed over, as their suffix is none of an image: 1 (.avif)"
    assert source.remarks() == (() if is_there else (told,))


def test_hidden_files_and_folders_of_systems_are_passed_over(tmp_path: Path) -> None:
    passed = ("._a.png", ".hidden.png", ".ipynb_checkpoints/a.png", "__MACOSX/._a.png", "sub/@eaDir/a.png/thumb.png")
    for name in ("a.png", "sub/b.png", *passed):
        picture(tmp_path / "photos" / name)
    source = FolderSource(FolderOptions("data:photos"))
    found = sort_out(source.samples(Roots({"data": tmp_path}), "given"))
    assert list(found.samples) == ["a.png", "sub/b.png"]
    told = "hidden files and folders passed over: 5 (._a.png, .hidden.png, .ipynb_checkpoints, __MACOSX, sub/@eaDir)"
    assert source.remarks() == (told,)


def test_a_hidden_folder_that_is_named_is_read(tmp_path: Path) -> None:
    picture(tmp_path / ".cache" / "photos" / "a.png")
    source = FolderSource(FolderOptions("data:.cache/photos"))
    assert list(sort_out(source.samples(Roots({"data": tmp_path}), "given")).samples) == ["a.png"]


def tagged(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6)).save(path, exif=exif)


def test_folder_turns_pictures_where_it_is_asked_to(tmp_path: Path) -> None:
    for name, orientation in (("a.jpg", 6), ("b.png", 3), ("c.png", 1)):
        tagged(tmp_path / "photos" / name, orientation)
    (tmp_path / "photos" / "d.png").write_text("no picture")
    source = FolderSource(FolderOptions("data:photos", orientation="apply"))
    readings = list(read_sources({"given": source}, Roots({"data": tmp_path}), FileHashes.none()))
    sizes = {r.sample.uri: (r.sample.graph.width, r.sample.graph.height) for r in readings if r.sample is not None}
    assert sizes == {
        "data+turned:photos/a.jpg": (6, 8),
        "data+turned:photos/b.png": (8, 6),
        "data:photos/c.png": (8, 6),
    }
    assert source.remarks() == ("pictures turned as their orientation tag says: 2",)
    assert [r.failure.reason for r in readings if r.failure is not None] == ["image-unreadable"]


def test_only_pictures_that_are_turned_get_other_keys(tmp_path: Path) -> None:
    for name, orientation in (("a.png", 3), ("b.png", 1)):
        tagged(tmp_path / "photos" / name, orientation)
    keys = []
    for orientation in ("stored", "apply"):
        source = FolderSource(FolderOptions("data:photos", orientation=orientation))
        readings = read_sources({"given": source}, Roots({"data": tmp_path}), FileHashes.none())
        keys.append([reading.key for reading in readings])
    assert keys[0][0] != keys[1][0]
    assert keys[0][1] == keys[1][1]


def test_what_a_file_says_is_turned_stays_turned(tmp_path: Path) -> None:
    tagged(tmp_path / "pictures" / "deep" / "a.png", 6)
    text = (LINE % ("a", "a")).replace("old:", "old+turned:")
    assert read_graphs(text, tmp_path).samples["a"].uri == "old+turned:deep/a.png"
    assert read_graphs(text, tmp_path, images="data:pictures").samples["a"].uri == "data+turned:pictures/deep/a.png"
    plain = read_graphs(LINE % ("a", "a"), tmp_path, images="data:pictures", orientation="apply")
    assert plain.samples["a"].uri == "data+turned:pictures/deep/a.png"


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "photos").write_text("x")
    with pytest.raises(ConfigError, match="is no folder"):
        read_folder(tmp_path)


def test_names_that_no_id_may_have(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "good.png")
    picture(tmp_path / "photos" / "two\nlines.png")
    raw = os.fsencode(tmp_path / "photos") + b"/\xff.png"
    Path(os.fsdecode(raw)).write_bytes((tmp_path / "photos" / "good.png").read_bytes())
    found = read_folder(tmp_path)
    assert list(found.samples) == ["good.png"]
    assert found.reasons == {"bad-name": 2}
    assert all(failure.where.isprintable() and failure.detail.isprintable() for failure in found.failures)


def test_links_out_of_the_folder_are_refused_when_read(tmp_path: Path) -> None:
    picture(tmp_path / "secret.png")
    inner = tmp_path / "inner"
    picture(inner / "photos" / "a.png")
    (inner / "photos" / "link.png").symlink_to(tmp_path / "secret.png")
    source = FolderSource(FolderOptions("data:photos"))
    readings = list(read_sources({"given": source}, Roots({"data": inner}), FileHashes.none()))
    assert [r.sample.image_id for r in readings if r.sample is not None] == ["a.png"]
    assert [r.failure.reason for r in readings if r.failure is not None] == ["image-refused"]


def read_graphs(text: str | bytes, folder: Path, **options: Any) -> Any:
    path = folder / "graphs.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return sort_out(JsonlSource(JsonlOptions("data:graphs.jsonl", **options)).samples(Roots({"data": folder}), "given"))


LINE = '{"image_id": "%s", "width": 8, "height": 6, "regions": [], "uri": "old:deep/%s.png"}\n'


def test_jsonl_lines(tmp_path: Path) -> None:
    found = read_graphs(LINE % ("a", "a") + "\n" + LINE % ("b", "b"), tmp_path, split="test")
    assert [(s.image_id, s.uri, s.split) for s in found.samples.values()] == [
        ("a", "old:deep/a.png", "test"),
        ("b", "old:deep/b.png", "test"),
    ]


def test_jsonl_split_of_the_line_wins(tmp_path: Path) -> None:
    line = '{"image_id": "a", "width": 8, "height": 6, "regions": [], "split": "val"}'
    assert read_graphs(line, tmp_path, split="test").samples["a"].split == "val"


def test_jsonl_images_stand_for_any_root(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    found = read_graphs(LINE % ("a", "a"), tmp_path, images="data:pictures")
    assert found.samples["a"].uri == "data:pictures/deep/a.png"


BAD_LINES = {
    "cut off": ('{"image_id": "b", "width"', "bad-line"),
    "NaN": ('{"image_id": "b", "width": 8, "height": 6, "regions": [{"box": [NaN, 1, 2, 3]}]}', "bad-line"),
    "inverted box": ('{"image_id": "b", "width": 8, "height": 6, "regions": [{"box": [3, 1, 2, 3]}]}', "bad-line"),
    "unknown key": ('{"image_id": "b", "width": 8, "height": 6, "regions": [], "colour": 1}', "bad-line"),
    "bad index": (
        '{"image_id": "b", "width": 8, "height": 6, "regions": [],'
        ' "relations": [{"subject": 0, "predicate": "on", "object": 1}]}',
        "bad-line",
    ),
    "mask that does not fit": (
        '{"image_id": "b", "width": 8, "height": 6, "regions": [{"mask": {"size": [6, 8], "counts": "5"}}]}',
        "bad-line",
    ),
    "bytes that are no text": (b'{"image_id": "\xff", "width": 8, "height": 6, "regions": []}', "bad-line"),
    "id given before": ('{"image_id": "a", "width": 8, "height": 6, "regions": []}', "duplicate-image"),
    "failed prediction": (
        '{"image_id": "b", "width": 8, "height": 6, "regions": [], "failed": "refused"}',
        "failed-prediction",
    ),
    "label with an escape": (
        '{"image_id": "b", "width": 8, "height": 6, "regions": [{"label": "\\u001b[31m"}]}',
        "bad-label",
    ),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_one_bad_line(tmp_path: Path, name: str) -> None:
    line, reason = BAD_LINES[name]
    raw = line if isinstance(line, bytes) else line.encode()
    found = read_graphs((LINE % ("a", "a")).encode() + raw + b"\n" + (LINE % ("c", "c")).encode(), tmp_path)
    assert list(found.samples) == ["a", "c"]
    (failure,) = found.failures
    assert (failure.where, failure.reason) == ("graphs.jsonl:2", reason)


@pytest.mark.parametrize("text", ['{"images": []}', "<html>\n</html>", "\x89PNG"])
def test_a_file_of_another_kind_is_one_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="is no graph JSONL"):
        read_graphs(text, tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        list(JsonlSource(JsonlOptions("data:none.jsonl")).samples(Roots({"data": tmp_path}), "given"))


def test_scenes_source(tmp_path: Path) -> None:
    roots = Roots()
    options = ScenesOptions(str(tmp_path / "made"), count=3, seed=5, size=64, split="val")
    samples = [s for s in ScenesSource(options).samples(roots, "made") if isinstance(s, Sample)]
    assert [s.image_id for s in samples] == ["scene-000005", "scene-000006", "scene-000007"]
    for seed, sample in enumerate(samples, 5):
        scene = make_scene(seed, 64)
        assert sample.graph == scene.sample.graph
        assert sample.split == "val"
        assert sample.uri is not None
        assert (roots.image(sample.uri).array() == scene.image).all()
    bare = list(ScenesSource(attrs.evolve(options, graphs="none")).samples(roots, "made"))
    assert [s.graph for s in bare if isinstance(s, Sample)] == [SceneGraph(64, 64)] * 3
    unrelated = list(ScenesSource(attrs.evolve(options, graphs="regions")).samples(roots, "made"))
    assert [s.graph.all.regions for s in unrelated if isinstance(s, Sample)] == [s.graph.all.regions for s in samples]
    assert all(s.graph.all.relations == () for s in unrelated if isinstance(s, Sample))


def test_no_scenes_at_all_is_an_error() -> None:
    with pytest.raises(ConfigError, match="count must be 1 or more"):
        ScenesSource(ScenesOptions("x", count=0))
