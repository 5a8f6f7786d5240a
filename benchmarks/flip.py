"""Flip bytes of a dataset that has everything, and see whether `sgforge verify` says so.

`python benchmarks/flip.py` makes a dataset with every kind of file: sources, edits, further columns, pictures made by
a step, a checkpoint, a report, what a selector chose, paid answers, a journal, branches, tags, seals, known states;
and a second one as a killed run leaves it, with a write-ahead log. Then it changes 2,000 bytes at random, one at a
time (`--seed`), over all files, kind by kind in turn, and runs the check after each. It prints one JSON line:
by kind, how many were found, how many lay where SQLite keeps nothing (an unused page, the unused part of one, one that
the log holds anew), and how many were missed. The bar is 0 missed.

Left out: `lock`, which is empty while nobody writes; `-shm`, which SQLite makes anew whenever it opens a file; files of
a killed run that are no file of SQLite, as they are those of the first dataset.

    python benchmarks/flip.py            python benchmarks/flip.py --small --seed 7
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import sgforge as sg
from sgforge.dataset import Dataset, DatasetWriter, JournalRow, RunRecord, StepRecord
from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.maintenance.snapshot_checks import SnapshotChecker
from sgforge.dataset.maintenance.verification import findings_beside, verify_dataset
from sgforge.edits import UNANSWERED, Edit
from sgforge.errors import DatasetError
from sgforge.graph import Relation
from sgforge.models.cache.store import Store
from sgforge.packed import pack_edit

IMAGES = 6
ANSWERS = 40


def make(folder: Path) -> Path:
    """A dataset with every kind of file, sound and at rest."""
    data = folder / "data"
    pipeline = sg.Pipeline(
        sg.complete("geometry", on={"source": "seed"}),
        sg.filter("spatial-rules", on={"source": "seed"}),
        sg.caption("gas", on={"source": "drawn"}),
        sg.render("procedural", size=64, on={"source": "drawn"}),
        sg.select("top-fraction", rewards=[{"use": "spatial"}], fraction=0.5, others="keep", on={"source": "seed"}),
        sg.train("prior", on={"source": "seed", "split": "train"}),
        sg.generate("prior", on={"source": "seed"}),
        sg.evaluate("predcls", on={"source": "seed", "split": "train"}),
    )
    sources = {
        "seed": sg.source("scenes", folder=str(folder / "scenes"), count=IMAGES),
        "drawn": sg.source("gas", count=4, vocabulary=str(_VOCABULARY), split="train"),
    }
    pipeline.run(sources, data, progress=False)
    with DatasetWriter.open(data) as writer:
        writer.tag("first", Dataset.open(data).log()[-1].snapshot_id)
        _journal(writer)
        writer.states().save(least=1)
    _pay(data / "responses.sqlite")
    return data


_VOCABULARY = Path(__file__).parent.parent / "examples" / "gas" / "scenes.toml"


def _journal(writer: DatasetWriter) -> None:
    """Answers of a step that has not ended."""
    head = writer.snapshot("main")
    writer.begin_run(RunRecord("20260101T000000-flip", "{}", {"sgforge": "0"}, "2026-01-01T00:00:00+00:00"))
    writer.begin_step(StepRecord(name="later", verb="complete", component="later", fingerprint="later"))
    rows = []
    for number in range(ANSWERS):
        row = number % len(head)
        edit = pack_edit(Edit.add(Relation(0, f"beside number {number}", 1, score=0.5)))
        key = number.to_bytes(16, "big")
        # Some left a question open, which a table of its own remembers.
        counts = {UNANSWERED: 1} if number % 4 == 0 else {}
        rows.append(JournalRow(key, head.image_ids[row], "later", edit, (), "flip", counts, head.keys[row].tobytes()))
    writer.journal.put(rows)


def _pay(path: Path) -> None:
    """Answers of models."""
    with Store(path) as store:
        for number in range(ANSWERS):
            values = (
                number.to_bytes(32, "big"),
                "fake/model",
                "ok",
                os.urandom(700),
                "",
                1,
                0,
                0,
                1,
                0,
                5,
                0,
                "[]",
                1.5,
            )
            marks = ",".join("?" * len(values))
            store.post(
                lambda base, values=values, marks=marks: base.execute(f"INSERT INTO response VALUES ({marks})", values)
            )


def killed(data: Path, folder: Path) -> Path:
    """A copy whose journal a killed process left with a log."""
    target = folder / "killed"
    subprocess.run(["cp", "-a", str(data), str(target)], check=True)
    process = subprocess.Popen([sys.executable, __file__, "--die", str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "kept\n":
        raise RuntimeError("the process that was to be killed kept nothing")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return target


def die(data: Path) -> None:
    """Keep answers, and wait to be killed."""
    with DatasetWriter.open(data) as writer:
        rows = [
            JournalRow((1000 + n).to_bytes(16, "big"), "image", "later", pack_edit(Edit.drop(f"no {n}")), (), "flip")
            for n in range(ANSWERS)
        ]
        for row in rows:
            writer.journal.put([row])
        print("kept", flush=True)
        sys.stdin.read()
        signal.pause()


def kinds(data: Path) -> dict[str, list[Path]]:
    """All files, by kind."""
    found = defaultdict(list)
    for path in sorted(data.rglob("*")):
        if path.is_file() and path.stat().st_size and path.name != "lock" and not path.name.endswith("-shm"):
            found[kind(path.relative_to(data))].append(path)
    return dict(found)


def kind(path: Path) -> str:
    """What a file is, by where it lies."""
    first, *rest = path.parts
    if first == "snapshots":
        root = "root" if len(rest) == 2 else "metadata" if path.name == "zarr.json" else "chunks"
        return f"snapshot {root}"
    if first == "steps":
        return f"step {'weights' if rest[1] == 'out' else path.name}"
    return {"refs": "branches and tags", "files": "made files", "seals": "seals"}.get(first, path.name)


def unused(path: Path, place: int) -> bool:
    """Whether a byte of a SQLite file is one that keeps nothing (SQLite's file format, 1.5 and 1.6)."""
    data = path.read_bytes()
    size = struct.unpack_from(">H", data, 16)[0] or 1
    size = 65536 if size == 1 else size
    page, offset = divmod(place, size)
    start = page * size
    if page + 1 in {*_free_pages(data, size), *_pages_of_log(path.with_name(f"{path.name}-wal"), size)}:
        return True
    head = 100 if page == 0 else 0
    if data[start + head] not in (2, 5, 10, 13):
        return False
    block, cells, content, _ = struct.unpack_from(">HHHB", data, start + head + 1)
    first = head + (12 if data[start + head] in (2, 5) else 8) + 2 * cells
    if first <= offset < (content or 65536):
        return True
    while block:
        following, length = struct.unpack_from(">HH", data, start + block)
        if block + 4 <= offset < block + length:
            return True
        block = following
    return False


def _pages_of_log(path: Path, size: int) -> Iterator[int]:
    """The pages that a write-ahead log holds anew: the file's own are read no more, and written over next."""
    data = path.read_bytes() if path.exists() else b""
    yield from (struct.unpack_from(">I", data, at)[0] for at in range(32, len(data) - size, 24 + size))


def _free_pages(data: bytes, size: int) -> Iterator[int]:
    trunk = struct.unpack_from(">I", data, 32)[0]
    while trunk:
        at = (trunk - 1) * size
        following, count = struct.unpack_from(">II", data, at)
        yield from struct.unpack_from(f">{count}I", data, at + 8)
        trunk = following


def is_found(data: Path, path: Path) -> bool:
    """Whether the check says that something is wrong.

    What `verify_dataset` finds is what its two parts find: of these only the one is run that reads the file.
    """
    try:
        folder = DatasetFolder.open(data)
        known = folder.snapshot_ids()
        if path.is_relative_to(folder.snapshots) or path.stem in known:
            checker = SnapshotChecker(folder)
            return any(checker.check(snapshot_id).problems for snapshot_id in known) or bool(checker.findings())
        return bool(findings_beside(folder, {kind: folder.refs(kind) for kind in ("heads", "tags")}, known)[1])
    except DatasetError:  # such as a marker that is none any more
        return True


def flip(path: Path, place: int, bits: int) -> None:
    mode = path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(place)
        found = stream.read(1)[0]
        stream.seek(place)
        stream.write(bytes([found ^ bits]))
    path.chmod(mode)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--small", action="store_true", help="120 flips instead of 2,000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--die", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.die:
        die(arguments.die)
        return
    flips = 120 if arguments.small else arguments.flips
    counts, missed = run(flips, random.Random(arguments.seed))
    total = {name: sum(each[name] for each in counts.values()) for name in ("found", "free", "missed")}
    by_kind = {name: dict(each) for name, each in sorted(counts.items())}
    print(
        json.dumps(
            {"benchmark": "flip", "seed": arguments.seed, "flips": flips, **total, "kinds": by_kind, "at": missed}
        )
    )
    sys.exit(bool(total["missed"]))


def run(flips: int, chance: random.Random) -> tuple[dict[str, Counter[str]], list[str]]:
    """Flip and check; what came of it by kind, and where what was missed lies."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        data = make(Path(folder))
        left = killed(data, Path(folder))
        files = [(data, name, paths) for name, paths in kinds(data).items()]
        logs = {name: paths for name, paths in kinds(left).items() if name.startswith("journal.sqlite")}
        files += [(left, f"{name} of a killed run", paths) for name, paths in logs.items()]
        for each in (data, left):
            if problems := verify_dataset(each).problems:
                raise RuntimeError(f"damaged before anything was flipped: {problems}")
        for number in range(flips):
            where, name, paths = files[number % len(files)]
            path = chance.choice(paths)
            place, bits = chance.randrange(path.stat().st_size), chance.randrange(1, 256)
            flip(path, place, bits)
            found = is_found(where, path)
            flip(path, place, bits)
            free = not found and ".sqlite" in path.name and not path.name.endswith("-wal") and unused(path, place)
            counts[name]["found" if found else "free" if free else "missed"] += 1
            if not found and not free:
                missed.append(f"{path.relative_to(where)} byte {place} ^ {bits}")
        for each in (data, left):
            if problems := verify_dataset(each).problems:
                raise RuntimeError(f"damaged after everything was flipped back: {problems}")
        for path in Path(folder).rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
    return counts, missed


if __name__ == "__main__":
    main()
