"""`sgforge export DATASET[@ref] --to NAME --output PATH`: a dataset in a public format."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sgforge.cli.terminal import json_text
from sgforge.config import structure_options
from sgforge.dataset import Dataset
from sgforge.dataset.damage import damage_told
from sgforge.dataset.folder import split_ref
from sgforge.errors import ConfigError
from sgforge.plugins import load_plugins
from sgforge.text.safe_text import visible

_EXAMPLES = """\
examples:
  sgforge export runs/first --to jsonl --output first.jsonl         everything, rejected rows with their status
  sgforge export runs/first@round-1 --to coco --output first.json   regions of a tagged version as COCO instances
  sgforge export runs/first --to jsonl --output /dev/stdout | gzip > first.jsonl.gz
  sgforge plugins coco                                              what an exporter can be told with --set"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET[@ref]", help="a dataset's folder, and a branch, tag or snapshot id")
    parser.add_argument("--to", required=True, metavar="NAME", help="the exporter, such as jsonl or coco")
    parser.add_argument("--output", required=True, type=Path, metavar="PATH", help="the file or folder to write")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="options",
        help="an option of the exporter (TOML)",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="a folder for the pictures that steps made")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Export and print the counts."""
    path, ref = split_ref(args.dataset)
    dataset = Dataset.open(path, ref)
    snapshot = dataset.snapshot
    component = load_plugins().lookup("exporter", args.to)
    options = structure_options(component, options_given(args.options), "--set")
    with damage_told(snapshot):
        counts = dict(component.build(options).export(snapshot, args.output))
    if args.images is not None:
        counts |= dataset.export_images(args.images)
    lines = [f"{count:>10} {visible(name)}" for name, count in counts.items()]
    text = json_text(counts) if args.json else "\n".join([*lines, f"written to {visible(str(args.output))}"])
    print(text, file=sys.stderr if _is_our_output(args.output) else sys.stdout)
    return 0


def _is_our_output(path: Path) -> bool:
    """Whether the export itself went where we print, as with `--output /dev/stdout`."""
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # ValueError: an output that is no file, in a test or a notebook
        return False


def options_given(given: list[str]) -> dict[str, object]:
    """Options of a component as `--set` gives them."""
    import tomllib

    options: dict[str, object] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip().isidentifier():
            raise ConfigError(f"--set {text}: must read option=value")
        try:
            options[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            # A bare word is a text, so that quotes need not pass through the shell.
            options[key.strip()] = value
    return options
