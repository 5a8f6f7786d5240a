"""Sources that have not changed are not read; whatever may have changed is."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import sgforge as sg
from sgforge.dataset import KnownWork, ReadingRecord
from sgforge.dataset.journal import Journal
from sgforge.edits import Edit
from sgforge.engine.forecast.forecast import forecast
from sgforge.engine.sources.unchanged import PictureFiles
from sgforge.errors import ImageError
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.stages import SourceFailure, Stamp

LONG_AGO = 1_600_000_000


@attrs.frozen
class Options:
    file: str
    split: str = "train"


class Listed:
    """Images that a file lists, one a line: id, uri, width and height; "bad ID" is an item that cannot be read."""

    revision = 1

    def __init__(self, file: Path, split: str = "train") -> None:
        self.options = Options(str(file), split)
        self.read = 0

    def stamp(self, roots: Roots, name: str) -> Stamp | None:
        return Stamp((Path(self.options.file),))

    def remarks(self) -> list[str]:
        return [f"read {self.options.file}"]

    def samples(self, roots: Roots, name: str):
        self.read += 1
        for line in Path(self.options.file).read_text().splitlines():
            words = line.split()
            if words[0] == "bad":
                yield SourceFailure("list", "bad-item", "made so", words[1])
            elif words[0] == "less":
                yield SourceFailure("list", "bad-row", f"of {words[1]}", words[1], "annotation")
            else:
                image_id, uri, width, height = words
                yield Sample(image_id, SceneGraph(int(width), int(height)), uri, self.options.split)


class Asks:
    """A filter that keeps everything."""

    options = Options("")
    revision = 1

    def filter(self, samples):
        return [Edit() for _ in samples]


def old(path: Path) -> Path:
    """A file that was changed long ago."""
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (32, 32)) -> Path:
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path)
    return old(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        picture(folder / f"{number}.png", number)
    return folder


@pytest.fixture
def listing(tmp_path: Path, photos: Path) -> Path:
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{number} photos:{number}.png 32 32\n" for number in range(3)))
    return path


class Runs:
    """Runs over one dataset, each with a new source."""

    def __init__(self, folder: Path, photos: Path) -> None:
        self.dataset = folder / "dataset"
        self.photos = photos

    def __call__(self, source: object, **more: object) -> sg.RunReport:
        return sg.Pipeline().run(source, self.dataset, roots={"photos": self.photos}, progress=False, **more)


@pytest.fixture
def run(toys, tmp_path: Path, photos: Path) -> Runs:
    return Runs(tmp_path, photos)


def is_read(run: Runs, source: Listed, **more: object) -> bool:
    """Whether a run reads the source."""
    before = source.read
    run(source, **more)
    return source.read > before


def test_what_has_not_changed_is_not_read_and_told_as_before(run, listing, photos):
    with listing.open("a") as stream:
        stream.write("bad 7\nless 1\nless 2\n8 photos:8.png 32 32\n9 photos:0.png 99 99\n")
    first, again = Listed(listing), Listed(listing)
    reports = run(first), run(again)
    assert (first.read, again.read) == (1, 0)
    one, two = (report.step("source") for report in reports)
    assert (one.counts.computed, one.counts.reused, one.counts.failed) == (3, 0, 3)
    assert (two.counts.computed, two.counts.reused, two.counts.failed) == (0, 3, 3)
    assert two.reasons == one.reasons == {"bad-item": 1, "image-missing": 1, "size-mismatch": 1}
    assert two.counts.faults == one.counts.faults == {"bad-row": 2}
    assert (
        two.notes
        == one.notes
        == (
            "annotations left out, bad-row: the first is list: of 1",
            f"read {listing}",
        )
    )
    assert reports[1].failures == reports[0].failures
    assert two.snapshot == one.snapshot
    assert reports[1].exit_code == 4


def test_a_source_without_a_stamp_and_one_without_a_revision_are_always_read(run, listing):
    class Nameless(Listed):
        revision = None  # type: ignore[assignment]

    class Shy(Listed):
        def stamp(self, roots, name):
            return None

    class Plain:
        revision = 1

        def __init__(self) -> None:
            self.options, self.read = Options(str(listing)), 0

        def samples(self, roots, name):
            self.read += 1
            yield from Listed(listing).samples(roots, name)

    for kind in (Nameless(listing), Shy(listing), Plain()):
        assert is_read(run, kind)
        assert is_read(run, kind)


def test_other_options_revision_name_and_limit_are_read(run, listing):
    class Next(Listed):
        revision = 2

    Next.__module__, Next.__qualname__ = Listed.__module__, Listed.__qualname__
    assert is_read(run, Listed(listing))
    assert is_read(run, Listed(listing, "val"))
    assert is_read(run, Next(listing))
    assert is_read(run, Listed(listing), limit=2)
    named = Listed(listing)
    run({"other": named})
    assert named.read == 1
    # Each of them is known from now on.
    for source in (Listed(listing), Listed(listing, "val"), Next(listing)):
        assert not is_read(run, source)
    assert not is_read(run, Listed(listing), limit=2)
    assert len(sg.Dataset.open(run.dataset).snapshot) == 3


def test_other_content_under_the_same_size_and_time_is_read(run, listing):
    old(listing)
    run(Listed(listing))
    text = listing.read_text()
    listing.write_text(text.replace("2 photos:2.png", "2 photos:1.png"))
    old(listing)
    assert is_read(run, Listed(listing))
    assert sg.Dataset.open(run.dataset).snapshot.sample(2).uri == "photos:1.png"


def test_a_file_that_was_only_touched_is_not_read(run, listing, photos):
    run(Listed(listing))
    os.utime(listing)
    os.utime(photos / "1.png", (5, 5))
    os.utime(photos / "2.png")
    assert not is_read(run, Listed(listing))


def test_a_picture_that_changed_is_read(run, listing, photos):
    first = run(Listed(listing)).snapshot
    picture(photos / "1.png", 7)
    os.utime(photos / "1.png", (LONG_AGO, LONG_AGO + 1))
    assert is_read(run, Listed(listing))
    assert sg.Dataset.open(run.dataset).snapshot.id != first
    assert not is_read(run, Listed(listing))


def swap(path: Path, seed: int) -> None:
    """Another picture of the same size in bytes under the same time of change."""
    status = path.stat()
    picture(path, seed)
    data = path.read_bytes()
    assert len(data) <= status.st_size
    path.write_bytes(data + b"\0" * (status.st_size - len(data)))
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


def roomy(path: Path) -> None:
    """Room behind a PNG's end, so that another can take its place."""
    with path.open("ab") as stream:
        stream.write(b"\0" * 40)
    old(path)


@pytest.mark.parametrize("ahead", [0, 3600])
def test_a_picture_whose_time_cannot_be_trusted_is_read(run, listing, photos, ahead):
    """Its time is that of the look at it, or later: it may be changed again and keep size and time."""
    roomy(photos / "1.png")
    # A minute on, as this test may take longer than clocks tick.
    moment = time.time() + 60 + ahead
    os.utime(photos / "1.png", (moment, moment))
    run(Listed(listing))
    swap(photos / "1.png", 7)
    assert is_read(run, Listed(listing))


def test_a_picture_that_only_its_content_gives_away_is_found_when_all_files_are_verified(run, listing, photos):
    roomy(photos / "1.png")
    first = run(Listed(listing)).snapshot
    swap(photos / "1.png", 7)
    assert not is_read(run, Listed(listing))
    assert is_read(run, Listed(listing), verify_files=True)
    assert sg.Dataset.open(run.dataset).snapshot.id != first
    assert not is_read(run, Listed(listing))


def test_a_missing_picture_is_looked_for_each_time(run, listing, photos):
    gone = photos / "1.png"
    data = gone.read_bytes()
    gone.unlink()
    assert run(Listed(listing)).step("source").reasons == {"image-missing": 1}
    assert not is_read(run, Listed(listing))
    gone.write_bytes(data)
    assert is_read(run, Listed(listing))
    gone.unlink()
    assert is_read(run, Listed(listing))


def test_a_broken_picture_is_tried_each_time(run, listing, photos):
    path = photos / "1.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:90])
    old(path)
    assert run(Listed(listing)).step("source").reasons == {"image-truncated": 1}
    assert not is_read(run, Listed(listing))
    path.write_bytes(whole)
    old(path)
    assert is_read(run, Listed(listing))
    assert len(sg.Dataset.open(run.dataset).snapshot) == 3


def test_an_annotation_that_does_not_fit_its_picture_is_read_when_the_picture_changes(run, listing, photos):
    listing.write_text(listing.read_text().replace("2 photos:2.png 32 32", "2 photos:2.png 40 40"))
    assert run(Listed(listing)).step("source").reasons == {"size-mismatch": 1}
    assert not is_read(run, Listed(listing))
    picture(photos / "2.png", 7, (40, 40))
    assert is_read(run, Listed(listing))


def test_of_several_sources_only_the_changed_is_read_and_nothing_else_changes(run, listing, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("x photos:0.png 32 32\nbad y\n")
    one, two = Listed(listing), Listed(other)
    run({"one": one, "two": two})
    picture(run.photos / "new.png", 9)
    other.write_text("x photos:0.png 32 32\nbad y\na photos:new.png 32 32\n")
    report = run({"one": one, "two": two})
    assert (one.read, two.read) == (1, 2)
    counts = report.step("source").counts
    assert (counts.computed, counts.reused, counts.failed) == (1, 4, 1)
    fresh = sg.Pipeline().run(
        {"one": one, "two": two}, tmp_path / "fresh", roots={"photos": run.photos}, progress=False
    )
    assert fresh.snapshot == report.snapshot
    assert (one.read, two.read) == (2, 3)
    run({"one": one, "two": two})
    assert (one.read, two.read) == (2, 3)
    # One of them alone is another snapshot, and no reading.
    alone = run(one)
    assert len(sg.Dataset.open(run.dataset).snapshot) == 3
    assert one.read == 3  # under another name it is another source
    assert alone.snapshot != report.snapshot
    run({"one": one})
    assert one.read == 3


def test_a_source_whose_images_all_fail_by_now_leaves_the_others(run, listing, tmp_path, photos):
    other = tmp_path / "other.txt"
    other.write_text("bad y\n")
    one, two = Listed(listing), Listed(other)
    assert run({"one": one, "two": two}).step("source").counts.failed == 1
    run({"one": one, "two": two})
    assert (one.read, two.read) == (1, 1)
    listing.write_text("bad z\n")
    with pytest.raises(sg.SgforgeError, match="no image could be read"):
        run({"one": one, "two": two})


def test_a_picture_that_became_a_link_out_of_its_root_is_refused(run, listing, photos, tmp_path):
    run(Listed(listing))
    (photos / "1.png").rename(tmp_path / "1.png")
    (photos / "1.png").symlink_to(tmp_path / "1.png")
    source = Listed(listing)
    assert run(source).step("source").reasons == {"image-refused": 1}
    assert source.read == 1


def test_without_the_snapshot_it_stood_in_a_source_is_read(run, listing):
    snapshot = run(Listed(listing)).snapshot
    shutil.rmtree(run.dataset / "snapshots" / snapshot)
    assert is_read(run, Listed(listing))
    assert sg.Dataset.open(run.dataset).snapshot.id == snapshot


def test_a_forecast_reads_only_what_has_changed_and_says_the_same(run, listing, toys, tmp_path):
    listing.write_text(listing.read_text() + "bad 7\nless 1\n8 photos:8.png 32 32\n")
    one, two = Listed(listing), Listed(tmp_path / "other.txt", "val")
    Path(two.options.file).write_text("0a photos:0.png 32 32\n")
    pipeline = sg.Pipeline(sg.filter(Asks()))

    def ahead(dataset: Path):
        request = pipeline.request({"one": one, "two": two}, dataset, roots={"photos": run.photos})
        return forecast(request.resolve(toys), dataset, request.roots)

    empty = ahead(tmp_path / "none")
    assert (one.read, two.read) == (1, 1)
    pipeline.run({"one": one, "two": two}, run.dataset, roots={"photos": run.photos}, progress=False)
    assert (one.read, two.read) == (2, 2)
    known = ahead(run.dataset)
    assert (one.read, two.read) == (2, 2)
    assert (known.images, known.unreadable) == (empty.images, empty.unreadable) == (4, 2)
    assert (empty.steps[0].to_compute, empty.steps[0].reused) == (4, 0)
    assert (known.steps[0].to_compute, known.steps[0].reused) == (0, 4)
    Path(two.options.file).write_text("00 photos:0.png 32 32\n01 photos:1.png 32 32\n")
    more = ahead(run.dataset)
    assert (one.read, two.read) == (2, 3)
    assert (more.images, more.unreadable) == (5, 2)
    # One photo is one state: what is known of "1" is known of "01".
    assert (more.steps[0].to_compute, more.steps[0].reused) == (0, 5)


CHANGES = st.tuples(
    st.sampled_from(["picture", "touch", "remove", "break", "line", "drop line", "resize", "nothing"]),
    st.integers(0, 3),
    st.booleans(),
)


def change(photos: Path, listing: Path, what: str, number: int, is_old: bool, moment: int) -> None:
    """One thing that may happen to the files of a source; `is_old`: long ago as it seems, else just now."""
    path = photos / f"{number}.png"
    if what in ("picture", "resize"):
        picture(path, moment, (32, 32) if what == "picture" else (40, 32))
    elif what == "remove":
        path.unlink(missing_ok=True)
    elif what == "break" and path.exists():
        path.write_bytes(path.read_bytes()[:100])
    elif what == "line":
        with listing.open("a") as stream:
            stream.write(f"more{moment} photos:{number}.png 32 32\n")
    elif what == "drop line":
        listing.write_text("".join(listing.read_text().splitlines(keepends=True)[:-1]))
    if what != "nothing" and path.exists():
        os.utime(path, (LONG_AGO + moment,) * 2 if is_old else None)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CHANGES, min_size=1, max_size=6))
def test_whatever_happens_to_files_a_run_makes_what_a_new_dataset_would_hold(toys, tmp_path, changes):
    runs_make_what_a_new_dataset_would_hold(tmp_path, changes)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CHANGES, min_size=1, max_size=6))
def test_whatever_more_happens_to_files_a_run_makes_what_a_new_dataset_would_hold(toys, tmp_path, changes):
    runs_make_what_a_new_dataset_would_hold(tmp_path, changes)


def runs_make_what_a_new_dataset_would_hold(tmp_path, changes):
    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        folder = Path(name)
        photos, listing = folder / "photos", folder / "list.txt"
        photos.mkdir()
        for number in range(3):
            picture(photos / f"{number}.png", number)
        # The image "0" stays, so that there always is one.
        Image.new("RGB", (32, 32)).save(photos / "stays.png")
        lines = ["0 photos:stays.png 32 32", *(f"{number + 1} photos:{number}.png 32 32" for number in range(3))]
        listing.write_text("\n".join(lines) + "\n")
        kept, other = Runs(folder, photos), folder / "other"
        kept(Listed(listing))
        for moment, (what, number, is_old) in enumerate(changes, 1):
            if what != "drop line" or len(listing.read_text().splitlines()) > 1:
                change(photos, listing, what, number, is_old, moment)
            found = kept(Listed(listing))
            fresh = sg.Pipeline().run(Listed(listing), other, roots={"photos": photos}, progress=False)
            shutil.rmtree(other)
            assert found.snapshot == fresh.snapshot
            assert found.step("source").reasons == fresh.step("source").reasons
            assert [one.image_id for one in found.failures] == [one.image_id for one in fresh.failures]


def test_stamps_are_those_of_the_files_behind_uris_inside_their_roots(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    for number, path in enumerate((root / "a.png", root / "sub" / "a.png", outside / "a.png")):
        path.write_bytes(b"x" * (number + 1))
        os.utime(path, ns=(0, number))
    (root / "in.png").symlink_to("sub/a.png")
    (root / "out.png").symlink_to(outside / "a.png")
    (root / "away").symlink_to(outside)
    (root / "loop").symlink_to("loop")
    roots, files = Roots({"r": root}), PictureFiles(Roots({"r": root}))
    inside = ["r:a.png", "r:sub/a.png", "r:sub/../a.png", "r:./a.png", "r:in.png", "r+turned:sub/a.png"]
    for uri in inside:
        status = roots.resolve(uri).stat()
        stamp = files.stamp(uri)
        assert (stamp.size, stamp.mtime_ns) == (status.st_size, status.st_mtime_ns), uri
        assert stamp.uri == uri.replace("+turned", "")
    refused = ["r:out.png", "r:away/a.png", "r:../outside/a.png", f"r:{outside}/a.png"]
    for uri in refused:
        with pytest.raises(ImageError):
            roots.resolve(uri)
    for uri in (*refused, "r:sub", "r:", "r:none.png", "r:loop", "r:loop/a", "x:a.png", "a.png", "r:a\0.png"):
        assert files.stamp(uri) is None, uri
    assert files.stamps(inside) == [files.stamp(uri) for uri in inside]
    assert files.stamps([*inside, "r:none.png"]) is None


def test_the_journal_keeps_the_newest_readings_and_a_dataset_of_before_has_none(tmp_path, run, listing):
    run(Listed(listing))
    with sg.dataset.DatasetWriter.open(run.dataset) as writer:
        for number in range(70):
            writer.journal.remember_reading(ReadingRecord(f"i{number}", "s", "t", "{}"))
        writer.journal.remember_reading(ReadingRecord("i69", "other", "t", "{}"))
        kept = [number for number in range(70) if writer.journal.reading(f"i{number}") is not None]
        assert kept == list(range(7, 70))
        assert writer.journal.reading("i69").stamp == "other"
    known = KnownWork.open(run.dataset)
    assert known.reading("i69") == ReadingRecord("i69", "other", "t", "{}")
    assert known.reading("i0") is None
    journal = Journal(run.dataset / "journal.sqlite")
    journal._base.execute("DROP TABLE reading")
    journal.close()
    assert known.reading("i69") is None
    assert is_read(run, Listed(listing))
