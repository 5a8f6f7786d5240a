"""What a source cannot give: what is an image and what is not, where a picture was looked for, when it is hopeless."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_toys import ToyStudent, sample
from PIL import Image

import sgforge as sg
from sgforge.engine.sources.file_hashes import FileHashes
from sgforge.engine.sources.missing_pictures import Neighbours
from sgforge.engine.sources.reading import read_sources
from sgforge.errors import PreflightError, StepError
from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.stages import SourceFailure


class Given:
    """A source of these items; `taken`: how many of them were taken."""

    def __init__(self, *items: Sample | SourceFailure) -> None:
        self.items = items
        self.taken = 0

    def samples(self, roots: object, name: str) -> Iterator[Sample | SourceFailure]:
        for item in self.items:
            self.taken += 1
            yield item


def read(source: Given, roots: Roots = Roots({})):
    return list(read_sources({"seed": source}, roots, FileHashes.none()))


def failing(count: int, reason: str = "broken", loses: str = "image") -> list[SourceFailure]:
    return [SourceFailure(f"line {number}", reason, f"number {number}", None, loses) for number in range(count)]


def test_an_annotation_that_is_left_out_is_no_failed_image(toys, tmp_path):
    faults = [
        SourceFailure("a.json: annotations[3]", "bad-box", "its box is empty", "a", "annotation"),
        *failing(2, "bad-mask", "annotation"),
    ]
    report = sg.Pipeline(sg.segment("toy")).run(Given(sample("a"), *faults), tmp_path, progress=False)
    source = report.step("source")
    assert (report.status, report.exit_code) == ("done", 0)
    assert (source.counts.computed, source.counts.failed) == (1, 0)
    assert source.counts.faults == {"bad-box": 1, "bad-mask": 2}
    assert source.reasons == {}
    assert report.failures == ()
    assert source.notes == (
        "annotations left out, bad-box: the first is a.json: annotations[3]: its box is empty",
        "annotations left out, bad-mask: the first is line 0: number 0",
    )
    assert "counted: 1 bad-box, 2 bad-mask" in str(report)


@pytest.mark.parametrize("field", ["where", "reason", "detail"])
def test_a_failure_of_a_source_consists_of_texts(field):
    with pytest.raises(StepError, match="needs texts for where, reason and detail"):
        SourceFailure(**{"where": "a", "reason": "b", "detail": "c", field: ValueError("d")})


def test_a_source_that_fails_for_one_reason_from_the_start_is_read_no_further():
    source = Given(*failing(20_000))
    with pytest.raises(StepError) as found:
        read(source)
    assert str(found.value) == (
        "source 'seed': its first 100 images all failed with 'broken', so the others were not read. The first: number 0"
    )
    assert source.taken <= 256


@pytest.mark.parametrize(
    "items",
    [
        [*failing(99), sample("a"), *failing(500)],
        [sample("a"), *failing(500)],
        [*failing(99), *failing(1, "other"), *failing(500)],
        [*failing(500, "bad-box", "annotation"), sample("a")],
        failing(99),
    ],
    ids=["99 and one", "one first", "two reasons", "annotations", "too few to say"],
)
def test_other_sources_are_read_to_their_end(items):
    assert len(read(Given(*items))) == len(items)


def test_annotations_between_failing_images_do_not_give_hope():
    items = [fault for pair in zip(failing(200), failing(200, "x", "annotation"), strict=True) for fault in pair]
    with pytest.raises(StepError, match="first 100 images all failed with 'broken'"):
        read(Given(*items))


def test_missing_pictures_are_hopeless_too_and_say_where_they_were_looked_for(tmp_path):
    samples = [sample(f"{number}", f"photos:{number}.jpg") for number in range(300)]
    with pytest.raises(StepError) as found:
        read(Given(*samples), Roots({"photos": tmp_path}))
    assert str(found.value).endswith(f"The first: image photos:0.jpg does not exist in {tmp_path}")


@pytest.mark.parametrize(
    ("there", "uri", "told"),
    [
        ("a.png", "p:a.jpg", "image p:a.jpg does not exist: {root} holds a.png"),
        ("A.JPG", "p:a.jpg", "image p:a.jpg does not exist: {root} holds A.JPG"),
        ("val/a.jpg", "p:a.jpg", "image p:a.jpg does not exist: {root} holds val/a.jpg"),
        ("a.jpg", "p:val/a.jpg", "image p:val/a.jpg does not exist: {root} holds a.jpg"),
        ("Val/a.jpg", "p:val/a.jpg", "image p:val/a.jpg does not exist: {root} holds Val"),
        ("val/b.jpg", "p:val/a.jpg", "image p:val/a.jpg does not exist in {root}/val"),
        ("val/a.jpeg", "p:val/a.jpg", "image p:val/a.jpg does not exist: {root}/val holds a.jpeg"),
        ("b.jpg", "p:val/a.jpg", "image p:val/a.jpg does not exist in {root}, which has no folder val"),
        ("b.jpg", "p:a", "image p:a does not exist in {root}"),
    ],
)
def test_the_near_file_is_named(tmp_path, there, uri, told):
    file = tmp_path / there
    file.parent.mkdir(exist_ok=True)
    Image.new("RGB", (64, 64)).save(file, "PNG")
    (reading,) = read(Given(sample("a", uri)), Roots({"p": tmp_path}))
    assert reading.failure.reason == "image-missing"
    assert reading.failure.detail == told.format(root=tmp_path)


def test_a_folder_is_listed_once_for_all_its_missing_pictures(tmp_path, monkeypatch):
    import os

    (tmp_path / "b.jpg").write_text("")
    listed: list[Path] = []
    scandir = os.scandir
    monkeypatch.setattr("os.scandir", lambda path: listed.append(path) or scandir(path))
    neighbours = Neighbours(Roots({"p": tmp_path}))
    for number in range(50):
        neighbours.tell(f"p:{number}.jpg")
    assert listed == [tmp_path]


def test_an_evaluation_without_held_out_images_says_how_to_have_some(toys, tmp_path):
    source = Given(*(sample(f"{number}", split="train") for number in range(4)))
    with pytest.raises(PreflightError) as found:
        sg.Pipeline(sg.train(ToyStudent()), sg.evaluate("toy")).run(source, tmp_path, progress=False)
    assert str(found.value) == (
        "step 'evaluate' has no held-out images to evaluate on: no image is in split test (there are 4 in train). Name "
        'a split that there is with on = {split = "train"}, give images split "test" in their source, or read more: of '
        "images without a split one in ten is held out as val"
    )


def test_an_evaluation_whose_held_out_images_failed_says_at_what(toys, tmp_path):
    names = [f"{number:05}" for number in range(10)]
    steps = sg.complete("toy", fail=["00004"], drop=["00009"]), sg.train(ToyStudent()), sg.evaluate("toy")
    with pytest.raises(StepError) as found:
        sg.Pipeline(*steps).run(sg.source("toy", count=len(names)), tmp_path, progress=False)
    assert str(found.value) == (
        "step 'evaluate': no held-out image is left to evaluate on (1 dropped, 1 failed at complete: unwilling): mend "
        'what they failed at, or evaluate on others with on = {split = "..."}'
    )
