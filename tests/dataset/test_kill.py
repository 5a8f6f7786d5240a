"""SIGKILL at random moments, at publishing and at the ref: nothing acknowledged is lost, doubled or torn."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
import pytest
from dataset.publisher_child import IMAGES, key_of
from support.waiting import LONGEST

from sgforge.dataset import Dataset, DatasetWriter
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.dataset.zarr_arrays.layout import arrays_of
from sgforge.errors import DatasetError

CHILD = Path(__file__).with_name("publisher_child.py")
ROUNDS = 8


def run_child(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, CHILD, folder, str(ROUNDS)], stdout=subprocess.PIPE, text=True)


def killed(folder: Path, aim: str, rng: random.Random) -> list[list[str]]:
    """Start a child and kill it soon after it said `aim` ("" for any time); what it had said by then."""
    child = run_child(folder)
    said: list[list[str]] = []
    wanted = rng.randrange(1, 4)
    deadline = time.monotonic() + LONGEST
    assert child.stdout is not None
    for line in child.stdout:
        said.append(line.split())
        wanted -= said[-1][0] == aim if aim else 1
        if wanted <= 0 or time.monotonic() > deadline:
            break
    time.sleep(rng.uniform(0, 0.08 if aim == "publishing" else 0.002))
    child.kill()
    said.extend(line.split() for line in child.stdout if line.endswith("\n"))
    child.wait()
    return said


def check(folder: Path, acknowledged: set[bytes], published: set[str], moved: int) -> None:
    """A reader finds a whole version at once; the next writer has everything that was acknowledged."""
    if moved or (folder / "refs/heads/main").exists():
        dataset = Dataset.open(folder)
        number = len(dataset.log()) - 1
        assert number >= moved
        for sample in dataset:
            predicates = [relation.predicate for relation in sample.graph.all.relations]
            assert predicates == [f"r{index:02}" for index in range(1, number + 1)]
    with DatasetWriter.open(folder) as writer:
        assert not list(folder.glob("snapshots/.tmp-*"))
        keys = sorted(acknowledged)
        in_journal = writer.journal.has(keys)
        missing = [key for key, ref in zip(keys, writer.states().find(keys), strict=True) if ref is None]
        assert set(missing) <= in_journal
        assert published <= set(writer.snapshot_ids())
    assert verify_dataset(folder).problems == []


@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_kills_lose_nothing_and_the_end_is_that_of_an_undisturbed_run(tmp_path, kills):
    rng = random.Random(20)
    folder = tmp_path / "killed"
    acknowledged: set[bytes] = set()
    published: set[str] = set()
    moved = 0
    for number in range(kills):
        said = killed(folder, ["", "publishing", "moving", "put"][number % 4], rng)
        acknowledged |= {bytes.fromhex(words[1]) for words in said if words[0] == "put"}
        published |= {words[1] for words in said if words[0] == "published"}
        moved = max([moved, *(int(words[1]) for words in said if words[0] == "moved")])
        if (folder / "sgforge.json").exists():
            check(folder, acknowledged, published, moved)
    assert len(acknowledged) > IMAGES
    assert run_child(folder).wait() == 0
    undisturbed = tmp_path / "undisturbed"
    assert run_child(undisturbed).wait() == 0
    left, right = Dataset.open(folder).snapshot, Dataset.open(undisturbed).snapshot
    assert left.id == right.id
    for (column, one), (_, two) in zip(arrays_of(left.columns()), arrays_of(right.columns()), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes(), column.path
    assert {key.tobytes() for key in left.keys} == {key_of(image, ROUNDS) for image in range(IMAGES)}


def test_a_reader_beside_a_writer_sees_whole_versions_only(tmp_path):
    child = run_child(tmp_path / "dataset")
    seen: list[int] = []
    while child.poll() is None:
        # Until the first version is there, opening is an error; from then on never.
        with nullcontext() if seen else suppress(DatasetError):
            dataset = Dataset.open(tmp_path / "dataset")
            seen.append(len(dataset.log()) - 1)
        if not seen:
            continue
        for sample in dataset:
            assert len(sample.graph.all.relations) == seen[-1]
    assert child.returncode == 0
    assert seen == sorted(seen)
    assert len(Dataset.open(tmp_path / "dataset").log()) == ROUNDS + 1


def test_a_first_run_that_is_killed_at_once_leaves_a_sound_dataset(tmp_path):
    code = f"""
import os
from sgforge.dataset import DatasetWriter, RunRecord
DatasetWriter.open({str(tmp_path / "data")!r}).begin_run(RunRecord("run"))
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert verify_dataset(tmp_path / "data").problems == []
