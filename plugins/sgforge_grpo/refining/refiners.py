"""Refiners `grpo`, `raft` and `dpo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from sgforge.stages import Checkpoint, Resources, RewardSum, Selection
from sgforge_grpo.config import DpoOptions, GrpoOptions, RaftOptions
from sgforge_grpo.refining.loop import Refinement
from sgforge_grpo.refining.methods import Dpo, Grpo, Method, Raft

__all__ = ["DpoRefiner", "GrpoRefiner", "RaftRefiner"]


class _Refiner:
    """What all three have in common."""

    def __init__(self, options: Any) -> None:
        self._options = options

    def setup(self, resources: Resources) -> None:
        """Look at the rewards: none, or one without a range, is refused before anything is loaded."""
        self._parts = resources.parts
        RewardSum(resources.parts.get("rewards", ()))

    def refine(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        """Refine the student of `resources`, or go on from a state in `out_dir`."""
        held = resources if resources.parts else attrs.evolve(resources, parts=self._parts)
        return Refinement(self._options, self._method(), out_dir, held).run(snapshot_path, selection)

    def _method(self) -> Method:
        raise NotImplementedError


class GrpoRefiner(_Refiner):
    """Group-relative policy optimisation (Shao et al. 2024, DeepSeekMath, section 4), and its relatives."""

    def __init__(self, options: GrpoOptions) -> None:
        super().__init__(options)

    def _method(self) -> Method:
        return Grpo(self._options)


class RaftRefiner(_Refiner):
    """Best of a group, then cross-entropy on it (Dong et al. 2023)."""

    def __init__(self, options: RaftOptions) -> None:
        super().__init__(options)

    def _method(self) -> Method:
        return Raft(self._options)


class DpoRefiner(_Refiner):
    """Preferences from rewards (Rafailov et al. 2023)."""

    def __init__(self, options: DpoOptions) -> None:
        super().__init__(options)

    def _method(self) -> Method:
        return Dpo(self._options)
