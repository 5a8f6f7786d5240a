"""TRL's GRPOTrainer with graph rewards: the reward in its signature, its rows, and guards for what fails in silence.

from sgforge_grpo.trainers.trl import check_pixels, in_folder, reward_for, rows

trainer = GRPOTrainer(
    model=in_folder(model, processor, "start"), reward_funcs=[reward_for("hard")],
    train_dataset=rows("rows.jsonl"), args=GRPOConfig(beta=0.04, ...), processing_class=processor,
)
check_pixels(trainer)
trainer.train()
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from sgforge.errors import ConfigError, StepError
from sgforge_grpo.trainers.texts import TextReward

__all__ = ["PixelCheck", "check_pixels", "in_folder", "reward_for", "rows"]


def reward_for(name: str = "hard", **options: Any) -> Any:
    """A reward function of TRL's signature; it tells the share of malformed answers as the metric `malformed`."""
    scored = TextReward(name, **options)

    def reward(completions: Any, solution: Any = None, log_metric: Any = None, **columns: Any) -> list[Any]:
        totals = scored(completions, solution)
        if log_metric is not None:
            log_metric("malformed", scored.malformed)
        return totals

    reward.__name__ = scored.__name__
    return reward


def rows(path: str | Path) -> Any:
    """The rows of `sgforge export --to trl` as a dataset, pictures opened when they are asked for."""
    datasets = _needed("datasets")
    lines = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines() if line.strip()]
    return datasets.Dataset.from_list(lines).cast_column("image", datasets.Image())


def in_folder(model: Any, processor: Any, folder: str | Path) -> Any:
    """The model, saved to a folder and loaded from it.

    With beta above 0 TRL loads its reference from where the model came from; one made in memory came from nowhere.
    """
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return type(model).from_pretrained(folder)


class PixelCheck:
    """Counts how often pixels reach the vision tower, while sampling and while learning."""

    def __init__(self, tower: Any, trainer: Any) -> None:
        self.sampling = self.learning = 0
        self._trainer = trainer
        self._handle = tower.register_forward_hook(self._seen)

    def _seen(self, tower: Any, given: Any, made: Any) -> None:
        import torch

        if torch.is_grad_enabled():
            self.learning += 1
        else:
            self.sampling += 1

    def check(self, step: int) -> None:
        """Stop a training whose loss never saw a picture."""
        if self.sampling and not self.learning:
            raise StepError(
                f"step {step}: pixels reached the model {self.sampling} times while sampling and never while learning: "
                "the loss is of a model that sees no picture"
            )

    def close(self) -> None:
        """Count no more."""
        self._handle.remove()


def check_pixels(trainer: Any) -> PixelCheck:
    """Let a GRPOTrainer stop after its first step if pixels do not reach the loss; to be called before `train`."""
    transformers = _needed("transformers")
    found = [
        (name, module)
        for name, module in trainer.model.named_modules()
        if name.rpartition(".")[2] in ("vision_tower", "visual", "vision_model")
    ]
    if not found:
        raise ConfigError("this model has no vision tower by any known name: nothing can be checked")
    check = PixelCheck(min(found, key=lambda one: len(one[0]))[1], trainer)

    class Stop(transformers.TrainerCallback):  # type: ignore[name-defined,misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **further: Any) -> None:
            check.check(state.global_step)

    trainer.add_callback(Stop())
    return check


def _needed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConfigError(f"TRL's trainer needs {module}; install it with: pip install 'sgforge[trl]'") from None
