"""A trained prior as files: `model.json` (texts and settings) and `counts.npz` (arrays)."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np

from sgforge.errors import StepError
from sgforge_baseline.prior.counts import CountTable
from sgforge_baseline.prior.labels import LabelModel
from sgforge_baseline.prior.relations import Levels, RelationModel

__all__ = ["TrainedPrior", "load", "save"]

_FORMAT: Final = 1
_COUNT_PARTS: Final = tuple(field.name for field in attrs.fields(CountTable))
_LABEL_PARTS: Final = ("mean", "variance", "count")


@attrs.frozen(eq=False)
class TrainedPrior:
    """Both models; `labels` is None where nothing was learnt about labels."""

    relations: RelationModel
    labels: LabelModel | None


def save(trained: TrainedPrior, folder: Path) -> None:
    """Write into `folder`; the same models give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    relations, labels = trained.relations, trained.labels
    arrays = {
        f"relations/{name}/{part}": getattr(getattr(relations.tables, name), part)
        for name in Levels.names()
        for part in _COUNT_PARTS
    }
    if labels is not None:
        arrays |= {f"labels/{part}": getattr(labels, part) for part in _LABEL_PARTS}
    texts = {
        "format": _FORMAT,
        "strength": relations.strength,
        "labels": relations.labels,
        "predicates": relations.predicates,
        "categories": relations.categories,
        "known_labels": None if labels is None else labels.labels,
    }
    (folder / "model.json").write_text(json.dumps(texts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    with (folder / "counts.npz").open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def load(folder: Path) -> TrainedPrior:
    """Read what `save` wrote; a folder that holds something else is a `StepError`."""
    try:
        texts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if texts["format"] != _FORMAT:
            raise StepError(
                f"checkpoint {folder} has format {texts['format']}, this version reads {_FORMAT}: train again"
            )
        with np.load(folder / "counts.npz", allow_pickle=False) as arrays:
            return TrainedPrior(_relations(texts, arrays), _labels(texts, arrays))
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise StepError(f"{folder} is no checkpoint of the prior: {error}; train again or name another") from error


def _relations(texts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> RelationModel:
    tables = Levels.make(lambda name: CountTable(**{part: arrays[f"relations/{name}/{part}"] for part in _COUNT_PARTS}))
    return RelationModel(
        labels=tuple(texts["labels"]),
        predicates=tuple(texts["predicates"]),
        categories=tuple(texts["categories"]),
        strength=texts["strength"],
        tables=tables,
    )


def _labels(texts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> LabelModel | None:
    if texts["known_labels"] is None:
        return None
    return LabelModel(tuple(texts["known_labels"]), **{part: arrays[f"labels/{part}"] for part in _LABEL_PARTS})
