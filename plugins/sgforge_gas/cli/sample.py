"""`sgforge gas sample`: graphs as graph JSONL, with captions and questions if wanted."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO, Final

import attrs

from sgforge.durable import output_file
from sgforge.graph import Sample
from sgforge.jsonl import GraphLine, dump_lines
from sgforge_gas.captions import Style, Writer
from sgforge_gas.cli.arguments import add_draws, draws_of, whole
from sgforge_gas.config import GasOptions
from sgforge_gas.questions import Asker
from sgforge_gas.sampling import Sampler

__all__ = ["configure", "lines", "run"]

_AT_ONCE: Final = 2048
_EXAMPLES = """\
examples:
  sgforge gas sample --count 100 --captions --questions
  sgforge gas sample --count 1000000 --complexity 3-9 --captions --workers 8 --output graphs.jsonl
  sgforge gas sample --objects 100 --relations 300 --attributes 80 --prior sizes --count 5

Graph i of a seed is the same with any --start, --count and --workers."""


@attrs.frozen
class _Wanted:
    """What is made of each graph."""

    draws: GasOptions
    captions: bool
    questions: bool
    style: Style


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--count", metavar="N", type=whole, default=10, help="how many graphs (10)")
    parser.add_argument("--start", metavar="N", type=whole, default=0, help="the number of the first (0)")
    add_draws(parser)
    parser.add_argument("--captions", action="store_true", help="write a caption of each graph")
    parser.add_argument("--style", choices=("sentence", "list", "dense"), default="sentence", help="of the captions")
    parser.add_argument("--questions", action="store_true", help="ask about each graph")
    parser.add_argument("--workers", metavar="N", type=whole, default=1, help="processes (1)")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write there instead of printing")


def run(args: argparse.Namespace) -> int:
    """Write the graphs, a line each."""
    wanted = _Wanted(draws_of(args, count=args.count, start=args.start), args.captions, args.questions, args.style)
    gc.disable()  # graphs make no cycles, and looking for some takes a third of the time
    try:
        _write(lines(wanted, args.workers), args.output)
    finally:
        gc.enable()
    return 0


def _write(made: Iterator[bytes], output: Path | None) -> None:
    first = next(made, b"")  # what cannot be drawn is refused before the file is opened
    stream: Any = nullcontext(_stdout()) if output is None else output_file(output)
    with stream as sink:
        sink.write(first)
        for some in made:
            sink.write(some)


def _stdout() -> BinaryIO:
    return sys.stdout.buffer


def lines(wanted: _Wanted, workers: int = 1) -> Iterator[bytes]:
    """The lines of all graphs in order, many at a time; the same whatever the number of processes."""
    end = wanted.draws.start + wanted.draws.count
    parts = [range(first, min(first + _AT_ONCE, end)) for first in range(wanted.draws.start, end, _AT_ONCE)]
    maker = _Maker(wanted)
    if workers < 2 or len(parts) < 2:
        yield from map(maker, parts)
        return
    with get_context("spawn").Pool(min(workers, len(parts)), _start, (wanted,)) as pool:
        yield from pool.imap(_make, parts)


class _Maker:
    """Makes the lines of a range of graphs."""

    def __init__(self, wanted: _Wanted) -> None:
        self._sampler = Sampler(wanted.draws)
        self._writer = Writer(self._sampler.vocabulary, wanted.style)
        self._asker = Asker(self._sampler.vocabulary)
        self._wanted = wanted

    def __call__(self, items: range) -> bytes:
        samples = map(self._with_texts, self._sampler.samples(items, self._wanted.draws.split))
        return b"".join(dump_lines([GraphLine(sample) for sample in samples]))

    def _with_texts(self, sample: Sample) -> Sample:
        values = dict(sample.values)
        if self._wanted.captions:
            values["caption"] = self._writer.caption(sample.graph)
        if self._wanted.questions and sample.graph.regions:
            values["questions"] = tuple(self._asker.ask(sample.graph))
        return Sample(sample.image_id, sample.graph, split=sample.split, values=values)


_maker: _Maker | None = None
"""Of a process of the pool."""


def _start(wanted: _Wanted) -> None:
    global _maker
    gc.disable()
    _maker = _Maker(wanted)


def _make(items: range) -> bytes:
    assert _maker is not None
    return _maker(items)
