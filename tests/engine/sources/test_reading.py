from __future__ import annotations

import hashlib
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from engine_toys import SourceOptions, ToySource, sample
from PIL import Image

import sgforge as sg
from sgforge.engine.sources.file_hashes import FileHashes, FileStamp
from sgforge.engine.sources.reading import read_sources, split_of
from sgforge.errors import SgforgeError, StepError
from sgforge.graph import Region, Sample, SceneGraph
from sgforge.images import Roots


class Given:
    """A source of the samples it is given."""

    def __init__(self, *samples):
        self.given = samples

    def samples(self, roots, name):
        yield from self.given


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (64, 64)) -> Path:
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path, quality=90)
    return path


def read(folder: Path, *samples: Sample, hashes: FileHashes | None = None, limit: int | None = None):
    roots = Roots({"photos": folder})
    return list(read_sources({"seed": Given(*samples)}, roots, hashes or FileHashes.none(), limit))


def reasons(readings) -> list[str | None]:
    return [reading.failure and reading.failure.reason for reading in readings]


def photo(name: str, size: tuple[int, int] = (64, 64), *regions: Region, image_id: str | None = None) -> Sample:
    return Sample(image_id or name, SceneGraph(*size, regions), f"photos:{name}")


def bomb(path: Path) -> Path:
    """A PNG that says it is 60,000 x 60,000."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    return path


def test_the_name_of_a_file_says_nothing_about_its_fault(tmp_path):
    (tmp_path / "truncated-refused.jpg").write_text("not a picture")
    (tmp_path / "refused.jpg").symlink_to("refused.jpg")
    found = read(
        tmp_path, photo("truncated-refused.jpg"), photo("no refused decompression bomb.jpg"), photo("refused.jpg")
    )
    assert reasons(found) == ["image-unreadable", "image-missing", "image-unreadable"]


def test_bad_images_fail_alone_and_the_rest_goes_on(tmp_path):
    whole = picture(tmp_path / "whole.jpg")
    data = whole.read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    png = picture(tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(png[: len(png) // 2])
    (tmp_path / "text.jpg").write_text("not a picture")
    bomb(tmp_path / "bomb.png")
    found = read(
        tmp_path,
        photo("whole.jpg"),
        photo("cut.jpg"),
        photo("missing.jpg"),
        photo("cut.png"),
        photo("text.jpg"),
        photo("bomb.png", (60_000, 60_000)),
        photo("whole.png"),
    )
    assert reasons(found) == [
        None,
        "image-truncated",
        "image-missing",
        "image-truncated",
        "image-unreadable",
        "image-refused",
        None,
    ]


def test_an_annotation_of_another_size_fails_and_says_both(tmp_path):
    picture(tmp_path / "a.png", size=(64, 48))
    (found,) = read(tmp_path, photo("a.png", (64, 64)))
    assert found.failure.reason == "size-mismatch"
    assert "64x48" in found.failure.detail
    assert "64x64" in found.failure.detail


def test_a_region_outside_its_image_fails_and_one_that_only_reaches_out_does_not(tmp_path):
    picture(tmp_path / "a.png")
    inside, reaching, outside = (Region(box=box) for box in ((1, 1, 5, 5), (60, 60, 70, 70), (64, 0, 70, 5)))
    found = read(tmp_path, photo("a.png", (64, 64), inside, reaching), photo("a.png", (64, 64), inside, outside))
    assert reasons(found) == [None, "region-outside"]


def test_an_annotation_of_the_picture_turned_round_is_told_why(tmp_path):
    picture(tmp_path / "a.png", size=(64, 48))
    (found,) = read(tmp_path, photo("a.png", (48, 64)))
    assert found.failure.reason == "size-mismatch"
    assert "64x48, its annotation says 48x64: orientation tags of files are not applied" in found.failure.detail


def test_a_plain_picture_gets_its_size_from_the_file(tmp_path):
    picture(tmp_path / "a.png", size=(40, 30))
    (found,) = read(tmp_path, Sample("a", uri="photos:a.png"))
    assert (found.sample.graph.width, found.sample.graph.height) == (40, 30)


def test_a_path_out_of_the_root_fails(tmp_path):
    (tmp_path / "photos").mkdir()
    picture(tmp_path / "secret.png")
    (tmp_path / "photos" / "link.png").symlink_to(tmp_path / "secret.png")
    found = read(tmp_path / "photos", photo("../secret.png"), photo("link.png"))
    assert reasons(found) == ["image-refused", "image-refused"]


def test_70_000_regions_are_read(tmp_path):
    picture(tmp_path / "a.png")
    regions = [Region(box=(x % 60, x // 60 % 60, x % 60 + 2, x // 60 % 60 + 2)) for x in range(70_000)]
    (found,) = read(tmp_path, photo("a.png", (64, 64), *regions))
    assert len(found.sample.graph.regions) == 70_000


def test_the_same_photo_under_two_ids_stays_on_one_side(tmp_path):
    data = picture(tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(data)
    one, two = read(tmp_path, photo("a.png"), photo("b.png"))
    assert one.sample.split == two.sample.split
    assert one.sample.sha256 == two.sample.sha256
    assert one.key == two.key


def test_a_tenth_is_held_out():
    splits = [split_of(None, f"image {number}") for number in range(5_000)]
    # Binomial(5000, 0.1): mean 500, standard deviation 21.2; five of these on either side.
    assert 394 <= splits.count("val") <= 606
    assert set(splits) == {"val", "train"}


@pytest.mark.parametrize(
    ("start", "expected"),
    [("0", "val"), ("1999999999999999", "val"), ("199999999999999a", "train"), ("f", "train")],
)
def test_the_split_is_decided_by_the_first_tenth_of_the_hash(start, expected):
    assert split_of(start.ljust(64, "0"), "any") == expected


def test_a_photo_under_two_ids_stays_on_one_side(tmp_path):
    for number in range(40):
        picture(tmp_path / f"{number}.png", number)
    given = [photo(f"{number}.png", image_id=f"{copy}-{number}") for copy in ("a", "b") for number in range(40)]
    splits = [reading.sample.split for reading in read(tmp_path, *given)]
    assert splits[:40] == splits[40:]
    assert set(splits) == {"train", "val"}


def test_a_split_that_the_source_gives_stays(tmp_path):
    (found,) = read(tmp_path, sample("1", split="test"))
    assert found.sample.split == "test"


def test_keys_follow_pixels_and_annotations_and_nothing_else(tmp_path):
    picture(tmp_path / "a.png", 1)
    picture(tmp_path / "b.png", 2)
    box, other = Region(box=(1, 1, 5, 5)), Region(box=(1, 1, 6, 5))
    keys = [
        reading.key
        for reading in read(
            tmp_path,
            photo("a.png", (64, 64), box),
            photo("a.png", (64, 64), box, image_id="renamed"),
            photo("a.png", (64, 64), other),
            photo("b.png", (64, 64), box),
        )
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_without_an_image_the_id_tells_samples_apart(tmp_path):
    one, two = read(tmp_path, Sample("1"), Sample("2"))
    assert one.key != two.key


def test_a_file_that_was_hashed_is_not_read_again(tmp_path):
    path = picture(tmp_path / "a.png")
    os.utime(path, (1, 1))
    known: dict[FileStamp, str] = {}
    hashes = FileHashes(lambda stamps: [known.get(stamp) for stamp in stamps], known.update)
    (first,) = read(tmp_path, photo("a.png"), hashes=hashes)
    stamp = FileStamp("photos:a.png", path.stat().st_size, path.stat().st_mtime_ns)
    assert known == {stamp: first.sample.sha256}
    known[stamp] = "0" * 64
    (second,) = read(tmp_path, photo("a.png"), hashes=hashes)
    assert second.sample.sha256 == "0" * 64


@pytest.mark.parametrize("ahead", [-1, 3600])
def test_what_was_changed_just_now_is_read_again(tmp_path, ahead):
    """It may be changed once more and have the same size and time; so may what was changed in the future."""
    path = picture(tmp_path / "a.png")
    os.utime(path, (time.time() + ahead,) * 2)
    known: dict[FileStamp, str] = {}
    hashes = FileHashes(lambda stamps: [known.get(stamp) for stamp in stamps], known.update)
    (found,) = read(tmp_path, photo("a.png"), hashes=hashes)
    assert found.sample.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert known == {}


def test_limit_counts_samples_of_each_source(tmp_path):
    roots = Roots()
    sources = {
        "one": ToySource(SourceOptions(count=5, broken=("00000",))),
        "two": ToySource(SourceOptions(start=10, count=5)),
    }
    found = list(read_sources(sources, roots, FileHashes.none(), 2))
    assert [reading.sample and reading.sample.image_id for reading in found] == [
        None,
        "00001",
        "00002",
        "00010",
        "00011",
    ]
    assert [reading.sample.source for reading in found[1:]] == ["one", "one", "two", "two"]


def test_a_source_that_fails_as_a_whole_stops_the_run(tmp_path):
    class Broken:
        def samples(self, roots, name):
            yield sample("1")
            raise ValueError("row 7 is odd")

    with pytest.raises(StepError, match=r"source 'seed' failed: ValueError: row 7 is odd \(test_reading.py, line "):
        list(read_sources({"seed": Broken()}, Roots(), FileHashes.none()))
    with pytest.raises(StepError, match="source 'seed' gave str, not a Sample or a SourceFailure"):
        list(read_sources({"seed": Given(sample("1"), "2")}, Roots(), FileHashes.none()))


def test_two_images_of_one_id_are_refused(toys, tmp_path):
    pipeline = sg.Pipeline(sg.complete("toy"))
    twice = {"one": sg.source("toy", count=3), "two": sg.source("toy", count=3)}
    with pytest.raises(SgforgeError, match="'00000' occurs twice"):
        pipeline.run(twice, tmp_path / "data", progress=False)


def test_failed_items_of_a_source_are_counted_and_the_rest_is_published(toys, tmp_path):
    report = sg.Pipeline(sg.complete("toy")).run(
        sg.source("toy", count=10, broken=["00003", "00007"]), tmp_path / "data", progress=False
    )
    source = report.step("source")
    assert (source.counts.computed, source.counts.failed, source.reasons) == (8, 2, {"broken": 2})
    assert report.exit_code == 4
    assert [failed.image_id for failed in report.failures] == ["00003", "00007"]
    assert len(sg.Dataset.open(tmp_path / "data")) == 8
