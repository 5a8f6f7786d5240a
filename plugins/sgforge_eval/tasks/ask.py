"""Asking a model or a student the questions of a task: with the image, or blind, with a scene graph in its place.

Blind: as in SVG section 4.5, Figure 5.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import attrs

from sgforge.errors import ConfigError, ImageError
from sgforge.images import ImageSource, Roots
from sgforge.plugins import load_plugins
from sgforge.stages import Checkpoint, Failure, Resources
from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.intake.inputs import GraphInput, read_chunks
from sgforge_eval.tasks.base import Asked, Predictions
from sgforge_eval.tasks.graph_text import graph_text

__all__ = ["Answerer", "Asking", "Prompt", "answers_of", "ask_task", "open_student"]

_MAX_TOKENS: Final = 64
_AT_ONCE: Final = 512
_BLIND: Final = "Below is a scene graph of an image that you cannot see. Answer the question from it.\n\n"
_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp")
_STUDENT: Final = "student:"


@attrs.frozen(eq=False)
class Prompt:
    """What an answerer is given: the text, and the image or None."""

    text: str
    image: ImageSource | None = None


class Answerer(Protocol):
    """Answers questions about images in free text. A student that has this method can be asked; others cannot."""

    def answer(self, prompts: Sequence[Prompt], /) -> Sequence[str | Failure]:
        """As many answers as prompts, in order."""


@attrs.frozen
class Asking:
    """Whom to ask and what with.

    `model`: provider/model, or student:NAME with its `checkpoint`. `images`: the folder that image names are relative
    to, where their suffix may be left out; a task whose file holds its pictures needs none. `graphs`: scene graphs by
    image id; the model is then blind. `responses`: where paid answers are kept, so that none is bought twice;
    `budget_usd` what all of them may cost; `base_url` another server than the vendor's.
    """

    model: str
    images: Path | None = None
    graphs: GraphInput | None = None
    checkpoint: Path | None = None
    responses: Path = Path("responses.sqlite")
    budget_usd: float | None = None
    base_url: str | None = None
    device: str = "cpu"


def ask_task(task: Any, asking: Asking, output: Path | None = None) -> Predictions:
    """Put all questions of `task`, write the answers to `output` (JSONL, one prediction a line), and return them."""
    asked = _questions(task, blind=asking.graphs is not None)
    dropped = Dropped()
    with tempfile.TemporaryDirectory() as folder:
        if asking.graphs is not None:
            prompts = _blind_prompts(asked, asking.graphs, dropped)
        else:
            prompts = _seeing_prompts(asked, _pictures(task, asking, Path(folder)))
        ready = [prompt for prompt in prompts.values() if isinstance(prompt, Prompt)]
        replies = iter(answers_of(ready, asking))
    found = Predictions(skipped=dropped.counts, first=dropped.examples)
    for question in asked:
        prompt = prompts[question.id]
        reply = next(replies) if isinstance(prompt, Prompt) else prompt
        said = {"failed": reply.reason} if isinstance(reply, Failure) else {"answer": reply}
        found.add({"id": question.id, **said})
    if output is not None:
        output.write_text("".join(json.dumps(dict(row)) + "\n" for row in found.rows.values()), encoding="utf-8")
    return found


def _questions(task: Any, *, blind: bool) -> list[Asked]:
    choices = getattr(task, "questions", None)
    is_open = choices is None or getattr(task, "direct", False)
    questions = getattr(task, "open_questions", None) if is_open else choices
    if questions is None or not (blind or getattr(task, "shows_images", False)):
        hint = "give --graphs to ask it blind" if questions is not None else "only a predictions file can be scored"
        raise ConfigError(f"{task.name} cannot be asked with its images: {hint}")
    return [Asked(question.id, question.prompt, question.image) for question in questions()]


def _pictures(task: Any, asking: Asking, folder: Path) -> Path:
    """Where the images of a task are: the folder that is named, or `folder` with those that its own file holds."""
    held = getattr(task, "pictures", None)
    if held is None:
        if asking.images is None:
            raise ConfigError("asking about images needs --images FOLDER")
        return asking.images
    if asking.images is not None:
        raise ConfigError(f"{task.name} holds its pictures in its own file: leave out --images")
    for name, data in held():
        (folder / name).write_bytes(data)
    return folder


def _seeing_prompts(asked: Sequence[Asked], folder: Path) -> dict[str, Prompt | Failure]:
    roots = Roots({"images": folder})
    prompts: dict[str, Prompt | Failure] = {}
    for question in asked:
        try:
            image = roots.image(_uri_of(question.image or "", roots))
            image.size()
            prompts[question.id] = Prompt(question.prompt, image)
        except ImageError as error:
            prompts[question.id] = Failure("image", str(error))
    return prompts


def _uri_of(name: str, roots: Roots) -> str:
    """The uri of an image by its name, with the suffix that its file has where the name has none."""
    plain = f"images:{name}"
    uris = (plain, *(f"{plain}{suffix}" for suffix in _SUFFIXES))
    return next((uri for uri in uris if roots.resolve(uri).is_file()), plain)


def _blind_prompts(asked: Sequence[Asked], graphs: GraphInput, dropped: Dropped) -> dict[str, Prompt | Failure]:
    wanted = {question.image for question in asked}
    texts: dict[str, str] = {}
    for columns in read_chunks(graphs, dropped, what="graphs"):
        for row, image_id in enumerate(columns.image.ids):
            if image_id in wanted:
                texts[image_id] = graph_text(columns.graph(row))
    return {
        question.id: Prompt(f"{_BLIND}{texts[question.image]}\n\n{question.prompt}")
        if question.image in texts
        else Failure("no scene graph of its image")
        for question in asked
    }


def answers_of(prompts: Sequence[Prompt], asking: Asking) -> Sequence[str | Failure]:
    """What the model or student says to each prompt, in order; a question that it cannot be asked is a `Failure`."""
    if asking.model.startswith(_STUDENT):
        student = open_student(asking.model.removeprefix(_STUDENT), asking.checkpoint, asking.device)
        try:
            answers = student.answer(prompts)
        finally:
            _close(student)
        if len(answers) != len(prompts):
            raise ConfigError(f"{asking.model} answered {len(answers)} of {len(prompts)} questions")
        return answers
    return asyncio.run(_ask_model(prompts, asking))


def open_student(
    name: str, checkpoint: Path | None = None, device: str = "cpu", options: Mapping[str, Any] | None = None
) -> Answerer:
    """A registered student with its weights, ready to answer; one without an `answer` method is a `ConfigError`."""
    from sgforge.config import structure_options

    component = load_plugins().lookup("student", name)
    student = component.build(structure_options(component, dict(options or {}), f"student {name}"))
    if not callable(getattr(student, "answer", None)):
        raise ConfigError(f"student {name!r} cannot answer questions: it has no method answer(prompts)")
    setup = getattr(student, "setup", None)
    if setup is not None:
        setup(Resources(devices=(device,), checkpoint=None if checkpoint is None else Checkpoint.of(checkpoint)))
    found: Answerer = student
    return found


def _close(student: Answerer) -> None:
    """Close a student, if it can be closed."""
    closing = getattr(student, "close", None)
    if closing is not None:
        closing()


async def _ask_model(prompts: Sequence[Prompt], asking: Asking) -> list[str | Failure]:
    from sgforge.engine.models.providers import provider_resolver
    from sgforge.models import Gateway, GatewaySettings, ModelSettings

    settings = GatewaySettings(budget_usd=asking.budget_usd)
    async with Gateway.open(asking.responses, settings, provider_resolver(load_plugins())) as gateway:
        model = gateway.bind(asking.model, ModelSettings(base_url=asking.base_url))
        problems = gateway.problems()
        if problems:
            raise ConfigError("; ".join(problems))
        answers: list[str | Failure] = []
        for start in range(0, len(prompts), _AT_ONCE):
            answers += await asyncio.gather(*(_one(model, prompt) for prompt in prompts[start : start + _AT_ONCE]))
        return answers


async def _one(model: Any, prompt: Prompt) -> str | Failure:
    from sgforge.models import ChatRequest, ImagePart, Message, ModelError, TextPart

    parts: list[Any] = [TextPart(prompt.text)]
    if prompt.image is not None:
        parts.insert(0, ImagePart.from_source(prompt.image))
    try:
        response = await model.complete(ChatRequest((Message("user", parts),), max_tokens=_MAX_TOKENS))
    except ModelError as error:
        if getattr(error, "stops_run", False):
            raise
        return Failure(error.reason, error.detail)
    text: str = response.text
    return text
