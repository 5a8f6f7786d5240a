"""A plugin for tests of the engine: a student whose training, and whose ranking, ask a model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import attrs
from engine_toys import StudentOptions, ToyStudent

import sgforge
from sgforge.models import ChatRequest, ChatResponse, Message, TextPart
from sgforge.stages import Checkpoint, Needs, Resources, Selection


@attrs.frozen
class AskingOptions(StudentOptions):
    model: str = "compat/any"
    questions: int = 3


class AskingStudent(ToyStudent):
    """Puts into its checkpoint what the model answers; asks with a fresh event loop for every question."""

    def __init__(self, options: AskingOptions = AskingOptions()) -> None:
        super().__init__(options)
        self.questions = options.questions

    def setup(self, resources: Resources) -> None:
        super().setup(resources)
        self.model = resources.model

    def ask(self, text: str) -> str:
        assert self.model is not None
        return asyncio.run(self.model.complete(_request(text))).text

    def train(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        made = super().train(snapshot_path, selection, out_dir, resources)
        assert resources.model is not None
        answers = [self.ask(f"question {number}") for number in range(self.questions)]
        answers += asyncio.run(_together(resources.model, self.questions))
        (made.path / "answers.txt").write_text("\n".join([str(os.getpid()), resources.model.name, *answers]))
        return Checkpoint.of(made.path)

    def rank(self, samples: Sequence[sgforge.Sample]) -> list[object]:
        for sample in samples:
            self.ask(f"what of {sample.image_id}")
        return list(super().rank(samples))


async def _together(model, count: int) -> list[str]:
    found: list[ChatResponse] = await asyncio.gather(*(model.complete(_request(f"more {n}")) for n in range(count)))
    return [response.text for response in found]


def _request(text: str) -> ChatRequest:
    return ChatRequest(messages=(Message("user", (TextPart(text),)),), max_tokens=4)


@sgforge.hookimpl
def sgforge_register_students(register) -> None:
    register("asking", AskingStudent, config=AskingOptions, needs=Needs(model=True, deterministic=False))


def install(folder: Path) -> None:
    """Make this module an installed plugin for processes that have `folder` on their path."""
    info = folder / "engine_asking-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: engine-asking\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sgforge]\nasking = engine_asking\n")
