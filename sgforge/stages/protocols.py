"""The methods that a component of each kind implements."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sgforge.graph import Sample
from sgforge.selection import Selection
from sgforge.stages.evaluation import Judged, Ranking, Report
from sgforge.stages.values import Answer, Checkpoint, Failure, Resources, SourceFailure
from sgforge.stages.verbs import Mode

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot
    from sgforge.images import Roots

__all__ = ["Editor", "Evaluator", "Exporter", "Filter", "Refiner", "Segmenter", "Source", "Student", "Teacher"]


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
    Where a sample shows regions, `rank` answers with them: in predcls and sgcls, boxes and masks that are not those
    shown (in predcls labels too) are a failure of the image. In sgdet a student may find its own.
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
