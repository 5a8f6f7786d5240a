"""The questions a judge is asked about one image: the relations to judge, and probes whose answer is no.

Probes measure the judge's yes-bias: how often it agrees to what is not true. Which relations get a probe, and which
kind, follows from a hash of image and relation, so that a re-run asks the same questions. A judge is told labels and
boxes of the regions that a claim names, and nothing else: descriptions come from the teacher that is being judged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from sgforge.graph import Relation, Sample
from sgforge.spatial import canonical
from sgforge_svg.config import Spatial
from sgforge_svg.view import View, as_json, clean_text

__all__ = ["Claim", "Round", "has_no_rule", "many_facts", "one_fact", "rounds_of"]

Probe = Literal["absent", "swapped"]

# Things seldom seen in photographs; one that is no label of the image stands in for an absent object.
_ABSENT: Final = ("harp", "igloo", "submarine", "suit of armour", "cello", "lighthouse", "camel", "windmill", "kayak")
# Social and emotional relations often go both ways ("talking to"): swapped they may be true, so they are not.
_ONE_WAY: Final = frozenset({"spatial", "interactional", "functional", "unknown"})


@attrs.frozen
class Claim:
    """One claim about a pair: a relation of the graph (`index`), or a `probe` whose answer is no."""

    subject: int
    predicate: str
    object: int | str
    index: int | None = None
    probe: Probe | None = None
    order: bytes = b""

    def fact(self, view: View) -> dict[str, Any]:
        """The claim as data for a prompt."""
        target = view.place(self.object) if isinstance(self.object, int) else {"label": self.object}
        return {"subject": view.place(self.subject), "predicate": clean_text(self.predicate), "object": target}


@attrs.frozen
class Round:
    """Claims that share a picture, in an order that hides which are probes; `view` holds the regions they name."""

    view: View
    claims: tuple[Claim, ...]


def rounds_of(sample: Sample, *, spatial: Spatial, probe_rate: float, max_regions: int) -> Iterator[Round]:
    """All claims about one image, in as few rounds of at most `max_regions` regions as come from going in order."""
    kept = sample.graph.relations
    rows = {index: row for index, row in kept.items() if _is_asked(row, spatial)}
    triplets = {row.triplet for row in kept.values()}
    for part in _parts(rows, max_regions):
        ends = sorted({end for index in part for end in (rows[index].subject, rows[index].object)})
        view = View(sample, {end: sample.graph.regions[end] for end in ends}, 0)
        claims = [claim for index in part for claim in _claims(view, index, rows[index], triplets, probe_rate)]
        yield Round(view, tuple(sorted(claims, key=lambda claim: claim.order)))


def _is_asked(row: Relation, spatial: Spatial) -> bool:
    if spatial == "always" or (row.category != "spatial" and canonical(row.predicate) is None):
        return True
    return spatial == "without-rule" and has_no_rule(row)


def has_no_rule(row: Relation) -> bool:
    """Whether a relation speaks of place in words that geometry has no rule for, such as "leaning against"."""
    return row.category == "spatial" and canonical(row.predicate) is None


def _parts(rows: Mapping[int, Relation], max_regions: int) -> Iterator[list[int]]:
    part: list[int] = []
    regions: set[int] = set()
    for index, row in rows.items():
        ends = {row.subject, row.object}
        if part and len(regions | ends) > max_regions:
            yield part
            part, regions = [], set()
        part.append(index)
        regions |= ends
    if part:
        yield part


def _claims(
    view: View, index: int, row: Relation, triplets: set[tuple[int, str, int]], probe_rate: float
) -> Iterator[Claim]:
    """The claim of one relation, and for some relations a probe."""
    digest = hashlib.sha256(json.dumps([view.sample.image_id, row.triplet]).encode()).digest()
    yield Claim(
        subject=row.subject, predicate=row.predicate, object=row.object, index=index, probe=None, order=digest[16:]
    )
    if int.from_bytes(digest[:8], "big") >= probe_rate * 2**64:
        return
    known = canonical(row.predicate)
    may_swap = row.category in _ONE_WAY and (row.object, row.predicate, row.subject) not in triplets
    if digest[8] % 2 and may_swap and not (known is not None and known.symmetric):
        yield Claim(
            subject=row.object,
            predicate=row.predicate,
            object=row.subject,
            index=None,
            probe="swapped",
            order=digest[8:16],
        )
        return
    labels = " / ".join((region.label or "").lower() for region in view.sample.graph.regions.values())
    absent = [thing for thing in _ABSENT if thing not in labels]
    if absent:
        yield Claim(
            subject=row.subject,
            predicate=row.predicate,
            object=absent[digest[9] % len(absent)],
            index=None,
            probe="absent",
            order=digest[8:16],
        )


def one_fact(view: View, claim: Claim) -> str:
    """One claim as a JSON value."""
    return as_json({"image": view.image_size(), "claim": claim.fact(view)})


def many_facts(view: View, claims: Sequence[Claim]) -> str:
    """Several claims, numbered from 1, as a JSON value."""
    numbered = [{"question": number, **claim.fact(view)} for number, claim in enumerate(claims, 1)]
    return as_json({"image": view.image_size(), "claims": numbered})
