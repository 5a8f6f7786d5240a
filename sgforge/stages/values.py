"""What passes between a component and the engine: needs, answers, failures, checkpoints, resources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import attrs

from sgforge.digests import folder_sha256
from sgforge.edits import Edit
from sgforge.errors import StepError
from sgforge.stages.parts import Part
from sgforge.stages.shared import IN_PROCESS, Shared

if TYPE_CHECKING:
    from sgforge.file_refs import FileRef, ImageRef
    from sgforge.images import Roots
    from sgforge.models import Capabilities, ChatRequest, ChatResponse
    from sgforge.stages.policies import GivesPolicy

__all__ = [
    "Answer",
    "Checkpoint",
    "Failure",
    "Model",
    "Needs",
    "Reporter",
    "Resources",
    "SourceFailure",
    "Stamp",
    "Worker",
]

Reporter: TypeAlias = Callable[[str, float, int], None]
"""Takes a figure of a training: its name, its value, and the step of the training."""


def _texts(value: str | Iterable[str]) -> tuple[str, ...]:
    """Names as a tuple; a name alone is one of them, not its letters."""
    return (value,) if isinstance(value, str) else tuple(value)


ReadByName: TypeAlias = Literal["model", "checkpoint", "truth", "image", "by_image"]
"""The fields of `Needs` that name an option."""


@attrs.frozen
class Needs:
    """What a component needs before it can run; the preflight checks all of a plan at once.

    `modules`: importable top-level modules. `extra`: the extra of sgforge that brings them. `gpu`: no, optional or
    required. `env`: environment variables that must be set. `network`: it reaches other machines. `deterministic`:
    equal input and options give equal output.

    `untrained`: what can be trained works without a training too, by weights that it finds by itself.

    `answering`: of what can be trained, the options that it reads when it answers and never while it learns: they are
    in no key of a training, so that another of them does not train again.

    `shows`: of an evaluator, the core's columns whose values of an image the student is shown beside the picture, such
    as ("caption",) for a renderer; it sees no others.

    Options that the engine reads, by name (True stands for the usual one): `model`: the provider/model that it asks;
    `checkpoint`: the folder of weights that it starts from where no step gives any; `truth`: of an evaluator, where the
    truth comes from, "source" or "graph"; `image`: of an evaluator, which picture the student is shown, "given" or
    "blank", a grey one of equal size; `by_image`: a file that counts image by image, through the component's method
    `key_of(image_id) -> bytes | None`, instead of as a whole: another line in it re-does the images it is about.
    """

    modules: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    extra: str | None = None
    gpu: Literal["no", "optional", "required"] = "no"
    env: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    model: bool | str = False
    checkpoint: bool | str = False
    truth: bool | str = False
    image: bool | str = False
    by_image: bool | str = False
    network: bool = False
    deterministic: bool = True
    untrained: bool = False
    answering: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    shows: tuple[str, ...] = attrs.field(default=(), converter=_texts)

    def option(self, key: ReadByName) -> str | None:
        """The name of the option that holds what `key` says; None where no option does."""
        name = getattr(self, key)
        return key if name is True else (name or None)

    def read(self, key: ReadByName, options: object) -> Any:
        """What typed options hold for `key`; None where no option does."""
        name = self.option(key)
        return None if name is None else getattr(options, name, None)


@attrs.frozen
class Failure:
    """One item that could not be done: `reason` is a short code that is counted, `detail` the message for people."""

    reason: str
    detail: str = ""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.reason, str) or not self.reason.isprintable() or not self.reason:
            raise StepError(f"a failure's reason is a short code, not {self.reason!r}")
        if not isinstance(self.detail, str):
            raise StepError(f"a failure's detail is a text, not {type(self.detail).__name__}")


Answer: TypeAlias = Edit | Failure


@attrs.frozen
class SourceFailure:
    """One item of a source that could not be read: where it stands (file and item), and why.

    `loses`: what is missing for it, a whole image, which is then a failed one, or an annotation of an image that is
    there without it, which is counted as left out.
    """

    where: str
    reason: str
    detail: str = ""
    image_id: str | None = None
    loses: Literal["image", "annotation"] = "image"

    def __attrs_post_init__(self) -> None:
        if not all(isinstance(text, str) for text in (self.where, self.reason, self.detail)):
            raise StepError(f"a source's failure needs texts for where, reason and detail, not {self!r}")


@attrs.frozen
class Stamp:
    """What a source reads beside the pictures of its samples: while it is the same, the source gives the same.

    `files`: read whole each time, compared by their contents. `facts`: a text of whatever else decides, such as a
    digest of the names in a folder.
    """

    files: tuple[Path, ...] = attrs.field(default=(), converter=tuple)
    facts: str = ""


@attrs.frozen
class Checkpoint:
    """Trained weights: a folder, the sha256 over its files, and figures of the training."""

    path: Path
    sha256: str
    metrics: Mapping[str, float] = attrs.field(factory=dict)

    @classmethod
    def of(cls, folder: Path, metrics: Mapping[str, float] | None = None) -> Checkpoint:
        """The checkpoint in `folder`, hashed now: names and contents of all its files, in sorted order."""
        if not any(path.is_file() for path in folder.rglob("*")):
            raise StepError(f"checkpoint folder {folder} is empty: the training wrote nothing there")
        return cls(folder, folder_sha256(folder), dict(metrics or {}))


class Model(Protocol):
    """A model as a component sees it; behind it one gateway keeps cache, limits and budget for all of a run.

    `name` is its "provider/model", `capabilities` what it can be asked, `max_in_flight` the most calls that will ever
    run at one time.
    """

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def max_in_flight(self) -> int: ...

    async def complete(self, request: ChatRequest, /) -> ChatResponse:
        """The answer to a request, paid once and stored; a `sgforge.models.ModelError` says why there is none."""
        ...


class Files(Protocol):
    """Keeps files that a step makes, by their content."""

    def put(self, data: bytes, suffix: str) -> ImageRef | FileRef:
        """Keep a file, durable when this returns: of a picture's suffix (".png") an `ImageRef`, else a `FileRef`.

        Pictures are decoded and measured. One that cannot be decoded or is too large is an `ImageError`.
        """
        ...


@attrs.frozen
class Worker:
    """Which of how many: the processes of one training, or the workers of one item step; `rank` counts from 0."""

    rank: int = 0
    world: int = 1


@attrs.frozen(kw_only=True)
class Resources:
    """What the engine gives a component when it is entered; the only place that names a device, dtype or seed.

    `devices`: names as torch has them, "cuda:0", "mps" or "cpu", at least one. A worker of an item step gets one; the
    processes of a training share those of the machine, every one of another remainder by their number, so that the
    first is cuda:LOCAL_RANK. `worker`: which of the processes of a training this is, or of the workers of an item step.
    `checkpoint`: weights for `generate`, `rank` and a continued training. `model`: the model that the
    option `model` names; it may be asked on any thread, where no loop runs with `asyncio.run`. `scratch`: a folder for
    temporary files, its own. `files`: keeps pictures and other files that an item step makes. `roots`: the image
    folders of the run, for a training that reads pixels. `student`: of a refiner, the student whose weights
    `checkpoint` holds, built and not set up. `reporter`: what `report` calls. `parts`: the components in its options,
    by the option's name, in the order given. `shared`: what this process has loaded or computed once.
    """

    devices: tuple[str, ...] = ("cpu",)
    dtype: str = "float32"
    seed: int = 0
    worker: Worker = attrs.field(factory=Worker)
    checkpoint: Checkpoint | None = None
    model: Model | None = None
    scratch: Path | None = None
    roots: Roots | None = None
    files: Files | None = None
    student: GivesPolicy | None = attrs.field(default=None, eq=False, repr=False)
    reporter: Reporter | None = attrs.field(default=None, eq=False, repr=False)
    parts: Mapping[str, tuple[Part, ...]] = attrs.field(factory=dict)
    shared: Shared = attrs.field(default=IN_PROCESS, repr=False)

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that it and its parts ask."""
        own = () if self.model is None else (self.model,)
        held = (part.resources.models for parts in self.parts.values() for part in parts)
        return (*own, *chain.from_iterable(held))

    @property
    def device(self) -> str:
        """The first of its devices, for a component that uses one."""
        return self.devices[0]

    def report(self, metric: str, value: float, step: int) -> None:
        """In a training, tell a figure, such as ("loss", 0.5, 100); elsewhere nobody hears it.

        `metric`: one line of text. `value`: a number, which may be infinite or NaN. `step`: a whole number from 0, of
        updates or what else the training counts. It is shown, told to event hooks, and kept as a line of
        `metrics.jsonl` in the step's folder before the call returns. Of several processes the first is heard, so what
        it tells should be a mean over all. Another kind of value is a `StepError`.
        """
        if self.reporter is not None:
            self.reporter(metric, value, step)

    def of_worker(self, rank: int, world: int) -> Resources:
        """What one of the workers of an item step is given: a device of its own, in turn where there are fewer."""
        parts = {
            option: tuple(attrs.evolve(part, resources=part.resources.of_worker(rank, world)) for part in held)
            for option, held in self.parts.items()
        }
        device = self.devices[rank % len(self.devices)]
        return attrs.evolve(self, devices=(device,), worker=Worker(rank, world), parts=parts)

    def of_process(self, rank: int, world: int) -> Resources:
        """What one of the processes of a training is given: every `world`-th device from its own on."""
        mine = self.devices[rank::world] or (self.devices[rank % len(self.devices)],)
        return attrs.evolve(self, devices=mine, worker=Worker(rank, world))
