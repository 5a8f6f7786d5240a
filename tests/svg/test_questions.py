"""Probes are claims that are false, chosen by a hash; only regions that claims name are shown to a judge."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge_svg.questions import Claim, rounds_of

LABELS = ("dog", "harp", "cat", "boat", "igloo", "man")
REGIONS = [Region(label, (10 * i, 0, 10 * i + 9, 9)) for i, label in enumerate(LABELS)]
PREDICATES = ("holding", "talking to", "beside", "fond of", "left of")
CATEGORIES = {"holding": "interactional", "talking to": "social", "fond of": "emotional"}


def sample(image_id: str, pairs: list[tuple[int, str, int]]) -> Sample:
    rows = [Relation(s, p, o, category=CATEGORIES.get(p, "unknown")) for s, p, o in pairs]
    return Sample(image_id, SceneGraph(100, 100, REGIONS, rows))


def claims(given_sample: Sample, rate: float, max_regions: int = 60) -> list[Claim]:
    rounds = rounds_of(given_sample, spatial="always", probe_rate=rate, max_regions=max_regions)
    return [claim for part in rounds for claim in part.claims]


PAIRS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(PREDICATES), st.integers(0, 5)).filter(lambda t: t[0] != t[2]),
    max_size=12,
    unique=True,
)


@given(st.text(min_size=1, max_size=4), PAIRS)
def test_every_relation_is_asked_once_and_probed_at_most_once(image_id: str, pairs: list[tuple[int, str, int]]) -> None:
    found = claims(sample(image_id, pairs), 1.0)
    assert sorted(claim.index for claim in found if claim.index is not None) == list(range(len(pairs)))
    assert sum(claim.index is None for claim in found) == len(pairs)
    assert found == claims(sample(image_id, pairs), 1.0)
    assert all(claim.probe is None for claim in claims(sample(image_id, pairs), 0.0))


@given(st.text(min_size=1, max_size=4), PAIRS)
def test_a_swapped_probe_is_no_relation_of_the_graph_and_goes_one_way(
    image_id: str, pairs: list[tuple[int, str, int]]
) -> None:
    for claim in claims(sample(image_id, pairs), 1.0):
        if claim.probe == "swapped":
            assert claim.predicate in ("holding", "left of")
            assert (claim.object, claim.predicate, claim.subject) in pairs
            assert (claim.subject, claim.predicate, claim.object) not in pairs
        if claim.probe == "absent":
            assert claim.object not in LABELS


def test_both_kinds_of_probe_occur_at_about_their_rate_and_absent_things_vary() -> None:
    kinds: Counter[str | None] = Counter()
    things = set()
    for number in range(1000):
        for claim in claims(sample(str(number), [(0, "holding", 2)]), 0.2):
            kinds[claim.probe] += 1
            things |= {claim.object} if claim.probe == "absent" else set()
    assert kinds[None] == 1000
    assert 140 <= kinds["absent"] + kinds["swapped"] <= 260  # 200, standard deviation 13; the hash is fixed
    assert min(kinds["absent"], kinds["swapped"]) > 50
    assert len(things) >= 5


@given(PAIRS, st.integers(2, 6))
def test_no_round_shows_more_regions_than_it_may_and_only_those_it_names(
    pairs: list[tuple[int, str, int]], most: int
) -> None:
    rounds = list(rounds_of(sample("r", pairs), spatial="always", probe_rate=1.0, max_regions=most))
    for part in rounds:
        named = {end for claim in part.claims for end in (claim.subject, claim.object) if isinstance(end, int)}
        assert len(part.view.regions) <= most
        assert named == set(part.view.regions)
    if most == 6:
        assert len(rounds) == bool(pairs)
