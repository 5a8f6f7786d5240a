"""COCO files as people have them: every kind of what is kept, found, counted or remarked."""

from __future__ import annotations

import gzip
import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from formats.reading import Result, sort_out
from PIL import Image

from sgforge import Roots, masks
from sgforge.engine.sources.reading import FileHashes, read_sources
from sgforge.errors import ConfigError
from sgforge_formats.coco.source import CocoSource
from sgforge_formats.config import CocoOptions

Reader = Callable[..., Result]
SQUARE = [5, 5, 25, 5, 25, 15, 5, 15]


@pytest.fixture
def told(tmp_path: Path) -> Callable[..., tuple[Result, tuple[str, ...]]]:
    """Reads a COCO dict, and what the source remarks afterwards."""

    def reader(content: Any, **options: str) -> tuple[Result, tuple[str, ...]]:
        (tmp_path / "instances.json").write_text(json.dumps(content))
        source = CocoSource(CocoOptions("data:instances.json", **options))
        found = sort_out(source.samples(Roots({"data": tmp_path}), "given"))
        return found, tuple(source.remarks())

    return reader


Told = Callable[..., tuple[Result, tuple[str, ...]]]


def test_nothing_is_remarked_of_a_right_file(coco: dict[str, Any], told: Told) -> None:
    assert told(coco)[1] == ()


def test_rows_of_one_id_are_kept_unless_they_are_equal_in_all_fields(coco: dict[str, Any], told: Told) -> None:
    rows = coco["annotations"]
    rows.append(dict(rows[0]))
    rows.append({**rows[0], "bbox": [2, 3, 10, 6]})
    rows.append(dict(rows[0]))
    found, remarks = told(coco)
    boxes = [region.box for region in found.samples["7"].graph.all.regions]
    assert boxes == [(2, 3, 12, 8.5), (5, 5, 25, 15), (2, 3, 12, 9)]
    assert found.failures == []
    assert remarks == ("rows that repeat another in all fields, read once: 2 (the first: annotations[3])",)


@pytest.mark.parametrize("number", [[1], {"a": 1}, None, "x", True, 1.5])
def test_whatever_the_id_of_a_row_is(coco: dict[str, Any], told: Told, number: Any) -> None:
    for row in coco["annotations"][:2]:
        row["id"] = number
    found, _ = told(coco)
    assert len(found.samples["7"].graph.all.regions) == 2
    assert found.failures == []


def test_rows_without_ids_that_are_equal(coco: dict[str, Any], told: Told) -> None:
    del coco["annotations"][0]["id"]
    coco["annotations"].append(dict(coco["annotations"][0]))
    found, remarks = told(coco)
    assert len(found.samples["7"].graph.all.regions) == 2
    assert "read once: 1" in remarks[0]


def test_good_parts_of_an_outline_make_the_mask(coco: dict[str, Any], read: Reader) -> None:
    coco["annotations"][1]["segmentation"] = [[1, 1], SQUARE, [1, 2, 3, 4, 5], [0, 0, "a", 1, 2, 2]]
    found = read(coco)
    mask = found.samples["7"].graph.all.regions[1].mask
    assert mask is not None
    assert mask.box == (5, 5, 25, 15)
    assert [failure.reason for failure in found.failures] == ["bad-polygon"] * 3
    assert [failure.detail.partition(":")[0] for failure in found.failures] == [
        f"its segmentation[{part}]" for part in (0, 2, 3)
    ]


@pytest.mark.parametrize("box", [[0, 0, 0, 0], [1, 2, -3, 4], [1, 2], "box", [500, 2, 3, 4], [39.0, 3.0, 1e-9, 3.0]])
def test_the_outline_gives_the_box_that_cannot_be_used(coco: dict[str, Any], told: Told, box: Any) -> None:
    coco["annotations"][1]["bbox"] = box
    found, remarks = told(coco)
    assert found.samples["7"].graph.all.regions[1].box == (5, 5, 25, 15)
    assert found.failures == []
    assert "boxes taken from the outline, as the bbox given could not be used: 1" in remarks


def test_whole_numbers_as_floats(coco: dict[str, Any], read: Reader) -> None:
    for row in coco["images"]:
        row.update(id=float(row["id"]), width=40.0, height=30.0)
    for row in coco["annotations"]:
        row.update(image_id=float(row["image_id"]), category_id=float(row["category_id"]), iscrowd=0.0)
    coco["annotations"][1]["segmentation"] = {"size": [30.0, 40.0], "counts": [30.0, 60.0, 1110.0]}
    for row in coco["categories"]:
        row["id"] = float(row["id"])
    found = read(coco)
    assert found.failures == []
    assert list(found.samples) == ["7", "8"]
    assert [region.label for region in found.samples["7"].graph.all.regions] == ["dog", "toothbrush"]
    assert found.samples["7"].graph.all.regions[1].mask is not None


def test_null_iscrowd(coco: dict[str, Any], read: Reader) -> None:
    coco["annotations"][0]["iscrowd"] = None
    found = read(coco)
    assert found.failures == []
    assert found.samples["7"].graph.all.regions[0].attributes == ()


@pytest.mark.parametrize("number", [2**63, 10**25, -(10**30)])
def test_ids_of_any_length(coco: dict[str, Any], read: Reader, number: int) -> None:
    coco["images"][0]["id"] = number
    for row in coco["annotations"][:2]:
        row["image_id"] = number
    found = read(coco)
    assert list(found.samples) == [str(number), "8"]
    assert len(found.samples[str(number)].graph.all.regions) == 2


@pytest.mark.parametrize("sides", [{}, {"width": None, "height": None}, {"width": 0, "height": 0}, {"width": 40}])
def test_sizes_come_from_the_picture_where_the_file_has_none(
    coco: dict[str, Any], images: Path, told: Told, sides: dict[str, Any]
) -> None:
    for side in ("width", "height"):
        del coco["images"][0][side]
    coco["images"][0].update(sides)
    found, remarks = told(coco, images="data:images")
    assert found.failures == []
    graph = found.samples["7"].graph
    assert (graph.width, graph.height) == (40, 30)
    assert graph.all.regions[1].mask is not None
    assert remarks == ("images without width and height, measured from the picture: 1",)


def test_a_side_that_contradicts_the_picture(coco: dict[str, Any], images: Path, told: Told) -> None:
    coco["images"][0].update(width=41, height=None)
    found, _ = told(coco, images="data:images")
    assert [(failure.reason, failure.detail) for failure in found.failures] == [
        ("bad-image", "image 7 is 40x30, the file says width 41")
    ]


def test_a_picture_that_is_not_there_cannot_be_measured(coco: dict[str, Any], images: Path, told: Told) -> None:
    del coco["images"][0]["width"]
    (images / "a.png").unlink()
    found, _ = told(coco, images="data:images")
    assert found.reasons == {"bad-image": 1}
    assert list(found.samples) == ["8"]


def test_images_alone(coco: dict[str, Any], read: Reader) -> None:
    del coco["annotations"]
    found = read(coco)
    assert [len(sample.graph.all.regions) for sample in found.samples.values()] == [0, 0]


def test_images_after_their_annotations(coco: dict[str, Any], read: Reader) -> None:
    expected = read(coco)
    assert read({key: coco[key] for key in ("categories", "annotations", "images")}) == expected


def test_without_categories_regions_have_no_label(coco: dict[str, Any], told: Told) -> None:
    del coco["categories"]
    found, remarks = told(coco)
    assert [region.label for region in found.samples["7"].graph.all.regions] == [None, None]
    assert remarks == ("regions without a label, as the file gives them no category: 3",)


NAMES = {
    "backslash": ("sub\\a.png", "sub/a.png", "data:images/sub/a.png"),
    "back and forth": ("sub/../sub/a.png", "sub/a.png", "data:images/sub/../sub/a.png"),
    "up and down": ("../images/a.png", "a.png", "data:images/../images/a.png"),
    "other case": ("SUB/A.PNG", "sub/a.png", "data:images/sub/a.png"),
    "other form": (
        unicodedata.normalize("NFD", "é.png"),
        unicodedata.normalize("NFC", "é.png"),
        f"data:images/{unicodedata.normalize('NFC', 'é.png')}",
    ),
    "other form the other way": (
        unicodedata.normalize("NFC", "ü/Å.png"),
        unicodedata.normalize("NFD", "ü/Å.png"),
        f"data:images/{unicodedata.normalize('NFD', 'ü/Å.png')}",
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_files_are_found(coco: dict[str, Any], images: Path, tmp_path: Path, told: Told, name: str) -> None:
    given, actual, uri = NAMES[name]
    (images / "x.png").write_bytes((images / "a.png").read_bytes())
    (images / "a.png").unlink()
    (images / actual).parent.mkdir(exist_ok=True)
    (images / "x.png").rename(images / actual)
    coco["images"][0]["file_name"] = given
    found, remarks = told(coco, images="data:images")
    assert found.samples["7"].uri == uri
    assert Roots({"data": tmp_path}).image(uri).size() == (40, 30)
    respelled = "files found under another spelling of their name (case or accents): 1"
    assert (respelled in remarks) == name.startswith("other")


def test_a_spelling_that_two_files_have_names_neither(coco: dict[str, Any], images: Path, told: Told) -> None:
    for name in ("Pic.png", "PIC.png"):
        (images / name).write_bytes((images / "a.png").read_bytes())
    coco["images"][0]["file_name"] = "pic.png"
    found, remarks = told(coco, images="data:images")
    assert found.samples["7"].uri == "data:images/pic.png"
    assert remarks == ()


def test_a_whole_path_into_the_folder(coco: dict[str, Any], images: Path, told: Told) -> None:
    coco["images"][0]["file_name"] = str(images / "a.png")
    assert told(coco, images="data:images")[0].samples["7"].uri == "data:images/a.png"


def test_what_is_missing_is_not_said_to_leave_its_root(coco: dict[str, Any], images: Path, tmp_path: Path) -> None:
    coco["images"][0]["file_name"] = "sub\\..\\none.png"
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    source = CocoSource(CocoOptions("data:instances.json", images="data:images"))
    readings = read_sources({"given": source}, Roots({"data": tmp_path}), FileHashes.none())
    (failure,) = [reading.failure for reading in readings if reading.failure is not None]
    assert failure.reason == "image-missing"


def test_one_bad_category_costs_itself(coco: dict[str, Any], read: Reader) -> None:
    coco["categories"] += [{"id": 5}, {"name": "x"}, 7, {"id": True, "name": "y"}, {"id": 6, "name": ""}]
    coco["annotations"][2]["category_id"] = 5
    found = read(coco)
    assert [region.label for region in found.samples["7"].graph.all.regions] == ["dog", "toothbrush"]
    assert found.reasons == {"bad-category": 5, "unknown-category": 1}


def test_a_category_id_of_two_names_stands_for_none(coco: dict[str, Any], read: Reader) -> None:
    coco["categories"] += [{"id": 3, "name": "cat"}, {"id": 90, "name": "toothbrush"}]
    found = read(coco)
    assert found.reasons == {"duplicate-category": 1, "unknown-category": 2}
    assert [region.label for region in found.samples["7"].graph.all.regions] == ["toothbrush"]


def test_category_ids_that_are_texts(coco: dict[str, Any], read: Reader) -> None:
    coco["categories"].append({"id": "c9", "name": "cup"})
    coco["annotations"][0]["category_id"] = "c9"
    assert [region.label for region in read(coco).samples["7"].graph.all.regions] == ["cup", "toothbrush"]


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "UTF-16": lambda raw: raw.decode().encode("utf-16"),
    "gzip": gzip.compress,
    "gzip of UTF-16": lambda raw: gzip.compress(raw.decode().encode("utf-16")),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("option", ["annotations", "results"])
def test_forms_of_texts(coco: dict[str, Any], tmp_path: Path, form: str, option: str) -> None:
    coco["categories"][0]["name"] = "犬"
    files = {"annotations": coco, "results": coco["annotations"]}
    for name, content in files.items():
        data = json.dumps(content, ensure_ascii=False).encode()
        (tmp_path / f"{name}.json.gz").write_bytes(FORMS[form](data) if name == option else data)
    options = {name: f"data:{name}.json.gz" for name in ("annotations", option)}
    found = sort_out(CocoSource(CocoOptions(**options)).samples(Roots({"data": tmp_path}), "given"))
    assert [region.label for region in found.samples["7"].graph.all.regions] == ["犬", "toothbrush"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["annotations.json.gz", "results.json.gz"]


def test_a_result_list_in_place_of_the_annotations(coco: dict[str, Any], tmp_path: Path) -> None:
    results = [
        {"image_id": 8, "category_id": 90, "bbox": [1, 2, 3, 4], "score": 0.75},
        {"image_id": 7, "category_id": 3, "segmentation": {"size": [30, 40], "counts": [30, 60, 1110]}, "score": 1},
        {"image_id": 99, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5},
        {"image_id": 8, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 87.5},
    ]
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    (tmp_path / "results.json").write_text(json.dumps(results))
    source = CocoSource(CocoOptions("data:instances.json", results="data:results.json"))
    found = sort_out(source.samples(Roots({"data": tmp_path}), "given"))
    rows = {name: [(r.label, r.box, r.score) for r in s.graph.all.regions] for name, s in found.samples.items()}
    assert rows == {
        "7": [("dog", (1, 0, 3, 30), 1.0)],
        "8": [("toothbrush", (1, 2, 4, 6), 0.75), ("dog", (1, 2, 4, 6), None)],
    }
    assert [(failure.reason, failure.where) for failure in found.failures] == [
        ("unknown-image", "results.json: annotations[2]"),
        ("bad-score", "results.json: annotations[3]"),
    ]


@pytest.mark.parametrize(("content", "message"), [({}, "is no result list"), ({"images": []}, "it is an object with")])
def test_a_result_list_that_is_none(coco: dict[str, Any], tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    (tmp_path / "results.json").write_text(json.dumps({**content, "annotations": coco["annotations"]}))
    source = CocoSource(CocoOptions("data:instances.json", results="data:results.json"))
    with pytest.raises(ConfigError, match=message):
        list(source.samples(Roots({"data": tmp_path}), "given"))


def test_attributes_and_scores(coco: dict[str, Any], told: Told) -> None:
    coco["annotations"][0].update(attributes={"occluded": True, "color": "red", "rotation": 0.5}, score=0.25)
    coco["annotations"][1].update(attributes=["wet", 5, ""], score=float("nan"), iscrowd=1)
    found, _ = told(coco)
    dog, brush = found.samples["7"].graph.all.regions
    assert (dog.attributes, dog.score) == (("occluded", "color: red", "rotation: 0.5"), 0.25)
    assert (brush.attributes, brush.score) == (("wet", "crowd"), None)
    assert found.reasons == {"bad-attribute": 1, "bad-score": 1}


def test_captions_keypoints_and_supercategories_become_attributes_of_the_graph(
    coco: dict[str, Any], told: Told
) -> None:
    coco["annotations"][1].update(keypoints=[6, 7, 2, 0, 0, 0], num_keypoints=1, caption="a red brush")
    coco["annotations"] += [{"id": n, "image_id": 7, "caption": text} for n, text in ((8, "One."), (9, "Two."))]
    coco["annotations"].append({"id": 10, "image_id": 7, "caption": "bad\x1b"})
    found, remarks = told(coco)
    graph = found.samples["7"].graph
    assert graph.all.regions[1].descriptions == ("a red brush",)
    assert {name: text for name, text in graph.attributes.items() if "category" not in name} == {
        "caption": "One.",
        "caption 2": "Two.",
        "coco.file_name": "a.png",
        "coco.keypoints.1": "[6, 7, 2, 0, 0, 0]",
    }
    assert json.loads(graph.attributes["coco.category.90"]) == {
        "id": 90,
        "name": "toothbrush",
        "supercategory": "indoor",
    }
    assert found.reasons == {"bad-caption": 1}
    assert remarks == ()


def test_boxes_that_leave_their_picture(coco: dict[str, Any], told: Told) -> None:
    coco["annotations"][0]["bbox"] = [10, 10, 35, 25]
    coco["annotations"][1]["bbox"] = [-3, 5, 20, 10]
    coco["annotations"][2]["bbox"] = [30, 20, 10.4, 10.3]  # less than half a pixel is rounding
    assert told(coco)[1] == ("2 of 3 boxes leave their picture: is bbox [x, y, width, height]?",)


def test_boxes_that_look_like_shares(coco: dict[str, Any], told: Told) -> None:
    coco["annotations"][0]["bbox"] = [0.1, 0.2, 0.5, 0.5]
    coco["annotations"][2]["bbox"] = [0, 0, 1, 1]
    assert told(coco)[1] == ("2 of 3 boxes look like shares of 1: bbox must be in pixels",)


def test_fields_that_have_no_place_are_counted(coco: dict[str, Any], told: Told) -> None:
    coco["annotations"][0].update(track_id=5, sgforge_region=0)
    coco["annotations"][1].update(track_id=6, velocity=[1, 2])
    assert told(coco)[1] == ("fields that have no place in a graph, left out: track_id (2), velocity (1)",)


def test_a_file_that_is_cut_in_the_middle_gives_what_stands_before(coco: dict[str, Any], read: Reader) -> None:
    text = json.dumps({key: coco[key] for key in ("categories", "images", "annotations")})
    found = read(text[: text.index('"id": 3, "image_id": 8')])
    assert [len(sample.graph.all.regions) for sample in found.samples.values()] == [2, 0]
    (failure,) = found.failures
    assert failure.reason == "cut-off"
    assert "instances.json is cut off, what stands before is read: it ends in annotations[2], at byte" in failure.detail


def test_a_file_that_is_cut_before_its_categories_keeps_the_regions(coco: dict[str, Any], read: Reader) -> None:
    text = json.dumps(coco)
    found = read(text[: text.index('"categories"')])
    assert [region.label for region in found.samples["7"].graph.all.regions] == [None, None]
    assert found.reasons == {"cut-off": 1}


def test_one_row_that_is_no_json(coco: dict[str, Any], read: Reader) -> None:
    text = json.dumps(coco).replace('{"id": 3, "image_id": 8', '{"id": three, "image_id": 8')
    found = read(text)
    assert [(failure.reason, failure.where) for failure in found.failures] == [
        ("bad-annotation", "instances.json: annotations[2]")
    ]
    assert len(found.samples["7"].graph.all.regions) == 2


def test_an_archive_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgforge.utf8._ALWAYS_TAKEN", 1 << 20)
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(b" " * (1 << 24)))
    with pytest.raises(ConfigError, match=r"bomb\.json\.gz holds more than 200 times its own size"):
        list(CocoSource(CocoOptions("data:bomb.json.gz")).samples(Roots({"data": tmp_path}), "given"))


def test_orientation_is_applied_where_it_is_asked_for(coco: dict[str, Any], images: Path, told: Told) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 40)).save(images / "a.png", exif=exif)
    found, remarks = told(coco, images="data:images", orientation="apply")
    assert [sample.uri for sample in found.samples.values()] == ["data+turned:images/a.png", "data:images/b.png"]
    assert remarks == ("pictures turned as their orientation tag says: 1",)
    readings = read_sources(
        {"given": CocoSource(CocoOptions("data:instances.json", images="data:images", orientation="apply"))},
        Roots({"data": images.parent}),
        FileHashes.none(),
    )
    assert [(r.sample.graph.width, r.sample.graph.height) for r in readings if r.sample is not None] == [(40, 30)] * 2


@pytest.mark.skipif(os.name != "posix", reason="a pipe has a name here")
def test_the_file_may_be_a_pipe(coco: dict[str, Any], tmp_path: Path) -> None:
    import threading

    from sgforge_formats.coco.document import open_document

    def write(end: int) -> None:
        with open(end, "w") as stream:
            stream.write(json.dumps(coco))

    # As a shell gives it for `<(command)`; a pipe that lies in a folder is refused, as nobody may ever write to it.
    read, end = os.pipe()
    writer = threading.Thread(target=write, args=(end,), daemon=True)
    writer.start()
    with open_document(Path(f"/dev/fd/{read}")) as document:
        assert [len(document.items(number)) for number in range(2)] == [2, 1]
    os.close(read)
    writer.join()
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ConfigError, match="no regular file"), open_document(tmp_path / "pipe.json"):
        pass


def test_what_fails_while_a_file_is_open_is_not_said_of_the_file(coco: dict[str, Any], tmp_path: Path) -> None:
    from sgforge_formats.coco.document import open_document

    (tmp_path / "instances.json").write_text(json.dumps(coco))
    with pytest.raises(OSError, match="elsewhere"), open_document(tmp_path / "instances.json"):
        raise OSError("elsewhere")


def test_numbers_that_are_texts(coco: dict[str, Any], read: Reader) -> None:
    """As a table of texts is written: sizes, ids, iscrowd, boxes, scores and polygons."""
    coco["images"] = [{"id": "7", "file_name": "a.png", "width": "40", "height": "30.0"}]
    square = ["5", "5", "25", "5", "25", "15.0", "5", "1.5e1"]
    row = {"id": "1", "image_id": 7.0, "category_id": "3", "bbox": ["2", "3", "10", "5.5"], "iscrowd": "1"}
    coco["annotations"] = [{**row, "score": "0.25", "segmentation": [square]}]
    coco["categories"] = [{"id": 3, "name": "dog"}]
    found = read(coco)
    assert found.failures == []
    graph = found.samples["7"].graph
    (region,) = graph.all.regions
    assert (graph.width, graph.height) == (40, 30)
    assert (region.label, region.box, region.score, region.attributes) == ("dog", (2, 3, 12, 8.5), 0.25, ("crowd",))
    assert region.mask == masks.from_polygons([[5, 5, 25, 5, 25, 15, 5, 15]], 30, 40)


@pytest.mark.parametrize("number", [3, "3", 3.0])
@pytest.mark.parametrize("given", [3, "3", 3.0])
def test_an_id_of_a_category_in_either_form(coco: dict[str, Any], read: Reader, number: Any, given: Any) -> None:
    coco["categories"] = [{"id": number, "name": "dog"}]
    coco["annotations"] = [{**coco["annotations"][0], "category_id": given}]
    assert [region.label for region in read(coco).samples["7"].graph.all.regions] == ["dog"]


def test_ids_that_differ_in_form_alone_are_two_categories(coco: dict[str, Any], read: Reader) -> None:
    coco["categories"] = [{"id": 3, "name": "dog"}, {"id": "3", "name": "cat"}]
    coco["annotations"] = [
        {**coco["annotations"][0], "category_id": given, "id": at} for at, given in enumerate((3, "3"))
    ]
    assert [region.label for region in read(coco).samples["7"].graph.all.regions] == ["dog", "cat"]


@pytest.mark.parametrize("value", ["", "x", "1 0", "0x10", "1_0", "½", "-4", "1e99", True, [40]])
def test_a_text_that_is_no_number_of_pixels(coco: dict[str, Any], read: Reader, value: Any) -> None:
    coco["images"][0]["width"] = value
    assert read(coco).reasons["bad-image"] == 1


@pytest.mark.parametrize(
    ("segmentation", "reasons"),
    [
        (SQUARE, []),
        ([SQUARE, None], ["bad-polygon"]),
        ([{"size": [30, 40], "counts": [1200]}, SQUARE, "x", [1, 1]], ["bad-polygon"] * 3),
        ([None], ["bad-mask"]),
        (["1", "2"], ["bad-mask"]),
    ],
)
def test_good_parts_make_the_mask(
    coco: dict[str, Any], read: Reader, segmentation: list[Any], reasons: list[str]
) -> None:
    coco["annotations"] = [{**coco["annotations"][1], "segmentation": segmentation}]
    found = read(coco)
    (region,) = found.samples["7"].graph.all.regions
    assert region.box == (5, 5, 25, 15)
    assert [failure.reason for failure in found.failures] == reasons
    assert region.mask == (None if "bad-mask" in reasons else masks.from_polygons([SQUARE], 30, 40))


def test_lists_that_are_none(coco: dict[str, Any], read: Reader) -> None:
    """Annotations by id, as some tools write them, are told of; images by id refuse the file in one sentence."""
    coco["annotations"] = {str(row["id"]): row for row in coco["annotations"]}
    found = read(coco)
    assert [(failure.reason, failure.where) for failure in found.failures] == [
        ("bad-list", "instances.json: annotations")
    ]
    assert list(found.samples) == ["7", "8"]
    coco["images"] = {"7": coco["images"][0]}
    with pytest.raises(ConfigError, match="images must be a list of objects"):
        read(coco)
