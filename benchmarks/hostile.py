"""Datasets, JSONL and COCO files and pictures from a stranger: mutated at random, read by commands in child processes.

    python benchmarks/hostile.py                      some minutes
    python benchmarks/hostile.py --small              a minute
    python benchmarks/hostile.py --seed 7 --only 123  one trial again, its output shown

A trial changes a small sound thing (bytes, chunks with right checksums, what arrays hold, JSON, kinds of files, rows
and tables of SQLite) and lets one command read it in a process of its own. Counted are crashes (a signal, or an error
that is none of ours), hangs of more than 10 s (of work and sleep), files opened outside of what was given (a folder
beside it, to which links, `..` and absolute paths lead), escapes that reach the terminal, and what takes more memory
than the bound: a gigabyte beside what a process of the package takes anyway. One JSON line; exit code 1 if anything
was found.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import Any, Final

import attrs
import google_crc32c
import numpy as np

SECONDS: Final = 10.0
BOUND_MB: Final = 1024
SPACE_MB: Final = 6144
SECRET: Final = "a-secret-of-somebody-else"
BUG: Final = "this is a bug in sgforge"
ODD_NUMBERS: Final = (-1, 0, 1, 2, 255, 2**31 - 1, 2**31, 2**32, 2**40, 2**63, 2**64, -(2**31), -(2**63), 10**30, 1e308)
ODD_VALUES: Final = (
    *ODD_NUMBERS, None, True, 0.5, float("nan"), float("inf"), "", "\0", "\x1b]0;x\x07", "../../outside/secret", "=1+1",
    "\ud800", "x" * 10_000, [], {}, [[[[]]]], [1, 2, 3], {"a": {"b": {}}},
)  # fmt: skip
KINDS: Final = ("pipe", "device", "zero", "folder", "sparse", "gone", "empty", "loop", "link")
COMMANDS: Final = (
    *(["show"], ["show", "scene-0001"], ["log"], ["stats"], ["verify"], ["publish"], ["diff", "data"], ["tag"]),
    *(["ledger"], ["tag", "v2"], ["SAMPLES"], ["COLUMNS"], ["RUN"], ["repair"], ["upgrade"], ["branch"]),
    *(["gc", "--dry-run"], ["gc"], ["copy", "copied"]),
    ["export", "--to", "jsonl", "--output", "out"],
    ["export", "--to", "coco", "--output", "out"],
)
"""What reads a dataset; those that this version has not are left out, names in capitals are done in Python."""
STATEMENTS: Final = (
    "CREATE VIEW v AS SELECT 1",
    "CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END",
    "CREATE TABLE odd (a TEXT CHECK (length(randomblob(10)) > 1))",
    "DROP TABLE {table}",
    "ALTER TABLE {table} RENAME TO other",
    "UPDATE {table} SET {column} = zeroblob(100000)",
    "UPDATE {table} SET {column} = '{{'",
    "UPDATE {table} SET {column} = x'ff00ff'",
    "UPDATE {table} SET {column} = -1",
    "UPDATE {table} SET {column} = 9e999",
    "UPDATE {table} SET {column} = 'a' || char(27) || '[2J'",
    "PRAGMA writable_schema=1; UPDATE sqlite_master SET rootpage = 2",
    "PRAGMA writable_schema=1; UPDATE sqlite_master SET sql = 'x'",
)


@attrs.frozen
class Trial:
    """One changed thing in a folder of its own: what was changed, and what is to be done with it."""

    what: str
    arguments: list[str]


@attrs.frozen
class Outcome:
    """How a trial ended: what is wrong (None if nothing), its peak memory in MB, its seconds, what it printed."""

    fault: str | None
    peak_mb: float
    seconds: float
    output: str


# What is sound


def make_base(folder: Path) -> None:
    """A dataset with every feature, graphs, a COCO file and pictures; a folder outside that nothing may read."""
    from sgforge.cli.main import main

    outside = folder / "outside"
    outside.mkdir()
    (outside / "secret").write_text(SECRET)
    make_pictures(folder / "pictures")
    shutil.copy(folder / "pictures/a.png", outside / "a.png")
    make_dataset(folder / "data")
    make_jsonl(folder / "data", folder / "graphs.jsonl")
    make_coco(folder / "coco.json")
    assert main(["verify", str(folder / "data")]) == 0


def make_pictures(folder: Path) -> None:
    from PIL import Image

    folder.mkdir()
    pixels = np.random.default_rng(5).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    for ending in ("png", "jpg", "webp", "gif", "bmp", "tiff", "ppm"):
        picture.save(folder / f"a.{ending}")
    picture.convert("L").save(folder / "b.tiff", compression="tiff_lzw")
    picture.convert("P").save(folder / "c.png")
    picture.save(folder / "d.tiff", compression="jpeg")
    picture.save(folder / "e.gif", save_all=True, append_images=[picture.rotate(90)])


def make_dataset(folder: Path) -> None:
    import sgforge as sg
    from sgforge.dataset import Dataset, DatasetWriter, JournalRow, RunRecord, StepRecord
    from sgforge.edits import Edit
    from sgforge.graph import Relation
    from sgforge.models.cache.store import Store
    from sgforge.packed import pack_edit

    scenes = sg.source("scenes", folder=str(folder.parent / "scenes"), count=6)
    steps = [sg.segment("superpixels"), sg.complete("geometry"), sg.filter("spatial-rules"), sg.caption("graph")]
    try:
        sg.Pipeline(*steps).run(scenes, folder, progress=False)
    except sg.errors.SgforgeError:  # without the extra of superpixels, and whatever else is missing
        sg.Pipeline(*steps[1:3]).run(scenes, folder, progress=False)
    snapshot = Dataset.open(folder).snapshot
    with DatasetWriter.open(folder) as writer:
        writer.tag("v1", snapshot.id)
        writer.begin_run(RunRecord("r"))
        writer.begin_step(StepRecord("z", "complete", "z", "z"))
        edit = pack_edit(Edit.add(Relation(0, "beside", 1)))
        rows = [
            JournalRow(bytes([row]) * 16, snapshot.image_ids[row], "z", edit, (), "r", {}, snapshot.keys[row].tobytes())
            for row in range(3)
        ]
        writer.journal.put(rows)
    Store(folder / "responses.sqlite").close()


def make_jsonl(dataset: Path, path: Path) -> None:
    from sgforge.dataset import Dataset
    from sgforge.jsonl import write_jsonl

    write_jsonl(list(Dataset.open(dataset)), path)


def make_coco(path: Path) -> None:
    images = [
        {"id": n, "file_name": f"a.{ending}", "width": 32, "height": 24} for n, ending in enumerate(("png", "jpg"))
    ]
    rle = {"size": [24, 32], "counts": [100, 50, 618]}
    outlines: list[Any] = [[[1, 1, 9, 1, 9, 9]], rle, [[2, 2, 20, 2, 20, 20, 2, 20]]]
    common = {"category_id": 1, "bbox": [1, 1, 8, 8], "area": 30}
    annotations = [
        {"id": n, "image_id": n % 2, "iscrowd": int(n == 1), "segmentation": outline, **common}
        for n, outline in enumerate(outlines)
    ]
    data = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cup", "supercategory": "x"}],
    }
    path.write_text(json.dumps(data))


# What a stranger does


def flip(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, cut out, doubled or put in."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            del changed[at : at + chance.choice((1, 4, 100, 10_000))]
        elif kind == 1:
            changed[at:at] = changed[at : at + chance.choice((1, 16, 1000))]
        elif kind == 2:
            changed[at : at + 4] = struct.pack("<I", chance.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1)))
        elif kind == 3 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        else:
            changed[at : at + 1] = bytes([chance.randrange(256)])
    return bytes(changed)


def change_value(value: Any, chance: random.Random) -> Any:
    """One node of a JSON value replaced, removed or doubled."""
    if isinstance(value, (dict, list)) and value and chance.random() < 0.9:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = chance.choice(keys)
        kind = chance.randrange(12)
        if kind == 0:
            del value[key]
        elif kind == 1 and isinstance(value, list):
            value.extend([value[key]] * chance.choice((1, 5000)))
        elif kind == 1:
            value[str(chance.choice(ODD_VALUES))[:50]] = value[key]
        else:
            value[key] = change_value(value[key], chance)
        return value
    if isinstance(value, str) and chance.random() < 0.5:
        return flip(value.encode(errors="surrogatepass"), chance).decode(errors="replace")
    if type(value) in (int, float) and chance.random() < 0.5:
        return value * chance.choice((-1, 2, 1000, 10**6, 10**12)) + chance.choice((-1, 0, 1))
    return chance.choice(ODD_VALUES)


def change_json(data: bytes, chance: random.Random) -> bytes:
    value = json.loads(data)
    for _ in range(chance.choice((1, 1, 3))):
        value = change_value(value, chance)
    text = json.dumps(value)
    if chance.random() < 0.1:
        text = chance.choice(("[" * 100_000, text[: len(text) // 2], text + text, '{"a":' * 50_000))
    return text.encode()


def change_kind(path: Path, outside: Path | None, chance: random.Random) -> str:
    """Something else in place of a file; `outside`: where a link may lead, which a file that a person names may not."""
    kind = chance.choice(
        ("pipe", "device", "zero", "folder", "sparse", "gone", "empty", "loop", "link")[: 9 if outside else 8]
    )
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind in ("device", "zero"):
        path.symlink_to("/dev/tty" if kind == "device" else "/dev/zero")
    elif kind == "link" and outside:
        path.symlink_to(outside / chance.choice(("secret", "a.png", "none")))
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind in ("sparse", "empty"):
        path.write_bytes(b"")
        os.truncate(path, 2**38 if kind == "sparse" else 0)
    return kind


def change_shard(data: bytes, per_shard: int, chance: random.Random) -> bytes:
    """A chunk of a shard changed with its checksum, or the index with its own."""
    head = 16 * per_shard + 4
    index = np.frombuffer(data[-head:-4], "<u8").reshape(-1, 2).copy()
    stored = np.flatnonzero(index[:, 1] != 2**64 - 1)
    body = bytearray(data[:-head])
    if chance.random() < 0.3:
        for _ in range(2):
            index[chance.randrange(len(index)), chance.randrange(2)] = chance.choice((0, 1, 4, 2**31, 2**63, 2**64 - 2))
    else:
        at, size = map(int, index[chance.choice(stored.tolist())])
        chunk = bytearray(body[at : at + size - 4])
        for _ in range(chance.choice((1, 2, 4))):
            place = chance.randrange(min(len(chunk), chance.choice((24, 24, 10**6))))
            wide = struct.pack("<I", chance.choice((0, 1, 16, 2**31 - 16, 2**31, 2**32 - 1)))
            new = wide if chance.random() < 0.5 else bytes([chance.randrange(256)])
            chunk[place : place + len(new)] = new
        del chunk[size - 4 :]
        body[at : at + size] = chunk + struct.pack("<I", google_crc32c.value(bytes(chunk)))
    tail = index.astype("<u8").tobytes()
    return bytes(body) + tail + struct.pack("<I", google_crc32c.value(tail))


def change_content(version: Path, name: str, chance: random.Random) -> None:
    """What an array holds, written soundly, with what its version says of it."""
    from sgforge.dataset.publishing.write_snapshot import checksum
    from sgforge.dataset.zarr_arrays.reading import StoredArray
    from sgforge.dataset.zarr_arrays.writing import write_array

    stored = StoredArray(version / name, version)
    data = stored.read().copy()
    flat = data.reshape(-1)
    odd = np.array(
        [np.iinfo(data.dtype).max, np.iinfo(data.dtype).min, 1, 127, 200]
        if data.dtype.kind in "iu"
        else [np.nan, np.inf, -1, 1e38]
    )
    kind = chance.randrange(5)
    if kind == 0 or not len(flat):
        rows = chance.choice((1, 3, 1000, 3_000_000))
        data = np.full((rows, *data.shape[1:]), chance.choice((0, 1, 3))).astype(data.dtype)
    elif kind == 1:
        flat[:] = odd.astype(data.dtype)[np.array([chance.randrange(len(odd)) for _ in range(len(flat))])]
    elif kind == 2:
        data = data[: chance.randrange(len(data))]
    else:
        for _ in range(chance.choice((1, 1, 5))):
            flat[chance.randrange(len(flat))] = odd.astype(data.dtype)[chance.randrange(len(odd))]
    shutil.rmtree(version / name)
    write_array(version / name, data, stored.fill)
    meta = json.loads((version / "zarr.json").read_bytes())
    record = meta["attributes"]["sgforge"]["arrays"][name]
    record["rows"], record["crc32c"] = len(data), checksum(iter([data]))
    rewrite(version / "zarr.json", json.dumps(meta).encode())


def change_table(path: Path, chance: random.Random) -> str:
    """Rows or tables of a SQLite file."""
    with closing(sqlite3.connect(path)) as base:
        tables = [name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = chance.choice(tables)
        column = chance.choice([name for _, name, *_ in base.execute(f"PRAGMA table_info({table})")])
        statement = chance.choice(STATEMENTS).format(table=table, column=column)
        try:
            base.executescript(statement)
            base.commit()
        except sqlite3.Error:
            pass
    return statement


def rewrite(path: Path, data: bytes) -> None:
    """Other bytes, in a file of its own: others may be links to the same."""
    path.unlink()
    path.write_bytes(data)


# One trial


def copy_linked(source: Path, target: Path) -> None:
    """A copy whose files are links, but those that are written in place."""

    def copy(one: str, other: str) -> None:
        shutil.copy2(one, other) if ".sqlite" in one else os.link(one, other)

    shutil.copytree(source, target, copy_function=copy)


def on_dataset(base: Path, folder: Path, chance: random.Random) -> Trial:
    data = folder / "data"
    copy_linked(base / "data", data)
    files = sorted(path for path in data.rglob("*") if path.is_file() and path.name != "lock")
    version = data / "snapshots" / (data / "refs/heads/main").read_text().strip()
    kind = chance.choice(("bytes", "chunk", "content", "content", "content", "json", "json", "kind", "table", "table"))
    path = chance.choice(files)
    if kind == "bytes":
        rewrite(path, flip(path.read_bytes(), chance))
    elif kind == "chunk":
        path = chance.choice([path for path in files if "/c/" in str(path) and version in path.parents])
        array = json.loads((path.parents[path.parts[::-1].index("c")] / "zarr.json").read_bytes())
        inner = array["codecs"][0]["configuration"]["chunk_shape"][0]
        rewrite(
            path,
            change_shard(path.read_bytes(), array["chunk_grid"]["configuration"]["chunk_shape"][0] // inner, chance),
        )
    elif kind == "content":
        names = json.loads((version / "zarr.json").read_bytes())["attributes"]["sgforge"]["arrays"]
        name = chance.choice(sorted(names))
        path = version / name
        change_content(version, name, chance)
    elif kind == "json":
        path = chance.choice([path for path in files if path.suffix == ".json"] + [version / "zarr.json"] * 30)
        rewrite(path, change_json(path.read_bytes(), chance))
    elif kind == "kind":
        kind = change_kind(path, base / "outside", chance)
    else:
        path = chance.choice([path for path in files if path.name in ("journal.sqlite", "responses.sqlite")])
        kind = change_table(path, chance)
    return Trial(f"dataset {path.relative_to(data)}: {kind}", command(data, folder, chance))


def command(data: Path, folder: Path, chance: random.Random) -> list[str]:
    """A command over a dataset, or one of those that have no name on the command line."""
    name, *others = chance.choice([words for words in COMMANDS if words[0].isupper() or has_command(words[0])])
    others = [str(folder / word) if word in ("out", "copied", "data") else word for word in others]
    return [name, *others, str(data)] if name in ("export", "ledger") else [name, str(data), *others]


def has_command(name: str) -> bool:
    from sgforge.cli.main import COMMANDS

    return name in COMMANDS


def on_jsonl(base: Path, folder: Path, chance: random.Random) -> Trial:
    path = folder / "graphs.jsonl"
    lines = (base / "graphs.jsonl").read_bytes().splitlines()
    row = chance.randrange(len(lines))
    lines[row] = change_json(lines[row], chance) if chance.random() < 0.8 else flip(lines[row], chance)
    path.write_bytes(b"\n".join(lines))
    if chance.random() < 0.05:
        return Trial(f"jsonl: {change_kind(path, None, chance)}", ["import", str(path), str(folder / "new")])
    command = chance.choice((["import", str(path)], ["import", "jsonl", str(path)]))
    return Trial(f"jsonl line {row + 1}", [*command, str(folder / "new")])


def on_coco(base: Path, folder: Path, chance: random.Random) -> Trial:
    path = folder / "coco.json"
    data = (base / "coco.json").read_bytes()
    path.write_bytes(change_json(data, chance) if chance.random() < 0.8 else flip(data, chance))
    what = "coco"
    if chance.random() < 0.05:
        what += ": " + change_kind(path, None, chance)
    pictures = folder / "pictures"
    copy_linked(base / "pictures", pictures)
    if chance.random() < 0.3:
        what += ": picture " + change_kind(pictures / chance.choice(("a.png", "a.jpg")), base / "outside", chance)
    return Trial(what, ["import", "coco", str(path), str(folder / "new"), "--images", str(pictures)])


def on_picture(base: Path, folder: Path, chance: random.Random) -> Trial:
    name = chance.choice(sorted(path.name for path in (base / "pictures").iterdir()))
    path = folder / name
    data = flip((base / "pictures" / name).read_bytes(), chance)
    if chance.random() < 0.6:  # numbers near the head, where sizes stand
        changed = bytearray(data)
        for _ in range(chance.choice((1, 2, 6))):
            wide = chance.choice((">I", "<I", ">H", "<H"))
            at = chance.randrange(min(len(changed) - 4, chance.choice((40, 300, 10**6))))
            most = 2 ** (8 * struct.calcsize(wide)) - 1
            struct.pack_into(wide, changed, at, min(most, chance.choice((0, 1, 9000, 65_535, 10**6, 2**31 - 1, most))))
        data = right_checksums(bytes(changed)) if name.endswith("png") else bytes(changed)
    path.write_bytes(data)
    return Trial(f"picture {name}", ["PICTURE", str(path)])


def right_checksums(data: bytes) -> bytes:
    """A PNG with the checksums that its chunks should have."""
    import zlib

    found, at = bytearray(data), 8
    while at + 12 <= len(found):
        (size,) = struct.unpack_from(">I", found, at)
        end = at + 8 + size
        if end + 4 > len(found):
            break
        struct.pack_into(">I", found, end, zlib.crc32(bytes(found[at + 4 : end])))
        at = end + 4
    return bytes(found)


TRIALS: Final[tuple[Callable[[Path, Path, random.Random], Trial], ...]] = (
    on_dataset, on_dataset, on_dataset, on_dataset, on_jsonl, on_coco, on_picture, on_picture,
)  # fmt: skip


# In the child


def do(arguments: list[str]) -> int:
    """The command, or one of those that have no name on the command line."""
    from sgforge.cli.main import main

    name, *others = arguments
    special = {"PICTURE": read_picture, "SAMPLES": read_samples, "COLUMNS": read_columns, "RUN": run_again}
    if name not in special:
        return main(arguments)
    from sgforge.errors import SgforgeError

    try:
        special[name](Path(others[0]))
    except SgforgeError as error:
        print(error)
        return 1
    return 0


def read_picture(path: Path) -> None:
    from sgforge.errors import ImageError
    from sgforge.images import Roots

    for turned in ("", "+turned"):
        image = Roots({"a": path.parent}).image(f"a{turned}:{path.name}")
        for read in (image.size, image.array, image.sha256):
            try:
                read()
            except ImageError as error:
                print(error)


def read_samples(path: Path) -> None:
    from sgforge.dataset import Dataset

    for sample in Dataset.open(path):
        for column in (sample.values, sample.region_values, sample.relation_values):
            list(column.items())


def read_columns(path: Path) -> None:
    from sgforge.dataset import Dataset

    dataset = Dataset.open(path)
    dataset.snapshot.columns()
    print(dataset.snapshot.provenance, dataset.filter(predicate="on"), dataset.snapshot.rows())


def run_again(path: Path) -> None:
    import sgforge as sg

    scenes = sg.source("scenes", folder=str(path.parent / "scenes"), count=6)
    sg.Pipeline(sg.complete("geometry"), sg.filter("spatial-rules")).run(scenes, path, progress=False)


def child(trial: Trial, folder: Path, outside: Path) -> None:
    """Do it with limits, its output in a file; tell of files opened outside. Never returns."""
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.setsid()
    real = os.path.realpath(outside) + os.sep

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event in ("open", "sqlite3.connect") and isinstance(args[0], (str, bytes, os.PathLike)):
            try:
                where = os.path.realpath(os.fsdecode(args[0]))
            except (OSError, ValueError):
                return
            if where.startswith(real):
                os.write(2, f"\nOUTSIDE {where}\n".encode())

    sys.addaudithook(watch)
    resource.setrlimit(resource.RLIMIT_AS, (SPACE_MB << 20, SPACE_MB << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        code = do(trial.arguments)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(99)
    os._exit(code)


def outcome_of(trial: Trial, folder: Path, outside: Path, kept_mb: float) -> Outcome:
    """Let a child do it, and judge how it ended."""
    started = time.monotonic()
    number = os.fork()
    if number == 0:
        child(trial, folder, outside)
    status, used = wait(number)
    seconds = time.monotonic() - started
    text = (folder / "output").read_bytes().decode(errors="replace") if (folder / "output").exists() else ""
    peak = used.ru_maxrss / 1024
    return Outcome(fault_of(status, text, peak - kept_mb), peak, seconds, text)


def wait(number: int) -> tuple[int | None, Any]:
    """How the child ended; None if it was ended for hanging: its own CPU time and the time it slept are its time.

    Time in which it waits for a core that others hold is not: a busy machine makes no hang.
    """
    slept, before = 0.0, time.monotonic()
    while True:
        done, status, used = os.wait4(number, os.WNOHANG)
        if done:
            return status, used
        now = time.monotonic()
        state, worked = state_of(number)
        slept, before = slept + (now - before if state != "R" else 0.0), now
        if slept + worked > SECONDS:
            os.kill(number, signal.SIGKILL)
            _, _, used = os.wait4(number, 0)
            return None, used
        time.sleep(0.002 if slept + worked < 0.1 else 0.02)


def state_of(number: int) -> tuple[str, float]:
    """The letter of a process's state and its CPU seconds so far (Linux, proc(5))."""
    fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fault_of(status: int | None, text: str, peak_mb: float) -> str | None:
    if status is None:
        return "hang"
    if "OUTSIDE " in text or SECRET in text:
        return "outside"
    if os.WIFSIGNALED(status) or os.WEXITSTATUS(status) not in (0, 1, 2, 4):
        return "crash"
    if BUG in text or "Traceback (most recent call last)" in text:
        return "crash"
    if "\x1b" in text:
        return "escape"
    return "memory" if peak_mb > BOUND_MB else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="120 trials")
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=20261127)
    parser.add_argument("--only", type=int, help="one trial by its number")
    args = parser.parse_args()
    numbers = range(120 if args.small else args.trials) if args.only is None else [args.only]
    found: Counter[str] = Counter()
    worst = {"peak_mb": 0.0, "seconds": 0.0}
    with tempfile.TemporaryDirectory(prefix="sgforge-hostile-") as scratch:
        base = Path(scratch) / "base"
        base.mkdir()
        with redirect_stdout(sys.stderr):
            make_base(base)
        gc.freeze()
        kept = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for number in numbers:
            outcome = one(number, args, base, kept)
            found[outcome.fault or "fine"] += 1
            worst = {name: max(value, getattr(outcome, name)) for name, value in worst.items()}
        untouched = (base / "outside/secret").read_text() == SECRET
    faults = {name: found[name] for name in ("crash", "hang", "outside", "escape", "memory")}
    report = {
        "benchmark": "hostile",
        "seed": args.seed,
        "trials": len(numbers),
        "crashes": faults["crash"],
        "hangs": faults["hang"],
        "reads_outside": faults["outside"],
        "escapes": faults["escape"],
        "beyond_bound": faults["memory"],
        "outside_untouched": untouched,
        "peak_mb": round(worst["peak_mb"]),
        "bound_mb": round(BOUND_MB + kept),
        "slowest_s": round(worst["seconds"], 1),
    }
    print(json.dumps(report))
    return int(any(faults.values()) or not untouched)


def one(number: int, args: argparse.Namespace, base: Path, kept_mb: float) -> Outcome:
    """One trial by its number, told if anything was found."""
    chance = random.Random(f"{args.seed} {number}")
    folder = base.parent / "trial"
    folder.mkdir()
    try:
        trial = chance.choice(TRIALS)(base, folder, chance)
        outcome = outcome_of(trial, folder, base / "outside", kept_mb)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if outcome.fault or args.only is not None:
        print(f"trial {number}: {outcome.fault}: {trial.what}; {' '.join(trial.arguments)}", file=sys.stderr)
        print(outcome.output[-3000:], file=sys.stderr)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
