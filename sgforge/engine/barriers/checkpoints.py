"""The folder of a training step: where its checkpoint is, once it is trained.

<dataset>/steps/<fingerprint>/  out/             what the component writes; it resumes from what it finds there
                                checkpoint.json  written last: there is a checkpoint only if this file is there
                                metrics.jsonl    the figures that it reported
                                log.txt          what a training in a child process printed, log-1.txt its rank 1
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from sgforge.digests import folder_sha256
from sgforge.durable import write_json
from sgforge.errors import StepError
from sgforge.stages import Checkpoint

__all__ = ["keep_checkpoint", "load_checkpoint"]

_CHECKPOINT: Final = "checkpoint.json"


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The finished checkpoint of a step's folder, None if there is none yet.

    One that lies elsewhere, or whose files are not those that the training left, is a `StepError`.
    """
    file = folder / _CHECKPOINT
    try:
        found = json.loads(file.read_text())
        path = folder / found["path"]
        checkpoint = Checkpoint(path, str(found["sha256"]), dict(found["metrics"]))
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError) as error:
        raise StepError(f"{file} describes no checkpoint ({error}); remove it to train again") from None
    if not path.resolve().is_relative_to(folder.resolve()):
        raise StepError(f"{file} leads out of its folder: refused; remove it to train again")
    # Thrown away to save space: the training is done again rather than refused.
    if not path.is_dir():
        return None
    if folder_sha256(path) != checkpoint.sha256:
        raise StepError(
            f"{path} is damaged: its files are not those that the training left; delete {folder} to train again"
        )
    return checkpoint


def keep_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Note what a training has left: from now on the folder counts as trained."""
    path = checkpoint.path.resolve().relative_to(folder.resolve())
    metrics = {name: float(value) for name, value in checkpoint.metrics.items()}
    write_json(folder / _CHECKPOINT, {"path": path.as_posix(), "sha256": checkpoint.sha256, "metrics": metrics})
