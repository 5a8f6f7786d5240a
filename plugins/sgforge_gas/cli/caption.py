"""`sgforge gas caption`: captions of graphs that are there."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sgforge.jsonl import read_jsonl
from sgforge.text.safe_text import visible
from sgforge_gas.captions import Writer
from sgforge_gas.vocabulary import load_vocabulary

__all__ = ["configure", "run"]

_EXAMPLES = """\
examples:
  sgforge gas caption graphs.jsonl
  sgforge gas caption graphs.jsonl --style dense --json

With --json each line is {"image_id", "caption", "spans"}; a span says start and end of an element in the caption, and
which region, attribute (its place in the region's list), relation or scene attribute it is."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EXAMPLES
    parser.add_argument("graphs", metavar="GRAPHS.jsonl", type=Path, help="graph JSONL")
    parser.add_argument("--style", choices=("sentence", "list", "dense"), default="sentence")
    parser.add_argument("--vocabulary", metavar="FILE", type=Path, help="how words are said (our starter)")
    parser.add_argument("--json", action="store_true", help="print JSON, a line for each graph")


def run(args: argparse.Namespace) -> int:
    """Print a caption of each graph."""
    writer = Writer(load_vocabulary(args.vocabulary), args.style)
    for sample in read_jsonl(args.graphs):
        written = writer.write(sample.graph)
        if args.json:
            spans = [span.to_json() for span in written.spans]
            print(json.dumps({"image_id": sample.image_id, "caption": written.text, "spans": spans}))
        else:
            print(f"{visible(sample.image_id)}: {visible(written.text)}")
    return 0
