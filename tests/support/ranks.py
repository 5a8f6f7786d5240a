"""Two processes of one `torch.distributed` group, each a script of the tests that is told its rank."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from torch import distributed

from sgforge.engine.executors.training.processes import surroundings
from sgforge.stages import Worker
from sgforge_robin.training.ranks import join

__all__ = ["finish", "joined", "leave", "said", "start_ranks"]

_TESTS = Path(__file__).parents[1]
_WORLD = 2


def start_ranks(script: str, folder: Path, arguments: Sequence[str]) -> list[subprocess.Popen[bytes]]:
    """Both ranks of `script`, told the folder and then the arguments; what a rank says is in `<rank>.log` there."""
    environment = {**surroundings(_WORLD), "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{_TESTS.parent}:{_TESTS}"}
    command = [sys.executable, script, str(folder), *arguments]
    ranks = []
    for rank in range(_WORLD):
        own = {**environment, "RANK": str(rank)}
        with _log(folder, rank).open("wb") as log:
            ranks.append(subprocess.Popen(command, env=own, stdout=log, stderr=subprocess.STDOUT))
    return ranks


def finish(ranks: Sequence[subprocess.Popen[bytes]]) -> list[int | None]:
    """The exit codes when all have ended, or one has failed; none goes on then."""
    try:
        while None in (codes := [one.poll() for one in ranks]) and not any(codes):
            for one in ranks:
                try:
                    one.wait(0.2)
                except subprocess.TimeoutExpired:
                    continue
        return codes
    finally:
        for one in ranks:
            one.kill()
            one.wait()


def said(folder: Path) -> str:
    """What both ranks said, the first one first."""
    return "\n".join(_log(folder, rank).read_text(errors="replace") for rank in range(_WORLD))


def joined() -> Worker:
    """Join the group, in a rank."""
    worker = Worker(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    join(worker, "cpu")
    return worker


def leave() -> NoReturn:
    """End a rank that is done, when both are.

    At once: threads of the group abort some process in many thousands while it is taken apart, which says nothing of
    what it found. The engine is ready for that; here a rank that aborts has failed.
    """
    distributed.barrier()
    sys.stdout.flush()
    os._exit(0)


def _log(folder: Path, rank: int) -> Path:
    return folder / f"{rank}.log"
