"""Editor `consistency`: rejects what geometry and the prior both doubt, and adds missing inverses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import numpy as np

from sgforge.edits import Edit, Verdict
from sgforge.graph import REJECTED, Relation, Sample, SceneGraph
from sgforge.spatial import Geometry, canonical, degrees, inverse
from sgforge.stages import Answer, Resources
from sgforge_baseline.config import ConsistencyOptions
from sgforge_baseline.known import KnownRelations, canonical_text
from sgforge_baseline.prior.estimate import relation_rates
from sgforge_baseline.prior.relations import RelationModel
from sgforge_baseline.prior.storage import load

__all__ = ["REASONS", "ConsistencyEditor"]

REASONS: Final[Mapping[str, str]] = {
    "doubted": "geometry gives the predicate a low degree, and the prior a low probability",
}
"""Every reason this editor gives, in words."""


@attrs.frozen
class _Doubt:
    """What speaks for one relation: its degree by geometry and its probability; None where one has no opinion."""

    degree: float | None
    prior: float | None


class ConsistencyEditor:
    """Uses the weights of a trained `prior` (`weights = "STEP NAME"` or the option `checkpoint`).

    Without weights the prior of a relation is the score it came with. A relation on which geometry or the prior has no
    opinion is never rejected. A verdict's degree is the degree by geometry. Nothing that was rejected is restored: the
    inverse of a kept relation is added only where no row of any status says it. Its score is what the prior gives it,
    since people say of a cup that it is on the table, hardly of the table that it supports the cup; where the prior has
    no opinion, the score is that of the relation. Inverses beyond `max_added` are counted as `too-many`.
    """

    def __init__(self, options: ConsistencyOptions) -> None:
        self.options = options
        self._close = frozenset(options.close)
        turned = {second: first for first, second in options.inverses}
        self._inverses = {**turned, **dict(options.inverses)}
        self._model: RelationModel | None = None

    def setup(self, resources: Resources) -> None:
        """Load the prior: the step's weights, else those of the option `checkpoint`, if any."""
        folder = resources.checkpoint.path if resources.checkpoint is not None else self.options.checkpoint
        self._model = None if folder is None else load(Path(folder)).relations

    def edit(self, samples: Sequence[Sample], /) -> list[Answer]:
        """The corrections of each sample."""
        return [self._one(sample.graph) for sample in samples]

    def _one(self, graph: SceneGraph) -> Edit:
        doubts = self._doubts(graph)
        verdicts = [
            Verdict(target="relation", index=index, status=REJECTED, reason="doubted", degree=doubt.degree)
            for index, doubt in doubts.items()
            if doubt.degree is not None
            and doubt.prior is not None
            and doubt.degree < self.options.min_degree
            and doubt.prior < self.options.min_prior
        ]
        rejected = {verdict.index for verdict in verdicts}
        added = self._missing(graph, rejected) if self.options.add_inverses else []
        too_many = len(added) - self.options.max_added
        return Edit(
            relations=added[: self.options.max_added],
            verdicts=verdicts,
            faults={"too-many": too_many} if too_many > 0 else {},
        )

    def _doubts(self, graph: SceneGraph) -> dict[int, _Doubt]:
        measured = self._measured(graph)
        if not measured:
            return {}
        relations = graph.relations
        rates = self._prior(graph, [relations[index] for index in measured])
        return {index: _Doubt(degree, rate) for (index, degree), rate in zip(measured.items(), rates, strict=True)}

    def _prior(self, graph: SceneGraph, relations: Sequence[Relation]) -> list[float | None]:
        """What the prior thinks of each: by the weights, without them the score it came with."""
        if self._model is None:
            return [relation.score for relation in relations]
        return relation_rates(self._model, graph, relations)

    def _measured(self, graph: SceneGraph) -> dict[int, float]:
        """The degree of every kept relation on which geometry has an opinion."""
        names: dict[int, str] = {}
        for index, relation in graph.relations.items():
            spatial = canonical(relation.predicate)
            if spatial is not None:
                names[index] = spatial.name
            elif relation.predicate in self._close:
                names[index] = "near"
        if not names:
            return {}
        columns = sorted(set(names.values()))
        pairs = np.array([(graph.relations[i].subject, graph.relations[i].object) for i in names], np.int64)
        table = degrees(Geometry.of(graph), pairs, columns)
        values = table[np.arange(len(names)), [columns.index(name) for name in names.values()]].tolist()
        return {index: value for index, value in zip(names, values, strict=True) if not np.isnan(value)}

    def _missing(self, graph: SceneGraph, rejected: set[int]) -> list[Relation]:
        """The inverses that no row says, of the relations that stay, in their order."""
        known = KnownRelations.of(graph)
        missing: list[Relation] = []
        for index, relation in graph.relations.items():
            predicate = self._inverse(relation.predicate)
            if index in rejected or predicate is None:
                continue
            subject, object_ = relation.object, relation.subject
            if canonical_text(predicate) in known.rows.get((subject, object_), ()):
                continue
            back = Relation(
                subject=subject, predicate=predicate, object=object_, category=relation.category, score=relation.score
            )
            known.add([back])
            missing.append(back)
        rates = self._prior(graph, missing)
        return [
            back if rate is None else attrs.evolve(back, score=rate) for back, rate in zip(missing, rates, strict=True)
        ]

    def _inverse(self, predicate: str) -> str | None:
        return inverse(predicate) or self._inverses.get(predicate)
