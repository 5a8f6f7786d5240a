"""What a component needs and this machine lacks, each with the command or setting that mends it."""

from __future__ import annotations

import importlib.util
import os

from sgforge.plugins.components import Component

__all__ = ["unmet_needs"]


def unmet_needs(component: Component, *, has_key: bool = False) -> tuple[str, ...]:
    """One sentence per unmet need (modules, environment variables, a GPU); empty if the component can run here.

    Modules are looked up, never imported, but for torch where a GPU is required and everything else is there. A model
    (`Needs.model`) is the preflight's to check: it is known only with the component's options. `has_key`: the settings
    name another place of the key, so the usual environment variables are not needed.
    """
    needs = component.needs
    found = [
        f"needs the module {module!r}, which is not installed: {component.mend(module)}"
        for module in needs.modules
        if not _is_installed(module)
    ]
    variables = () if has_key else needs.env
    found += [
        f"needs the environment variable {name}: export {name}=..." for name in variables if not os.environ.get(name)
    ]
    if needs.gpu == "required" and not found and not _has_gpu():
        found.append("needs a GPU, and none is usable here: run it on a machine that has one")
    return tuple(found)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _has_gpu() -> bool:
    if _is_installed("torch"):
        import torch

        return bool(torch.cuda.is_available() or torch.backends.mps.is_available())
    return _cuda_driver_counts_devices()


def _cuda_driver_counts_devices() -> bool:
    import ctypes

    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
