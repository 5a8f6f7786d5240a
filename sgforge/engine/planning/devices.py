"""The devices of this machine that a component may compute on."""

from __future__ import annotations

import importlib.util

from sgforge.stages import Needs

__all__ = ["devices_for"]


def devices_for(*needs: Needs) -> tuple[str, ...]:
    """Names as torch has them: every GPU where one of these components can use one, else the CPU."""
    if all(one.gpu == "no" for one in needs) or importlib.util.find_spec("torch") is None:
        return ("cpu",)
    import torch

    if torch.cuda.is_available():
        return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
    return ("mps",) if torch.backends.mps.is_available() else ("cpu",)
