"""Rewards for ms-swift's GRPO: this file is its plugin.

    swift rlhf --rlhf_type grpo --external_plugins .../sgforge_grpo/trainers/swift.py \\
        --reward_funcs sgforge_hard --dataset rows.jsonl ...

`sgforge export DATASET --to ms-swift --output rows.jsonl` writes the rows. Where the file is:
`python -c "import sgforge_grpo.trainers.swift as plugin; print(plugin.__file__)"`. Every graph reward is registered as
`sgforge_NAME`; ms-swift passes the columns of a row on, of which `solution` is read.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Final

from sgforge_grpo.trainers.texts import TextReward

__all__ = ["REWARDS", "register", "reward_class"]

REWARDS: Final = (
    *("format", "node-accuracy", "node-box", "edge-soft", "recall-hard", "recall-relax", "precision", "f1", "length"),
    *("hard", "hard-relax", "soft", "hallucination"),
)


def reward_class(base: type[Any], name: str) -> type[Any]:
    """A class of ms-swift's kind that is the reward of this name."""

    class Scorer(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.sgforge = TextReward(name)

        def __call__(self, completions: Sequence[Any], **columns: Any) -> list[Any]:
            return self.sgforge(completions, **columns)

    Scorer.__name__ = Scorer.__qualname__ = f"Sgforge{name.title().replace('-', '')}"
    return Scorer


def register(orms: dict[str, Any], base: type[Any]) -> None:
    """Put every graph reward into ms-swift's table of rewards."""
    for name in REWARDS:
        orms[f"sgforge_{name.replace('-', '_')}"] = reward_class(base, name)


def _table() -> tuple[dict[str, Any], type[Any]] | None:
    """ms-swift's table and the base of what is in it, wherever its version keeps them; None without it."""
    for place in ("swift.rewards", "swift.plugin", "swift.plugin.orm"):
        try:
            module = importlib.import_module(place)
            return module.orms, module.ORM
        except (ImportError, AttributeError):
            continue
    return None


_found = _table()
if _found is not None:
    register(*_found)
