"""Files of tensors: read as nothing but tensors, refused where they hold anything else, faults told in one line."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch

from sgforge.errors import StepError

__all__ = ["Tensors", "check_names", "read_tensors", "why_not_loaded"]

Tensors: TypeAlias = dict[str, torch.Tensor]

_SHOWN: Final = 3
_WRAPPERS: Final = ("model", "state_dict")


def read_tensors(path: Path) -> Tensors:
    """The named tensors of a .safetensors file or of one that `torch.save` wrote; on the CPU.

    Anything but tensors in it is refused, as it could run code when read; a missing or damaged file is a `StepError`.
    """
    if not path.is_file():
        raise StepError(f"checkpoint {path}: there is no such file")
    found = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    for name in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise StepError(f"checkpoint {path}: it holds no table of named tensors")
    return dict(found)


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise StepError(f"checkpoint {path} is damaged or cut off: {error}") from error


def _pickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "truncated" in str(error):
            raise StepError(f"checkpoint {path} is damaged or cut off") from error
        raise StepError(f"checkpoint {path} is no file of tensors alone: refused, reading it could run code") from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StepError(f"checkpoint {path} is damaged or cut off: {first}") from error


def check_names(where: object, model: str, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """A `StepError` that names the first tensors which a checkpoint lacks, or has beyond what the model knows."""
    parts = [
        f"{what} {', '.join(sorted(names)[:_SHOWN])}{' ...' if len(names) > _SHOWN else ''}"
        for what, names in (("lacks", list(missing)), ("has the unknown", list(unexpected)))
        if names
    ]
    if parts:
        raise StepError(f"checkpoint {where} is of another architecture than {model}: it {' and '.join(parts)}")


def why_not_loaded(error: Exception) -> str:
    """What transformers said, in one line; of a gated model how to get at it."""
    text = " ".join(str(error).split())
    if "gated" in text.lower():
        return "the model is gated: accept its terms on its page, then log in with `hf auth login` or set HF_TOKEN"
    return text[:300]
