"""Where answers are read and compared: once for all rewards of one kind that look at the same outcomes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, Final, TypeVar

import numpy as np

from sgforge.graph import Sample, SceneGraph
from sgforge.labels import Similarity, similarity_named
from sgforge.stages import Outcome
from sgforge_grpo import upstream
from sgforge_grpo.comparing import Compared
from sgforge_grpo.config import GraphRewardOptions
from sgforge_grpo.reading.answer import Frame, answer_of_graph, no_answer, read_answer
from sgforge_grpo.reading.columns import AnswerColumns
from sgforge_grpo.reading.graphs import read_graphs
from sgforge_grpo.reading.texts import read_answers
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
        of = (*graphs, *chain.from_iterable(outcomes))
        sizes = tuple(map(len, outcomes))
        return self._recent.get(of, lambda: list(self._compared(graphs, outcomes)), sizes)

    def _compared(self, graphs: Sequence[SceneGraph], outcomes: Sequence[Sequence[Outcome]]) -> Iterator[Compared]:
        answers, truths = self._read(graphs, outcomes), read_graphs(graphs)
        sizes = np.array([_size(graph) for graph in graphs], np.float64).reshape(-1, 2)
        ends = [0, *accumulate(map(len, outcomes))]
        said = [0, *answers.region_counts.cumsum().tolist()]
        first, pairs = 0, 0
        for place, there in enumerate(truths.region_counts.tolist(), 1):
            pairs += (said[ends[place]] - said[ends[place - 1]]) * there
            if pairs > _PAIRS or place == len(truths):
                yield Compared(
                    truths=truths.taken(range(first, place)),
                    sizes=sizes[first:place],
                    of=[number for number, group in enumerate(outcomes[first:place]) for _ in group],
                    answers=answers.taken(range(ends[first], ends[place])),
                    similarity=self._similarity,
                    least=self._options.iou,
                )
                first, pairs = place, 0

    def _read(self, graphs: Sequence[SceneGraph], outcomes: Sequence[Sequence[Outcome]]) -> AnswerColumns:
        """Each outcome as an answer: texts all together, one that a group says twice once; and graphs all together."""
        texts: list[str] = []
        frames: list[Frame] = []
        drawn: list[Outcome] = []
        nothing: list[Outcome] = []
        places: list[tuple[int, int]] = []  # in the texts, the graphs, or what is neither
        for graph, group in zip(graphs, outcomes, strict=True):
            known: dict[str, int] = {}
            for one in group:
                if one.graph is not None:
                    places.append((1, len(drawn)))
                    drawn.append(one)
                elif one.text is not None:
                    places.append((0, known.setdefault(one.text, len(texts) + len(known))))
                else:
                    places.append((2, len(nothing)))
                    nothing.append(one)
            texts += known
            frames += [self._frame(graph)] * len(known)
            self._see_units(graph, group)
        found = read_answers(texts, frames) + _read_drawn(drawn)
        begins = 0, len(texts), len(found)
        found += AnswerColumns.of([no_answer(one.faults) for one in nothing])
        return found.taken([begins[kind] + place for kind, place in places])

    def _see_units(self, graph: SceneGraph, group: Sequence[Outcome]) -> None:
        """Look at boxes as they were written: at the first of all, which are read once more for it."""
        for one in group:
            if self.units.is_done:
                return
            if one.graph is None and one.text is not None:
                raw = read_answer(one.text, self._frame(graph)).raw
                self.units.see(raw, answer_of_graph(graph).corners, _size(graph))

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


def _read_drawn(outcomes: Sequence[Outcome]) -> AnswerColumns:
    """Outcomes with graphs."""
    graphs = [one.graph for one in outcomes if one.graph is not None]
    return read_graphs(graphs, [one.faults for one in outcomes], [one.text for one in outcomes])


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
