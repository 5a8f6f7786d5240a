"""One process of a training: `python -m sgforge.engine.barriers.train_child`; the engine starts it.

Its standard input is one line of orders, and then stays open for as long as the engine lives.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgforge.engine.barriers.training import TrainJob, train_here, write_json
from sgforge.engine.barriers.training_processes import leave_process_group
from sgforge.engine.executors.work_messages import unpack_work
from sgforge.engine.models.child_models import ModelAccess, opened_models
from sgforge.engine.planning.components import ComponentSpec, find_spec
from sgforge.engine.reporting.metrics import METRICS, MetricsWriter
from sgforge.errors import SgforgeError
from sgforge.plugins import Registry, load_plugins
from sgforge.stages import Checkpoint, Selection

if TYPE_CHECKING:
    from sgforge.stages import Model


def main() -> int:
    """Train as the orders say and leave the answer where they say; returns the exit code."""
    orders = _read_orders()
    if orders is None:
        return 1
    given = json.loads(orders)
    threading.Thread(target=_end_with_parent, args=(given["group"],), name="sgforge-parent", daemon=True).start()
    answer = Path(given["answer"])
    report = None if given["rank"] else MetricsWriter(Path(given["folder"]) / METRICS)
    try:
        registry = load_plugins()
        access = None if given["access"] is None else ModelAccess.from_json(given["access"])
        with opened_models(access, registry) as models:
            checkpoint = train_here(_job(given, registry, models, report))
    except SgforgeError as error:
        traceback.print_exc()
        write_json(answer, {"error": str(error), "exit_code": error.exit_code, "at": time.time()})
        return error.exit_code
    write_json(answer, _answer(checkpoint))
    leave_process_group()
    return 0


def _answer(checkpoint: Checkpoint | None) -> dict[str, Any]:
    """What a rank that is done leaves: the first one its checkpoint."""
    if checkpoint is None:
        return {"done": True}
    metrics = {name: float(value) for name, value in checkpoint.metrics.items()}
    return {"done": True, "path": str(checkpoint.path.resolve()), "sha256": checkpoint.sha256, "metrics": metrics}


def _read_orders() -> bytes | None:
    """The first line of standard input; None if the engine ended before it was whole.

    Read without a buffer: whatever follows belongs to the thread that waits for the engine's end.
    """
    orders = b""
    while not orders.endswith(b"\n"):
        more = os.read(0, 65536)
        if not more:
            return None
        orders += more
    return orders


def _job(
    given: dict[str, Any], registry: Registry, models: Mapping[str, Model], report: MetricsWriter | None
) -> TrainJob:
    student = given["student"]
    work = unpack_work(bytes.fromhex(given["work"]), registry, lambda fields: models[fields["name"]], report)
    assert work.resources.scratch is not None
    work.resources.scratch.mkdir(parents=True, exist_ok=True)
    return TrainJob(
        step=given["step"],
        work=work,
        snapshot=Path(given["snapshot"]),
        selection=Selection(_names(given["sources"]), _names(given["splits"])),
        folder=Path(given["folder"]),
        student=None if student is None else _spec(registry, "student", student),
    )


def _spec(registry: Registry, kind: str, given: dict[str, Any]) -> ComponentSpec:
    spec, faults = find_spec(registry, kind, given["component"], given["settings"])
    assert not faults, faults  # they were taken when the run was planned
    return spec


def _names(value: list[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def _end_with_parent(group: int) -> None:
    """End at once when the engine's end of our standard input closes: it was killed, and may be started again.

    The other processes of the training and what they started end too: none of them may write beside the next training.
    """
    while os.read(0, 1024):
        pass
    # Started by anyone but the engine, this one would be in the group of others.
    if os.getpgrp() == group:
        os.killpg(group, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
