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
from sgforge_robin.model.robin import RobinModel

__all__ = ["AnswerTree", "score_answers"]

Ints = NDArray[np.int64]

_ROW: Final = 1024
"""Nodes a row may have."""
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


@torch.no_grad()
def score_answers(
    model: RobinModel, prefix: Prefix, questions: Sequence[Sequence[int]], tree: AnswerTree
) -> NDArray[np.float64]:
    """(Q, A) log-probability of every answer to every question behind a prefix; exact, up to rounding."""
    each = max(_ROW // (max((len(one) for one in questions), default=1) + len(tree.token)), 1)
    rows = [questions[start : start + each] for start in range(0, len(questions), each)]
    nothing = np.empty((0, len(tree.leaf)))
    return np.concatenate([nothing, *(_score_row(model, prefix, row, tree) for row in rows)])


@attrs.frozen(eq=False)
class _Forest:
    """Questions, each with the tree behind it, as one row of nodes.

    `token`, `parent`, `depth` (L,); `first` (Q,): where each question's answer nodes begin; `asked` (Q,): its last
    node before them.
    """

    token: Ints
    parent: Ints
    depth: Ints
    first: Ints
    asked: Ints


def _forest(questions: Sequence[Sequence[int]], tree: AnswerTree) -> _Forest:
    tokens: list[Ints] = []
    parents: list[Ints] = []
    first, asked = [], []
    size = 0
    for question in questions:
        chain = np.arange(len(question)) + size - 1
        chain[0] = -1
        start = size + len(question)
        tokens += [np.asarray(question, np.int64), tree.token]
        parents += [chain, np.where(tree.parent < 0, start - 1, tree.parent + start)]
        first.append(start)
        asked.append(start - 1)
        size = start + len(tree.token)
    parent = np.concatenate(parents)
    depth = np.zeros(size, np.int64)
    for node in range(size):
        depth[node] = depth[parent[node]] + 1 if parent[node] >= 0 else 0
    return _Forest(
        token=np.concatenate(tokens), parent=parent, depth=depth, first=np.array(first), asked=np.array(asked)
    )


def _score_row(
    model: RobinModel, prefix: Prefix, questions: Sequence[Sequence[int]], tree: AnswerTree
) -> NDArray[np.float64]:
    forest = _forest(questions, tree)
    device = model.table.weight.device
    token, parent = (torch.from_numpy(values).to(device) for values in (forest.token, forest.parent))
    hidden = model.language.base_model(
        inputs_embeds=model.table(token)[None],
        position_ids=torch.from_numpy(forest.depth + prefix.length).to(device)[None],
        attention_mask=_ancestors(forest.parent).to(device)[None, None],
        use_cache=False,
        shared=SharedPrefixes([prefix], [0, 1]),
    ).last_hidden_state[0]
    answer = torch.from_numpy((forest.first[:, None] + np.arange(len(tree.token))).ravel()).to(device)
    steps = _logprobs(model, hidden, parent[answer], token[answer]).view(len(questions), -1).double().cpu().numpy()
    for node, above in enumerate(tree.parent.tolist()):
        if above >= 0:
            steps[:, node] += steps[:, above]
    scores: NDArray[np.float64] = steps[:, tree.leaf]
    return scores


def _ancestors(parent: Ints) -> Tensor:
    """(L, L) bool: every node sees itself and what lies above it."""
    seen = np.eye(len(parent), dtype=np.bool_)
    for node, above in enumerate(parent.tolist()):
        if above >= 0:
            seen[node] |= seen[above]
    return torch.from_numpy(seen)


def _logprobs(model: RobinModel, hidden: Tensor, parent: Tensor, token: Tensor) -> Tensor:
    """Log-probability of each token after its parent node."""
    head = model.language.get_output_embeddings()
    parts = []
    for start in range(0, len(token), _HEAD):
        logits = head(hidden[parent[start : start + _HEAD]]).float()
        own = logits.gather(1, token[start : start + _HEAD, None])[:, 0]
        parts.append(own - logits.logsumexp(dim=-1))
    return torch.cat(parts)
