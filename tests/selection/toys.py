"""A toy selector, item steps that count what they are asked, and a source of graphs that have scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from sgforge.edits import Edit
from sgforge.graph import Caption, Region, Relation, Sample, SceneGraph
from sgforge.stages import Credit, Failure
from tests.support.dying import maybe_die


class Source:
    """Graphs without an image; image n has n relations with a score that falls with n."""

    def __init__(self, count: int = 6, split: str | None = "train") -> None:
        self.count = count
        self.split = split

    def samples(self, roots: Any, name: str) -> Iterator[Sample]:
        for number in range(self.count):
            rows = [Relation(0, f"on {row}", 1, score=1 / (number + 1)) for row in range(number)]
            yield Sample(f"i{number}", SceneGraph(0, 0, [Region("cat"), Region("mat")], rows), split=self.split)


@attrs.frozen
class NoOptions:
    pass


@attrs.frozen
class Options:
    """`drop`: images that are dropped, by reason "ID:reason"; `fails`: images that cannot be judged."""

    drop: tuple[str, ...] = ()
    fails: tuple[str, ...] = ()
    marks: bool = True


class Selector:
    """Drops what it is told to, and says of the others how many there were and who came before them."""

    revision = 1

    def __init__(self, options: Options = Options()) -> None:
        self.options = options
        self.seen: list[list[str]] = []

    def select(self, samples: Sequence[Sample]) -> Iterator[Any]:
        ids = [sample.image_id for sample in samples]
        self.seen.append(ids)
        reasons = dict(text.split(":") for text in self.options.drop)
        for place, image_id in enumerate(ids):
            maybe_die()
            assert samples[place].image_id == image_id
            if image_id in self.options.fails:
                yield Failure("unclear", "nobody can tell")
            elif image_id in reasons:
                yield Edit.drop(reasons[image_id])
            elif self.options.marks:
                yield Edit.value("image", None, "chosen", {"of": len(samples), "after": ids[:place][-1:]})
            else:
                yield Edit()


class Captioner:
    """Says which values it sees; counts its calls."""

    revision = 1
    options = NoOptions()

    def __init__(self) -> None:
        self.asked: list[str] = []

    def caption(self, samples: Sequence[Sample]) -> list[Edit]:
        maybe_die()
        self.asked += [sample.image_id for sample in samples]
        return [
            Edit.value("image", None, "caption", Caption(f"{sample.copy} {sorted(sample.values)}"))
            for sample in samples
        ]


class Few:
    """A reward: the fewer relations a graph has, the better; of none it cannot tell."""

    range = (0.0, 1.0)
    revision = 1
    options = NoOptions()

    def score(self, samples: Sequence[Sample], outcomes: Any) -> list[list[Any]]:
        return [[self._one(outcome.graph) for outcome in group] for group in outcomes]

    def _one(self, graph: SceneGraph) -> Any:
        rows = graph.all.relations
        return Credit(1 / (1 + len(rows))) if rows else Failure("empty", "no relation to judge by")


class Student:
    """Its weights are the ids that it was trained on, with what was chosen of each."""

    revision = 1
    options = NoOptions()

    def train(self, snapshot_path, selection, out_dir, resources):
        from sgforge.dataset import Snapshot
        from sgforge.stages import Checkpoint

        snapshot = Snapshot.open(snapshot_path)
        samples = (snapshot.sample(row) for row in snapshot.rows(selection).tolist())
        told = [f"{sample.image_id} {sample.values.get('chosen')}" for sample in samples]
        (out_dir / "w").write_text("\n".join(told))
        return Checkpoint.of(out_dir)

    def generate(self, samples):
        return [Edit() for _ in samples]

    def rank(self, samples):
        return [Failure("none") for _ in samples]
