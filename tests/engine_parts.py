"""Toy components that hold others: panels of critics, sync and async, a student that asks critics while it trains.

The module is a plugin, so that child processes can find it too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

import attrs
from engine_toys import ToyStudent, log

import sgforge
from sgforge.edits import Edit
from sgforge.graph import Sample
from sgforge.models import ChatRequest, Message, TextPart
from sgforge.stages import Checkpoint, Needs, Resources, Selection, Use, part, parts


@attrs.frozen
class CriticOptions:
    least: float = 0.5
    words: Path | None = None
    setup_error: str = ""
    log: str = attrs.field(default="", eq=False)


class Critic:
    """Rejects relations whose score is lower than `least`."""

    revision = 1

    def __init__(self, options: CriticOptions = CriticOptions()) -> None:
        self.options = options

    def setup(self, resources: Resources) -> None:
        self._tell("setup")
        if self.options.setup_error:
            raise RuntimeError(self.options.setup_error)

    def close(self) -> None:
        self._tell("close")

    def _tell(self, what: str) -> None:
        log(self.options.log, what, type(self).__name__, self.options.least, threading.current_thread().name)

    def one(self, sample: Sample) -> Edit:
        rows = sample.graph.relations.items()
        return Edit.sum(Edit.reject(i, "low", row.score) for i, row in rows if (row.score or 0.0) < self.options.least)

    def filter(self, samples: Sequence[Sample]) -> Iterable[Edit]:
        yield from map(self.one, samples)


class AsyncCritic(Critic):
    """The same, sample by sample."""

    async def filter(self, sample: Sample) -> Edit:  # type: ignore[override]
        return self.one(sample)


@attrs.frozen
class AskingOptions:
    model: str


class AskingCritic:
    """Rejects the first relation of an image if the model says so."""

    def __init__(self, options: AskingOptions) -> None:
        self.options = options

    def setup(self, resources: Resources) -> None:
        assert resources.model is not None
        self.model = resources.model

    async def filter(self, sample: Sample) -> Edit:
        request = ChatRequest(messages=(Message("user", (TextPart(f"judge {sample.image_id}"),)),), max_tokens=4)
        answer = (await self.model.complete(request)).text
        return Edit.reject(0, answer.split()[0], 1.0) if sample.graph.relations else Edit()


@attrs.frozen
class PanelOptions:
    critics: tuple[Use, ...] = parts("filter")
    chair: Use | None = part("filter", None)
    log: str = attrs.field(default="", eq=False)


@attrs.frozen
class ChairedOptions:
    chair: Use = part("filter", "critic")


class Panel:
    """Rejects what critics of more than half of the weight reject, by their weight; the chair's word is final."""

    revision = 1

    def __init__(self, options: PanelOptions | ChairedOptions) -> None:
        self.options = options

    def setup(self, resources: Resources) -> None:
        self.parts = resources.parts.get("critics", ())
        self.chair = resources.parts.get("chair", ())

    def close(self) -> None:
        log(getattr(self.options, "log", ""), "close", "Panel")

    def filter(self, samples: Sequence[Sample]) -> list[Edit]:
        edits = [list(part.component.filter(samples)) for part in self._asked()]
        return [self.verdict(row) for row in zip(*edits, strict=True)]

    def _asked(self) -> tuple[sgforge.stages.Part, ...]:
        return (*self.parts, *self.chair)

    def verdict(self, edits: Sequence[Edit]) -> Edit:
        against: dict[int, float] = {}
        for asked, edit in zip(self._asked(), edits, strict=True):
            share = 10.0 if asked in self.chair else asked.weight
            for verdict in edit.verdicts:
                against[verdict.index] = against.get(verdict.index, 0.0) + share
        half = sum(asked.weight for asked in self.parts) / 2
        return Edit.sum(Edit.reject(i, "outvoted", votes) for i, votes in sorted(against.items()) if votes > half)


class AsyncPanel(Panel):
    """The same, sample by sample."""

    async def filter(self, sample: Sample) -> Edit:  # type: ignore[override]
        return self.verdict([await asked.component.filter(sample) for asked in self._asked()])


@attrs.frozen
class JudgedOptions:
    judges: tuple[Use, ...] = parts("filter")
    checkpoint: Path | None = None


class JudgedStudent(ToyStudent):
    """Puts into its checkpoint what its judges say of one image, and who they are."""

    def __init__(self, options: JudgedOptions) -> None:
        super().__init__()

    def train(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        from sgforge.dataset import Snapshot

        made = super().train(snapshot_path, selection, out_dir, resources)
        sample = Snapshot.open(snapshot_path).sample(0)
        said = []
        for judge in resources.parts["judges"]:
            [edit] = judge.component.filter([sample])
            said.append(f"{judge.name} {judge.weight} {[verdict.reason for verdict in edit.verdicts]}")
        (made.path / "said.txt").write_text("\n".join(said))
        return Checkpoint.of(made.path)


@sgforge.hookimpl
def sgforge_register_filters(register) -> None:
    register("critic", Critic, config=CriticOptions)
    register("critic-async", AsyncCritic, config=CriticOptions)
    register("critic-asking", AskingCritic, config=AskingOptions, needs=Needs(model=True, deterministic=False))
    register("critic-needy", Critic, config=CriticOptions, needs=Needs(modules=("no_such_module",)))
    register("panel", Panel, config=PanelOptions)
    register("panel-async", AsyncPanel, config=PanelOptions)
    register("chaired", Panel, config=ChairedOptions)


@sgforge.hookimpl
def sgforge_register_students(register) -> None:
    register("judged", JudgedStudent, config=JudgedOptions, needs=Needs(checkpoint=True))


def this_plugin() -> ModuleType:
    import sys

    return sys.modules[__name__]


def install(folder: Path) -> None:
    """Make this module an installed plugin for processes that have `folder` on their path."""
    info = folder / "engine_parts-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: engine-parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sgforge]\nparts = engine_parts\n")
