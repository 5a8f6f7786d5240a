"""Checking the folders of steps: checkpoints, reports, choices, and what lies beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.maintenance.findings import Finding
from sgforge.digests import folder_sha256
from sgforge.regular_files import MAX_META_BYTES, read_json
from sgforge.seals import SUFFIX, seal_fault

__all__ = ["KEPT", "step_findings", "unsealed_files", "weights_of"]

KEPT: Final = ("checkpoint.json", "report.json", "predictions.jsonl", "choices.jsonl")
"""What is read of a step's folder when it is met again."""


def step_findings(folder: DatasetFolder) -> Iterator[Finding]:
    """Files that are not what was written; a folder without a checkpoint is not trained yet."""
    for step in sorted(path for path in folder.steps.glob("*") if path.is_dir()):
        found = dict(_seal_faults(step))
        yield from (_finding(step, name, fault) for name, fault in found.items())
        if "checkpoint.json" not in found and (step / "checkpoint.json").exists():
            yield from _checkpoint(step)


def _seal_faults(step: Path) -> Iterator[tuple[str, str]]:
    for seal in sorted(step.glob(f"*{SUFFIX}")):
        file = seal.with_name(seal.name.removesuffix(SUFFIX))
        if not file.exists() and file.name in KEPT:
            continue  # a killed writer was about to write it, or somebody threw it away to have it made again
        # Looked at twice: a writer may be at it just now.
        fault = seal_fault(file) and seal_fault(file)
        if fault is not None and seal.exists():
            yield file.name, fault


def _finding(step: Path, name: str, what: str) -> Finding:
    return Finding(kind="step", what=f"steps/{step.name[:12]}: {name}: {what}", where=f"steps/{step.name}/{name}")


def _checkpoint(step: Path) -> Iterator[Finding]:
    where, name = f"steps/{step.name[:12]}", f"steps/{step.name}/checkpoint.json"
    try:
        weights, told = weights_of(step)
    except (OSError, ValueError, LookupError, TypeError) as error:
        what = f"{where}: its checkpoint.json describes no checkpoint ({error})"
        yield Finding(kind="step", what=what, where=name)
        return
    if not weights.resolve().is_relative_to(step.resolve()):
        yield Finding(kind="step", what=f"{where}: its checkpoint.json leads out of its folder", where=name)
    elif weights.is_dir() and folder_sha256(weights) != told:
        what = f"{where}: the weights are not those that the training left"
        yield Finding(kind="step", what=what, where=f"steps/{step.name}/{weights.relative_to(step)}")


def weights_of(step: Path) -> tuple[Path, str]:
    """The folder of a step's weights and its sha256, as its checkpoint.json tells them."""
    found = read_json(step / "checkpoint.json", MAX_META_BYTES)
    return step / str(found["path"]), str(found["sha256"])


def unsealed_files(folder: DatasetFolder) -> list[Path]:
    """What steps left before there were seals."""
    found = (path for name in KEPT for path in folder.steps.glob(f"*/{name}"))
    return sorted(path for path in found if not path.with_name(path.name + SUFFIX).exists())
