"""Captions, selects and captions again: `python -m tests.selection.run_selection FOLDER COUNT`."""

from __future__ import annotations

import sys

import sgforge as sg
from tests.selection import toys


def pipeline(drop: tuple[str, ...] = ("i1~0:dull", "i3~1:dull")) -> sg.Pipeline:
    """caption, select, caption."""
    return sg.Pipeline(
        sg.caption(toys.Captioner(), batch_size=1),
        sg.select(toys.Selector(toys.Options(drop))),
        sg.caption(toys.Captioner(), batch_size=1, name="again"),
    )


if __name__ == "__main__":
    source = sg.source(toys.Source(int(sys.argv[2])), copies=2)
    pipeline().run(source, sys.argv[1], progress=False)
