"""Graphs read as answers, many at once: in columns where no thing is there twice, else thing by thing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

import numpy as np

from sgforge.graph import SceneGraph
from sgforge_grpo.reading.answer import answer_of_graph, names_of
from sgforge_grpo.reading.columns import AnswerColumns, Ints, Named, Rows, owners_of
from sgforge_grpo.reading.faults import faults_of_relations, repeated_things

__all__ = ["read_graphs"]

_NOWHERE: Final = (math.nan,) * 4


def read_graphs(
    graphs: Sequence[SceneGraph], faults: Sequence[Sequence[str]] = (), texts: Sequence[str | None] = ()
) -> AnswerColumns:
    """What `answer_of_graph` makes of each graph, with its faults and its text if there are any."""
    faults, texts = faults or [()] * len(graphs), texts or [None] * len(graphs)
    found, repeated = _columns(graphs, faults, texts)
    at = {place: place for place in set(range(len(graphs))).difference(repeated.tolist())}
    return found.completed(at, len(graphs), lambda place: answer_of_graph(graphs[place], faults[place], texts[place]))


def _columns(
    graphs: Sequence[SceneGraph], faults: Sequence[Sequence[str]], texts: Sequence[str | None]
) -> tuple[AnswerColumns, Ints]:
    """All graphs as answers, and those in which things may be there twice."""
    kept, said = [graph.regions.values() for graph in graphs], [graph.relations.values() for graph in graphs]
    boxes = [
        one.box or (one.mask.box if one.mask is not None else None) or _NOWHERE for one in chain.from_iterable(kept)
    ]
    corners = np.array(list(chain.from_iterable(boxes)), np.float64).reshape(-1, 4)
    labels, predicates, rows = Named(lambda text: names_of(text or "")), Named(names_of), list(map(_rows, graphs))
    names = labels.of([one.label for one in chain.from_iterable(kept)])
    spoken = predicates.of([one.predicate for one in chain.from_iterable(said)])
    subjects, objects = list[int](), list[int]()
    for relations, (places, _) in zip(said, rows, strict=True):
        subjects += [places[one.subject] for one in relations]
        objects += [places[one.object] for one in relations]
    regions, counts = (np.array(list(map(len, side)), np.int64) for side in (kept, said))
    columns = AnswerColumns(
        labels=list(labels.codes),
        predicates=list(predicates.codes),
        names=names,
        corners=corners,
        subjects=np.array(subjects, np.int64),
        said=spoken,
        objects=np.array(objects, np.int64),
        region_counts=regions,
        relation_counts=counts,
        faults=faults,
        items=[
            first + second + len(one)
            for first, second, one in zip(regions.tolist(), counts.tolist(), faults, strict=True)
        ],
        texts=texts,
        rows=rows,
    )
    owners = owners_of(counts)
    wrong = faults_of_relations(owners, columns.subjects, spoken, columns.objects)
    return columns, np.concatenate([owners[wrong > 0], repeated_things(owners_of(regions), names, corners)])


def _rows(graph: SceneGraph) -> Rows:
    every = graph.all
    return _places(graph.regions, len(every.regions)), _places(graph.relations, len(every.relations))


def _places(kept: Mapping[int, object], count: int) -> Sequence[int]:
    """The place of each of so many rows among those that are kept, -1 of others."""
    if len(kept) == count:
        return range(count)
    places = [-1] * count
    for place, index in enumerate(kept):
        places[index] = place
    return places
