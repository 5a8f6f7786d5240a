"""Region classification by free text (SVG section 4.3): semantic similarity and semantic IoU with the true name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from sgforge.labels.encoders import Encoder, encoder_named, unit_rows
from sgforge.stages import Report
from sgforge_eval.tasks.base import Predictions, TaskFileError, field_of, json_value, rows_of, task_report

__all__ = ["NamedRegion", "RegionOptions", "RegionTask", "semantic_iou", "semantic_similarity"]


@attrs.frozen
class RegionOptions:
    """`questions`: a COCO or LVIS instances file, or Osprey's list of images with categories and annotations.

    `encoder`: minilm, or module:callable; empty leaves out semantic similarity.
    """

    questions: Path
    encoder: str = "minilm"


@attrs.frozen
class NamedRegion:
    """One annotated region and its true name. Ids: annotation ids of COCO files, "file name#place" of Osprey's."""

    id: str
    name: str
    image: str


def _true_text(name: str) -> str:
    return " ".join(name.replace("_", " ").replace(":", " ").split())


def _predicted_text(answer: str) -> str:
    """What follows the first colon, signs as blanks (Osprey's clean-up)."""
    text = answer.partition(":")[2] if ":" in answer else answer
    for sign in ".:,":
        text = text.replace(sign, " ")
    return " ".join(text.split())


def semantic_iou(first: str, second: str) -> float:
    """Shared words over all words of two texts, lower case; 0 for two texts without words."""
    one, two = set(first.lower().split()), set(second.lower().split())
    return len(one & two) / len(one | two) if one | two else 0.0


def semantic_similarity(first: Sequence[str], second: Sequence[str], encoder: Encoder) -> list[float]:
    """Cosine of text i with text i, each unique text encoded once; an empty text is similar to nothing (0)."""
    unique = list(dict.fromkeys(text for text in (*first, *second) if text))
    if not unique:
        return [0.0] * len(first)
    vectors = unit_rows(encoder(unique))
    place = {text: index for index, text in enumerate(unique)}
    return [
        float(np.clip(np.dot(vectors[place[one]], vectors[place[two]]), -1, 1)) if one and two else 0.0
        for one, two in zip(first, second, strict=True)
    ]


class RegionTask:
    """SS and S-IoU. Source: Osprey (Yuan et al. 2024) and its evaluation code, as the SVG paper follows it."""

    name: ClassVar[str] = "regions"
    options: ClassVar[type[Any]] = RegionOptions

    def __init__(self, options: RegionOptions) -> None:
        self._options = options

    def regions(self) -> list[NamedRegion]:
        """All annotated regions, in the order of the file."""
        path = self._options.questions
        data = json_value(path, "regions file", (dict, list))
        return list(_from_coco(data, path) if isinstance(data, dict) else _from_osprey(data, path))

    def evaluate(self, predictions: Predictions) -> Report:
        """Means over all regions; one without an answer counts 0 in both."""
        regions = self.regions()
        predictions.check(region.id for region in regions)
        true = [_true_text(region.name) for region in regions]
        said = [self._answer(region, predictions) for region in regions]
        overlap = [semantic_iou(one, two) for one, two in zip(said, true, strict=True)]
        values = {"S-IoU": sum(overlap) / len(overlap) if overlap else 0.0}
        units = {"S-IoU": overlap}
        if self._options.encoder:
            similar = semantic_similarity(said, true, encoder_named(self._options.encoder))
            values = {"SS": sum(similar) / len(similar) if similar else 0.0, **values}
            units["SS"] = similar
        return task_report(
            self.name,
            values,
            predictions,
            len(regions),
            convention=f"free text, encoder {self._options.encoder or 'none'}",
            units=units,
        )

    @staticmethod
    def _answer(region: NamedRegion, predictions: Predictions) -> str:
        row = predictions.get(region.id)
        answer = None if row is None else row.get("answer", row.get("label", row.get("text")))
        if row is not None and not isinstance(answer, str):
            predictions.skipped["answer that is no text, counted as wrong"] += 1
        return _predicted_text(answer) if isinstance(answer, str) else ""


def _from_coco(data: dict[str, Any], path: Path) -> Iterator[NamedRegion]:
    categories = rows_of(field_of(data, "categories", list, str(path)), f"{path}: categories")
    names = {field_of(row, "id", int, where): field_of(row, "name", str, where) for where, row in categories}
    for where, row in rows_of(field_of(data, "annotations", list, str(path)), f"{path}: annotations"):
        category = field_of(row, "category_id", int, where)
        if category not in names:
            raise TaskFileError(f"{where}: category {category} is not among the categories")
        yield NamedRegion(
            str(field_of(row, "id", int, where)), names[category], str(field_of(row, "image_id", int, where))
        )


def _from_osprey(data: list[Any], path: Path) -> Iterator[NamedRegion]:
    for where, image in rows_of(data, f"{path}: images"):
        name = field_of(image, "file_name", str, where)
        categories = field_of(image, "categories", list, where)
        annotations = field_of(image, "annotations", list, where)
        if len(categories) != len(annotations):
            raise TaskFileError(f"{where}: {len(categories)} categories for {len(annotations)} annotations")
        for place, category in enumerate(categories):
            yield NamedRegion(f"{name}#{place}", str(category), name)
