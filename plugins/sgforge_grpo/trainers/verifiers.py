"""An environment for verifiers: `load_environment(rows=..., reward=...)`.

Rows are those of `sgforge export DATASET --to verifiers --output rows.jsonl`: a prompt with its picture, and the truth
under `info`. The reward is a registered one; its parts are told as metrics of weight 0.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from sgforge.errors import ConfigError
from sgforge_grpo.trainers.texts import TextReward

__all__ = ["load_environment", "reward_functions"]


def reward_functions(reward: str = "hard", **options: Any) -> list[Any]:
    """What a rubric takes: the reward, and whether an answer was malformed."""
    scored = TextReward(reward, **options)

    async def graph_reward(completion: Any, info: Any, **_: Any) -> float:
        (total,) = scored([completion], [_solution(info)])
        return 0.0 if total is None else float(total)

    async def malformed(completion: Any, info: Any, **_: Any) -> float:
        scored([completion], [_solution(info)])
        return scored.malformed

    graph_reward.__name__ = scored.__name__
    return [graph_reward, malformed]


def _solution(info: Any) -> str:
    given = json.loads(info) if isinstance(info, str) else info
    return str(given["solution"])


def load_environment(rows: str | Path = "rows.jsonl", reward: str = "hard", **options: Any) -> Any:
    """A single-turn environment over the rows of a file, with a graph reward; `options` are the reward's."""
    try:
        verifiers, datasets = importlib.import_module("verifiers"), importlib.import_module("datasets")
    except ImportError as error:
        raise ConfigError(
            f"an environment needs {error.name}; install it with: pip install 'sgforge[verifiers]'"
        ) from None
    functions = reward_functions(reward, **options)
    lines = [json.loads(line) for line in Path(rows).read_text("utf-8").splitlines() if line.strip()]
    dataset = datasets.Dataset.from_list(lines)
    rubric = verifiers.Rubric(funcs=functions, weights=[1.0, 0.0])
    return verifiers.SingleTurnEnv(dataset=dataset, rubric=rubric)
