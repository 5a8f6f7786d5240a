"""The questions a judge is asked about one image: the relations to judge, and probes whose answer is no.

Probes measure the judge's yes-bias: how often it agrees to what cannot be true. Which relations get a probe, and which
kind, follows from a hash of image and relation, so that a re-run asks the same questions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from sgforge.graph import Relation, Sample
from sgforge.spatial import canonical
from sgforge_svg.view import View, clean_text

__all__ = ["Claim", "claims_of", "facts_of"]

Probe = Literal["absent", "swapped"]

# Things seldom seen in photographs; the first that is no label of the image stands in for an absent object.
_ABSENT: Final = ("harp", "igloo", "submarine", "suit of armour", "cello", "lighthouse", "camel", "windmill", "kayak")


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
        target = _thing(view, self.object) if isinstance(self.object, int) else {"label": self.object}
        return {"subject": _thing(view, self.subject), "predicate": clean_text(self.predicate), "object": target}


def claims_of(sample: Sample, view: View, *, spatial: bool, probe_rate: float) -> list[Claim]:
    """All claims about one image, in an order that hides which are probes."""
    claims: list[Claim] = []
    for index, row in view.relations().items():
        if not spatial and (row.category == "spatial" or canonical(row.predicate) is not None):
            continue
        digest = hashlib.sha256(json.dumps([sample.image_id, row.triplet]).encode()).digest()
        claims.append(Claim(row.subject, row.predicate, row.object, index, None, digest[16:]))
        if int.from_bytes(digest[:8], "big") < probe_rate * 2**64:
            claims.append(_probe(view, row, digest))
    return sorted(claims, key=lambda claim: claim.order)


def _probe(view: View, row: Relation, digest: bytes) -> Claim:
    """A claim that is false: the object absent, or subject and object swapped where that changes the meaning."""
    order = digest[8:16]
    known = canonical(row.predicate)
    swap_is_false = known is None or not known.symmetric
    if digest[8] % 2 and swap_is_false:
        return Claim(row.object, row.predicate, row.subject, None, "swapped", order)
    labels = {(region.label or "").lower() for region in view.regions.values()}
    absent = next((thing for thing in _ABSENT if not any(thing in label for label in labels)), _ABSENT[0])
    return Claim(row.subject, row.predicate, absent, None, "absent", order)


def _thing(view: View, index: int) -> dict[str, Any]:
    label = view.regions[index].label
    number = {"region": view.numbers[index]}
    return number if label is None else {**number, "label": clean_text(label)}


def facts_of(view: View, claims: Sequence[Claim], *, single: bool) -> str:
    """The regions and the claims as one JSON value; a single claim stands under "claim"."""
    value: dict[str, Any] = {key: item for key, item in _regions(view).items() if key != "known_relations"}
    if single:
        value["claim"] = claims[0].fact(view)
    else:
        value["claims"] = [{"question": number, **claim.fact(view)} for number, claim in enumerate(claims, 1)]
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _regions(view: View) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = json.loads(view.facts([]))
    return {key: facts[key] for key in ("image", "regions")}
