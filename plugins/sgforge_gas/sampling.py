"""Drawing of whole graphs: structure, words and scene attributes, each graph from its number alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sgforge.errors import ConfigError
from sgforge.graph import Sample, SceneGraph
from sgforge.graph.values import HeldValues, Values
from sgforge_gas.config import Draws
from sgforge_gas.drafting import Drafter
from sgforge_gas.populating import DrawnRows, Populator
from sgforge_gas.structures import Constraints, Drawer, Prior, Span
from sgforge_gas.structures.constraints import Size
from sgforge_gas.structures.cores import Kind
from sgforge_gas.structures.dice import Dice, dice_at, units_of
from sgforge_gas.vocabulary import SceneAttribute, Vocabulary, load_vocabulary

__all__ = ["PLAUSIBILITY", "Sampler", "constraints_of"]

PLAUSIBILITY: Final = "gas.plausibility"
"""The column that keeps by what a graph is plausible, and which share of it is."""
_CHUNK: Final = 1024
_BLOCK: Final = 64
_STRUCTURES: Final = 30
"""So many are tried where a vocabulary has no words for one, such as five attributes of a thing that has three."""
_DEFAULT_COMPLEXITY: Final = Span(3, 9)


def constraints_of(draws: Draws) -> Constraints:
    """The bounds of the options."""
    names = ("complexity", "objects", "relations", "attributes", "components", "average_degree")
    spans: dict[str, Any] = {name: Span.of(getattr(draws, name), name) for name in names}
    if spans["complexity"] is None and spans["objects"] is None:
        spans["complexity"] = _DEFAULT_COMPLEXITY
    return Constraints(**spans, max_degree=draws.max_degree)


class Sampler:
    """Draws graphs; whatever cannot be drawn is refused when it is built.

    Raises:
        ConfigError: no structure keeps the bounds, a file cannot be read, the vocabulary lacks words.
    """

    def __init__(self, draws: Draws, vocabulary: Vocabulary | None = None) -> None:
        self.vocabulary = load_vocabulary(draws.vocabulary) if vocabulary is None else vocabulary
        self._seed = draws.seed
        prior = Prior(draws.prior, self._histogram(draws) if draws.prior == "histogram" else {})
        self._drawer = Drawer(constraints_of(draws), Kind(draws.cycles, draws.parallel), prior)
        self._populator = Populator(self.vocabulary, draws.plausibility)
        self._plausibility = draws.plausibility
        self._values = self._scored(1.0)
        scene = Span.of(draws.scene_attributes, "scene_attributes") or Span(0, 0)
        self._least = int(scene.least)
        self._range = int(scene.most) - self._least + 1
        self._scene = self.vocabulary.scene
        self._check_words()
        is_fit = draws.plausibility == "types" and Drafter.takes(self.vocabulary)
        words, scene = self.vocabulary, (self._least, self._range)
        draw_scene = self._scene_attributes
        self._drafter = Drafter(self._drawer, self._populator, words, scene, draw_scene) if is_fit else None

    def graphs(self, items: range) -> Iterator[tuple[SceneGraph, Values]]:
        """The graphs of these numbers, each with the values of its columns."""
        for start in range(items.start, items.stop, _CHUNK):
            yield from self._chunk(range(start, min(start + _CHUNK, items.stop)))

    def samples(self, items: range, split: str | None = None) -> Iterator[Sample]:
        """As `graphs`, each with an id that tells seed and number."""
        name = f"gas-{self._seed}-"
        graphs = self.graphs(items)
        for start in range(items.start, items.stop, _BLOCK):
            # A block at once: what draws a graph, and then what its user does with it, each finds its own data near by.
            block = [*islice(graphs, _BLOCK)]
            for number, (graph, values) in enumerate(block, start):
                yield Sample(f"{name}{number:08d}", graph, split=split, values=values)

    def _chunk(self, items: range) -> Iterator[tuple[SceneGraph, Values]]:
        states, units = units_of(self._seed, items)
        if self._drafter is None:
            yield from map(self._graph, map(dice_at, states, units))
            return
        for number, draft in enumerate(self._drafter.drafts(states, units)):
            if draft is None:
                yield self._graph(dice_at(states[number], units[number]))
            else:
                yield SceneGraph.of_checked(0, 0, draft[1], draft[0]), self._values

    def _graph(self, dice: Dice) -> tuple[SceneGraph, Values]:
        rows = self._rows(dice)
        graph = SceneGraph.of_checked(0, 0, self._scene_attributes(dice), rows)
        return graph, self._values if rows.plausibility == 1.0 else self._scored(rows.plausibility)

    def _scored(self, score: float) -> Values:
        return HeldValues({PLAUSIBILITY: {"by": self._plausibility, "score": round(score, 6)}})

    def _rows(self, dice: Dice) -> DrawnRows:
        """Those of the first structure drawn for which the vocabulary has words."""
        for _ in range(_STRUCTURES):
            structure = self._drawer.draw(dice)
            rows = self._populator.fill(structure, dice)
            if rows is not None:
                return rows
        raise ConfigError(self._populator.refusal(structure))

    def _scene_attributes(self, dice: Dice) -> dict[str, str]:
        scene, unit = self._scene, dice.unit
        count = self._least + int(unit() * self._range)
        if not count or not scene:
            return {}
        if count == 1:
            one = scene[int(unit() * len(scene))]
            return {one.name: one.values[int(unit() * len(one.values))]}
        count = min(count, len(scene))
        chosen: dict[str, SceneAttribute] = {}
        while len(chosen) < count:
            one = scene[int(unit() * len(scene))]
            chosen[one.name] = one
        return {name: (values := chosen[name].values)[int(unit() * len(values))] for name in sorted(chosen)}

    def _check_words(self) -> None:
        words, sizes = self.vocabulary, self._drawer.sizes
        if not words.predicates and any(relations for _, relations, _ in sizes):
            raise ConfigError(f"vocabulary {words.name} has no relation: bound relations to [0], or name some")
        if not words.adjectives and any(attributes for _, _, attributes in sizes):
            raise ConfigError(f"vocabulary {words.name} has no attribute: bound attributes to [0], or name some")

    def _histogram(self, draws: Draws) -> Mapping[Size, float]:
        if draws.histogram is None:
            sizes = self.vocabulary.counts.sizes
            if not sizes:
                raise ConfigError('prior = "histogram" needs the file histogram, or a vocabulary that was mined')
            return sizes
        return _read_histogram(draws.histogram)


def _read_histogram(path: Path) -> Mapping[Size, float]:
    try:
        rows = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"histogram {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"histogram {path}: no JSON: {error}") from None
    found: dict[Size, float] = {}
    for number, row in enumerate(rows if isinstance(rows, list) else [rows]):
        if not _is_weight(row):
            raise ConfigError(f"histogram {path}: row {number} must be [objects, relations, attributes, weight]")
        found[row[0], row[1], row[2]] = found.get((row[0], row[1], row[2]), 0.0) + row[3]
    return found


def _is_weight(row: Any) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 4
        and all(type(one) is int and one >= 0 for one in row[:3])
        and type(row[3]) in (int, float)
        and 0 <= row[3] < float("inf")
    )
