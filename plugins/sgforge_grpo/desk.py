"""Where answers are read and compared: once for all rewards of one kind that look at the same outcomes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from sgforge.graph import Sample, SceneGraph
from sgforge.labels import Similarity, similarity_named
from sgforge.stages import Outcome
from sgforge_grpo import upstream
from sgforge_grpo.answers import Answer, Frame, answer_of_graph, no_answer
from sgforge_grpo.comparing import Compared, Truth
from sgforge_grpo.config import GraphRewardOptions
from sgforge_grpo.plain_answers import read_answers
from sgforge_grpo.units import UnitCheck, scale_of

__all__ = ["Desk", "desk_of"]

T = TypeVar("T")
_KEPT: Final = 8192
"""Objects that values are kept of."""
_PAIRS: Final = 50_000
"""Of regions, after which no more answers are compared together: more would not be faster, and take memory."""


class _Recent:
    """Values by the objects that they were made of, as long as those are the very same; the last used are kept."""

    def __init__(self) -> None:
        self._found: OrderedDict[Hashable, tuple[tuple[Any, ...], Any]] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def get(self, of: tuple[Any, ...], make: Callable[[], T], *names: Hashable) -> T:
        key = (names, *map(id, of))
        with self._lock:
            held = self._found.get(key)
            if held is not None:
                self._found.move_to_end(key)
                found: T = held[1]
                return found
        made = make()
        with self._lock:
            # The objects are held along: their ids are theirs alone as long as this is kept.
            if key not in self._found:
                self._held += len(of)
            self._found[key] = (of, made)
            while self._held > _KEPT and len(self._found) > 1:
                self._held -= len(self._found.popitem(last=False)[1][0])
        return made


class Desk:
    """Reads and compares by one set of options."""

    def __init__(self, options: GraphRewardOptions, similarity: Similarity | None = None) -> None:
        self._options = options
        self._similarity = similarity or similarity_named(options.similarity)
        self._pairs = upstream.pairwise_of(self._similarity)
        self._recent = _Recent()
        self.units = UnitCheck(options.boxes, options.processed_pixels)

    def compared(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[Compared]:
        """All outcomes of all samples in their order, read and compared with the samples' graphs; in several parts."""
        graphs = [sample.graph for sample in samples]
        of = (*graphs, *(one for group in outcomes for one in group))
        sizes = tuple(map(len, outcomes))
        return self._recent.get(of, lambda: list(self._compared(graphs, outcomes)), sizes)

    def _compared(self, graphs: Sequence[SceneGraph], outcomes: Sequence[Sequence[Outcome]]) -> Iterator[Compared]:
        truths: list[Truth] = []
        answers: list[Answer] = []
        pairs = 0
        every = iter(self._read(graphs, outcomes))
        for graph, group in zip(graphs, outcomes, strict=True):
            truth = self._truth(graph)
            read = [next(every) for _ in group]
            truths += [truth] * len(read)
            answers += read
            pairs += sum(len(one.names) for one in read) * len(truth.names)
            if pairs > _PAIRS:
                yield Compared(truths, answers, self._similarity, self._options.iou)
                truths, answers, pairs = [], [], 0
        if answers:
            yield Compared(truths, answers, self._similarity, self._options.iou)

    def _truth(self, graph: SceneGraph) -> Truth:
        return self._recent.get((graph,), lambda: Truth(graph), "truth")

    def _read(self, graphs: Sequence[SceneGraph], outcomes: Sequence[Sequence[Outcome]]) -> list[Answer]:
        """Each outcome as an answer: texts all together, one that a group says twice once."""
        texts: list[str] = []
        frames: list[Frame] = []
        places = list[dict[str, int]]()
        for graph, group in zip(graphs, outcomes, strict=True):
            own = dict.fromkeys(one.text for one in group if one.graph is None and one.text is not None)
            places.append({text: place for place, text in enumerate(own, len(texts))})
            texts += own
            frames += [self._frame(graph)] * len(own)
        read = read_answers(texts, frames)
        found = []
        for graph, group, known in zip(graphs, outcomes, places, strict=True):
            found += [self._answer(one, graph, read, known) for one in group]
        return found

    def _answer(self, outcome: Outcome, graph: SceneGraph, read: Sequence[Answer], known: Mapping[str, int]) -> Answer:
        if outcome.graph is not None:
            return answer_of_graph(outcome.graph, outcome.faults, outcome.text)
        if outcome.text is None:
            return no_answer(outcome.faults)
        answer = read[known[outcome.text]]
        if not self.units.is_done and len(answer.raw):
            self.units.see(answer.raw, self._truth(graph).corners, _size(graph))
        return answer

    def _frame(self, graph: SceneGraph) -> Frame:
        width, height = _size(graph)
        scale = scale_of(self._options.boxes, (width, height), max_pixels=self._options.processed_pixels)
        return Frame(width=width, height=height, scale=scale)

    def released(self, sample: Sample, outcome: Outcome) -> Mapping[str, float]:
        """The six values of the released code; a graph without a text is written out in its form first."""
        graph = sample.graph
        return self._recent.get((graph, outcome), lambda: self._released(graph, outcome), "released")

    def _released(self, graph: SceneGraph, outcome: Outcome) -> Mapping[str, float]:
        truth, scale = as_released(graph, unit=True), (1000.0, 1000.0)
        if outcome.text is not None:
            text = outcome.text
            scale = scale_of(self._options.boxes, _size(graph), max_pixels=self._options.processed_pixels)
        else:
            text = "" if outcome.graph is None else _written(outcome.graph)
        head = self._options.mode == "upstream-head"
        return upstream.score(text, truth, scale, self._pairs, head=head)


def _size(graph: SceneGraph) -> tuple[int, int]:
    return max(graph.width, 1), max(graph.height, 1)


def as_released(graph: SceneGraph, *, unit: bool) -> dict[str, Any]:
    """A graph in the form of the released code: ids as label.number from 1, boxes in [0, 1] or in 0 to 1000."""
    width, height = max(graph.width, 1), max(graph.height, 1)
    scale = 1.0 if unit else 1000.0
    ids = {index: f"{region.label or ''}.{index + 1}" for index, region in graph.regions.items()}
    objects = []
    for index, region in graph.regions.items():
        box = region.box or (region.mask.box if region.mask is not None else None) or (0.0, 0.0, 0.0, 0.0)
        placed = [box[0] / width * scale, box[1] / height * scale, box[2] / width * scale, box[3] / height * scale]
        objects.append({"id": ids[index], "bbox": placed if unit else [round(side) for side in placed]})
    relations = [
        {"subject": ids[row.subject], "predicate": row.predicate, "object": ids[row.object]}
        for row in graph.relations.values()
    ]
    return {"objects": objects, "relationships": relations}


def _written(graph: SceneGraph) -> str:
    import json

    return f"<think></think><answer>{json.dumps(as_released(graph, unit=False))}</answer>"


_desks: dict[Hashable, Desk] = {}
_lock = threading.Lock()


def desk_of(options: GraphRewardOptions, similarity: Similarity | None = None) -> Desk:
    """The desk of options that read and compare alike; one of this process, so that equal ones share their work."""
    key = (
        options.mode,
        options.similarity if similarity is None else similarity,
        options.iou,
        options.boxes,
        options.processed_pixels,
    )
    with _lock:
        if key not in _desks:
            _desks[key] = Desk(options, similarity)
        return _desks[key]
