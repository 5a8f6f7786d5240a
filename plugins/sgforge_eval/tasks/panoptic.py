"""Panoptic quality, mask AP and mean IoU: of labels that true segments were given (SVG section 4.3), or of maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from sgforge.labels import LabelMapper, encoder_named
from sgforge.stages import Report
from sgforge_eval.intake.arrays import Floats, Ints
from sgforge_eval.measures.average_precision import Detections, coco_average_precision
from sgforge_eval.tasks.base import Predictions, TaskFileError, field_of, json_value, rows_of, task_report
from sgforge_eval.tasks.mask_precision import SegmentPrecision
from sgforge_eval.tasks.panoptic_maps import Segment, Tally, read_id_map
from sgforge_eval.tasks.predicted_maps import MapReader, read_maps

__all__ = ["PanopticOptions", "PanopticTask"]


@attrs.frozen
class PanopticOptions:
    """`questions`: a COCO panoptic file; `segments`: the folder of its id PNGs. Its categories, or `categories` (a
    JSON list of them), are the vocabulary.

    `predicted`: a folder of PNGs with segments of a model's own; predictions are then a COCO panoptic file of them, the
    segments with a `category_id` (or `label`) and, for mAP, a `score`. Without it, predictions are lines {"id": "image
    id/segment id", "label": text, "score": number}. `matching` says how a label becomes a class, with `encoder` and
    `threshold` for similarity.
    """

    questions: Path
    segments: Path
    categories: Path | None = None
    matching: Literal["strict", "exact", "lemma", "similarity"] = "exact"
    encoder: str = "minilm"
    threshold: float | None = None
    predicted: Path | None = None


@attrs.frozen(eq=False)
class _Category:
    id: int
    name: str
    is_thing: bool


class PanopticTask:
    """True masks are labelled by a model, so that classes decide; or segments of its own are matched to true ones.

    Labelled stuff segments of one image that got one class are merged, as MaskFormer's inference does; a segment
    without a label becomes void. A predicted segment matches a true one of its class at IoU > 0.5.
    """

    name: ClassVar[str] = "panoptic"
    options: ClassVar[type[Any]] = PanopticOptions

    def __init__(self, options: PanopticOptions) -> None:
        self._options = options
        self._data = json_value(options.questions, "panoptic file", dict)
        self._categories = self._read_categories()
        self._code = {category.id: code for code, category in enumerate(self._categories)}

    def _read_categories(self) -> list[_Category]:
        path = self._options.categories or self._options.questions
        rows = (
            json_value(path, "categories file", list)
            if self._options.categories is not None
            else field_of(self._data, "categories", list, str(path))
        )
        return [
            _Category(field_of(row, "id", int, where), field_of(row, "name", str, where), bool(row.get("isthing", 1)))
            for where, row in rows_of(rows, f"{path}: categories")
        ]

    def segments(self) -> Iterator[Segment]:
        """All true segments, in the order of the file; areas are those the file states."""
        for where, row in self._annotations():
            image = str(field_of(row, "image_id", (int, str), where))
            for place, info in rows_of(field_of(row, "segments_info", list, where), f"{where}.segments_info"):
                category = field_of(info, "category_id", int, place)
                if category not in self._code:
                    raise TaskFileError(f"{place}: category {category} is not among the categories")
                yield Segment(
                    image=image,
                    segment=field_of(info, "id", int, place),
                    category=self._code[category],
                    area=field_of(info, "area", int, place),
                    is_crowd=bool(info.get("iscrowd", 0)),
                )

    def _annotations(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        path = self._options.questions
        return rows_of(field_of(self._data, "annotations", list, str(path)), f"{path}: annotations")

    def evaluate(self, predictions: Predictions) -> Report:
        """PQ with its SQ and RQ over all, things and stuff; mIoU over pixels; mAP of things."""
        if self._options.predicted is not None:
            return self._evaluate_maps(predictions, self._options.predicted)
        segments = list(self.segments())
        predictions.check(segment.id for segment in segments)
        codes, scores = self._labels(segments, predictions)
        given = {segment.id: code for segment, code in zip(segments, codes.tolist(), strict=True)}
        tally, by_image = Tally.empty(len(self._categories)), _by_image(segments)
        for where, row in self._annotations():
            ids = read_id_map(self._options.segments, field_of(row, "file_name", str, where), where)
            tally.add_labels(by_image.get(str(row["image_id"]), []), ids, given, self._is_thing)
        precision = self._mask_precision(segments, codes, scores)
        what = f"labels of true masks, matched {self._options.matching}"
        return self._report(tally, precision, predictions, len(segments), what)

    def read_predictions(self, path: Path) -> Predictions:
        """The predictions of a file: labels, one a line, or the COCO panoptic file of predicted maps."""
        return Predictions.read(path) if self._options.predicted is None else read_maps(path)

    def _evaluate_maps(self, predictions: Predictions, folder: Path) -> Report:
        """The same of segments of a model's own, image by image; an image without a map finds nothing."""
        truth = _by_image(list(self.segments()))
        predictions.check(truth)
        reader = MapReader(folder, self._code, self._mapper(), predictions)
        tally, precision = Tally.empty(len(self._categories)), SegmentPrecision(len(self._categories))
        for place, (where, row) in enumerate(self._annotations()):
            image = str(row["image_id"])
            ids = read_id_map(self._options.segments, field_of(row, "file_name", str, where), where)
            segments, overlaps = reader.overlaps_of(image, ids)
            true = truth.get(image, [])
            tally.add_maps(true, segments, overlaps)
            things = ([one for one in side if self._is_thing[one.category]] for side in (true, segments))
            precision.add(place, *things, overlaps)
        return self._report(tally, precision.value(), predictions, len(truth), "predicted segments, IoU > 0.5")

    @property
    def _is_thing(self) -> list[bool]:
        return [category.is_thing for category in self._categories]

    def _report(self, tally: Tally, precision: float, predictions: Predictions, used: int, convention: str) -> Report:
        values = {**tally.values(np.array(self._is_thing, bool)), "mAP": precision}
        return task_report(
            self.name,
            {name: value for name, value in values.items() if not np.isnan(value)},
            predictions,
            used,
            convention=convention,
            tables={"per_class": tally.table([category.name for category in self._categories])},
        )

    def _mapper(self) -> LabelMapper:
        options = self._options
        return LabelMapper(
            [category.name for category in self._categories],
            matching=options.matching,
            encoder=encoder_named(options.encoder) if options.matching == "similarity" else None,
            threshold=options.threshold,
        )

    def _labels(self, segments: list[Segment], predictions: Predictions) -> tuple[Ints, Floats]:
        """The predicted class code of each segment, -1 for none, and its score (1 where none is given)."""
        labels: list[str | None] = []
        scores = []
        for segment in segments:
            row = predictions.get(segment.id)
            label, score = (None, 1.0) if row is None else (row.get("label", row.get("answer")), row.get("score", 1.0))
            if row is not None and not isinstance(label, str):
                predictions.skipped["label that is no text, counted as void"] += 1
            if not isinstance(score, (int, float)) or not np.isfinite(score):
                predictions.skipped["score that is no number, counted as 0"] += 1
                score = 0.0
            labels.append(label if isinstance(label, str) else None)
            scores.append(float(score))
        codes = self._mapper().codes(labels)
        unmatched = int(np.count_nonzero(codes < 0)) - labels.count(None)
        if unmatched:
            predictions.skipped["label outside of the classes, counted as void"] += unmatched
        return codes, np.array(scores)

    def _mask_precision(self, segments: list[Segment], codes: Ints, scores: Floats) -> float:
        """COCO mask AP of things. True masks do not overlap and labelled masks are true masks, so a detection is right
        at every IoU threshold if its class is, and wrong at every one if not: AP is the same at all of them.
        """
        things = np.array(self._is_thing, bool)
        true = np.array([segment.category for segment in segments], np.int64)
        crowd = np.array([segment.is_crowd for segment in segments], bool)
        listed = (codes >= 0) & ~crowd
        listed[listed] = things[codes[listed]]
        counted = ~crowd & (things[true] if len(true) else False)
        found = Detections(
            image=np.flatnonzero(listed),
            group=codes[listed],
            score=scores[listed],
            right=codes[listed] == true[listed],
            truth=np.bincount(true[counted], minlength=len(things)),
        )
        precision = coco_average_precision(found)
        return float(np.nanmean(precision)) if not np.isnan(precision).all() else float("nan")


def _by_image(segments: Sequence[Segment]) -> dict[str, list[Segment]]:
    found: dict[str, list[Segment]] = {}
    for segment in segments:
        found.setdefault(segment.image, []).append(segment)
    return found
