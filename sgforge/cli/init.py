"""`sgforge init [PATH]`: a commented config that runs as it stands on a folder of images."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

from sgforge.errors import ConfigError
from sgforge.text.safe_text import visible

_EXAMPLES = """\
examples:
  sgforge init                                  writes pipeline.toml
  sgforge init photos.toml --images ~/photos    for the images you have
  sgforge init --segment sam --checkpoint sam_vit_b_01ec64.pth
  sgforge init --coco instances.json --images val2017
  sgforge init --psg psg.json --images coco
  sgforge init --vg scene_graphs.json image_data.json --images VG
  sgforge check photos.toml && sgforge run photos.toml"""

_TEMPLATE = """\
# A pipeline of sgforge. Check it with `sgforge check {name}`, run it with `sgforge run {name}`; what is done once is
# not done again. Paths are relative to the folder you run it in. `sgforge plugins` lists what could stand in each
# place, `sgforge plugins NAME` the options of one.

# The folder that keeps everything: every version, and why each row is there.
dataset = {dataset}
# branch = "main"

[source]                               # where the images come from
{source}

{segment}
[[step]]                               # relations of the most salient regions
complete = "geometry"                  # reads them off boxes, masks and depth; asks no model
subjects = 5
# To let a model complete them, write instead (its key is in the environment, never in this file):
#   complete = "svg"
#   model = "openai/gpt-6.2-sol"

[[step]]                               # rejects what the boxes contradict; rejected rows stay, with the reason
filter = "spatial-rules"

[[step]]                               # trains a student on what was kept; a tenth of the images is held out
train = "prior"

[[step]]                               # the student proposes relations for every image
generate = "prior"

[[step]]                               # an editor corrects them
edit = "consistency"

# Settings of one model, where wanted:
# [models."openai/gpt-6.2-sol"]
# max_in_flight = 100
# requests_per_minute = 5000
#
# [gateway]
# budget_usd = 5.0                     # stop before this is exceeded
"""

_FOLDER = """\
use = "folder"
images = {images}
# graphs = "known.jsonl"               # what is known of some of them: regions, labels, relations (graph JSONL)"""
_GIVEN = """\
# The source gives the regions. To find more: [[step]] with segment = "superpixels" or "sam".
"""
_SOURCES = ("coco", "psg", "vg")
"""Sources that have a flag of their own; `sgforge plugins` lists all."""

_SEGMENT = {
    "superpixels": """\
[[step]]                               # regions of each image, nested, by colour; no weights to fetch
segment = "superpixels"                # (pip install 'sgforge[superpixels]')
levels = [24, 8]                       # how many of them, finest first
# only_without_regions = true          # leave images alone that have regions from `graphs`
""",
    "sam": """\
[[step]]                               # every mask of each image (pip install 'sgforge[sam]')
segment = "sam"
checkpoint = {checkpoint}
# presets = ["whole", "part"]          # two sets of masks from one encoding, for `merge` below
# points_per_side = 32

[[step]]                               # which of them stay; the others keep the reason why not
segment = "select-regions"
max_regions = 99                       # the most salient ones
# unions = "yes"                       # without masks that others make up
# merge = "non-overlap-or-area"        # whole masks, and the parts that add something
""",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("path", nargs="?", default="pipeline.toml", metavar="PATH", help="the file to write")
    parser.add_argument("--images", metavar="FOLDER", help="the folder of your images (images)")
    given = parser.add_mutually_exclusive_group()
    for name in _SOURCES:
        text = f"images, regions and what else the source {name!r} reads of these files"
        given.add_argument(f"--{name}", nargs="+", metavar="FILE", help=text)
    parser.add_argument("--dataset", default="runs/first", metavar="FOLDER", help="the dataset to make (runs/first)")
    parser.add_argument("--segment", choices=list(_SEGMENT), default="superpixels", help="what finds the regions")
    parser.add_argument(
        "--checkpoint",
        default="sam_vit_b_01ec64.pth",
        metavar="WEIGHTS",
        help="with --segment sam: a file, a folder or a hub id (sam_vit_b_01ec64.pth)",
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")


def run(args: argparse.Namespace) -> int:
    """Write the config; an existing file is left alone without --force."""
    path = Path(args.path)
    use = next((name for name in _SOURCES if getattr(args, name)), None)
    if use is None and args.images is None:
        args.images = "images"
    files = [] if use is None else getattr(args, use)
    for given in (args.images or "", args.dataset, args.checkpoint, *files):
        _check_text(given)
    name = visible(shlex.quote(path.name))
    segment = _GIVEN if use else _SEGMENT[args.segment].format(checkpoint=_quote(args.checkpoint))
    source = _FOLDER.format(images=_quote(args.images)) if use is None else _source(use, files, args.images)
    text = _TEMPLATE.format(name=name, dataset=_quote(args.dataset), source=source, segment=segment)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if args.force else os.O_EXCL)
    try:
        descriptor = os.open(path, flags, 0o666)
    except FileExistsError:
        raise ConfigError(f"{path} exists; --force replaces it, another PATH leaves it alone") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    shown = visible(shlex.quote(str(path)))
    print(f"wrote {shown}")
    if args.images is not None and not Path(args.images).expanduser().is_dir():
        images = visible(args.images)
        print(f"there is no folder {images} yet: put your images there, or change `images` in {shown}")
    for given in files:
        if not Path(given).expanduser().exists():
            print(f"there is no file {visible(given)} yet: put it there, or change it in {shown}")
    print(f"next: sgforge check {shown} && sgforge run {shown}")
    return 0


def _source(use: str, files: list[str], images: str | None) -> str:
    """The lines of [source] for a source with its files."""
    from sgforge.config import source_options
    from sgforge.plugins import load_plugins

    options = source_options(load_plugins().lookup("source", use), files, images)
    return "\n".join([f"use = {_quote(use)}", *(f"{name} = {_quote(value)}" for name, value in options.items())])


def _check_text(name: str) -> None:
    """Refuse a path whose bytes are no text in this locale: a TOML file could not hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        message = f"the path {name!r} is no text in the encoding of this locale: try PYTHONUTF8=1 sgforge init"
        raise ConfigError(message) from None


def _quote(text: str) -> str:
    """A basic TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(sign if sign.isprintable() else f"\\U{ord(sign):08x}" for sign in escaped) + '"'
