"""A closed set of answers scored exactly: all of them as one tree of tokens behind each question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sgforge_robin.model.attention import Prefix, SharedPrefixes
from sgforge_robin.model.references import add_references, numbers_of
from sgforge_robin.model.robin import RobinModel

__all__ = ["AnswerTree", "score_answers"]

Ints = NDArray[np.int64]

_AT_ONCE: Final = 4096
"""Nodes that are scored at once."""
_HEAD: Final = 512
"""Nodes that go through the language model's head at once."""


@attrs.frozen(eq=False)
class AnswerTree:
    """Answers as a tree: `token` and `parent` (K,) of each node, -1 above the first; `leaf` (A,) each answer's last."""

    token: Ints
    parent: Ints
    leaf: Ints

    @classmethod
    def of(cls, answers: Sequence[Sequence[int]]) -> AnswerTree:
        """The tree of these id sequences; each must end in an id that ends it, so that none begins another."""
        nodes: dict[tuple[int, int], int] = {}
        tokens: list[int] = []
        parents: list[int] = []
        leaves = []
        for answer in answers:
            parent = -1
            for token in answer:
                place = nodes.get((parent, token))
                if place is None:
                    place = nodes[parent, token] = len(tokens)
                    tokens.append(token)
                    parents.append(parent)
                parent = place
            leaves.append(parent)
        return cls(np.array(tokens, np.int64), np.array(parents, np.int64), np.array(leaves, np.int64))

    @property
    def inner(self) -> Ints:
        """The nodes that something follows, in order."""
        return np.unique(self.parent[self.parent >= 0])


@torch.no_grad()
def score_answers(
    model: RobinModel, prefix: Prefix, questions: Sequence[Sequence[int]], tree: AnswerTree
) -> NDArray[np.float64]:
    """(Q, A) log-probability of every answer to every question behind a prefix; exact, up to rounding."""
    scores = np.empty((len(questions), len(tree.leaf)))
    by_length: dict[int, list[int]] = {}
    for place, question in enumerate(questions):
        by_length.setdefault(len(question), []).append(place)
    for length, places in by_length.items():
        each = max(_AT_ONCE // (length + len(tree.token)), 1)
        for start in range(0, len(places), each):
            chosen = places[start : start + each]
            asked = np.array([questions[place] for place in chosen], np.int64)
            scores[chosen] = _scored(model, prefix, asked, tree)
    return scores


def _scored(model: RobinModel, prefix: Prefix, asked: Ints, tree: AnswerTree) -> NDArray[np.float64]:
    """(N, A) of N questions of Q ids each, (N, Q): each is a row, with the tree behind it."""
    count, length = asked.shape
    inner = tree.inner
    place = np.full(len(tree.token) + 1, length - 1)  # of each node in its row; of -1, where the question ends
    place[inner] = length + np.arange(len(inner))
    parent = np.concatenate([np.arange(length) - 1, place[tree.parent[inner]]])
    device = model.table.weight.device
    ids = np.concatenate([asked, np.broadcast_to(tree.token[inner], (count, len(inner)))], axis=1)
    seen = _ancestors(parent)
    depth = seen.sum(axis=1) - 1
    embeds = model.table(torch.from_numpy(ids).to(device))
    if prefix.named is not None:
        above_each = parent.tolist()
        numbers = [numbers_of(model.names.down(row, above_each)) for row in ids.tolist()]
        embeds = add_references(embeds, torch.tensor(numbers, device=device), prefix.named)
    hidden = model.language.base_model(
        inputs_embeds=embeds,
        position_ids=torch.from_numpy(depth + prefix.length).to(device)[None],
        attention_mask=torch.from_numpy(seen).to(device)[None, None].expand(count, 1, -1, -1),
        use_cache=False,
        shared=SharedPrefixes([prefix], [0, count]),
    ).last_hidden_state
    above = hidden[:, torch.from_numpy(place[tree.parent]).to(device)]
    token = torch.from_numpy(tree.token).to(device).repeat(count)
    steps = _logprobs(model, above.flatten(0, 1), token).view(count, -1).double().cpu().numpy()
    for node, before in enumerate(tree.parent.tolist()):
        if before >= 0:
            steps[:, node] += steps[:, before]
    scores: NDArray[np.float64] = steps[:, tree.leaf]
    return scores


def _ancestors(parent: Ints) -> NDArray[np.bool_]:
    """(L, L): every node sees itself and what lies above it."""
    seen = np.eye(len(parent), dtype=np.bool_)
    for node, above in enumerate(parent.tolist()):
        if above >= 0:
            seen[node] |= seen[above]
    return seen


def _logprobs(model: RobinModel, hidden: Tensor, token: Tensor) -> Tensor:
    """(N,) log-probability of each token behind a node, (N, width)."""
    head = model.language.get_output_embeddings()
    parts = []
    for states, ids in zip(hidden.split(_HEAD), token.split(_HEAD), strict=True):
        logits = head(states).float()
        parts.append(logits.gather(1, ids[:, None])[:, 0] - logits.logsumexp(dim=-1))
    return torch.cat(parts)
