"""One training in a process of its own: `python -m sgforge.engine.child JOB.json`; the engine starts it."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgforge.engine.components import find_spec
from sgforge.engine.lending import ModelAccess, opened_model
from sgforge.engine.training import TrainJob, train_here, write_json
from sgforge.errors import SgforgeError
from sgforge.images import Roots
from sgforge.plugins import Registry, load_plugins
from sgforge.stages import Checkpoint, Resources, Selection

if TYPE_CHECKING:
    from sgforge.models import BoundModel


def main(job_file: str) -> int:
    """Train as the job says and leave the answer where it says; returns the exit code."""
    threading.Thread(target=_end_with_parent, name="sgforge-parent", daemon=True).start()
    given = json.loads(Path(job_file).read_text())
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


def _job(given: dict[str, Any], registry: Registry, model: BoundModel | None) -> TrainJob:
    step = given["step"]
    spec, faults = find_spec(registry, given["kind"], given["component"], given["settings"])
    assert not faults, faults  # they were taken when the run was planned
    base = given["checkpoint"]
    checkpoint = None if base is None else Checkpoint(Path(base["path"]), base["sha256"], base["metrics"])
    folder = Path(given["folder"])
    scratch = folder / "scratch"
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
    sys.exit(main(sys.argv[1]))
