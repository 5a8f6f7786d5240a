"""What a graph already says about pairs of regions, in the words of the spatial vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from sgforge.graph import REJECTED, Relation, SceneGraph
from sgforge.spatial import are_contradictory, canonical, inverse

__all__ = ["KnownRelations", "canonical_text"]

Pair = tuple[int, int]


def canonical_text(predicate: str) -> str:
    """The name of a spatial predicate, any other text as it is."""
    found = canonical(predicate)
    return predicate if found is None else found.name


@attrs.define(eq=False)
class KnownRelations:
    """The predicates of each ordered pair by their canonical texts: of `kept` rows, `rejected` ones, and all `rows`."""

    kept: dict[Pair, set[str]] = attrs.field(factory=dict)
    rejected: dict[Pair, set[str]] = attrs.field(factory=dict)
    rows: dict[Pair, set[str]] = attrs.field(factory=dict)

    @classmethod
    def of(cls, graph: SceneGraph) -> KnownRelations:
        """All that `graph` says, rejected rows included in `rows`."""
        known = cls()
        known.add(graph.relations.values())
        for relation in graph.all.relations:
            pair, text = (relation.subject, relation.object), canonical_text(relation.predicate)
            known.rows.setdefault(pair, set()).add(text)
            if relation.status == REJECTED:
                known.rejected.setdefault(pair, set()).add(text)
        return known

    def add(self, relations: Iterable[Relation]) -> None:
        """Take kept relations in."""
        for relation in relations:
            pair, text = (relation.subject, relation.object), canonical_text(relation.predicate)
            self.kept.setdefault(pair, set()).add(text)
            self.rows.setdefault(pair, set()).add(text)

    def placed_with(self, region: int) -> list[int]:
        """The regions that a kept spatial relation, either way round, puts in place against `region`."""
        pairs = [pair for pair, texts in self.kept.items() if region in pair and any(map(canonical, texts))]
        return [first if second == region else second for first, second in pairs]

    def has_row(self, subject: int, predicate: str, object_: int) -> bool:
        """Whether the triplet has a row of any status."""
        return canonical_text(predicate) in self.rows.get((subject, object_), ())

    def says(self, subject: int, predicate: str, object_: int) -> bool:
        """Whether the triplet, or its inverse the other way round, has a row of any status."""
        return self.has_row(subject, predicate, object_) or _turned(predicate, (subject, object_), self.rows)

    def is_rejected(self, subject: int, predicate: str, object_: int) -> bool:
        """Whether the triplet, or its inverse the other way round, stands rejected."""
        pair = (subject, object_)
        return canonical_text(predicate) in self.rejected.get(pair, ()) or _turned(predicate, pair, self.rejected)

    def denies(self, subject: int, predicate: str, object_: int) -> bool:
        """Whether a kept relation of the two regions, either way round, cannot hold together with the triplet."""
        back = inverse(predicate)
        if any(are_contradictory(predicate, other) for other in self.kept.get((subject, object_), ())):
            return True
        return back is not None and any(
            are_contradictory(back, other) for other in self.kept.get((object_, subject), ())
        )


def _turned(predicate: str, pair: Pair, rows: Mapping[Pair, set[str]]) -> bool:
    """Whether `rows` has the inverse of `predicate` the other way round."""
    back = inverse(predicate)
    return back is not None and back in rows.get(pair[::-1], ())
