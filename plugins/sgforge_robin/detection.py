"""Objects with boxes and their relations in images of which no region is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from sgforge.graph import Region, Sample, SceneGraph
from sgforge_robin.decoding.decode import Ask, Said, Sampling, decode
from sgforge_robin.decoding.spoken import spoken_lines, spoken_triplets
from sgforge_robin.encoding import ask_ids
from sgforge_robin.learnt import TrainedRobin
from sgforge_robin.looking import look_at, pair_probabilities, see_sample
from sgforge_robin.text.graphs import ObjectText, RelationText, parse_graph
from sgforge_robin.text.tasks import ask_detection

__all__ = ["Found", "find_objects"]

_THOUSAND: Final = 1000


@attrs.frozen
class Found:
    """What was found in an image: regions, and relations of their places with a score each; `faults` by reason."""

    regions: tuple[Region, ...]
    relations: Mapping[tuple[int, str, int], float]
    faults: Mapping[str, int]

    def within(self, sample: Sample) -> Sample:
        """The sample with the regions in its graph."""
        graph = sample.graph
        width, height = _size(sample)
        return attrs.evolve(sample, graph=SceneGraph(width, height, self.regions, attributes=graph.attributes))


def find_objects(robin: TrainedRobin, samples: Sequence[Sample], sampling: Sampling) -> list[Found]:
    """What is found in images whose pixels can be read; all are asked as one batch."""
    looks = [look_at(robin, see_sample(robin, sample)) for sample in samples]
    ids = ask_ids(robin.tokenizer, ask_detection().question)
    asks = [Ask(place, ids, f"{sample.image_id}/detection") for place, sample in enumerate(samples)]
    said = decode(robin.model, [look.prefix for look in looks], asks, sampling)
    return [_scored(robin, sample, *_read(robin, sample, one)) for sample, one in zip(samples, said, strict=True)]


def _read(robin: TrainedRobin, sample: Sample, said: Said) -> tuple[Found, dict[RelationText, tuple[int, str, int]]]:
    """The answer, and where each of its relations stands."""
    graph = parse_graph(robin.tokenizer.text(said.ids), truncated=not said.ended, detection=True)
    faults = Counter(graph.dropped)
    lines = spoken_lines(robin.tokenizer, said)
    size = _size(sample)
    places: dict[int, int] = {}
    regions = []
    for item in graph.objects:
        if item.box is None or item.box[0] == item.box[2] or item.box[1] == item.box[3]:
            faults["no-box"] += 1
            continue
        places[item.region] = len(regions)
        regions.append(_region(item, item.box, size, lines.get(item.region, 0.0)))
    spoken = spoken_triplets(robin.tokenizer, said)
    kept = {
        one: (places[one.subject], one.predicate, places[one.object])
        for one in graph.relations
        if one.subject in places and one.object in places
    }
    relations = {place: spoken.get((one.subject, one.predicate, one.object), 0.0) for one, place in kept.items()}
    faults["unknown-region"] += len(graph.relations) - len(kept)
    return Found(tuple(regions), relations, {name: count for name, count in faults.items() if count}), kept


def _scored(
    robin: TrainedRobin, sample: Sample, found: Found, kept: Mapping[RelationText, tuple[int, str, int]]
) -> Found:
    """Where the Robin was asked about pairs, it is asked about these too: its scores are exact then, and calibrated."""
    if not kept or not robin.known.knows_pairs:
        return found
    whole = found.within(sample)
    seen = see_sample(robin, whole)
    number = {index: place for place, index in enumerate(seen.indices, start=1)}
    pairs = sorted({(number[a], number[b]) for a, _, b in kept.values() if a in number and b in number})
    predicates = list(dict.fromkeys((*robin.known.predicates, *(word for _, word, _ in kept.values()))))
    shares = pair_probabilities(robin, look_at(robin, seen), pairs, predicates)
    row = {pair: place for place, pair in enumerate(pairs)}
    column = {word: place for place, word in enumerate(predicates)}
    scores = {
        (a, word, b): min(float(shares[row[number[a], number[b]], column[word]]), 1.0)
        for a, word, b in kept.values()
        if a in number and b in number
    }
    return attrs.evolve(found, relations={**found.relations, **scores})


def _region(item: ObjectText, box: Sequence[int], size: tuple[int, int], score: float) -> Region:
    sides = (*size, *size)
    x0, y0, x1, y1 = (value * side / _THOUSAND for value, side in zip(box, sides, strict=True))
    return Region(item.name, (x0, y0, x1, y1), attributes=item.attributes, score=score)


def _size(sample: Sample) -> tuple[int, int]:
    """Width and height in pixels."""
    if sample.graph.width or sample.image is None:
        return sample.graph.width, sample.graph.height
    return sample.image.size()
