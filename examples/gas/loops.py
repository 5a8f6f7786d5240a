"""What the recipes of this folder share: graphs with questions, a renderer that learns, scores with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

import sgforge as sg
from sgforge_gas.judging.groups import Group, gaps, scores_of

SCENES = Path(__file__).with_name("scenes.toml")
"""The words that can be drawn without a model."""


@attrs.frozen(kw_only=True)
class Loop:
    """Who renders and who judges.

    The renderer `tokens` and the judge that knows what was drawn; with `checkpoint`, a pipeline of diffusers that
    learns by LoRA, and `judge`, a "provider/model", at `base_url` where it is another server than the vendor's own.
    `steps`: of each training.
    """

    folder: Path
    steps: int
    checkpoint: str | None = None
    judge: str | None = None
    base_url: str | None = None

    @property
    def words(self) -> dict[str, Any]:
        """The vocabulary, as an option: what can be drawn, or our starter."""
        return {} if self.checkpoint else {"vocabulary": SCENES}

    def graphs(self, seed: int, count: int, *, split: str = "train", copies: int | None = None) -> Any:
        """Graphs of a seed."""
        scene = {} if self.checkpoint else {"scene_attributes": (0,)}
        kept: dict[str, Any] = {"count": count, "complexity": (3, 5), "seed": seed, "split": split}
        return sg.source("gas", copies=copies, **kept, **scene, **self.words)

    def said(self) -> list[Any]:
        """Captions and questions."""
        return [sg.caption("gas", **self.words), sg.question("gas", **self.words)]

    def rendered(self, weights: Path | None, *, sampled: bool = False) -> Any:
        """Pictures by these weights; `sampled`: candidates that differ, which a pipeline of diffusers always gives."""
        if self.checkpoint:
            return sg.render("diffusers", checkpoint=self.checkpoint, lora=weights)
        return sg.render("tokens", checkpoint=weights, sampled=sampled)

    def judged(self) -> Any:
        """Answers about the pictures."""
        return sg.judge("gas", model=self.judge) if self.judge else sg.judge("drawn")

    def taught(self, weights: Path | None) -> Any:
        """Training from these weights, on the pictures of the steps before."""
        if self.checkpoint:
            return sg.train("diffusers", checkpoint=self.checkpoint, lora=weights, train_steps=self.steps)
        return sg.train("tokens", checkpoint=weights, steps=self.steps)

    def run(self, name: str, source: Any, steps: Sequence[Any]) -> Any:
        """Run these steps into a dataset of this name; a second run takes up what the first one left."""
        models = {self.judge: {"base_url": self.base_url}} if self.judge and self.base_url else None
        return sg.Pipeline(*steps, models=models).run(source, self.folder / name, progress=False)

    def learnt(self, name: str, source: Any, steps: Sequence[Any]) -> Path:
        """The weights that these steps, of which the last is a training, lead to."""
        checkpoint = self.run(name, source, steps).step("train").checkpoint
        assert checkpoint is not None
        return Path(checkpoint.path)

    def scored(self, name: str, source: Any, render: Any) -> sg.Dataset:
        """Judged pictures of graphs."""
        self.run(name, source, [*self.said(), render, self.judged()])
        return sg.Dataset.open(self.folder / name)


def score(pictures: sg.Dataset) -> Group:
    """The mean score of all, with its interval."""
    return next(row for row in scores_of(pictures) if row.by == "all")


def gain(after: sg.Dataset, before: sg.Dataset) -> Group:
    """The mean gain on the same graphs, with its interval."""
    return next(row for row in gaps(after, before) if row.by == "all")


def said(row: Group) -> str:
    """A mean with its 95 % interval."""
    return f"{row.mean:6.3f}" if row.low is None else f"{row.mean:6.3f} [{row.low:6.3f}, {row.high:6.3f}]"
