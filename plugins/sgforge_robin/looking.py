"""One image as Robin looks at it: encoded once, then asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from sgforge.errors import ImageError
from sgforge.graph import Region, Sample
from sgforge_robin.decoding.prefix import encode_prefix, see
from sgforge_robin.decoding.tree import AnswerTree, score_answers
from sgforge_robin.encoding import ask_ids, prefix_ids
from sgforge_robin.learnt import TrainedRobin
from sgforge_robin.model.attention import Prefix
from sgforge_robin.pixels import image_tensor
from sgforge_robin.regions import box_texts, masks_of, salient
from sgforge_robin.text.graphs import NOTHING
from sgforge_robin.text.plain import plain_name, plain_predicate
from sgforge_robin.text.tasks import ask_description, ask_pair, opening

__all__ = [
    "Look",
    "calibrated",
    "candidate_pairs",
    "look_at",
    "pair_probabilities",
    "raw_pair_scores",
    "score_labels",
]

Floats = NDArray[np.float64]

_BELOW: Final = 1e-30


@attrs.frozen(eq=False)
class Look:
    """An encoded image: `indices` of the regions shown (numbers 1, 2 ... in this order), and its prefix."""

    sample: Sample
    indices: tuple[int, ...]
    prefix: Prefix


@torch.no_grad()
def look_at(robin: TrainedRobin, sample: Sample, names: Sequence[str] | None = None) -> Look:
    """Encode an image with its regions. `names`: of the regions shown, where others than their labels are known.

    An image that cannot be read, or a sample without one, is an `ImageError`.
    """
    if sample.image is None:
        raise ImageError(f"{sample.image_id} has no image: a Robin looks at pixels", "image-missing")
    indices = salient(sample)
    rows = [sample.graph.regions[index] for index in indices]
    known = [region.label or "" for region in rows] if names is None else list(names)
    boxes = box_texts(sample, rows) if robin.known.box_text else [""] * len(rows)
    pixels = image_tensor(sample.image.array(), robin.known.side, robin.model.shape.aspect)
    ids = prefix_ids(robin.tokenizer, opening(boxes, known if any(known) else None))
    features = see(robin.model, pixels)
    prefix = encode_prefix(robin.model, features, masks_of(sample, rows), ids, f"image {sample.image_id}")
    return Look(sample, tuple(indices), prefix)


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
