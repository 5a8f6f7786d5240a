"""One image as Robin looks at it: encoded once, then asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sgforge.errors import ImageError
from sgforge.graph import Region, Sample
from sgforge_robin.decoding.prefix import encode_prefix, see, see_regions
from sgforge_robin.decoding.tree import AnswerTree, score_answers
from sgforge_robin.encoding import ask_ids, prefix_ids
from sgforge_robin.learnt import TrainedRobin
from sgforge_robin.model.attention import Prefix
from sgforge_robin.model.splice import RegionTokens
from sgforge_robin.pixels import image_tensor
from sgforge_robin.regions import box_shares, box_texts, masks_of, salient
from sgforge_robin.text.graphs import NOTHING
from sgforge_robin.text.plain import plain_name, plain_predicate
from sgforge_robin.text.tasks import ask_description, ask_pair, opening

__all__ = [
    "Look",
    "Seen",
    "calibrated",
    "candidate_pairs",
    "judged_pairs",
    "look_at",
    "pair_probabilities",
    "prefix_text",
    "raw_pair_scores",
    "score_labels",
    "see_sample",
]

Floats = NDArray[np.float64]

_BELOW: Final = 1e-30


@attrs.frozen(eq=False)
class Seen:
    """An image that the tower has seen: `indices` of the regions shown (numbers 1, 2 ... in this order), the levels'
    maps, and the tokens of these regions.
    """

    sample: Sample
    indices: tuple[int, ...]
    features: dict[str, Tensor]
    regions: RegionTokens | None

    @property
    def rows(self) -> list[Region]:
        """The regions shown."""
        return [self.sample.graph.regions[index] for index in self.indices]


@attrs.frozen(eq=False)
class Look:
    """An image that can be asked about: its prefix is encoded."""

    seen: Seen
    prefix: Prefix

    @property
    def sample(self) -> Sample:
        """The sample it is of."""
        return self.seen.sample

    @property
    def indices(self) -> tuple[int, ...]:
        """Indices of the regions shown."""
        return self.seen.indices


@torch.no_grad()
def see_sample(robin: TrainedRobin, sample: Sample) -> Seen:
    """See an image and its regions. One that cannot be read, or a sample without an image, is an `ImageError`."""
    if sample.image is None:
        raise ImageError(f"{sample.image_id} has no image: a Robin looks at pixels", "image-missing")
    indices = tuple(salient(sample))
    pixels = image_tensor(sample.image.array(), robin.known.side, robin.model.shape.aspect)
    features = see(robin.model, pixels)
    masks = masks_of(sample, [sample.graph.regions[index] for index in indices])
    return Seen(sample, indices, features, see_regions(robin.model, features, masks))


@torch.no_grad()
def look_at(robin: TrainedRobin, seen: Seen, names: Sequence[str] | None = None) -> Look:
    """Encode the prefix of an image. `names`: of the regions shown, where others than their labels are known."""
    ids = prefix_ids(robin.tokenizer, prefix_text(robin, seen.sample, seen.rows, names))
    where = f"image {seen.sample.image_id}"
    return Look(seen, encode_prefix(robin.model, seen.features, seen.regions, ids, where))


def prefix_text(robin: TrainedRobin, sample: Sample, rows: Sequence[Region], names: Sequence[str] | None = None) -> str:
    """All that stands before the first question about these regions; `names`: others than their labels."""
    known = [region.label or "" for region in rows] if names is None else list(names)
    boxes = box_texts(sample, rows) if robin.known.box_text else [""] * len(rows)
    return opening(boxes, known if any(known) else None)


@torch.no_grad()
def judged_pairs(
    robin: TrainedRobin, seen: Seen, pairs: Sequence[tuple[int, int]], labels: Sequence[str | None]
) -> Floats:
    """(P, C) probability of each predicate of the training for each pair of region numbers, by the pair head.

    `labels`: of the regions shown, None for one that is not known. The checkpoint has a pair head.
    """
    head = robin.model.pair_head
    assert head is not None
    if seen.regions is None or not len(pairs):
        return np.empty((0, len(robin.known.predicates)))
    tokens = (seen.regions.mask, seen.regions.pos)
    rows = [attrs.evolve(row, label=name) for row, name in zip(seen.rows, labels, strict=True)]
    boxes = box_shares(seen.sample, rows).to(tokens[0])
    ids = robin.known.pair_vocabulary.label_ids(rows).to(tokens[0].device)
    logits = head(tokens, boxes, ids, torch.tensor(pairs, device=tokens[0].device) - 1)
    found: Floats = logits.double().sigmoid().cpu().numpy()
    return found


def pair_probabilities(
    robin: TrainedRobin, look: Look, pairs: Sequence[tuple[int, int]], predicates: Sequence[str]
) -> Floats:
    """(P, C) calibrated probability of each predicate for each pair of region numbers.

    Exact over the closed set of these predicates and `none`: what is left to 1 is that none of them holds.
    """
    logprobs = raw_pair_scores(robin, look, pairs, predicates)
    return calibrated(logprobs, robin.known.temperature)[:, :-1]


def raw_pair_scores(
    robin: TrainedRobin, look: Look, pairs: Sequence[tuple[int, int]], predicates: Sequence[str]
) -> Floats:
    """(P, C + 1) log-probability of each predicate, and of `none` in the last column."""
    tokenizer = robin.tokenizer
    texts = [*(plain_predicate(text) for text in predicates), NOTHING]
    tree = AnswerTree.of([[*tokenizer.ids(text), tokenizer.end] for text in texts])
    questions = [ask_ids(tokenizer, ask_pair(*pair).question) for pair in pairs]
    return score_answers(robin.model, look.prefix, questions, tree)


def calibrated(logprobs: Floats, temperature: float) -> Floats:
    """Log-probabilities over a closed set, (P, C), as probabilities that sum to 1 in each row."""
    scaled = logprobs / temperature
    shares = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
    out: Floats = shares / np.maximum(shares.sum(axis=1, keepdims=True), _BELOW)
    return out


def score_labels(robin: TrainedRobin, look: Look, places: Sequence[int], labels: Sequence[str]) -> Floats:
    """(P, L) probability of each label for the regions at these places among those shown."""
    tokenizer = robin.tokenizer
    tree = AnswerTree.of([[*tokenizer.ids(plain_name(text)), tokenizer.end] for text in labels])
    questions = [ask_ids(tokenizer, ask_description(place + 1).question) for place in places]
    return calibrated(score_answers(robin.model, look.prefix, questions, tree), 1.0)


def candidate_pairs(regions: Sequence[Region], most: int) -> list[tuple[int, int]]:
    """Ordered pairs of places, all of them, or where these are more than `most` each region with its nearest."""
    count = len(regions)
    if count * (count - 1) <= most:
        return [(a, b) for a in range(count) for b in range(count) if a != b]
    centres = np.array([_centre(region) for region in regions])
    apart = ((centres[:, None] - centres[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = np.argsort(apart, axis=1, kind="stable")[:, : max(most // count, 1)]
    return [(a, int(b)) for a in range(count) for b in sorted(nearest[a].tolist())]


def _centre(region: Region) -> tuple[float, float]:
    box = region.box or (region.mask.box if region.mask is not None else None) or (0.0, 0.0, 0.0, 0.0)
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
