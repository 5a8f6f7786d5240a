"""SIGKILL a run at random moments, aimed also at publishing and at the ref update, then look for damage.

`python benchmarks/kill.py --kills 200` prints one JSON line. A third of the kills comes at any moment of a run, a third
when a snapshot is being written, a third while the branch is being moved. After
every kill: each answer that was acknowledged is in the journal or in a snapshot (else lost), no snapshot is torn (every
array is read by plain zarr and checked), and no acknowledged answer is ever computed again (else doubled). A round ends
when a run was left to finish: its arrays must be identical to those of an undisturbed run.

Half of the kills ends runs, the others in turn: `sgforge repair` of a dataset that was damaged in several ways, `gc` of
one full of what nothing needs, `copy`, and a run that trains, driver or child. When it was left to finish, nothing may
be wrong any more (else torn), and a run must make the same arrays; gc may take nothing that has a name (else lost) and
leave nothing that has none (left over), and nothing may live 5 s after its run (outlives).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import zarr
from kill_targets import kill_copy, kill_gc, kill_training

import sgforge as sg
from sgforge.dataset import Dataset, DatasetWriter, Journal, JournalRow, Snapshot
from sgforge.dataset.maintenance.repair import repair_dataset
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.dataset.publishing.write_snapshot import checksum
from sgforge.edits import Edit
from sgforge.graph import Region, Relation, Sample, SceneGraph

IMAGES = 60
KILLS_A_ROUND = 8


@attrs.frozen
class Options:
    amount: int = 3


class Source:
    """Images with two regions each, in an order of their own."""

    def samples(self, roots, name):
        for number in range(IMAGES - 1, -1, -1):
            regions = [Region(label="cup", box=(1, 1, 9 + number, 9)), Region(label="table", box=(1, 5, 90, 90))]
            graph = SceneGraph(128, 128, regions, [Relation(0, "on", 1)])
            yield Sample(f"image {number:04}", graph, split="train")


class Segmenter:
    """Adds regions, a batch at a time."""

    revision = 1
    options = Options()

    def segment(self, samples):
        time.sleep(0.004)
        return [Edit(regions=[Region(box=(n, n, n + 9, n + 9)) for n in range(3)]) for _ in samples]


class Teacher:
    """Adds relations, an image at a time."""

    revision = 1
    options = Options()

    async def complete(self, sample):
        await asyncio.sleep(0.01)
        width = int(sample.graph.all.regions[0].box[2])
        rows = [Relation(n, f"p{width * n % 7}", n + 1, score=(width * n % 50) / 50) for n in range(4)]
        return Edit(relations=rows)


class Filter:
    """Rejects what has a low score."""

    revision = 1
    options = Options()

    def filter(self, samples):
        time.sleep(0.004)
        return [
            Edit.sum(Edit.reject(i, "low", r.score) for i, r in sample.graph.relations.items() if (r.score or 1) < 0.4)
            for sample in samples
        ]


class Editor(Filter):
    """Describes the first region."""

    def edit(self, samples):
        return [Edit.set("region", 0, descriptions=(f"{len(s.graph.relations)} relations",)) for s in samples]


def work(data: Path, log: Path) -> None:
    """One run, in a process that will be killed; every acknowledged answer is noted in `log`."""
    put = Journal.put
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def noted(self: Journal, rows: Sequence[JournalRow]) -> None:
        put(self, rows)
        os.write(handle, "".join(f"{row.key.hex()}\n" for row in rows).encode())

    Journal.put = noted
    pipeline = sg.Pipeline(
        sg.segment(Segmenter(), batch_size=4),
        sg.complete(Teacher(), workers=8),
        sg.filter(Filter(), batch_size=4),
        sg.edit(Editor(), batch_size=8),
    )
    print("ready", flush=True)
    pipeline.run(Source(), data, progress=False)


@attrs.define
class Damage:
    """What was found wrong, over all kills."""

    lost: int = 0
    doubled: int = 0
    torn: int = 0
    different: int = 0
    left_over: int = 0
    outlives: int = 0


def start(data: Path, log: Path) -> subprocess.Popen[str]:
    """A run in a process of its own, when it is about to begin."""
    command = [sys.executable, __file__, "--work", str(data), str(log)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"the run did not start: {process.communicate()[1]}")
    return process


def kill_at(process: subprocess.Popen[str], data: Path, aim: str, seconds: float, chance: random.Random) -> bool:
    """Kill the run at a moment of the kind `aim`; False if it ended before."""
    if aim == "any":
        moment = time.monotonic() + chance.random() * seconds
        while time.monotonic() < moment and process.poll() is None:
            time.sleep(0.001)
    else:
        before = _ref_state(data)
        while process.poll() is None and not (
            _is_publishing(data) if aim == "publish" else _ref_state(data) != before or _is_moving_ref(data)
        ):
            pass
        time.sleep(chance.random() * (0.05 if aim == "publish" else 0.002))
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _is_publishing(data: Path) -> bool:
    return any(name.startswith(".tmp-") for name in _names(data / "snapshots"))


def _is_moving_ref(data: Path) -> bool:
    """The branch's new file is being written, or is about to take the old one's place."""
    return any(name.endswith(".tmp") for name in _names(data / "refs" / "heads"))


def _ref_state(data: Path) -> int | None:
    try:
        return (data / "refs" / "heads" / "main").stat().st_ino
    except FileNotFoundError:
        return None


def check(data: Path, log: Path, damage: Damage) -> None:
    """Look for lost, doubled and torn."""
    for snapshot in _names(data / "snapshots"):
        if not snapshot.startswith("."):
            damage.torn += not is_whole(data / "snapshots" / snapshot)
    for branch in _names(data / "refs" / "heads"):
        if not branch.startswith("."):
            damage.torn += not is_whole(Dataset.open(data, branch).snapshot.path)
    noted = Counter(log.read_text().split()) if log.exists() else Counter()
    damage.doubled += sum(count - 1 for count in noted.values())
    keys = [bytes.fromhex(key) for key in noted]
    if keys:
        with DatasetWriter.open(data) as writer:
            journalled = writer.journal.has(keys)
            states = writer.states().find(keys)
        damage.lost += sum(s is None and key not in journalled for key, s in zip(keys, states, strict=True))


def is_whole(path: Path) -> bool:
    """Whether every array of a snapshot is there and holds what it should, read by plain zarr."""
    try:
        found = Snapshot.open(path)
        group = zarr.open_group(str(path), mode="r")
        for name, record in found.meta.arrays.items():
            data = np.asarray(group[name][...])
            if len(data) != record.rows or checksum(data) != record.crc32c:
                return False
    except Exception as error:
        print(f"{path}: {error}", file=sys.stderr)
        return False
    return True


def arrays(data: Path) -> dict[str, bytes]:
    """The bytes of every array of the branch, but for call and run tables."""
    found = Dataset.open(data).snapshot
    return {
        path: found.array(path).read().tobytes()
        for path in found.meta.arrays
        if path.partition("/")[0] in ("image", "region", "relation", "vocabulary")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", nargs=2, metavar=("DATA", "LOG"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(*map(Path, arguments.work))
        return
    damage, kills, rounds = run(arguments.kills, random.Random(arguments.seed))
    found = {**attrs.asdict(damage), "kills": dict(kills), "rounds": rounds}
    print(json.dumps({"benchmark": "kill", **found}))
    sys.exit(any(attrs.astuple(damage)))


def run(kills: int, chance: random.Random) -> tuple[Damage, Counter[str], int]:
    """Kill and check; the damage, how many kills of each kind, and in how many datasets."""
    damage, done, rounds = Damage(), Counter[str](), 0
    runs = kills - 4 * (kills // 8)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        process = start(whole, Path(folder) / "whole.log")
        begun = time.monotonic()
        process.communicate()
        seconds, expected = time.monotonic() - begun, arrays(whole)
        while done.total() < runs:
            rounds += 1
            data, log = Path(folder) / f"{rounds}", Path(folder) / f"{rounds}.log"
            for _ in range(min(KILLS_A_ROUND, runs - done.total())):
                aim = chance.choice(("any", "publish", "ref"))
                if kill_at(start(data, log), data, aim, seconds, chance):
                    done[aim] += 1
                    check(data, log, damage)
                else:
                    break
            start(data, log).communicate()
            check(data, log, damage)
            damage.different += arrays(data) != expected
        while done["repair"] < kills // 8:
            rounds += 1
            kill_repair(whole, Path(folder) / f"{rounds}", expected, kills // 8 - done["repair"], damage, done, chance)
        rounds += kill_others(whole, Path(folder), kills // 8, damage, done, chance)
    return damage, done, rounds


def kill_others(whole: Path, folder: Path, most: int, damage: Damage, done: Counter[str], chance: random.Random) -> int:
    """Kill gc, copies and trainings, each up to `most` times; in how many datasets."""
    training = folder / "training"
    training.mkdir()
    found = {
        "gc": kill_gc(whole, folder / "gc", most, arrays, chance),
        "copy": kill_copy(whole, folder / "copy", most, arrays, chance),
        "training": kill_training(training, most, arrays, chance),
    }
    for name, (kills, wrong) in found.items():
        done[name] += kills
        for what, count in wrong.items():
            field = what.replace(" ", "_")
            setattr(damage, field, getattr(damage, field) + count)
    return len(found)


def kill_repair(
    whole: Path,
    data: Path,
    expected: dict[str, bytes],
    most: int,
    damage: Damage,
    done: Counter[str],
    chance: random.Random,
) -> None:
    """Damage a copy, kill its repair up to `most` times, let it finish, and look at what it left."""
    subprocess.run(["cp", "-a", str(whole), str(data)], check=True)
    spoil(data, chance)
    command = [sys.executable, "-c", _REPAIR, str(data)]
    for _ in range(min(KILLS_A_ROUND, most)):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        process.stdin.write("\n")
        process.stdin.flush()
        # Most of its time it looks; what it changes, it changes within moments.
        before = _names_below(data)
        moment = time.monotonic() + chance.random() * 2
        while process.poll() is None and time.monotonic() < moment and _names_below(data) == before:
            pass
        time.sleep(chance.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            break
        done["repair"] += 1
    repaired = repair_dataset(data)
    damage.torn += bool(repaired.left) + bool(verify_dataset(data).problems)
    start(data, data.with_suffix(".log")).communicate()
    damage.different += arrays(data) != expected


_REPAIR = """
import sys
from sgforge.dataset.maintenance.repair import repair_dataset
print("ready", flush=True)
sys.stdin.readline()
repair_dataset(sys.argv[1])
"""


def _names_below(data: Path) -> list[str]:
    """What a repair has moved or is about to: the folders in `damaged`, the versions, its scratch folder."""
    return [*_names(data / "damaged"), *_names(data / "snapshots")]


def spoil(data: Path, chance: random.Random) -> None:
    """Change one byte of some files, and two of others, which no checksum tells how to put right."""
    files = [path for path in sorted(data.rglob("*")) if path.is_file() and path.stat().st_size > 40]
    for path in chance.sample([path for path in files if "snapshots" in path.parts], 4):
        _flip(path, {chance.randrange(path.stat().st_size) for _ in range(chance.choice((1, 2)))})
    _flip(data / "refs" / "heads" / "main", {chance.randrange(32)})
    _flip(data / "journal.sqlite", {chance.randrange((data / "journal.sqlite").stat().st_size)})


def _flip(path: Path, places: set[int]) -> None:
    mode = path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as stream:
        for place in places:
            stream.seek(place)
            found = stream.read(1)[0]
            stream.seek(place)
            stream.write(bytes([found ^ 0x41]))
    path.chmod(mode)


if __name__ == "__main__":
    main()
