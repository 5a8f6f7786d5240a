"""What a component of each stage implements, and the values that pass between components and the engine.

A component is built from its typed options: `Target(options)`. Two methods are optional everywhere: `setup(resources)`
is called once in the worker that will use the component (weights load here, never at import), `close()` at the end.
Item components are sync (a batch of samples in, as many answers out, in order) or async (one sample in, one answer
out, many in flight); the engine tells them apart by `async def`. One bad image answers `Failure`, never an exception
for the whole batch. A static method `notes(counts) -> Sequence[str]` may turn the faults counted in a run into remarks
for its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

import attrs

from sgforge.edits import Edit
from sgforge.errors import StepError
from sgforge.graph import Region, Sample, SceneGraph

if TYPE_CHECKING:
    import numpy as np

    from sgforge.dataset import Snapshot
    from sgforge.images import Roots
    from sgforge.models import BoundModel

__all__ = [
    "KINDS",
    "VERBS",
    "Answer",
    "Checkpoint",
    "Editor",
    "Evaluator",
    "Exporter",
    "Failure",
    "Filter",
    "Judged",
    "Kind",
    "Mode",
    "Needs",
    "Ranking",
    "Refiner",
    "Report",
    "Resources",
    "Segmenter",
    "Selection",
    "Source",
    "SourceFailure",
    "Student",
    "Teacher",
    "Verb",
    "check_role",
]

Kind = Literal[
    "segmenter", "teacher", "filter", "student", "editor", "evaluator", "refiner", "model", "source", "exporter"
]
Mode = Literal["predcls", "sgcls", "sgdet"]


@attrs.frozen
class Verb:
    """One verb of a pipeline: the kind of component it names, the method it calls, whether it is an item step."""

    name: str
    kind: Kind
    method: str
    is_item: bool


VERBS: Final[Mapping[str, Verb]] = {
    verb.name: verb
    for verb in (
        Verb("segment", "segmenter", "segment", True),
        Verb("complete", "teacher", "complete", True),
        Verb("filter", "filter", "filter", True),
        Verb("generate", "student", "generate", True),
        Verb("edit", "editor", "edit", True),
        Verb("train", "student", "train", False),
        Verb("refine", "refiner", "refine", False),
        Verb("evaluate", "evaluator", "evaluate", False),
    )
}
KINDS: Final[tuple[str, ...]] = (
    *("segmenter", "teacher", "filter", "student", "editor", "evaluator", "refiner", "model", "source", "exporter"),
)


def _texts(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


@attrs.frozen
class Needs:
    """What a component needs before it can run; the preflight checks all of a plan at once.

    `modules`: importable top-level modules. `extra`: the extra of sgforge that brings them. `gpu`: no, optional or
    required. `env`: environment variables that must be set. `model`: its option `model` names a provider/model.
    `network`: it reaches other machines. `deterministic`: equal input and options give equal output.
    """

    modules: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    extra: str | None = None
    gpu: Literal["no", "optional", "required"] = "no"
    env: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    model: bool = False
    network: bool = False
    deterministic: bool = True


@attrs.frozen
class Failure:
    """One item that could not be done: `reason` is a short code that is counted, `detail` the message for people."""

    reason: str
    detail: str = ""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.reason, str) or not self.reason.isprintable() or not self.reason:
            raise StepError(f"a failure's reason is a short code, not {self.reason!r}")


Answer: TypeAlias = Edit | Failure


@attrs.frozen
class SourceFailure:
    """One item of a source that could not be read: where it stands (file and item), and why."""

    where: str
    reason: str
    detail: str = ""
    image_id: str | None = None


@attrs.frozen
class Checkpoint:
    """Trained weights: a folder, the sha256 over its files, and figures of the training."""

    path: Path
    sha256: str
    metrics: Mapping[str, float] = attrs.field(factory=dict)

    @classmethod
    def of(cls, folder: Path, metrics: Mapping[str, float] | None = None) -> Checkpoint:
        """The checkpoint in `folder`, hashed now: names and contents of all its files, in sorted order."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not files:
            raise StepError(f"checkpoint folder {folder} is empty: the training wrote nothing there")
        total = hashlib.sha256()
        for path in files:
            total.update(path.relative_to(folder).as_posix().encode() + b"\0")
            with path.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
        return cls(folder, total.hexdigest(), dict(metrics or {}))


@attrs.frozen
class Resources:
    """What the engine gives a component when it is entered; the only place that names a device, dtype or seed.

    `checkpoint`: weights for `generate`, `rank` and a continued training. `model`: the gateway bound to the model that
    the option `model` names. `scratch`: a folder for temporary files. `roots`: the image folders of the run, for a
    training that reads pixels.
    """

    device: str = "cpu"
    dtype: str = "float32"
    seed: int = 0
    workers: int = 1
    checkpoint: Checkpoint | None = None
    model: BoundModel | None = None
    scratch: Path | None = None
    roots: Roots | None = None


@attrs.frozen
class Selection:
    """Which images of a snapshot a barrier reads: sources and splits by name; None means all.

    Failed and dropped images are never selected.
    """

    sources: tuple[str, ...] | None = None
    splits: tuple[str, ...] | None = None


@attrs.frozen(eq=False)
class Ranking:
    """A student's full answer for evaluation: every candidate with a score, nothing cut.

    `regions`: the regions the pairs index, with labels and scores. `pairs`: (P, 2) int32 subject and object indices.
    `predicates`: C texts. `scores`: (P, C) float32, P(predicate | pair) in [0, 1]; 0 means not proposed.
    """

    regions: tuple[Region, ...]
    pairs: np.ndarray
    predicates: tuple[str, ...]
    scores: np.ndarray


@attrs.frozen
class Judged:
    """One held-out image for an evaluator: the truth and what the student said, which may be a failure."""

    image_id: str
    truth: SceneGraph
    prediction: Ranking | Failure


@attrs.frozen
class Report:
    """What an evaluator found: named values as fractions, rows of tables, images used and skipped by reason."""

    metric: str
    values: Mapping[str, float]
    convention: str = ""
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = attrs.field(factory=dict)
    images_used: int = 0
    images_skipped: Mapping[str, int] = attrs.field(factory=dict)
    notes: tuple[str, ...] = ()


@runtime_checkable
class Segmenter(Protocol):
    """Finds regions: its edits add regions and judge regions."""

    def segment(self, samples: Sequence[Sample], /) -> Sequence[Answer] | Awaitable[Answer]: ...


@runtime_checkable
class Teacher(Protocol):
    """Completes a graph: its edits add relations and set descriptions and attributes of regions."""

    def complete(self, samples: Sequence[Sample], /) -> Sequence[Answer] | Awaitable[Answer]: ...


@runtime_checkable
class Filter(Protocol):
    """Judges what is there: its edits hold verdicts only."""

    def filter(self, samples: Sequence[Sample], /) -> Sequence[Answer] | Awaitable[Answer]: ...


@runtime_checkable
class Editor(Protocol):
    """Corrects a graph: its edits may do anything; only an editor restores a rejected row."""

    def edit(self, samples: Sequence[Sample], /) -> Sequence[Answer] | Awaitable[Answer]: ...


@runtime_checkable
class Student(Protocol):
    """Learns from a snapshot, then proposes relations for new images.

    `train` writes only under `out_dir` and is resumable from what it finds there. `generate` adds at most its option's
    number of relations per subject. `rank` scores every candidate for evaluation.
    """

    def train(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint: ...

    def generate(self, samples: Sequence[Sample], /) -> Sequence[Answer] | Awaitable[Answer]: ...

    def rank(self, samples: Sequence[Sample], /) -> Sequence[Ranking | Failure]: ...


@runtime_checkable
class Refiner(Protocol):
    """Refines a student's checkpoint (`resources.checkpoint`) with rewards; the signature of `Student.train`."""

    def refine(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint: ...


@runtime_checkable
class Evaluator(Protocol):
    """Measures a student on held-out images; `mode` says what the student may see of each."""

    mode: Mode

    def evaluate(self, judged: Iterable[Judged], /) -> Report: ...


@runtime_checkable
class Source(Protocol):
    """Reads annotated or plain images: one Sample each, its `source` and `image` filled in by the engine.

    An optional method `check(roots, name) -> None` raises a `ConfigError` for what would stop `samples` at once, such
    as a folder that is not there. It is called before any work and by `sgforge check`: it must be cheap, and write
    nothing. An optional method `remarks() -> Sequence[str]` says for the end of a run what `samples` came across.
    """

    def samples(self, roots: Roots, name: str, /) -> Iterator[Sample | SourceFailure]: ...


@runtime_checkable
class Exporter(Protocol):
    """Writes a snapshot in a public format, images in id order; returns counts by what was written or left out."""

    def export(self, snapshot: Snapshot, output: Path, /) -> Mapping[str, int]: ...


@attrs.frozen
class _Role:
    """What the edits of one verb may hold."""

    regions: bool = False
    relations: bool = False
    region_verdicts: bool = False
    relation_verdicts: bool = False
    region_fields: frozenset[str] = frozenset()
    relation_fields: frozenset[str] = frozenset()


_ROLES: Final[Mapping[str, _Role]] = {
    "segment": _Role(regions=True, region_verdicts=True),
    "complete": _Role(relations=True, region_fields=frozenset({"descriptions", "attributes"})),
    "filter": _Role(region_verdicts=True, relation_verdicts=True),
    "generate": _Role(
        relations=True,
        region_fields=frozenset({"label", "score"}),
        relation_fields=frozenset({"score"}),
    ),
}


def check_role(verb: str, edit: Edit) -> str | None:
    """What `edit` holds that a step of this verb may not emit, as a sentence; None if all is in order.

    An editor may emit anything (nothing in an Edit deletes). Any step may drop an image.
    """
    role = _ROLES.get(verb)
    if role is None:
        return None
    if edit.regions and not role.regions:
        return f"a {verb} step may not add regions"
    if edit.relations and not role.relations:
        return f"a {verb} step may not add relations"
    for verdict in edit.verdicts:
        if not (role.region_verdicts if verdict.target == "region" else role.relation_verdicts):
            return f"a {verb} step may not judge {verdict.target}s"
    for item in edit.sets:
        if item.field not in (role.region_fields if item.target == "region" else role.relation_fields):
            return f"a {verb} step may not set {item.field} of {item.target}s"
    return None
