"""COCO files with faults: each is told with its place, the rest is read; a file of another kind is one error."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from sgforge import Roots
from sgforge.errors import ConfigError
from sgforge_formats.coco.source import CocoSource
from sgforge_formats.config import CocoOptions

Reader = Callable[..., Any]
Spoil = Callable[[dict[str, Any]], object]


def first(**fields: Any) -> Spoil:
    """Spoil the first annotation."""
    return lambda coco: coco["annotations"][0].update(fields)


def mask(segmentation: Any) -> Spoil:
    return first(segmentation=segmentation)


CASES: dict[str, tuple[Spoil, str]] = {
    "NaN": (first(bbox=[1.0, float("nan"), 5, 5]), "bad-box"),
    "infinite": (first(bbox=[1.0, 2.0, float("inf"), 5]), "bad-box"),
    "hundreds of digits": (first(bbox=[10**400, 2.5, 5, 5]), "bad-box"),
    "inverted": (first(bbox=[10, 10, -5, 5]), "bad-box"),
    "no width": (first(bbox=[10, 10, 0, 5]), "bad-box"),
    "three numbers": (first(bbox=[10, 10, 5]), "bad-box"),
    "texts": (first(bbox=["1", "2", "3px", "4"]), "bad-box"),
    "booleans": (first(bbox=[1, 2, True, 4]), "bad-box"),
    "no box, no mask": (lambda coco: coco["annotations"][0].pop("bbox"), "bad-box"),
    "too small for float32": (first(bbox=[1e7, 0, 1e-3, 3]), "outside-image"),
    "lost in float32": (first(bbox=[39.0, 3.0, 1e-9, 3.0]), "bad-box"),
    "right of the image": (first(bbox=[40, 3, 10, 5]), "outside-image"),
    "above the image": (first(bbox=[2, -9, 10, 9]), "outside-image"),
    "unknown image": (first(image_id=99), "unknown-image"),
    "image id between two": (first(image_id=7.5), "unknown-image"),
    "unknown category": (first(category_id=4), "unknown-category"),
    "category as text": (first(category_id="three"), "unknown-category"),
    "not an object": (lambda coco: coco["annotations"].__setitem__(0, 5), "bad-annotation"),
    "odd iscrowd": (first(iscrowd=2), "bad-annotation"),
}

BAD_MASKS: dict[str, tuple[Spoil, str]] = {
    "two points": (mask([[1, 1, 5, 5]]), "bad-mask"),
    "odd number of values": (mask([[1, 1, 5, 5, 3, 3, 9]]), "bad-mask"),
    "polygon of texts": (mask([["a"] * 6]), "bad-mask"),
    "polygon of points": (mask([[[1, 1], [5, 1], [5, 9]]]), "bad-mask"),
    "flat polygon of five numbers": (mask([1, 1, 5, 5, 3]), "bad-mask"),
    "polygon to infinity": (mask([[1, 1, 5, 5, float("inf"), 9]]), "bad-mask"),
    "segmentation as text": (mask("1,1,5,5"), "bad-mask"),
    "run lengths of another size": (mask({"size": [30, 41], "counts": [30 * 41]}), "mask-size"),
    "size swapped": (mask({"size": [40, 30], "counts": [1200]}), "mask-size"),
    "run lengths too short": (mask({"size": [30, 40], "counts": [100, 20]}), "bad-mask"),
    "run lengths too long": (mask({"size": [30, 40], "counts": [1200, 1]}), "bad-mask"),
    "negative run": (mask({"size": [30, 40], "counts": [-1, 1201]}), "bad-mask"),
    "enormous run": (mask({"size": [30, 40], "counts": [2**70]}), "bad-mask"),
    "not a number": (mask({"size": [30, 40], "counts": ["a"]}), "bad-mask"),
    "compressed, of other bytes": (mask({"size": [30, 40], "counts": "~~~~"}), "bad-mask"),
    "compressed, outside ASCII": (mask({"size": [30, 40], "counts": "é"}), "bad-mask"),
    "compressed, cut off": (mask({"size": [30, 40], "counts": "fV"}), "bad-mask"),
    "counts missing": (mask({"size": [30, 40]}), "bad-mask"),
}
"""Outlines of which nothing can be used: the region keeps its box and its label."""


@pytest.mark.parametrize("name", CASES)
def test_one_bad_annotation(coco: dict[str, Any], read: Reader, name: str) -> None:
    spoil, reason = CASES[name]
    spoil(coco)
    found = read(coco)
    assert list(found.samples) == ["7", "8"]
    assert [region.label for region in found.samples["7"].graph.all.regions] == ["toothbrush"]
    assert [region.label for region in found.samples["8"].graph.all.regions] == ["dog"]
    (failure,) = found.failures
    assert failure.reason == reason
    assert failure.where == "instances.json: annotations[0]"
    assert failure.detail


@pytest.mark.parametrize("name", BAD_MASKS)
def test_a_region_without_a_usable_outline_keeps_its_box(coco: dict[str, Any], read: Reader, name: str) -> None:
    spoil, reason = BAD_MASKS[name]
    spoil(coco)
    found = read(coco)
    dog, brush = found.samples["7"].graph.all.regions
    assert (dog.label, dog.box, dog.mask) == ("dog", (2.0, 3.0, 12.0, 8.5), None)
    assert brush.mask is not None
    (failure,) = found.failures
    assert (failure.reason, failure.where) == (reason, "instances.json: annotations[0]")
    assert failure.detail


@pytest.mark.parametrize("name", BAD_MASKS)
def test_a_region_without_outline_and_box_is_left_out(coco: dict[str, Any], read: Reader, name: str) -> None:
    spoil, reason = BAD_MASKS[name]
    spoil(coco)
    coco["annotations"][0]["bbox"] = [0, 0, 0, 0]
    found = read(coco)
    assert [region.label for region in found.samples["7"].graph.all.regions] == ["toothbrush"]
    assert found.reasons == {reason: 1, "bad-box": 1}


def test_a_bad_mask_is_explained_in_the_words_of_the_file(coco: dict[str, Any], read: Reader) -> None:
    mask([[1, 1, 5, 5]])(coco)
    (failure,) = read(coco).failures
    assert failure.where.endswith("annotations[0]")
    points = "a polygon needs at least three points x0, y0, x1, y1, ..., got 4 numbers"
    assert failure.detail == f"its segmentation: {points}"


def test_one_bad_mask_among_many_harms_no_other(coco: dict[str, Any], read: Reader) -> None:
    good = {"size": [30, 40], "counts": [30, 60, 1110]}
    coco["annotations"] = [
        {"id": n, "image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9], "segmentation": good} for n in range(20)
    ]
    coco["annotations"][11]["segmentation"] = {"size": [30, 40], "counts": [5, 5]}
    found = read(coco)
    assert [region.mask is not None for region in found.samples["7"].graph.all.regions] == [
        number != 11 for number in range(20)
    ]
    assert [failure.where for failure in found.failures] == ["instances.json: annotations[11]"]


@pytest.mark.parametrize("label", ["two\nlines", "\x1b[31mred", "a\u202eb", "nul\0", "\ud800", "\x9b0m"])
def test_labels_with_control_characters(coco: dict[str, Any], read: Reader, label: str) -> None:
    coco["categories"][0]["name"] = label
    found = read(coco)
    assert found.reasons == {"bad-label": 2}
    assert [region.label for region in found.samples["7"].graph.regions.values()] == ["toothbrush"]
    assert all(failure.detail.isprintable() for failure in found.failures)


def test_labels_of_all_languages_are_fine(coco: dict[str, Any], read: Reader) -> None:
    coco["categories"][0]["name"] = "собака 犬 🐕"
    assert read(coco).failures == []


IMAGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no id": (lambda row: row.pop("id"), "bad-image"),
    "id with a line end": (lambda row: row.update(id="a\nb"), "bad-image"),
    "no file name": (lambda row: row.pop("file_name"), "bad-image"),
    "no width": (lambda row: row.pop("width"), "bad-image"),
    "height 0": (lambda row: row.update(height=0), "bad-image"),
    "width between two": (lambda row: row.update(width=40.5), "bad-image"),
    "width below 0": (lambda row: row.update(width=-40), "bad-image"),
    "enormous": (lambda row: row.update(width=2**40), "bad-image"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_one_bad_image(coco: dict[str, Any], read: Reader, name: str) -> None:
    spoil, reason = IMAGES[name]
    coco["images"].append(coco["images"].pop(0))
    spoil(coco["images"][1])
    found = read(coco)
    assert list(found.samples) == ["8"]
    # Its annotations now belong to no image.
    assert found.reasons == {reason: 1, "unknown-image": 2}


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        ("x", "an image must be an object, not a str"),
        ({"id": 5.5}, "image id 5.5 must be a whole number, or a text"),
        ({"id": True}, "image id True must be a whole number, or a text"),
        ({"id": 5, "width": 40.5, "height": 30, "file_name": "a.png"}, "image 5: width 40.5 must be a whole number"),
        ({"id": 5, "width": 40, "file_name": "a.png"}, "image 5 has no height: give it in pixels, or name the folder"),
        ({"id": 5, "width": 40, "height": 30}, "image 5 needs file_name"),
    ],
)
def test_what_is_wrong_with_an_image_is_said(coco: dict[str, Any], read: Reader, row: Any, detail: str) -> None:
    coco["images"].append(row)
    found = read(coco)
    assert set(found.samples) == {"7", "8"}
    (failure,) = found.failures
    assert failure.where.endswith("images[2]")
    assert detail in failure.detail


@pytest.mark.parametrize("image_id", [7, "7"])
def test_an_image_that_is_listed_twice_counts_once(coco: dict[str, Any], read: Reader, image_id: object) -> None:
    coco["images"].append({**next(row for row in coco["images"] if row["id"] == 7), "id": image_id})
    found = read(coco)
    assert set(found.samples) == {"7", "8"}
    assert found.reasons == {"duplicate-image": 1}


@pytest.mark.parametrize("image_id", [7, "7"])
def test_an_id_of_two_pictures_names_neither(coco: dict[str, Any], read: Reader, image_id: object) -> None:
    """Which of them its annotations belong to cannot be told."""
    other = next(row for row in coco["images"] if row["id"] == 8)
    coco["images"].append({**other, "id": image_id})
    found = read(coco)
    assert set(found.samples) == {"8"}
    assert found.reasons == {"duplicate-image": 2, "unknown-image": 2}
    assert sum("several pictures" in failure.detail for failure in found.failures) == 1


def test_seventy_thousand_regions(coco: dict[str, Any], read: Reader) -> None:
    coco["annotations"] += [{"id": n, "image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9]} for n in range(10, 70_010)]
    found = read(coco)
    assert list(found.samples) == ["8"]
    (failure,) = found.failures
    assert (failure.reason, failure.image_id) == ("too-many-regions", "7")
    assert "70002 regions" in failure.detail


WHOLE_FILE = {
    "cut off": ('{"images": [{"id": 1, "file_', "is not JSON, or was cut off"),
    "empty": ("", "is not JSON, or was cut off"),
    "not JSON": ("<html></html>", "is not JSON"),
    "deep": ("[" * 200_000, "is not JSON"),
    "results": ('[{"image_id": 1}]', "is no COCO file.*it is a list"),
    "PSG": ('{"data": [], "thing_classes": []}', "is no COCO file.*'data', 'thing_classes'"),
    "a number": ("5", "is no COCO file.*it begins with"),
    "images missing": ('{"annotations": [], "categories": []}', "is no COCO file.*'annotations', 'categories'"),
    "no usable image": (
        '{"images": [{"id": 1}, {"id": 2}, 3], "annotations": [], "categories": []}',
        r"^none of the 3 images of instances\.json can be used \(3 bad-image\); the first: .* images\[0\]:",
    ),
}


@pytest.mark.parametrize("name", WHOLE_FILE)
def test_a_file_that_cannot_be_used_is_one_error(read: Reader, name: str) -> None:
    text, message = WHOLE_FILE[name]
    with pytest.raises(ConfigError, match=message) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    source = CocoSource(CocoOptions("data:none.json"))
    with pytest.raises(ConfigError, match=r"none\.json: there is no such file"):
        list(source.samples(Roots({"data": tmp_path}), "given"))


@pytest.mark.parametrize(
    "name", ["../../secret.png", "/etc/passwd", "x/../../../secret.png", "nul\0.png", "..\\..\\secret.png"]
)
def test_file_names_that_leave_the_folder(coco: dict[str, Any], tmp_path: Path, name: str) -> None:
    """The uri is refused when it is resolved, before anything is opened."""
    from sgforge.engine.sources.reading import FileHashes, read_sources

    inner = tmp_path / "inner"
    (inner / "images").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"")
    coco["images"][0]["file_name"] = name
    (inner / "instances.json").write_text(json.dumps(coco))
    source = CocoSource(CocoOptions("data:instances.json", images="data:images"))
    readings = list(read_sources({"given": source}, Roots({"data": inner}), FileHashes.none()))
    assert all(reading.sample is None for reading in readings)
    failure = next(r.failure for r in readings if r.failure is not None and r.failure.image_id == "7")
    # An absolute name is looked for below the folder, and is not there.
    assert failure.reason == ("image-missing" if name.startswith("/") else "image-refused")


def test_missing_truncated_and_resized_images(coco: dict[str, Any], images: Path, tmp_path: Path) -> None:
    from PIL import Image

    from sgforge.engine.sources.reading import FileHashes, read_sources

    coco["images"] += [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in (9, 10, 11)]
    Image.new("RGB", (40, 31)).save(images / "9.png")
    (images / "10.png").write_bytes((images / "a.png").read_bytes()[:50])
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    source = CocoSource(CocoOptions("data:instances.json", images="data:images"))
    readings = list(read_sources({"given": source}, Roots({"data": tmp_path}), FileHashes.none()))
    assert [r.sample.image_id for r in readings if r.sample is not None] == ["7", "8"]
    reasons = {r.failure.image_id: r.failure.reason for r in readings if r.failure is not None}
    assert set(reasons) == {"9", "10", "11"}
    assert reasons["9"] == "size-mismatch"
    assert reasons["11"] == "image-missing"


_READ: Final = """
import sys
from pathlib import Path
from sgforge import Roots, Sample
from sgforge_formats.coco.source import CocoSource
from sgforge_formats.config import CocoOptions
regions = 0
for item in CocoSource(CocoOptions(annotations=sys.argv[1])).samples(Roots(), "coco"):
    assert isinstance(item, Sample), item
    regions += len(item.graph.all.regions)
status = Path("/proc/self/status").read_text()
print(regions, int(status.partition("VmHWM:")[2].split()[0]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_a_large_file_on_one_line_is_read_to_its_end_in_bounded_memory(tmp_path: Path) -> None:
    """Twenty times the file may cost a quarter of it more: what is held is a block of rows, and 24 bytes for each."""
    peaks = []
    for count in (1_000, 20_000):
        images = [{"id": at, "file_name": f"{at}.jpg", "width": 40, "height": 30} for at in range(count // 20)]
        row = {"category_id": 1, "bbox": [1, 2, 3, 4], "note": "x" * 2_000}
        rows = [{"id": at, "image_id": at % len(images), **row} for at in range(count)]
        path = tmp_path / f"{count}.json"
        path.write_text(json.dumps({"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cup"}]}))
        assert b"\n" not in path.read_bytes()
        done = subprocess.run([sys.executable, "-c", _READ, path], capture_output=True, text=True, check=True)
        regions, peak = map(int, done.stdout.split())
        assert regions == count
        peaks.append(peak * 1024)
    assert path.stat().st_size > 40_000_000
    assert peaks[1] - peaks[0] < path.stat().st_size / 4
