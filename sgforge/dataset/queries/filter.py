"""Which images have a row of a certain kind: by predicate, label, category, step, model or reason."""

from __future__ import annotations

import json
from collections.abc import Iterable

import attrs
import numpy as np

from sgforge.columns import Ragged
from sgforge.dataset.records import SOURCE_STEP, StepRecord
from sgforge.dataset.snapshot import Snapshot
from sgforge.errors import DatasetError
from sgforge.graph import CATEGORIES
from sgforge.text.did_you_mean import choices

__all__ = ["Filter", "matching_rows"]


@attrs.frozen
class Filter:
    """What a row must have; None asks for nothing. `predicate`, `category`: of relations; `label`: of regions.

    `step`: made or judged by the step of this name, "source" for what the source gave; `model`: by a step whose option
    `model` it is; `reason`: of the last verdict. These three look at regions and relations alike, `reason` also at
    failed and dropped images. With `predicate` or `category` given, they must hold for that very relation; with
    `label`, for that very region.
    """

    predicate: str | None = None
    label: str | None = None
    category: str | None = None
    step: str | None = None
    model: str | None = None
    reason: str | None = None


def matching_rows(snapshot: Snapshot, wanted: Filter, steps: Iterable[StepRecord]) -> np.ndarray:
    """Rows of the images that match, int64, in order; `steps` are those of the snapshot's history."""
    images = np.ones(len(snapshot), bool)
    steps = list(steps)
    _check_step(snapshot, wanted, steps)
    names = _step_names(wanted, steps)
    on_relations = wanted.predicate is not None or wanted.category is not None
    if on_relations:
        images &= _has(
            snapshot, "relation", _relations(snapshot, wanted) & _judgement(snapshot, "relation", wanted, names)
        )
    if wanted.label is not None:
        chosen = _equal(snapshot, "region/label", "label", wanted.label)
        images &= _has(snapshot, "region", chosen & _judgement(snapshot, "region", wanted, names))
    if not on_relations and wanted.label is None and (names is not None or wanted.reason is not None):
        found = np.zeros(len(snapshot), bool)
        for table in ("region", "relation"):
            found |= _has(snapshot, table, _judgement(snapshot, table, wanted, names))
        images &= found | _image_reasons(snapshot, wanted, names)
    return np.flatnonzero(images)


def _check_step(snapshot: Snapshot, wanted: Filter, steps: Iterable[StepRecord]) -> None:
    """A name that no step of the history and no row has is a slip, not a question."""
    known = {SOURCE_STEP, *snapshot.vocabulary("step"), *(step.name for step in steps)}
    if wanted.step is not None and wanted.step not in known:
        raise DatasetError(f"no step {wanted.step!r}; {choices(str(wanted.step), known)}")


def _step_names(wanted: Filter, steps: Iterable[StepRecord]) -> set[str] | None:
    """The names of the steps asked for; None where none are."""
    if wanted.step is None and wanted.model is None:
        return None
    names = {step.name for step in steps if wanted.model is None or _model_of(step) == wanted.model}
    if wanted.model is None:
        names = {str(wanted.step)}
    return names if wanted.step is None else names & {wanted.step}


def _model_of(step: StepRecord) -> str | None:
    options = json.loads(step.options_json or "{}")
    model = options.get("model") if isinstance(options, dict) else None
    return model if isinstance(model, str) else None


def _relations(snapshot: Snapshot, wanted: Filter) -> np.ndarray:
    chosen = np.ones(snapshot.meta.counts["relations"], bool)
    if wanted.predicate is not None:
        chosen &= _equal(snapshot, "relation/predicate", "predicate", wanted.predicate)
    if wanted.category is not None:
        if wanted.category not in CATEGORIES:
            raise DatasetError(f"no category {wanted.category!r}; there are {', '.join(CATEGORIES)}")
        chosen &= _ids(snapshot, "relation/category") == CATEGORIES.index(wanted.category)
    return chosen


def _judgement(snapshot: Snapshot, table: str, wanted: Filter, names: set[str] | None) -> np.ndarray:
    chosen = np.ones(snapshot.meta.counts[f"{table}s"], bool)
    if wanted.reason is not None:
        chosen &= _equal(snapshot, f"{table}/reason", "reason", wanted.reason)
    if names is not None:
        ids = [index for index, text in enumerate(snapshot.vocabulary("step")) if text in names]
        made_by = _ids(snapshot, f"{table}/made_by")
        given = (made_by < 0) & (SOURCE_STEP in names)
        chosen &= given | np.isin(made_by, ids) | np.isin(_ids(snapshot, f"{table}/judged_by"), ids)
    return chosen


def _image_reasons(snapshot: Snapshot, wanted: Filter, names: set[str] | None) -> np.ndarray:
    """Images that failed or were dropped for the reason asked for, or failed at the step asked for."""
    if wanted.reason is None:
        ids = [index for index, text in enumerate(snapshot.vocabulary("step")) if text in (names or ())]
        at_step: np.ndarray = np.isin(_ids(snapshot, "image/failed_step"), ids)
        return at_step
    if names is not None:
        return np.zeros(len(snapshot), bool)
    failed: np.ndarray = _equal(snapshot, "image/failed_reason", "reason", wanted.reason)
    dropped = _equal(snapshot, "image/dropped", "reason", wanted.reason)
    either: np.ndarray = failed | dropped
    return either


def _equal(snapshot: Snapshot, path: str, vocabulary: str, text: str) -> np.ndarray:
    words = snapshot.vocabulary(vocabulary)
    column = _ids(snapshot, path)
    same: np.ndarray = column == (words.index(text) if text in words else len(words))
    return same


def _ids(snapshot: Snapshot, path: str) -> np.ndarray:
    column = snapshot.column(path)
    assert not isinstance(column, Ragged)
    return column


def _has(snapshot: Snapshot, table: str, chosen: np.ndarray) -> np.ndarray:
    """Whether each image has a chosen row of the table."""
    counts = _ids(snapshot, f"image/{table}_count")
    images = np.repeat(np.arange(len(counts)), counts)
    has: np.ndarray = np.bincount(images[chosen], minlength=len(counts)) > 0
    return has
