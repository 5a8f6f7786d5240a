"""Students that train in several processes: one that counts with `torch.distributed`, one that notes where it is.

The module is a plugin beside `engine_toys`, so that child processes can find it too (see `training_environment`).
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from engine_toys import PREDICATES, install, log

import sgforge
from sgforge.durable import write_text
from sgforge.edits import Edit
from sgforge.graph import Relation, Sample
from sgforge.stages import Checkpoint, Failure, Ranking, Resources, Selection

STEPS = 6


@attrs.frozen
class CountingOptions:
    """`hold`: the beginning of the names of files that steps 1, 2 and 3 wait for."""

    hold: str = attrs.field(default="", eq=False)
    log: str = attrs.field(default="", eq=False)


class CountingStudent:
    """Counts predicates in `STEPS` batches; its ranks share each batch, so that their number changes nothing."""

    def __init__(self, options: CountingOptions = CountingOptions()) -> None:
        self.options = options
        self.counts = [0] * len(PREDICATES)

    def setup(self, resources: Resources) -> None:
        if resources.checkpoint is not None:
            self.counts = json.loads((resources.checkpoint.path / "counts.json").read_text())

    def train(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        import torch
        from torch import distributed

        from sgforge.dataset import Snapshot

        worker = resources.worker
        if worker.world > 1:
            distributed.init_process_group("gloo")
        snapshot = Snapshot.open(snapshot_path)
        rows = snapshot.rows(selection).tolist()
        state = out_dir / "state.json"
        done, counts = json.loads(state.read_text()) if state.exists() else (0, [0] * len(PREDICATES))
        for step in range(done, STEPS):
            log(self.options.log, "step", step, "rank", worker.rank, "of", worker.world, "is", os.getpid())
            while step in (1, 2, 3) and self.options.hold and not Path(f"{self.options.hold}-{step}").exists():
                time.sleep(0.01)
            batch = torch.zeros(len(PREDICATES), dtype=torch.int64)
            for row in rows[step::STEPS][worker.rank :: worker.world]:
                for relation in snapshot.graph(row).relations.values():
                    batch[PREDICATES.index(relation.predicate)] += 1
            if worker.world > 1:
                distributed.all_reduce(batch)
            counts = [before + new for before, new in zip(counts, batch.tolist(), strict=True)]
            if worker.rank == 0:
                write_text(state, json.dumps([step + 1, counts]))
            resources.report("relations", sum(counts), step)
        if worker.rank == 0:
            (out_dir / "weights").mkdir(exist_ok=True)
            write_text(out_dir / "weights" / "counts.json", json.dumps(counts))
        return Checkpoint.of(out_dir / "weights") if worker.rank == 0 else Checkpoint(out_dir, "")

    def generate(self, samples: Sequence[Sample]) -> list[Edit | Failure]:
        best = PREDICATES[max(range(len(PREDICATES)), key=self.counts.__getitem__)]
        return [Edit.add(Relation(2, best, 0, score=0.5)) for _ in samples]

    def rank(self, samples: Sequence[Sample]) -> list[Ranking | Failure]:
        pairs, scores = np.zeros((0, 2), np.int32), np.zeros((0, len(PREDICATES)), np.float32)
        return [Ranking(sample.graph.all.regions, pairs, PREDICATES, scores) for sample in samples]


@attrs.frozen
class PlaceOptions:
    """`end`: how the training ends in the process `rank`; the others wait for `hold`, if it is given."""

    end: str = ""
    rank: int = 0
    hold: str = attrs.field(default="", eq=False)
    log: str = attrs.field(default="", eq=False)


def _raise() -> None:
    raise ValueError("the loss is nan")


def _hold_on() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


ENDS: dict[str, Callable[[], Any]] = {
    "": lambda: None,
    "raise": _raise,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "leave": lambda: os._exit(3),
    "stubborn": _hold_on,
    "abort later": lambda: atexit.register(os.abort),
    "helper": lambda: subprocess.Popen([sys.executable, "-c", "import time; time.sleep(10_000)"]).pid,
}


class PlaceStudent(CountingStudent):
    """Notes of every process which it is, what it was given and what it finds in its environment."""

    def __init__(self, options: PlaceOptions = PlaceOptions()) -> None:
        super().__init__()
        self.places = options

    def train(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        worker, options = resources.worker, self.places
        noted = {
            "worker": [worker.rank, worker.world],
            "devices": resources.devices,
            "scratch": str(resources.scratch),
            "environment": {key: os.environ.get(key) for key in NOTED},
        }
        write_text(out_dir / f"place-{worker.rank}.json", json.dumps(noted))
        print(f"here is {worker.rank}", flush=True)
        log(options.log, "rank", worker.rank, "is", os.getpid())
        if worker.rank == options.rank:
            helper = ENDS[options.end]()
            log(options.log, "ready", helper)
        while options.hold and not Path(options.hold).exists():
            time.sleep(0.01)
        resources.report("rank", worker.rank, 0)
        if worker.rank:
            return Checkpoint(out_dir, "")
        (out_dir / "weights").mkdir(exist_ok=True)
        write_text(out_dir / "weights" / "counts.json", json.dumps(self.counts))
        return Checkpoint.of(out_dir / "weights")


NOTED = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("OMP_NUM_THREADS", "OMP_WAIT_POLICY"),
    "TORCHELASTIC_USE_AGENT_STORE",
)


@sgforge.hookimpl
def sgforge_register_students(register) -> None:
    register("counting", CountingStudent, config=CountingOptions)
    register("places", PlaceStudent, config=PlaceOptions)


def training_environment(folder: Path) -> dict[str, str]:
    """The environment of a process in which these toys and those of `engine_toys`, and no others, are found."""
    install(folder)
    info = folder / "training_toys-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: training-toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sgforge]\ntrainings = training_toys\n")
    path = os.pathsep.join([str(folder), str(Path(__file__).parent)])
    return {**os.environ, "PYTHONPATH": path, "SGFORGE_PLUGINS": "toys,trainings"}
