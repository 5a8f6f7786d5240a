"""The state of a refinement that goes on: what is learnt, the optimiser, how far it is; whole on disk or not there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import attrs
import torch

from sgforge.durable import write_text
from sgforge.errors import StepError
from sgforge.stages.policies import Policy
from sgforge_grpo.refining.ranks import Ranks
from sgforge_grpo.refining.shares import divided, divided_moments, is_share, whole

__all__ = ["States"]

_PREFIX: Final = "state-"
_PLAN: Final = "plan.json"


@attrs.frozen(kw_only=True, eq=False)
class States:
    """States of one refinement under `folder`; `plan` must be equal for one to be gone on with."""

    folder: Path
    plan: str
    ranks: Ranks

    def save(self, step: int, policy: Policy, optimizer: torch.optim.Optimizer, written: int) -> None:
        """Write the state after `step` steps, then remove older ones; every rank calls, and writes its own part.

        Of a policy in shares the first one writes all, in whole tensors.
        """
        final = self.folder / f"{_PREFIX}{step:08d}"
        aside = self.folder / f".{_PREFIX}aside"
        if self.ranks.rank == 0:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
        self.ranks.gather(None)
        own, moments = dict(policy.state_dict()), optimizer.state_dict()
        shared = any(map(is_share, own.values()))
        if shared:
            own, moments = (whole(one, self.ranks.rank == 0) for one in (own, moments))
        if self.ranks.rank == 0 or not shared:
            content = {"step": step, "written": written, "policy": own, "optimizer": moments}
            torch.save(content, aside / f"{self.ranks.rank}.pt")
        self.ranks.gather(None)
        if self.ranks.rank == 0:
            write_text(aside / _PLAN, self.plan)
            shutil.rmtree(final, ignore_errors=True)
            aside.replace(final)
            for older in self._found()[:-1]:
                shutil.rmtree(older, ignore_errors=True)
        self.ranks.gather(None)

    def load(self, policy: Policy, optimizer: torch.optim.Optimizer, device: str) -> tuple[int, int]:
        """Take up the latest state: steps taken, and bytes of rollouts by then; (0, 0) without one.

        A rank that was not there takes up what the first one wrote. A policy in shares gets those of whole tensors.
        """
        found = self._found()
        if not found:
            return 0, 0
        latest = found[-1]
        if (latest / _PLAN).read_text() != self.plan:
            raise StepError(f"{latest} is the state of another refinement: delete it to begin anew")
        own = latest / f"{self.ranks.rank}.pt"
        own = own if own.exists() else latest / "0.pt"
        kept = policy.state_dict()
        if any(map(is_share, kept.values())):  # read where it lies: no device need have room for all of it
            content: dict[str, Any] = torch.load(own, map_location="cpu", weights_only=True, mmap=True)
            content["policy"] = divided(content["policy"], kept)
            content["optimizer"] = divided_moments(content["optimizer"], optimizer)
        else:
            content = torch.load(own, map_location=device, weights_only=True)
        policy.load_state_dict(content["policy"])
        optimizer.load_state_dict(content["optimizer"])
        return int(content["step"]), int(content["written"])

    def clear(self) -> None:
        """Remove all states, of a refinement that is done."""
        if self.ranks.rank == 0:
            for folder in self._found():
                shutil.rmtree(folder, ignore_errors=True)

    def _found(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(f"{_PREFIX}*") if (path / _PLAN).exists())
