"""`sgforge gas check`: captions against their graphs."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from sgforge.errors import ConfigError
from sgforge.graph import Caption, Sample
from sgforge.jsonl import numbered_lines, read_jsonl
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted
from sgforge_gas.captions import Finding, check_caption
from sgforge_gas.vocabulary import load_vocabulary

__all__ = ["configure", "run"]

_FAILED_ITEMS = 4
_EXAMPLES = """\
examples:
  sgforge gas check graphs.jsonl captions.jsonl       captions as `sgforge gas caption --json` prints them
  sgforge gas check graphs.jsonl                      captions that stand with the graphs, in x.caption
  sgforge gas check graphs.jsonl captions.jsonl --loose      texts of other writers: paraphrases

Exit code 0: every caption says its graph; 4: some do not."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EXAMPLES
    parser.add_argument("graphs", metavar="GRAPHS.jsonl", type=Path, help="graph JSONL")
    parser.add_argument(
        "captions", metavar="CAPTIONS.jsonl", type=Path, nargs="?", help="lines of image_id and caption"
    )
    parser.add_argument("--loose", action="store_true", help="pass over words that say no element")
    parser.add_argument("--vocabulary", metavar="FILE", type=Path, help="inverse relations (our starter)")
    parser.add_argument("--json", action="store_true", help="print JSON, a line for each caption")


def run(args: argparse.Namespace) -> int:
    """Print what is wrong with which captions."""
    captions = None if args.captions is None else _read_captions(args.captions)
    vocabulary = load_vocabulary(args.vocabulary)
    codes: Counter[str] = Counter()
    checked = failed = 0
    for sample in read_jsonl(args.graphs):
        text = _caption_of(sample, captions)
        if text is None:
            found = [Finding("missing-object", "there is no caption")]
        else:
            found = check_caption(sample.graph, text, strict=not args.loose, vocabulary=vocabulary)
        checked += 1
        failed += bool(found)
        codes.update(finding.code for finding in found)
        _print(sample.image_id, found, args.json)
    if not args.json:
        print(f"{counted(checked, 'caption')} checked, {failed} with faults")
        for code, count in sorted(codes.items()):
            print(f"  {code}: {count}")
    return _FAILED_ITEMS if failed else 0


def _print(image_id: str, found: list[Finding], as_json: bool) -> None:
    if as_json:
        faults = [{"code": finding.code, "detail": finding.detail} for finding in found]
        print(json.dumps({"image_id": image_id, "faults": faults}))
    elif found:
        print(f"{visible(image_id)}: {'; '.join(visible(f'{one.code}: {one.detail}') for one in found)}")


def _caption_of(sample: Sample, captions: Mapping[str, str] | None) -> str | None:
    if captions is not None:
        return captions.get(sample.image_id)
    caption = sample.values.get("caption")
    return caption.text if isinstance(caption, Caption) else None


def _read_captions(path: Path) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for number, line in numbered_lines(path):
        try:
            row = json.loads(line)
            image_id, text = row["image_id"], row["caption"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ConfigError(f'{path.name}:{number}: a line must be {{"image_id": ..., "caption": ...}}') from None
        if not isinstance(image_id, str) or not isinstance(text, str):
            raise ConfigError(f"{path.name}:{number}: image_id and caption must be texts")
        found[image_id] = text
    return found
