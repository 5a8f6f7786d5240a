"""`sgforge import`: graph JSONL into a dataset, strictly, all faults at once; or what any source reads."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgpack
import numpy as np

from sgforge.cli.import_source import import_from_source
from sgforge.cli.terminal import json_text, rows_counted
from sgforge.columns import GraphColumns, Ragged, Vocabularies
from sgforge.columns.schema import ColumnSpec, Table
from sgforge.dataset import DatasetWriter
from sgforge.dataset.folder import check_branch
from sgforge.edits import Value
from sgforge.errors import ConfigError, DatasetError, GraphError
from sgforge.jsonl import read_columns
from sgforge.jsonl.columns import Further
from sgforge.jsonl.lenient import LineFault
from sgforge.packed import pack_values
from sgforge.statekey import KEY_BYTES, state_key
from sgforge.text.safe_text import visible

_EXAMPLES = """\
examples:
  sgforge import graphs.jsonl runs/first                  a new dataset, branch main
  sgforge import graphs.jsonl runs/first --branch given   beside what is there
  sgforge import coco instances.json runs/coco --images val2017
  sgforge import psg psg.json runs/psg --images coco --set panoptic=panoptic
  sgforge import vg scene_graphs.json image_data.json region_descriptions.json runs/vg --images VG
  sgforge import vg150 VG-SGG-with-attri.h5 VG-SGG-dicts-with-attri.json image_data.json runs/vg150
  sgforge plugins vg                                      the options of a source; OPTION=FILE names one

A source leaves out what it cannot read, counts it by reason, and is not read again while nothing has changed.
exit codes: 0 done, 1 failed, 2 usage or config, 4 imported without some images, 130 interrupted"""

_SHOWN = 20
_DEFAULT_BRANCH = "main"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "words",
        nargs="+",
        metavar="[SOURCE] FILE... DATASET",
        help="graph JSONL, or a source with its files; the dataset's folder, which is made if it is not there",
    )
    parser.add_argument("--images", metavar="DIR", help="with SOURCE: the folder of the pictures")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="options", help="an option of SOURCE (TOML)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="with SOURCE: at most N images")
    parser.add_argument(
        "--branch", metavar="NAME", help="the branch that moves to what is imported (default: main, if no run made it)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Import and say what was imported."""
    if len(args.words) == len(("file", "dataset")) and not _is_of_source(args):
        return _import_jsonl(args, Path(args.words[0]), args.words[1])
    if len(args.words) < len(("source", "file", "dataset")):
        raise ConfigError("name a source, its files and the dataset: sgforge import SOURCE FILE... DATASET")
    name, *files, dataset = args.words
    if args.branch is None and Path(dataset, "journal.sqlite").exists():
        with DatasetWriter.open(dataset) as writer:
            _keep_runs(writer)
    return import_from_source(args, name, files, dataset)


def _is_of_source(args: argparse.Namespace) -> bool:
    return args.images is not None or bool(args.options) or args.limit is not None


def _import_jsonl(args: argparse.Namespace, file: Path, dataset: str) -> int:
    branch = args.branch or _DEFAULT_BRANCH
    check_branch(branch)
    values: dict[int, list[Value]] = {}
    columns = _read(file, lambda image, value: values.setdefault(image, []).append(value))
    with DatasetWriter.open(dataset) as writer:
        if args.branch is None:
            _keep_runs(writer)
        snapshot = writer.publish_source(columns, _keys(columns, values), values)
        writer.move_branch(branch, snapshot)
    counts = snapshot.meta.counts
    if args.json:
        print(json_text({"snapshot": snapshot.id, "branch": branch, "counts": counts}))
        return 0
    print(f"{rows_counted(counts)}: snapshot {snapshot.id[:12]}, branch {visible(branch)}")
    return 0


def _read(path: Path, further: Further) -> GraphColumns:
    """The file as columns, values of further ones told apart; all faults in one `GraphError`, by line or image."""
    faults: list[str] = []

    def report(fault: LineFault) -> None:
        faults.append(f"{path.name}:{fault.line}: {fault.path}{': ' if fault.path else ''}{fault.message}")

    parts = []
    for part in read_columns(path, strict=False, report=report, further=further):
        ids = part.image.ids
        faults.extend(f"image {ids[fault.image]!r}: {fault.where}: {fault.message}" for fault in part.faults())
        failed = np.flatnonzero(part.image.failed_reason >= 0)
        faults.extend(f"image {ids[row]!r}: failed: a failed prediction has no graph to import" for row in failed)
        parts.append(part)
    if faults:
        more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        raise GraphError("\n  ".join([f"{path} breaks the rules, nothing was imported:", *faults[:_SHOWN], *more]))
    if not any(map(len, parts)):
        raise GraphError(f"{path} holds no image, nothing was imported: give graph JSONL, one image a line")
    return GraphColumns.concat(parts)


def _keep_runs(writer: DatasetWriter) -> None:
    """Refuse to move the default branch away from what a run made: its name would be lost."""
    if _DEFAULT_BRANCH not in writer.branches():
        return
    made_by = writer.snapshot(_DEFAULT_BRANCH).meta.step
    if made_by.verb != "source":
        raise DatasetError(
            f"branch {_DEFAULT_BRANCH} of {writer.path} is what step {made_by.name!r} made: "
            "name the branch for what is imported with --branch, or give another dataset"
        )


def _keys(columns: GraphColumns, values: Mapping[int, Sequence[Value]]) -> np.ndarray:
    """A state key for each image, (N, KEY_BYTES) uint8: the hash of everything its line says."""
    pieces = list(_pieces(columns))
    keys = []
    for row in range(len(columns)):
        parts = (data[starts[row] : starts[row + 1]].tobytes() + b"|" for data, starts in pieces)
        # Only where there are any: what was imported before there were such columns keeps its key.
        further = (msgpack.packb(pack_values(values[row])),) if row in values else ()
        keys.append(state_key(b"import", *parts, *further))
    return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES)


def _pieces(columns: GraphColumns) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Every array behind the columns, with where each image starts in it."""
    image = columns.image
    tables: tuple[tuple[Table, np.ndarray], ...] = (
        (image, np.arange(len(columns) + 1)),
        (columns.region, image.region_offsets),
        (columns.relation, image.relation_offsets),
    )
    for table, starts in tables:
        for spec, column in table.items():
            inner: np.ndarray | Ragged = column
            at = starts
            while isinstance(inner, Ragged):
                nested: Ragged = inner
                yield nested.counts, at.tolist()
                inner, at = nested.values, nested.offsets[at]
            yield _without_ids(inner, spec, columns.vocabularies), at.tolist()


def _without_ids(column: np.ndarray, spec: ColumnSpec, words: Vocabularies) -> np.ndarray:
    """Ids replaced by 8 bytes of their texts' hashes: the number of a text says nothing."""
    if spec.vocabulary is None:
        return column
    hashes = [hashlib.sha256(text.encode()).digest()[:8] for text in words.of(spec.vocabulary)]
    table = np.frombuffer(b"".join([*hashes, bytes(8)]), np.uint64)
    hashed: np.ndarray = table[column]
    return hashed
