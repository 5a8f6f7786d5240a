"""Spoilt images and annotations, from the file to the printed report: each costs itself, and the rest goes on."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_input.desk import Desk, annotation, picture

import sgforge as sg
from sgforge.errors import StepError

PIPELINE = """
dataset = "runs/d"
[source]
use = "coco"
images = "img"
annotations = "coco.json"
[[step]]
segment = "regions"
[[step]]
complete = "geometry"
[[step]]
filter = "spatial-rules"
"""


def bomb(path: Path) -> None:
    """A PNG of a few bytes that says it is 60,000 x 60,000."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


def cut(path: Path) -> None:
    picture(path)
    path.write_bytes(path.read_bytes()[:200])


def link(path: Path) -> None:
    path.symlink_to(picture(path.parent.parent / "secret.png"))


IMAGES: dict[str, tuple[Callable[[Path], object], tuple[int, int], str]] = {
    "missing.png": (lambda path: None, (40, 30), "image-missing"),
    "cut.png": (cut, (40, 30), "image-truncated"),
    "other-size.png": (picture, (41, 30), "size-mismatch"),
    "text.png": (lambda path: path.write_text("no picture"), (40, 30), "image-unreadable"),
    "bomb.png": (bomb, (60_000, 60_000), "image-refused"),
    "link.png": (link, (40, 30), "image-refused"),
    "../secret.png": (lambda path: None, (40, 30), "image-refused"),
    "/etc/passwd": (lambda path: None, (40, 30), "image-refused"),
    "nul\0.png": (lambda path: None, (40, 30), "image-refused"),
    "\x1b[31mred\n.png": (lambda path: None, (40, 30), "image-missing"),
}
ANNOTATIONS = {
    "bad-box": [annotation(1, (float("nan"), 2, 3, 4)), annotation(1, (10, 10, -5, 5))],
    "outside-image": [annotation(1, (50, 50, 5, 5))],
    "unknown-image": [annotation(99)],
    "unknown-category": [annotation(1, category_id=7)],
    "mask-size": [annotation(1, segmentation={"size": [30, 41], "counts": [30 * 41]})],
    "bad-mask": [annotation(1, segmentation={"size": [30, 40], "counts": [5]})],
}


def spoilt(desk: Desk) -> tuple[dict[str, int], dict[str, int]]:
    """All of it in one COCO file, beside one good image with two good regions.

    The reasons to expect: of images that fail, of annotations that are left out.
    """
    (desk.folder / "img").mkdir()
    picture(desk.folder / "img" / "good.png")
    expected: dict[str, int] = {}
    left_out: dict[str, int] = {}
    for name, (spoil, _, reason) in IMAGES.items():
        spoil(desk.folder / "img" / name)
        expected[reason] = expected.get(reason, 0) + 1
    sizes = {"good.png": (40, 30), **{name: size for name, (_, size, _) in IMAGES.items()}}
    rows = [annotation(1), annotation(1, (15, 2, 8, 8))]
    for reason, some in ANNOTATIONS.items():
        rows += some
        left_out[reason] = len(some)
    desk.coco(sizes, rows)
    desk.write("p.toml", PIPELINE)
    return expected, left_out


def test_each_costs_itself_and_is_counted_and_the_rest_goes_on(desk: Desk) -> None:
    expected, left_out = spoilt(desk)
    done = desk.sgforge("run", "p.toml", "--json")
    assert done.code == 4
    report = json.loads(done.out)
    source = report["steps"]["source"]
    assert (source["reasons"], source["faults"]) == (expected, left_out)
    assert [report["steps"][name]["computed"] for name in ("source", "segment", "complete", "filter")] == [1, 1, 1, 1]
    failures = {(one["image"], one["reason"]): one["detail"] for one in report["failures"]}
    assert len(report["failures"]) == sum(expected.values())
    # An annotation is named by its place in the file, an image by its uri.
    place = "annotations left out, outside-image: the first is coco.json: annotations[4]: bbox [50, 50, 5, 5] lies"
    assert any(note.startswith(place) for note in source["notes"])
    missing = f"source:missing.png does not exist in {desk.folder / 'img'}"
    assert missing in failures["2", "image-missing"]
    assert "41x30" in failures["4", "size-mismatch"]
    shown = desk.sgforge("show", "runs/d", "1")
    assert shown.code == 0
    assert "regions (4)" in shown.out  # two are good, two lost no more than their masks
    assert "cup(1) right of cup(0)" in shown.out
    assert desk.sgforge("verify", "runs/d").code == 0


def test_the_failures_are_printed_on_one_line_each(desk: Desk) -> None:
    spoilt(desk)
    done = desk.process("run", "p.toml")
    assert done.code == 4
    lines = done.out.splitlines()
    (counted,) = (line.strip() for line in lines if line.strip().startswith("counted: "))
    assert "2 bad-box" in counted
    assert sum(line.startswith("failed at source: ") for line in lines) == 5
    assert any(line.startswith("... and ") and "the next run tries" in line for line in lines)


def test_what_is_mended_is_taken_in_and_nothing_else_is_done_again(desk: Desk) -> None:
    spoilt(desk)
    desk.sgforge("run", "p.toml")
    picture(desk.folder / "img" / "missing.png", seed=3)
    report = json.loads(desk.sgforge("run", "p.toml", "--json").out)
    counts = {name: (step["computed"], step["reused"]) for name, step in report["steps"].items()}
    assert counts == dict.fromkeys(("source", "segment", "complete", "filter"), (1, 1))


def test_when_no_image_is_left_the_error_says_why(desk: Desk) -> None:
    (desk.folder / "img").mkdir()
    desk.coco({"a.png": (40, 30), "b.png": (40, 30)}, [])
    desk.write("p.toml", PIPELINE)
    done = desk.sgforge("run", "p.toml")
    assert done.code == 1
    assert done.error.startswith("no image could be read from source: 1: image source:a.png does not exist in ")
    assert not (desk.folder / "runs").exists()
    with pytest.raises(StepError, match=r"source:a\.png does not exist"):
        sg.Pipeline(sg.segment("regions")).run(
            sg.source("coco", images=str(desk.folder / "img"), annotations=str(desk.folder / "coco.json")),
            desk.folder / "runs" / "python",
        )


@pytest.mark.parametrize("use", ["coco", "jsonl", "folder"])
def test_an_images_folder_that_is_none_is_one_error(desk: Desk, use: str) -> None:
    desk.coco({"a.png": (40, 30)}, [])
    line = {"image_id": "a", "width": 40, "height": 30, "uri": "x:a.png", "regions": []}
    desk.write("g.jsonl", json.dumps(line) + "\n")
    given = {"coco": 'annotations = "coco.json"', "jsonl": 'graphs = "g.jsonl"', "folder": ""}[use]
    text = f'dataset = "runs/d"\n[source]\nuse = "{use}"\nimages = "nowhere"\n{given}\n[[step]]\nsegment = "regions"\n'
    desk.write("p.toml", text)
    done = desk.sgforge("run", "p.toml")
    assert (done.code, done.error) == (
        2,
        f"p.toml:2: source: nowhere is no folder (looked in {desk.folder}): name one with the option images",
    )


WAYS_OUT = {
    "jsonl": ({"images": "img", "graphs": "data:../g.jsonl"}, "leaves its root"),
    "coco": ({"images": "data:../img", "annotations": "coco.json"}, "leaves its root"),
    "folder": ({"images": "data:sub/../../img"}, "leaves its root"),
    "scenes": ({"folder": "data:../scenes"}, "leaves its root"),
}


@pytest.mark.parametrize("use", WAYS_OUT)
def test_an_option_that_leaves_its_root_is_one_error(desk: Desk, use: str) -> None:
    options, message = WAYS_OUT[use]
    (desk.folder / "data").mkdir()
    (desk.folder / "img").mkdir()
    desk.coco({"a.png": (40, 30)}, [])
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())
    text = (
        f'dataset = "runs/d"\n[roots]\ndata = "data"\n[source]\nuse = "{use}"\n{lines}[[step]]\nsegment = "regions"\n'
    )
    desk.write("p.toml", text)
    done = desk.sgforge("run", "p.toml")
    assert done.code == 2
    assert message in done.error
    assert not (desk.folder / "scenes").exists()


def test_uris_of_graph_jsonl_never_leave_the_folder(desk: Desk) -> None:
    picture(desk.folder / "secret.png")
    picture(desk.folder / "img" / "b.png")
    uris = ["x:b.png", "x:../secret.png", "x:/etc/passwd", "x:a/../../secret.png", "x:nul\0.png", "x:..\\secret.png"]
    rows = [
        {"image_id": str(n), "width": 40, "height": 30, "uri": uri, "regions": [], "relations": []}
        for n, uri in enumerate(uris)
    ]
    desk.write("g.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    source = 'use = "jsonl"\nimages = "img"\ngraphs = "g.jsonl"'
    desk.write("p.toml", f'dataset = "runs/d"\n[source]\n{source}\n[[step]]\nsegment = "regions"\n')
    done = desk.sgforge("run", "p.toml", "--json")
    assert done.code == 4
    read = json.loads(done.out)["steps"]["source"]
    assert (read["computed"], read["reasons"]) == (1, {"image-refused": 5})


def test_70_000_regions_in_one_image_pass_through_the_pipeline(desk: Desk) -> None:
    picture(desk.folder / "img" / "a.png", (1000, 800))
    picture(desk.folder / "img" / "b.png")
    boxes = [(10 * (n % 97) + n % 7, 9 * (n % 83) + n % 5) for n in range(70_000)]
    many = [{"label": "cup", "box": [x, y, x + 3 + n % 11, y + 4 + n % 9]} for n, (x, y) in enumerate(boxes)]
    rows = [
        {"image_id": "a", "width": 1000, "height": 800, "uri": "x:a.png", "regions": many},
        {"image_id": "b", "width": 40, "height": 30, "uri": "x:b.png", "regions": many[:0]},
    ]
    desk.write("g.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    text = PIPELINE.replace('use = "coco"', 'use = "jsonl"').replace('annotations = "coco.json"', 'graphs = "g.jsonl"')
    desk.write("p.toml", text)
    done, peak = desk.peak_memory("run", "p.toml", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert {name: step["computed"] for name, step in report["steps"].items()} == dict.fromkeys(report["steps"], 2)
    assert peak < 2e9
    shown = desk.sgforge("show", "runs/d", "a")
    assert shown.code == 0
    assert "regions (70000)" in shown.out
    assert len(sg.Dataset.open(desk.folder / "runs/d")["a"].graph.relations) > 0
