"""Small components for the engine's tests: deterministic, without weights, able to fail, to wait and to log calls.

The module is a plugin, so that child processes can find it too (see `toy_environment`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import attrs
import numpy as np

import sgforge
from sgforge.edits import Edit
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.images import Roots
from sgforge.stages import Checkpoint, Failure, Judged, Needs, Ranking, Report, Resources, Selection, SourceFailure

PREDICATES = ("on", "near", "holding", "under")


def number(*parts: object) -> int:
    """A stable number from anything that prints."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "little")


def log(path: str, *words: object) -> None:
    """Append a line; one write, so that lines of several processes do not mix."""
    if path:
        with open(path, "a") as stream:
            stream.write(" ".join(map(str, words)) + "\n")


def read_log(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@attrs.frozen
class SourceOptions:
    count: int = 20
    start: int = 0
    folder: str = ""
    splits: bool = True
    relations: int = 1
    broken: tuple[str, ...] = ()
    shuffle: int = 0
    twins: bool = False
    delay: float = 0.0


class ToySource:
    """Images "00000", "00001", ... with three regions; with `folder`, the files of it are the images."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options

    def samples(self, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
        options = self.options
        numbers = list(range(options.start, options.start + options.count))
        if options.shuffle:
            np.random.default_rng(options.shuffle).shuffle(numbers)
        for index in numbers:
            time.sleep(options.delay)
            image_id = f"{index:05}"
            if image_id in options.broken:
                yield SourceFailure(f"toy {image_id}", "broken", "made so", image_id)
                continue
            uri = None
            if options.folder:
                root, _ = roots.locate(options.folder, name)
                uri = f"{root}{image_id}.png" if root.endswith(":") else f"{root}/{image_id}.png"
            yield sample(
                image_id,
                uri,
                split=split_of(index) if options.splits else None,
                relations=options.relations,
                looks_like=f"{index - index % 2:05}" if options.twins else None,
            )


def split_of(index: int) -> str:
    return "val" if index % 5 == 4 else "train"


def sample(
    image_id: str,
    uri: str | None = None,
    split: str | None = "train",
    relations: int = 1,
    looks_like: str | None = None,
) -> Sample:
    seed = number(looks_like or image_id)
    regions = [
        Region(label=label, box=(place, place, place + 20 + seed % 10, place + 20), score=0.9)
        for place, label in zip((1, 8, 15), ("person", "cup", "table"), strict=True)
    ]
    rows = [Relation(0, PREDICATES[(seed + offset) % 4], 1 + offset % 2) for offset in range(relations)]
    return Sample(image_id, SceneGraph(64, 64, regions, rows), uri, split)


@attrs.frozen
class StageOptions:
    amount: int = 2
    fail: tuple[str, ...] = ()
    crash: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    delay: float = 0.0
    setup_error: str = ""
    log: str = attrs.field(default="", eq=False)
    begins: str = attrs.field(default="", eq=False)
    until: str = attrs.field(default="", eq=False)
    weights: Path | None = attrs.field(default=None, alias="file")


class _Stage:
    revision = 1

    def __init__(self, options: StageOptions = StageOptions()) -> None:
        self.options = options
        self.resources: Resources | None = None

    def setup(self, resources: Resources) -> None:
        self.resources = resources
        if self.options.setup_error:
            raise RuntimeError(self.options.setup_error)

    def _one(self, sample: Sample) -> Edit | Failure:
        options = self.options
        log(options.log, type(self).__name__, sample.image_id)
        if sample.image_id in options.crash:
            raise ValueError(f"cannot do {sample.image_id}")
        if sample.image_id in options.fail:
            return Failure("unwilling", f"will not do {sample.image_id}")
        if sample.image_id in options.drop:
            return Edit.drop("boring")
        return self.answer(sample)

    def answer(self, sample: Sample) -> Edit:
        raise NotImplementedError

    def batch(self, samples: Sequence[Sample]) -> list[Edit | Failure]:
        log(self.options.begins, "begins")
        time.sleep(self.options.delay)
        return [self._one(sample) for sample in samples]


class ToySegmenter(_Stage):
    """Adds `amount` regions whose place depends on the image's size alone."""

    def answer(self, sample: Sample) -> Edit:
        return Edit(regions=[Region(box=(4 * n, 2, 4 * n + 9, 30), source="toy") for n in range(self.options.amount)])

    def segment(self, samples: Sequence[Sample]) -> list[Edit | Failure]:
        return self.batch(samples)


class ToyTeacher(_Stage):
    """Adds `amount` relations with scores."""

    def answer(self, sample: Sample) -> Edit:
        count = len(sample.graph.all.regions)
        rows = []
        for place in range(self.options.amount):
            seed = number(place, sample.graph.all.regions[0].box, count)
            subject = seed % count
            target = (subject + 1 + seed // 7 % (count - 1)) % count
            rows.append(Relation(subject, PREDICATES[seed // 11 % 4], target, score=seed % 100 / 100))
        return Edit(relations=rows)

    def complete(self, samples: Sequence[Sample]) -> list[Edit | Failure]:
        return self.batch(samples)


class ToyAsyncTeacher(ToyTeacher):
    """The same, one call at a time, many in flight; from the 21st on, calls last until the file `until` is there."""

    begun = 0

    async def complete(self, sample: Sample) -> Edit | Failure:  # type: ignore[override]
        log(self.options.begins, "begins")
        self.begun += 1
        await asyncio.sleep(self.options.delay)
        while self.options.until and self.begun > 20 and not Path(self.options.until).exists():
            await asyncio.sleep(0.01)
        return self._one(sample)


class ToyFilter(_Stage):
    """Rejects relations with a score under `amount` percent."""

    def answer(self, sample: Sample) -> Edit:
        low = [(i, r.score) for i, r in sample.graph.relations.items() if r.score is not None]
        return Edit.sum(
            Edit.reject(i, "low", score) for i, score in low if score is not None and score < self.options.amount / 100
        )

    def filter(self, samples: Sequence[Sample]) -> list[Edit | Failure]:
        return self.batch(samples)


class ToyEditor(_Stage):
    """Sets the descriptions of the first region."""

    def answer(self, sample: Sample) -> Edit:
        return Edit.set("region", 0, descriptions=(f"one of {len(sample.graph.all.relations)}",))

    def edit(self, samples: Sequence[Sample]) -> list[Edit | Failure]:
        return self.batch(samples)


@attrs.frozen
class StudentOptions:
    end: str = ""
    delay: float = 0.0
    log: str = attrs.field(default="", eq=False)
    checkpoint: Path | None = None
    score: float = 0.5


class ToyStudent:
    """Learns how often each predicate occurs; `end` makes its training end badly, `score` is an answer's."""

    revision = 1

    def __init__(self, options: StudentOptions = StudentOptions()) -> None:
        self.options = options
        self.counts: dict[str, int] = {}

    def setup(self, resources: Resources) -> None:
        if resources.checkpoint is not None:
            self.counts = json.loads((resources.checkpoint.path / "counts.json").read_text())

    def train(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        from sgforge.dataset import Snapshot

        log(self.options.log, "train", os.getpid())
        if self.options.end == "crash":
            raise ValueError("the loss is nan")
        if self.options.end == "exit":
            sys.exit(7)
        if self.options.end == "kill":
            os.kill(os.getpid(), 9)
        if self.options.end == "helper":
            helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(10_000)"])
            log(self.options.log, "helper", helper.pid)
        if resources.roots is not None:
            paths = {name: str(resources.roots.resolve(f"{name}:")) for name in resources.roots.names()}
            (out_dir / "roots.json").write_text(json.dumps(paths))
        (out_dir / "state.txt").open("a").write("started\n")
        time.sleep(self.options.delay)
        snapshot = Snapshot.open(snapshot_path)
        counts: dict[str, int] = {}
        for row in snapshot.rows(selection).tolist():
            for relation in snapshot.graph(row).relations.values():
                counts[relation.predicate] = counts.get(relation.predicate, 0) + 1
        folder = out_dir / "weights"
        folder.mkdir(exist_ok=True)
        (folder / "counts.json").write_text(json.dumps(counts, sort_keys=True))
        return Checkpoint.of(folder, {"relations": float(sum(counts.values()))})

    def policy(self, resources: Resources) -> ToyStudent:
        return self

    def generate(self, samples: Sequence[Sample]) -> list[Edit | Failure]:
        log(self.options.log, "generate", len(samples))
        best = max(sorted(self.counts), key=self.counts.__getitem__)
        return [Edit.add(Relation(2, best, 0, score=self.options.score)) for _ in samples]

    def rank(self, samples: Sequence[Sample]) -> list[Ranking | Failure]:
        words = tuple(sorted(self.counts))
        total = sum(self.counts.values())
        answers: list[Ranking | Failure] = []
        for sample in samples:
            count = len(sample.graph.all.regions)
            pairs = np.array([(a, b) for a in range(count) for b in range(count) if a != b], np.int32).reshape(-1, 2)
            share = np.array([2 * self.options.score * self.counts[word] / total for word in words], np.float32)
            scores = np.tile(share, (len(pairs), 1))
            answers.append(Ranking(sample.graph.all.regions, pairs, words, scores))
        return answers


class ToyRefiner:
    """Adds one to every count of a checkpoint."""

    revision = 1

    def __init__(self, options: StageOptions = StageOptions()) -> None:
        self.options = options

    def refine(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        assert resources.checkpoint is not None
        counts = json.loads((resources.checkpoint.path / "counts.json").read_text())
        (out_dir / "counts.json").write_text(json.dumps({key: value + 1 for key, value in counts.items()}))
        return Checkpoint.of(out_dir)


@attrs.frozen
class EvaluatorOptions:
    truth: str = "source"


@attrs.frozen
class LookingOptions(EvaluatorOptions):
    image: str = "given"


class ToyEvaluator:
    """Counts what it was given: images, true relations, ranked pairs, failures."""

    mode = "predcls"

    def __init__(self, options: EvaluatorOptions = EvaluatorOptions()) -> None:
        self.options = options

    def evaluate(self, judged: Iterable[Judged]) -> Report:
        items = list(judged)
        rankings = [item.prediction for item in items if isinstance(item.prediction, Ranking)]
        values = {
            "truths": float(sum(len(item.truth.relations) for item in items)),
            "pairs": float(sum(len(ranking.pairs) for ranking in rankings)),
            "failures": float(len(items) - len(rankings)),
        }
        return Report("toy", values, images_used=len(rankings))


class ToySgdet(ToyEvaluator):
    mode = "sgdet"


class ToySgcls(ToyEvaluator):
    mode = "sgcls"


@sgforge.hookimpl
def sgforge_register_sources(register) -> None:
    register("toy", ToySource, config=SourceOptions)


@sgforge.hookimpl
def sgforge_register_segmenters(register) -> None:
    register("toy", ToySegmenter, config=StageOptions)


@sgforge.hookimpl
def sgforge_register_teachers(register) -> None:
    register("toy", ToyTeacher, config=StageOptions)
    register("toy-async", ToyAsyncTeacher, config=StageOptions)
    register("needy", ToyTeacher, config=StageOptions, needs=Needs(modules=("no_such_module",), extra="superpixels"))
    register("keyed", ToyTeacher, config=StageOptions, needs=Needs(env=("SGFORGE_TEST_NO_SUCH_KEY",)))


@sgforge.hookimpl
def sgforge_register_filters(register) -> None:
    register("toy", ToyFilter, config=StageOptions)


@sgforge.hookimpl
def sgforge_register_editors(register) -> None:
    register("toy", ToyEditor, config=StageOptions)


@sgforge.hookimpl
def sgforge_register_students(register) -> None:
    needs = Needs(checkpoint=True, answering="score")
    register("toy", ToyStudent, config=StudentOptions, needs=needs, offers=("policy",))


@sgforge.hookimpl
def sgforge_register_evaluators(register) -> None:
    register("toy", ToyEvaluator, config=EvaluatorOptions, needs=Needs(truth=True))
    register("toy-looking", ToyEvaluator, config=LookingOptions, needs=Needs(truth=True, image=True))
    register("toy-looking-sgdet", ToySgdet, config=LookingOptions, needs=Needs(truth=True, image=True))
    register("toy-sgdet", ToySgdet, config=EvaluatorOptions, needs=Needs(truth=True))
    register("toy-sgcls", ToySgcls, config=EvaluatorOptions, needs=Needs(truth=True))


def this_plugin() -> ModuleType:
    return sys.modules[__name__]


def install(folder: Path) -> None:
    """Make this module an installed plugin for processes that have `folder` on their path."""
    info = folder / "engine_toys-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: engine-toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sgforge]\ntoys = engine_toys\n")


def toy_environment(folder: Path) -> dict[str, str]:
    """The environment of a child process in which this plugin, and no other, is found."""
    install(folder)
    path = os.pathsep.join([str(folder), str(Path(__file__).parent)])
    return {**os.environ, "PYTHONPATH": path, "SGFORGE_PLUGINS": "toys"}


def arrays(dataset: Path, ref: str = "main") -> dict[str, bytes]:
    """Every array of images, regions, relations and vocabularies, read by plain zarr: dtype, shape and bytes."""
    import zarr

    snapshot = sgforge.Dataset.open(dataset, ref).snapshot.path
    group = zarr.open_group(str(snapshot), mode="r")
    found = {}
    for name in ("image", "region", "relation", "vocabulary"):
        for path, array in group[name].members():
            data = np.asarray(array[...])
            found[f"{name}/{path}"] = f"{data.dtype} {data.shape} ".encode() + data.tobytes()
    return found
