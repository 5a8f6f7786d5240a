"""The reference figures of `tests/data/robin`, and a Robin with their weights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from sgforge_robin import RobinModel, load_model

DATA = Path(__file__).parents[1] / "data" / "robin"

torch.set_num_threads(1)


@cache
def meta() -> dict[str, Any]:
    return json.loads((DATA / "tiny_meta.json").read_text())


@cache
def figures() -> dict[str, Tensor]:
    return load_file(DATA / "tiny_io.safetensors")


@cache
def weights() -> dict[str, Tensor]:
    return load_file(DATA / "tiny_state_dict.safetensors")


def masks() -> list[Tensor | None]:
    return [figures()["in.masks.0"], figures()["in.masks.1"], None]


def robin(**options: Any) -> RobinModel:
    return load_model(weights(), config=meta(), **options)
