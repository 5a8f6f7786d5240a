"""The folder of a training step: where its checkpoint is, once it is trained.

<dataset>/steps/<fingerprint>/  out/             what the component writes; it resumes from what it finds there
                                checkpoint.json  written last: there is a checkpoint only if this file is there
                                metrics.jsonl    the figures that it reported
                                *.seal           digests of these files, once it is trained
                                log.txt          what a training in a child process printed, log-1.txt its rank 1
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from sgforge.digests import folder_sha256
from sgforge.durable import json_text
from sgforge.errors import StepError
from sgforge.seals import break_seal, seal, seal_fault, seal_path, sealed_file
from sgforge.stages import Checkpoint

__all__ = ["begin_training", "keep_checkpoint", "load_checkpoint", "refuse_changed"]

_CHECKPOINT: Final = "checkpoint.json"


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The finished checkpoint of a step's folder, None if there is none yet.

    One that lies elsewhere, or whose files are not those that the training left, is a `StepError`.
    """
    file = folder / _CHECKPOINT
    refuse_changed(file)
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
    for file in _beside(folder):
        seal(file)
    told = {"path": path.as_posix(), "sha256": checkpoint.sha256, "metrics": metrics}
    with sealed_file(folder / _CHECKPOINT) as stream:
        stream.write(json_text(told).encode())


def begin_training(folder: Path) -> None:
    """What lies beside a checkpoint is written on: it has no digest until the training is done."""
    for file in _beside(folder):
        break_seal(file)


def _beside(folder: Path) -> list[Path]:
    return [*folder.glob("metrics.jsonl"), *folder.glob("log*.txt")]


def refuse_changed(file: Path) -> None:
    """A `StepError` for a file of a step that is not what was written there; one from before there were digests is
    taken as it is."""
    if file.exists() and seal_path(file).exists() and (fault := seal_fault(file)) is not None:
        dataset = file.parent.parent.parent
        raise StepError(
            f"{file} is damaged ({fault}): sgforge repair {dataset} takes a sound copy or moves it aside, and the next "
            "run makes it again"
        )
