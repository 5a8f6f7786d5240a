"""`sgforge diff A B`: what changed between two versions, image by image."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import attrs

from sgforge.cli.terminal import json_text
from sgforge.dataset import Dataset
from sgforge.dataset.folder import split_ref
from sgforge.dataset.queries.diff import ImageDiff, RowChange
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

_EXAMPLES = """\
examples:
  sgforge diff runs/first@round-1 runs/first           a tagged version against branch main
  sgforge diff runs/first@round-1 @main                the same: an @ alone stays in the first dataset
  sgforge diff runs/first@3f2a91 runs/first --limit 5  five images in detail
  sgforge diff runs/first runs/second --json           two datasets, for machines"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("before", metavar="A", help="DATASET[@ref]")
    parser.add_argument("after", metavar="B", help="DATASET[@ref], or @ref of the same dataset")
    parser.add_argument(
        "--limit", type=int, default=20, help="images shown at most (default 20; the counts are of all)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, every image")


def run(args: argparse.Namespace) -> int:
    """Print the difference."""
    before_path, before_ref = split_ref(args.before)
    after_path, after_ref = (before_path, args.after[1:]) if args.after.startswith("@") else split_ref(args.after)
    found = Dataset.open(before_path, before_ref).diff(Dataset.open(after_path, after_ref))
    if args.json:
        images = [_image_json(image) for image in found.images]
        print(json_text({"before": found.before, "after": found.after, "counts": found.counts, "images": images}))
        return 0
    for image in found.images[: args.limit]:
        print("\n".join(_image_lines(image)))
    if len(found.images) > args.limit:
        print(f"... and {counted(len(found.images) - args.limit, 'more image')} (--limit)")
    counts = ", ".join(_change(name, count) for name, count in found.counts.items() if count)
    print(counts or "no difference")
    return 0


def _change(name: str, count: int) -> str:
    """`1 image changed`, of the count that is named `images_changed`."""
    what, _, how = name.partition("_")
    return f"{counted(count, what.removesuffix('s'))} {how.replace('_', ' ')}"


def _image_json(image: ImageDiff) -> dict[str, Any]:
    changed = [{**attrs.asdict(change, recurse=False)} for change in image.changed]
    return {**attrs.asdict(image, recurse=False), "changed": changed}


def _image_lines(image: ImageDiff) -> Iterator[str]:
    """Removed rows first, then added ones, then what changed; a relation that was rejected counts as removed."""
    yield f"{visible(image.image_id)} ({image.status})"
    verdicts = {turned: [change for change in image.changed if change.turned == turned] for turned in ("-", "+", "~")}
    for text in (*image.regions_removed, *image.relations_removed):
        yield f"  - {visible(text)}"
    for change in verdicts["-"]:
        yield f"  - {visible(change.text)}  ({_verdict(change)})"
    for text in (*image.regions_added, *image.relations_added):
        yield f"  + {visible(text)}"
    for change in verdicts["+"]:
        yield f"  + {visible(change.text)}  (restored)"
    for change in verdicts["~"]:
        yield f"  ~ {visible(change.text)}: {_fields(change)}"


def _verdict(change: RowChange) -> str:
    now = {name: after for name, (_before, after) in change.fields.items() if after is not None}
    degree = [_value(now["degree"])] if "degree" in now else []
    return ", ".join([_value(now.get("reason", "rejected")), *degree, f"by {_value(now.get('judged_by', 'source'))}"])


def _fields(change: RowChange) -> str:
    return ", ".join(_field(name, before, after) for name, (before, after) in change.fields.items())


def _field(name: str, before: Any, after: Any) -> str:
    """One field; of a list the texts that went and came, or all of it where only their order changed."""
    if _are_texts(before) and _are_texts(after) and set(before) != set(after):
        gone = [f'-"{_value(text)}"' for text in before if text not in after]
        come = [f'+"{_value(text)}"' for text in after if text not in before]
        return " ".join([name, *gone, *come])
    return f"{name} {_value(before)} -> {_value(after)}"


def _are_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


def _value(value: Any) -> str:
    if value is None:
        return "none"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return visible(text if len(text) <= 60 else text[:57] + "...")
