"""Open Images: shares of 1, x before y, attributes by `is`, names of classes, there and back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from formats.there_and_back import read, said
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from sgforge.errors import ConfigError
from sgforge.testing.contracts.data import publish_samples
from sgforge_formats.open_images.exporter import OpenImagesExporter
from sgforge_formats.open_images.options import OpenImagesExportOptions, OpenImagesOptions
from sgforge_formats.open_images.source import OpenImagesSource

HEAD = "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationshipLabel\n"
MAN, GUITAR, WOOD = "/m/04yx4", "/m/0342h", "/m/083vt"
CLASSES = f'{MAN},Man\n{GUITAR},"Guitar, acoustic"\n{WOOD},Wooden\n'


def open_images(folder: Path, rows: str = "", boxes: str | None = None, **options: str) -> OpenImagesSource:
    (folder / "vrd.csv").write_text(HEAD + rows)
    (folder / "classes.csv").write_text(CLASSES)
    for name in ("x1", "x2"):
        (folder / "img").mkdir(exist_ok=True)
        Image.new("RGB", (200, 100)).save(folder / "img" / f"{name}.jpg")
    if boxes is not None:
        (folder / "boxes.csv").write_text(boxes)
        options["boxes"] = str(folder / "boxes.csv")
    given = {"relationships": str(folder / "vrd.csv"), "classes": str(folder / "classes.csv")}
    return OpenImagesSource(OpenImagesOptions(**given, images=str(folder / "img"), **options))


ROWS = (
    f"x1,{MAN},{GUITAR},0.1,0.5,0.2,0.8,0.25,0.4,0.5,0.9,plays\n"
    f"x2,{GUITAR},{WOOD},0,1,0,1,0,1,0,1,is\n"
    f"x1,{GUITAR},{WOOD},0.25,0.4,0.5,0.9,0.25,0.4,0.5,0.9,is\n"
)


def test_relationships(tmp_path: Path) -> None:
    """Rows of an image need not stand together; an object is a class with a box."""
    found = read(open_images(tmp_path, ROWS))
    assert found.failures == []
    graph = found.samples["x1"].graph
    assert (graph.width, graph.height) == (200, 100)
    first, second = graph.all.regions
    assert (first.label, first.box, first.attributes) == ("Man", (20, 20, 100, 80), ())
    assert (second.label, second.box, second.attributes) == ("Guitar, acoustic", (50, 50, 80, 90), ("Wooden",))
    assert [one.triplet for one in graph.all.relations] == [(0, "plays", 1)]
    assert [one.attributes for one in found.samples["x2"].graph.all.regions] == [("Wooden",)]
    assert found.samples["x2"].uri == "given:x2.jpg"


def test_boxes_and_relationships_of_one_object_are_one_region(tmp_path: Path) -> None:
    boxes = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsGroupOf\n" + (
        f"x1,xclick,{MAN},1,0.1,0.5,0.2,0.8,1,0\nx1,xclick,/m/none,0.25,0,0.5,0,0.5,0,1\n"
    )
    found = read(open_images(tmp_path, ROWS, boxes))
    assert [(one.label, one.score, one.attributes) for one in found.samples["x1"].graph.all.regions] == [
        ("Man", None, ("occluded",)),
        ("/m/none", 0.25, ("group",)),
        ("Guitar, acoustic", None, ("Wooden",)),
    ]


def test_without_pictures_boxes_stay_shares(tmp_path: Path) -> None:
    open_images(tmp_path, ROWS)
    source = OpenImagesSource(OpenImagesOptions(relationships=str(tmp_path / "vrd.csv")))
    found = read(source)
    assert found.samples["x1"].graph.all.regions[0].label == MAN
    assert [round(side, 6) for side in found.samples["x1"].graph.all.regions[0].box or ()] == [0.1, 0.2, 0.5, 0.8]
    assert list(source.remarks()) == ["images whose boxes stay shares of 1, as no folder of pictures is named: 2"]


def test_bad_rows(tmp_path: Path) -> None:
    bad = ("x1,a,b,one,0.5,0.2,0.8,0,1,0,1,on", "x1,a,b", "x1,a,b,0.5,0.1,0.2,0.8,0,1,0,1,on")
    rows = ROWS + "\n".join((*bad, "no,a,b,0,1,0,1,0,1,0,1,on\n"))
    found = read(open_images(tmp_path, rows))
    assert found.reasons == {"bad-row": 2, "bad-box": 1, "bad-image": 1}
    assert found.failures[0].where == "vrd.csv: image x1: vrd.csv:5"
    assert (2, "on", 3) in [one.triplet for one in found.samples["x1"].graph.all.relations]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", HEAD.replace("XMin2", "X")])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    source = open_images(tmp_path)
    (tmp_path / "vrd.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"vrd\.csv is no file of Open Images: its head line"):
        read(source)


shares = st.integers(0, 12).map(lambda number: number / 16)


mids = st.sampled_from([MAN, GUITAR])
lines_of_one_image = st.tuples(mids, mids, *[shares] * 4, st.sampled_from(["on", "is"]))


@settings(max_examples=8, deadline=None, phases=(Phase.generate,))
@given(st.lists(lines_of_one_image, max_size=5))
def test_there_and_back_is_an_identity(rows: list[tuple[str, str, float, float, float, float, str]]) -> None:
    """Boxes of sixteenths of the picture, which float32 holds; the order of regions is that of the file."""
    lines = []
    for first, second, x, y, other_x, other_y, name in rows:
        one = (x, x + 0.125, y, y + 0.25)
        other = one if name == "is" else (other_x, other_x + 0.25, other_y, other_y + 0.125)
        lines.append(",".join(map(str, ("x1", first, second, *one, *other, name))) + "\n")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        first_read = read(open_images(folder, "".join(lines)))
        if not rows:
            return
        snapshot = publish_samples(folder, list(first_read.samples.values()))
        names = OpenImagesExportOptions(str(folder / "classes.csv"))
        OpenImagesExporter(names).export(snapshot, folder / "out")
        files = {"relationships": "annotations-vrd.csv", "boxes": "annotations-bbox.csv"}
        files["classes"] = "class-descriptions.csv"
        given_files = {key: str(folder / "out" / file) for key, file in files.items()}
        again = read(OpenImagesSource(OpenImagesOptions(**given_files, images=str(folder / "img"))))
        assert again.failures == first_read.failures == []
        assert {name: said(one) for name, one in again.samples.items()} == {
            name: said(one) for name, one in first_read.samples.items()
        }
