"""One process of a training: `python -m sgforge.engine.executors.training.child`; the engine starts it.

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
from pathlib import Path
from typing import Any

import attrs

from sgforge.durable import write_json
from sgforge.engine.executors.training.crew import train_here
from sgforge.engine.executors.training.lesson import Lesson, checkpoint_fields, unpack_lesson
from sgforge.engine.executors.training.metrics import METRICS, MetricsWriter
from sgforge.engine.executors.training.processes import leave_process_group
from sgforge.engine.executors.work_messages import access_in, unpack_work
from sgforge.engine.models.child_models import opened_models
from sgforge.errors import SgforgeError
from sgforge.plugins import load_plugins
from sgforge.stages import Checkpoint


def main() -> int:
    """Train as the orders say and leave the answer where they say; returns the exit code."""
    orders = _read_orders()
    if orders is None:
        return 1
    given = json.loads(orders)
    threading.Thread(target=_end_with_parent, args=(given["group"],), name="sgforge-parent", daemon=True).start()
    answer = Path(given["answer"])
    try:
        checkpoint = _train(bytes.fromhex(given["work"]), unpack_lesson(bytes.fromhex(given["lesson"])))
    except SgforgeError as error:
        traceback.print_exc()
        write_json(answer, {"error": str(error), "exit_code": error.exit_code, "at": time.time()})
        return error.exit_code
    write_json(answer, _answer(checkpoint))
    leave_process_group()
    return 0


def _answer(checkpoint: Checkpoint | None) -> dict[str, Any]:
    """What a rank that is done leaves: the first one its checkpoint."""
    return {"done": True} if checkpoint is None else {"done": True, "checkpoint": checkpoint_fields(checkpoint)}


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


def _train(message: bytes, lesson: Lesson) -> Checkpoint | None:
    """Train as the message of the work says."""
    registry = load_plugins()
    with opened_models(access_in(message), registry) as models:
        work = unpack_work(message, registry, lambda fields: models[fields["name"]])
        assert work.resources.scratch is not None
        work.resources.scratch.mkdir(parents=True, exist_ok=True)
        if work.resources.worker.rank == 0:
            # What the others tell is not heard. Left open until the process ends, as a training may tell at any time.
            work = attrs.evolve(
                work, resources=attrs.evolve(work.resources, reporter=MetricsWriter(lesson.folder / METRICS))
            )
        return train_here(work, lesson)


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
