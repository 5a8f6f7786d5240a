"""What `kill.py` kills beside runs: gc, copies, and trainings, driver or child.

Each function damages nothing but by SIGKILL, lets the work finish in the end, and returns what it found wrong.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import sgforge as sg
from sgforge.dataset import Dataset, DatasetWriter, FolderUse, StepRecord
from sgforge.dataset.maintenance.copying import copy_dataset
from sgforge.dataset.maintenance.gc import collect, plan_gc
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.durable import write_text

KILLS_A_ROUND = 8
LITTER = 12
"""Versions, step folders and made files of each that a gc finds to remove."""

Arrays = Callable[[Path], dict[str, bytes]]


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that has imported what it needs, and waits for a line."""
    head = "import sys\nprint('ready', flush=True)\nsys.stdin.readline()\n"
    imports, _, body = code.partition("\n\n")
    command = [sys.executable, "-c", f"{imports}\n{head}{body}", *map(str, arguments)]
    pipe = subprocess.PIPE  # what a run says whose child was killed is no news
    process = subprocess.Popen(command, stdout=pipe, stdin=pipe, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError("the process did not start")
    return process


def go(process: subprocess.Popen[str]) -> None:
    """Let it begin."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def kill(process: subprocess.Popen[str]) -> bool:
    """Whether it was killed, rather than over before."""
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


# -- gc

_GC = """
from sgforge.dataset import DatasetWriter
from sgforge.dataset.maintenance.gc import collect, plan_gc

with DatasetWriter.open(sys.argv[1]) as writer:
    collect(writer, plan_gc(sys.argv[1], keep_days=0, checkpoints=True))
"""


def kill_gc(whole: Path, data: Path, most: int, arrays: Arrays, chance: random.Random) -> tuple[int, Counter[str]]:
    """Fill a copy with what nothing needs, kill its gc up to `most` times; kills, and what was found wrong."""
    subprocess.run(["cp", "-a", str(whole), str(data)], check=True)
    expected, kept = arrays(data), {meta.snapshot_id for meta in Dataset.open(data).log()}
    kills, wrong = 0, Counter[str]()
    while kills < most:
        litter(data, chance)
        for _ in range(min(KILLS_A_ROUND, most - kills)):
            process = child(_GC, data)
            before = _entries(data)
            go(process)
            while process.poll() is None and _entries(data) == before:
                pass
            time.sleep(chance.random() * 0.02)
            if not kill(process):
                break
            kills += 1
            wrong["torn"] += bool(verify_dataset(data).problems)
            wrong["lost"] += arrays(data) != expected
        with DatasetWriter.open(data) as writer:
            collect(writer, plan_gc(data, keep_days=0, checkpoints=True))
        left = set(os.listdir(data / "snapshots"))
        wrong["lost"] += bool(kept - left)
        wrong["left over"] += bool(left - kept) + any((data / "files").glob("*/*")) + any((data / "steps").iterdir())
        wrong["torn"] += bool(verify_dataset(data).problems)
    wrong["different"] += arrays(data) != expected
    return kills, wrong


def _entries(data: Path) -> tuple[list[str], ...]:
    return tuple(sorted(os.listdir(data / name)) for name in ("snapshots", "steps"))


def litter(data: Path, chance: random.Random) -> None:
    """Versions without a name, folders of steps that ended with them, files that nothing names."""
    with DatasetWriter.open(data) as writer:
        head = writer.snapshot("main")
        for _ in range(LITTER):
            number = chance.getrandbits(60)
            step = StepRecord(f"s{number}", "filter", "litter", f"f{number}")
            made = writer.publish(step, head, head.keys, {head.image_ids[0]: (step.name, f"r{number}")})
            writer.files.put(number.to_bytes(9, "big") * 100, ".bin")
            use = FolderUse(
                folder=f"{number:064x}",
                step="train",
                run_id=f"run {number}",
                branch="main",
                snapshot_id=made.id,
                used="2020-01-01T00:00:00+00:00",
                is_final=True,
            )
            folder = writer.folder_for(use.folder, use)
            (folder / "out").mkdir()
            write_text(folder / "out" / "weights", f"{number}")


# -- copy

_COPY = """
from sgforge.dataset.maintenance.copying import copy_dataset

copy_dataset(sys.argv[1], sys.argv[2])
"""


def kill_copy(whole: Path, target: Path, most: int, arrays: Arrays, chance: random.Random) -> tuple[int, Counter[str]]:
    """Kill copies to one place up to `most` times; kills, and what was found wrong."""
    expected, kills, wrong = arrays(whole), 0, Counter[str]()
    begun = time.monotonic()
    copy_dataset(whole, target.with_name("first"))
    seconds = time.monotonic() - begun
    while kills < most:
        process = child(_COPY, whole, target)
        go(process)
        time.sleep(chance.random() * seconds)
        kills += kill(process)
        if target.exists():
            wrong["torn"] += bool(verify_dataset(target).problems)
            wrong["different"] += arrays(target) != expected
            subprocess.run(["rm", "-rf", str(target)], check=True)
    copy_dataset(whole, target)
    wrong["torn"] += bool(verify_dataset(target).problems)
    wrong["different"] += arrays(target) != expected
    wrong["left over"] += target.with_name(f".{target.name}.sgforge-copy").exists()
    wrong["lost"] += bool(verify_dataset(whole).problems) + (arrays(whole) != expected)
    return kills, wrong


# -- trainings

_TRAIN = """
import sgforge as sg
import sgforge_baseline

sg.Pipeline(sg.complete("geometry"), sg.train("prior"), sg.generate("prior")).run(
    sg.source("scenes", folder=sys.argv[2], count=20), sys.argv[1], progress=False
)
"""
_GONE = 5.0
"""Seconds after which nothing of a killed run may live; a child that is still importing notices only after that."""
_IMPORTS = [sys.executable, "-c", "import sgforge.engine.executors.training.child"]
_LONGEST = 300.0


def kill_training(folder: Path, most: int, arrays: Arrays, chance: random.Random) -> tuple[int, Counter[str]]:
    """Kill runs while they train, the driver or its child, up to `most` times; kills, and what was found wrong."""
    scenes, kills, wrong = folder / "scenes", 0, Counter[str]()
    sg.Pipeline(sg.complete("geometry"), sg.train("prior"), sg.generate("prior")).run(
        sg.source("scenes", folder=str(scenes), count=20), folder / "whole", progress=False
    )
    expected = arrays(folder / "whole")
    number = 0
    while kills < most:
        number += 1
        data = folder / f"{number}"
        for _ in range(min(KILLS_A_ROUND, most - kills)):
            process = child(_TRAIN, data, scenes)
            go(process)
            kills += kill_one(process, chance, wrong)
            if (data / "sgforge.json").exists():
                wrong["torn"] += bool(verify_dataset(data).problems)
        last = child(_TRAIN, data, scenes)
        last.communicate("\n")
        wrong["lost"] += last.returncode != 0
        wrong["torn"] += bool(verify_dataset(data).problems)
        wrong["different"] += arrays(data) != expected
    return kills, wrong


def kill_one(process: subprocess.Popen[str], chance: random.Random, wrong: Counter[str]) -> bool:
    """Kill a run, or the child that trains for it, once there is one; whether it was killed in time."""
    children: list[int] = []
    while process.poll() is None and not children:
        children = list(_children(process.pid))
    time.sleep(chance.random() * 1.5)
    if process.poll() is not None:
        process.communicate()
        return False
    is_driver = chance.random() < 0.5
    with suppress(ProcessLookupError):
        os.kill(process.pid if is_driver else children[0], signal.SIGKILL)
    process.communicate()
    begun = time.monotonic()
    while any(_lives(pid) for pid in children) and time.monotonic() < begun + _LONGEST:
        time.sleep(0.05)
    outlived = time.monotonic() - begun
    if outlived > _GONE:
        begun = time.monotonic()
        subprocess.run(_IMPORTS, check=True)
        wrong["outlives"] += outlived > _GONE + 2 * (time.monotonic() - begun)
    return True


def _children(parent: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                yield int(entry.name)


def _lives(pid: int) -> bool:
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
