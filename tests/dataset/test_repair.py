"""`sgforge repair`: what can be mended is, the rest is moved aside, and a run computes only what was lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zarr
from dataset.damaging import copied, flip, head, lineage
from dataset.plain import Options, Teacher, run

import sgforge as sg
from sgforge.cli.main import main
from sgforge.dataset import Dataset
from sgforge.dataset.maintenance.mending import put_right
from sgforge.dataset.maintenance.repair import repair_dataset
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.digests import folder_sha256
from sgforge.errors import DatasetError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.seals import Digest, seal

WORDS = ("one", "two", "three")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of a source and three steps, whose versions share files."""
    data = tmp_path_factory.mktemp("whole") / "data"
    run(data, *WORDS)
    return data


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    return copied(whole, tmp_path / "data")


def graphs(data: Path) -> dict[str, list[str]]:
    """What the teachers said of each image, read by plain zarr."""
    group = zarr.open_group(str(head(data)), mode="r")
    counts, joined = np.asarray(group["vocabulary/predicate_len"]), np.asarray(group["vocabulary/predicate_bytes"])
    ends = np.cumsum([0, *counts])
    words = [joined[start:end].tobytes().decode() for start, end in pairwise(ends)]
    rows = np.cumsum([0, *np.asarray(group["image/relation_count"])])
    predicates = np.asarray(group["relation/predicate"])
    return {f"im{n}": [words[p] for p in predicates[rows[n] : rows[n + 1]]] for n in range(6)}


EXPECTED = {f"im{n}": ["on", *(f"{word}-im{n}" for word in WORDS)] for n in range(6)}


def counts(data: Path) -> list[int]:
    """How many images each step computes in a run."""
    return [step.counts.computed for step in run(data, *WORDS).steps]


def mend(data: Path, *others: Path):
    """Repair; afterwards nothing is wrong, and everything that was there is there or moved aside."""
    found = repair_dataset(data, others)
    assert found.left == ()
    assert verify_dataset(data).problems == []
    for _, where in found.aside:
        assert Path(where.partition(" (")[0]).exists()
    return found


def test_there_is_nothing_to_mend_in_a_sound_one(data, capsys):
    assert main(["repair", str(data)]) == 0
    assert capsys.readouterr().out == "nothing to mend: every byte is as it was written\n"
    assert not (data / "damaged").exists()


FILES = {
    "root": "snapshots/{id}/zarr.json",
    "group": "snapshots/{id}/region/zarr.json",
    "array": "snapshots/{id}/region/label/zarr.json",
    "chunks": "snapshots/{id}/region/label/c/0",
    "seal of the root": "seals/{id}.seal",
    "journal": "journal.sqlite",
    "seal of the journal": "seals/journal.sqlite.seal",
    "branch": "refs/heads/main",
    "marker": "sgforge.json",
}


@pytest.mark.parametrize("what", FILES)
def test_one_bad_byte_is_mended_and_costs_nothing(data, what):
    flip(data / FILES[what].format(id=head(data).name))
    mend(data)
    assert graphs(data) == EXPECTED
    assert counts(data) == [0, 0, 0, 0]


def test_a_file_that_versions_share_is_told_once_and_mended_in_all(data):
    chunk = head(data) / "region/label/c/0"
    links = chunk.stat().st_nlink
    flip(chunk, 3, 9)
    (problem,) = verify_dataset(data).problems
    assert problem.startswith("4 versions share a damaged file (")
    assert all(snapshot_id[:12] in problem for snapshot_id in lineage(data))
    assert "= branch main" in problem
    assert f"sgforge repair {data} mends all of them" in problem
    flip(chunk, 3)  # one bad byte is left
    mend(data)
    assert chunk.stat().st_nlink == links == 4
    assert counts(data) == [0, 0, 0, 0]


def test_a_sound_copy_comes_from_another_version(data):
    # Copies where the file system has no links: each version has a file of its own.
    ids = lineage(data)
    for snapshot_id in ids:
        path = data / "snapshots" / snapshot_id / "region/label/c/0"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        path.chmod(0o444)
    flip(data / "snapshots" / ids[1] / "region/label/c/0", 2, 8)
    found = mend(data)
    (told,) = found.mended
    assert "a sound copy of" in told
    assert counts(data) == [0, 0, 0, 0]


@pytest.mark.parametrize("what", ["root", "array", "chunks", "gone", "a version", "a parent"])
def test_a_sound_copy_comes_from_a_second_dataset(data, whole, what):
    ids = lineage(data)
    if what in FILES:
        flip(data / FILES[what].format(id=ids[0]), 5, 11, 17)
    elif what == "gone":
        (data / "snapshots" / ids[0] / "relation/predicate/c/0").unlink()
    else:
        shutil.rmtree(data / "snapshots" / ids[0 if what == "a version" else 2])
    mend(data, whole)
    assert graphs(data) == EXPECTED
    assert counts(data) == [0, 0, 0, 0]


def test_another_sound_file_of_the_same_size_is_no_copy(data, whole):
    """Keys of two versions are as many bytes, and both end in a checksum of their own that fits."""
    place = head(data).relative_to(data) / "image/key/c/0/0"
    before = (data / place).read_bytes()
    alike = [path for path in data.glob("snapshots/*/image/key/c/0/0") if path.stat().st_size == len(before)]
    assert len({path.read_bytes() for path in alike}) > 1
    assert len({Digest.of(path.read_bytes()) for path in alike}) == len({path.read_bytes() for path in alike})
    flip(data / place, 3, 9)
    found = mend(data, whole)
    assert (data / place).read_bytes() == before
    assert [line for line in found.mended if "image/key" in line] == [
        f"snapshot {head(data).name[:12]}: image/key/c/0/0: a sound copy of {whole / place}"
    ]
    assert [where for where, _ in found.aside] == [str(place)]


def test_what_cannot_be_mended_is_moved_aside_and_made_anew(data):
    flip(head(data) / "relation/predicate/c/0", 3, 9)
    lost = lineage(data)[0]
    found = mend(data)
    assert [what for what, _ in found.aside] == [f"snapshots/{lost}", "refs/heads/main"]
    assert found.again == ("step three: 6 of 6 images",)
    # The branch went back to what it came from.
    assert Dataset.open(data).snapshot.meta.step.name == "two"
    assert counts(data) == [0, 0, 0, 6]
    assert graphs(data) == EXPECTED
    assert verify_dataset(data).problems == []


def test_a_dry_run_changes_nothing(data, capsys):
    flip(head(data) / "relation/predicate/c/0", 3, 9)
    flip(data / "refs/heads/main")
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert main(["repair", str(data), "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dry_run"] is True
    assert [each["what"] for each in told["aside"]] == [f"snapshots/{head_of(before)}"]
    assert told["computed_again"] == ["step three: 6 of 6 images"]
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


def head_of(files: dict[Path, bytes]) -> str:
    """The version whose root names the step "three"."""
    roots = {
        path.parent.name: json.loads(data) for path, data in files.items() if path.parent.parent.name == "snapshots"
    }
    return next(each for each, root in roots.items() if root["attributes"]["sgforge"]["step"]["name"] == "three")


def test_another_writer_is_not_disturbed(data):
    from sgforge.dataset import DatasetWriter

    with DatasetWriter.open(data), pytest.raises(DatasetError, match="is being written by"):
        repair_dataset(data)


@pytest.mark.parametrize("damage", [{5}, {5, 6}])
def test_put_right_is_exact(damage):
    content = bytes(range(256)) * 40
    bad = bytearray(content)
    for place in damage:
        bad[place] ^= 0x5A
    assert put_right(bytes(bad), Digest.of(content)) == (content if len(damage) == 1 else None)


def test_parts_of_steps_are_mended_or_made_again(data, tmp_path):
    folder = data / "steps" / ("a" * 64)
    (folder / "out").mkdir(parents=True)
    (folder / "out" / "weights").write_bytes(b"0123456789" * 9)
    told = {"path": "out", "sha256": folder_sha256(folder / "out"), "metrics": {}}
    (folder / "checkpoint.json").write_text(json.dumps(told))
    (folder / "metrics.jsonl").write_text('{"metric": "loss"}\n')
    for name in ("checkpoint.json", "metrics.jsonl"):
        seal(folder / name)
    other = copied(data, tmp_path / "other")
    flip(folder / "out" / "weights", 1, 2)
    assert len(verify_dataset(data).problems) == 1
    mend(data, other)
    assert (folder / "out" / "weights").read_bytes() == b"0123456789" * 9
    flip(folder / "checkpoint.json", 1)
    flip(folder / "metrics.jsonl", 1, 2)
    assert len(verify_dataset(data).problems) == 2
    found = mend(data)
    assert json.loads((folder / "checkpoint.json").read_bytes()) == told
    assert [what.partition("/")[2].partition("/")[2] for what, _ in found.aside] == ["checkpoint.json", "metrics.jsonl"]
    flip(folder / "out" / "weights", 1, 2)
    found = mend(data)
    assert not (folder / "checkpoint.json").exists()
    assert any("checkpoint.json" in text for text in found.again)


@pytest.mark.parametrize("name", ["journal.sqlite", "responses.sqlite"])
def test_rows_that_can_be_read_are_kept_of_a_torn_file(data, name):
    path = data / name
    with closing(sqlite3.connect(path)) as base:
        base.execute("CREATE TABLE other (number INTEGER PRIMARY KEY, text TEXT)")
        base.executemany("INSERT INTO other (text) VALUES (?)", [("x" * 900,)] * 60)
        base.commit()
    seal(path, sealed=data / "seals" / name if name.startswith("journal") else path)
    with path.open("r+b") as stream:
        stream.seek(-30_000, os.SEEK_END)
        stream.write(b"\xff" * 8192)
    assert verify_dataset(data).problems
    found = mend(data)
    assert any(what == name for what, _ in found.aside)
    with closing(sqlite3.connect(path)) as base:
        assert 20 < base.execute("SELECT COUNT(*) FROM other").fetchone()[0] < 60
    assert counts(data) == [0, 0, 0, 0]


def test_a_killed_repair_is_done_again(data):
    """The process ends itself before one of its changes of names, which are counted."""
    chunk = head(data) / "region/label/c/0"
    flip(chunk, 3)
    flip(head(data) / "relation/predicate/c/0", 3, 9)
    killer = (
        "import os, signal, sys\n"
        "left = int(sys.argv[2])\n"
        "def dying(real):\n"
        "    def call(*args, **named):\n"
        "        global left\n"
        "        left -= 1\n"
        "        if left < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return real(*args, **named)\n"
        "    return call\n"
        "os.replace, os.rename, os.link = map(dying, (os.replace, os.rename, os.link))\n"
        "from sgforge.dataset.maintenance.repair import repair_dataset\n"
        "repair_dataset(sys.argv[1])\n"
    )
    kills = 0
    for allowed in (1, 3, 6):
        done = subprocess.run([sys.executable, "-c", killer, str(data), str(allowed)], capture_output=True, check=False)
        kills += done.returncode == -signal.SIGKILL
    assert kills
    mend(data)
    assert counts(data)[:3] == [0, 0, 0]
    assert graphs(data) == EXPECTED


class Wide:
    """Images of so many relations that a column has several chunks."""

    revision, options = 1, Options()

    def samples(self, roots, name):
        regions = [Region(f"r{n}", (n, 0, n + 1, 5)) for n in range(34)]
        pairs = [(a, b) for a in range(34) for b in range(34) if a != b][:1100]
        for number in range(40):
            relations = [Relation(a, f"p{(a * 7 + b * 3 + number) % 11}", b) for a, b in pairs]
            yield Sample(f"im{number:02}", SceneGraph(100, 100, regions, relations), split="train")


def test_of_a_version_with_a_bad_chunk_only_the_images_in_it_are_computed_again(tmp_path):
    data, pipeline = tmp_path / "data", sg.Pipeline(sg.complete(Teacher("one"), name="one"))
    pipeline.run(Wide(), data, progress=False)
    before = {sample.image_id: sample.graph for sample in Dataset.open(data)}
    lost = head(data).name
    chunk = head(data) / "relation/predicate/c/0"
    # The second of three, by where the index, 16 bytes a chunk and a checksum at the end, says that it lies.
    index = np.frombuffer(chunk.read_bytes()[-512 * 16 - 4 : -4], "<u8").reshape(-1, 2)
    flip(chunk, int(index[1, 0]) + 20, int(index[1, 0]) + 23)
    found = mend(data)
    assert f"snapshots/{lost}" in [what for what, _ in found.aside]
    (again,) = [text for text in found.again if text.startswith("step one: ")]
    count = int(again.split()[2])
    # A chunk of 65,536 bytes has the predicates of 16,384 relations, which are those of 14 to 16 images.
    assert 14 <= count <= 16
    report = pipeline.run(Wide(), data, progress=False)
    counts = report.step("one").counts
    assert (counts.computed, counts.reused) == (count, 40 - count)
    assert {sample.image_id: sample.graph for sample in Dataset.open(data)} == before
    assert head(data).name == lost
    assert verify_dataset(data).problems == []


def test_of_a_bad_picture_that_a_step_made_only_its_image_is_made_again(tmp_path):
    data = tmp_path / "data"
    vocabulary = str(Path(__file__).parents[2] / "examples/gas/scenes.toml")
    pipeline = sg.Pipeline(sg.caption("gas"), sg.render("procedural", size=64))
    source = sg.source("gas", count=4, vocabulary=vocabulary, split="train")
    pipeline.run(source, data, progress=False)
    picture = next(data.glob("files/*/*.png"))
    before = {path.name for path in data.glob("files/*/*.png")}
    other = copied(data, tmp_path / "other")
    flip(picture, 30, 40)
    mend(data, other)
    assert [step.counts.computed for step in pipeline.run(source, data, progress=False).steps] == [0, 0, 0]
    flip(picture, 30, 40)
    found = mend(data)
    assert f"files/{picture.parent.name}/{picture.name}" in [what for what, _ in found.aside]
    assert "step render: 1 of 4 images" in found.again
    assert [step.counts.computed for step in pipeline.run(source, data, progress=False).steps] == [0, 0, 1]
    assert {path.name for path in data.glob("files/*/*.png")} == before
    assert verify_dataset(data).problems == []


def test_a_copy_without_modes_and_links_is_one_sentence(data):
    for path in data.glob("snapshots/**/*"):
        if path.is_file():
            path.chmod(0o644)
    (problem,) = verify_dataset(data).problems
    assert " files of 4 snapshots can be written, such as " in problem
    mend(data)
    assert all(path.stat().st_mode & 0o222 == 0 for path in data.glob("snapshots/**/*") if path.is_file())
