"""What a component may answer: an edit that is exact and within its role; a ranking over the regions it was shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sgforge.columns.declared import Column, fitted_edit, known_columns
from sgforge.edits import Applied, Edit, apply_edit
from sgforge.errors import GraphError
from sgforge.exact import exact_edit
from sgforge.graph import Region, Sample
from sgforge.stages import Answer, Failure, Mode, Ranking, Verb, check_role
from sgforge.text.wording import counted

__all__ = ["check_answer", "check_ranking", "on_shown", "take_edit"]


def check_answer(answer: Any) -> Answer:
    """What an item component answered, its edits made exact; or the failure that it can be neither Edit nor Failure."""
    if isinstance(answer, Failure):
        return answer
    if isinstance(answer, Edit):
        try:
            return exact_edit(answer)
        except GraphError as error:
            return Failure("contract", f"its edit cannot be used: {error}")
    return Failure("contract", f"it answered {type(answer).__name__}, not an Edit or a Failure")


def take_edit(
    edit: Edit, sample: Sample, verb: Verb, step: str, declared: Mapping[tuple[str, str], Column]
) -> Applied | Failure:
    """What a checked edit makes of its graph; the failure that its verb does not allow it, or that it does not fit.

    `declared`: the columns of its component, by target and name.
    """
    graph = sample.graph
    if edit.is_empty:  # allowed to every verb, and it fits every graph
        return Applied(graph, edit, {})
    wrong = check_role(verb.name, edit, graph, declared, has_image=sample.uri is not None)
    if wrong is not None:
        return Failure("role", wrong)
    try:
        edit = fitted_edit(edit, known_columns(declared.values()))
        return apply_edit(graph, edit, step, may_restore=verb.may_restore)
    except GraphError as error:  # any other error is one of ours: the values in the edit are exact
        return Failure("contract", f"its edit does not fit the graph: {error}")


def check_ranking(answer: Any) -> Ranking | Failure:
    """The answer, or the failure that it is no ranking with scores in [0, 1] of pairs of its own regions, each once."""
    if isinstance(answer, Failure):
        return answer
    if not isinstance(answer, Ranking):
        return Failure("contract", f"rank answered {type(answer).__name__}, not a Ranking or a Failure")
    import numpy as np

    pairs, scores = np.asarray(answer.pairs), np.asarray(answer.scores)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or scores.shape != (len(pairs), len(answer.predicates)):
        return Failure("contract", f"rank gave pairs {pairs.shape} with scores {scores.shape}")
    if len(pairs) and not (pairs.min() >= 0 and pairs.max() < len(answer.regions)):
        return Failure("contract", f"rank gave a pair outside its {counted(len(answer.regions), 'region')}")
    if len(np.unique(pairs[:, 0].astype(np.int64) * len(answer.regions) + pairs[:, 1])) < len(pairs):
        # Several rows of a pair would list several predicates of it, which the graph constraint forbids.
        return Failure("contract", "rank gave a pair twice: its predicates belong into one row of scores")
    # Of what holds NaN, the least is NaN, which no comparison lets through.
    if scores.size and not (scores.min() >= 0.0 and scores.max() <= 1.0):
        return Failure("contract", "rank gave scores outside [0, 1]")
    return answer


def on_shown(shown: Sample, answer: Ranking | Failure, mode: Mode) -> Ranking | Failure:
    """The answer, or the failure that it ranks other regions than predcls and sgcls show."""
    if isinstance(answer, Failure) or mode == "sgdet":
        return answer
    regions = shown.graph.all.regions
    if len(answer.regions) == len(regions) and all(map(_is_shown, regions, answer.regions)):
        if mode == "sgcls" or all(map(_is_named, regions, answer.regions)):
            return answer
        return Failure("contract", "rank gave other labels than those shown, which predcls does not allow")
    return Failure("contract", f"rank gave other regions than the {len(regions)} shown, which {mode} does not allow")


def _is_shown(shown: Region, answered: Any) -> bool:
    return isinstance(answered, Region) and (answered.box, answered.mask) == (shown.box, shown.mask)


def _is_named(shown: Region, answered: Region) -> bool:
    return shown.label is None or answered.label == shown.label
