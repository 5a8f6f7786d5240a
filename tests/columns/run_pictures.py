"""Renders, captions and evaluates in the dataset that is named: `python -m tests.columns.run_pictures FOLDER SHADE`."""

from __future__ import annotations

import sys

import sgforge as sg
from tests.columns import pictures as toys


def pipeline(shade: int) -> sg.Pipeline:
    """render, caption, train, evaluate."""
    return sg.Pipeline(
        sg.render(toys.Renderer(toys.Options(shade)), batch_size=2),
        sg.caption(toys.Captioner(), batch_size=2),
        sg.train(toys.Student()),
        sg.evaluate(toys.Evaluator()),
    )


if __name__ == "__main__":
    pipeline(int(sys.argv[2])).run(toys.Layouts(), sys.argv[1], progress=False)
