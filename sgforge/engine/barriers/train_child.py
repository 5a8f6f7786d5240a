"""One training in a process of its own: `python -m sgforge.engine.barriers.train_child`; the engine starts it.

Its standard input is one line of orders, and then stays open for as long as the engine lives.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgforge.engine.barriers.training import SCRATCH, TrainJob, train_here, write_json
from sgforge.engine.models.child_models import ModelAccess, opened_model
from sgforge.engine.planning.components import find_spec
from sgforge.errors import SgforgeError
from sgforge.images import Roots
from sgforge.plugins import Registry, load_plugins
from sgforge.stages import Checkpoint, Resources, Selection

if TYPE_CHECKING:
    from sgforge.stages import Model


def main() -> int:
    """Train as the orders say and leave the answer where they say; returns the exit code."""
    orders = _read_orders()
    if orders is None:
        return 1
    threading.Thread(target=_end_with_parent, name="sgforge-parent", daemon=True).start()
    given = json.loads(orders)
    answer = Path(given["answer"])
    try:
        registry = load_plugins()
        access = None if given["access"] is None else ModelAccess.from_json(given["access"])
        with opened_model(access, registry) as model:
            checkpoint = train_here(_job(given, registry, model))
    except SgforgeError as error:
        traceback.print_exc()
        write_json(answer, {"error": str(error), "exit_code": error.exit_code})
        return error.exit_code
    write_json(
        answer,
        {
            "path": str(checkpoint.path.resolve()),
            "sha256": checkpoint.sha256,
            "metrics": {name: float(value) for name, value in checkpoint.metrics.items()},
        },
    )
    return 0


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


def _job(given: dict[str, Any], registry: Registry, model: Model | None) -> TrainJob:
    step = given["step"]
    spec, faults = find_spec(registry, given["kind"], given["component"], given["settings"])
    assert not faults, faults  # they were taken when the run was planned
    base = given["checkpoint"]
    checkpoint = None if base is None else Checkpoint(Path(base["path"]), base["sha256"], base["metrics"])
    folder = Path(given["folder"])
    scratch = folder / SCRATCH
    scratch.mkdir(exist_ok=True)
    resources = Resources(
        given["device"],
        given["dtype"],
        given["seed"],
        given["workers"],
        checkpoint=checkpoint,
        model=model,
        scratch=scratch,
        roots=None if given["roots"] is None else Roots(given["roots"]),
    )
    return TrainJob(
        step,
        spec,
        given["method"],
        Path(given["snapshot"]),
        Selection(_names(given["sources"]), _names(given["splits"])),
        folder,
        resources,
    )


def _names(value: list[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def _end_with_parent() -> None:
    """End at once when the engine's end of our standard input closes: it was killed, and may be started again.

    The processes that the training started end too: none of them may write beside the next training.
    """
    while os.read(0, 1024):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
