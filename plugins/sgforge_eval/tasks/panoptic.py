"""Panoptic quality, mask AP and mean IoU from the labels that true segments were given (SVG section 4.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from sgforge.labels import LabelMapper, encoder_named
from sgforge.stages import Report
from sgforge_eval.intake.arrays import Floats, Ints
from sgforge_eval.measures.average_precision import Detections, coco_average_precision
from sgforge_eval.tasks.base import Predictions, TaskFileError, field_of, json_value, rows_of, task_report

__all__ = ["PanopticOptions", "PanopticTask", "Segment", "panoptic_quality"]


@attrs.frozen
class PanopticOptions:
    """`questions`: a COCO panoptic file; `segments`: the folder of its id PNGs. Its categories, or `categories` (a
    JSON list of them), are the vocabulary.

    Predictions are lines {"id": "image id/segment id", "label": text, "score": number}; `matching` says how a label
    becomes a class, with `encoder` and `threshold` for similarity.
    """

    questions: Path
    segments: Path
    categories: Path | None = None
    matching: Literal["strict", "exact", "lemma", "similarity"] = "exact"
    encoder: str = "minilm"
    threshold: float | None = None


@attrs.frozen
class Segment:
    """One true segment: class code, pixels, whether it is a crowd (void for matching)."""

    image: str
    segment: int
    category: int
    area: int
    is_crowd: bool

    @property
    def id(self) -> str:
        """The id under which a prediction names it."""
        return f"{self.image}/{self.segment}"


@attrs.frozen(eq=False)
class _Category:
    id: int
    name: str
    is_thing: bool


def panoptic_quality(overlap: Floats, true: Ints, wrong: Ints, missed: Ints) -> Floats:
    """PQ (classes,): sum of IoU over TP + FP / 2 + FN / 2; NaN for a class without any (Kirillov et al. 2019)."""
    divisor = true + wrong / 2 + missed / 2
    quality: Floats = np.divide(overlap, divisor, out=np.full(len(divisor), np.nan), where=divisor > 0)
    return quality


class PanopticTask:
    """Each true mask is labelled by a model; masks are right by themselves, so classes decide.

    Stuff segments of one image that got one class are merged, as MaskFormer's inference does; a segment without a
    label becomes void. A predicted segment matches a true one of its class at IoU > 0.5.
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
        """PQ with its SQ and RQ over all, things and stuff; mIoU over pixels; mAP of labelled things."""
        segments = list(self.segments())
        predictions.check(segment.id for segment in segments)
        codes, scores = self._labels(segments, predictions)
        given = {segment.id: code for segment, code in zip(segments, codes.tolist(), strict=True)}
        count = len(self._categories)
        tally = _Tally.empty(count)
        by_image: dict[str, list[Segment]] = {}
        for segment in segments:
            by_image.setdefault(segment.image, []).append(segment)
        for where, row in self._annotations():
            own = by_image.get(str(row["image_id"]), [])
            tally.add(own, self._id_map(row, where), given, [category.is_thing for category in self._categories])
        values = tally.values(np.array([category.is_thing for category in self._categories]))
        values["mAP"] = self._mask_precision(segments, codes, scores)
        kept = {name: value for name, value in values.items() if not np.isnan(value)}
        return task_report(
            self.name,
            kept,
            predictions,
            len(segments),
            convention=f"labels of true masks, matched {self._options.matching}",
            tables={"per_class": tally.table([category.name for category in self._categories])},
        )

    def _labels(self, segments: list[Segment], predictions: Predictions) -> tuple[Ints, Floats]:
        """The predicted class code of each segment, -1 for none, and its score (1 where none is given)."""
        options = self._options
        mapper = LabelMapper(
            [category.name for category in self._categories],
            matching=options.matching,
            encoder=encoder_named(options.encoder) if options.matching == "similarity" else None,
            threshold=options.threshold,
        )
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
        codes = mapper.codes(labels)
        unmatched = int(np.count_nonzero(codes < 0)) - labels.count(None)
        if unmatched:
            predictions.skipped["label outside of the classes, counted as void"] += unmatched
        return codes, np.array(scores)

    def _id_map(self, row: Mapping[str, Any], where: str) -> Ints:
        """(H, W) segment ids of an image: R + 256 G + 65536 B."""
        from PIL import Image

        name = field_of(row, "file_name", str, where)
        folder = self._options.segments.resolve()
        path = (folder / name).resolve()
        if folder not in path.parents:
            raise TaskFileError(f"{where}: file_name {name!r} leaves the folder {folder}")
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"), np.int64)
        except OSError as error:
            raise TaskFileError(f"{where}: {path} cannot be read: {error}") from None
        ids: Ints = pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]
        return ids

    def _mask_precision(self, segments: list[Segment], codes: Ints, scores: Floats) -> float:
        """COCO mask AP of things. True masks do not overlap and labelled masks are true masks, so a detection is right
        at every IoU threshold if its class is, and wrong at every one if not: AP is the same at all of them.
        """
        things = np.array([category.is_thing for category in self._categories])
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


@attrs.frozen(eq=False)
class _Tally:
    """Sums per class: of IoU, true positives, false positives, misses; and the confusion of pixels."""

    overlap: Floats
    right: Ints
    wrong: Ints
    missed: Ints
    pixels: Ints

    @classmethod
    def empty(cls, classes: int) -> _Tally:
        right, wrong, missed = np.zeros((3, classes), np.int64)
        return cls(
            overlap=np.zeros(classes),
            right=right,
            wrong=wrong,
            missed=missed,
            pixels=np.zeros((classes, classes + 1), np.int64),
        )

    def add(self, segments: list[Segment], ids: Ints, given: Mapping[str, int], is_thing: list[bool]) -> None:
        """One image: predicted segments are true ones under their label, stuff of one class together."""
        known, areas = np.unique(ids, return_counts=True)
        area = dict(zip(known.tolist(), areas.tolist(), strict=True))
        groups: dict[tuple[int, int], list[Segment]] = {}
        for segment in segments:
            code = given[segment.id]
            pixels = area.get(segment.segment, 0)
            if not segment.is_crowd:
                self.pixels[segment.category, code] += pixels
            if code >= 0 and pixels and not segment.is_crowd:
                groups.setdefault((code, segment.segment if is_thing[code] else -1), []).append(segment)
        found: set[int] = set()
        for (code, _), members in groups.items():
            whole = sum(area[member.segment] for member in members)
            best = max(members, key=lambda member: (member.category == code, area[member.segment]))
            # A true segment lies in one predicted segment or outside of it, so the union is the predicted segment.
            if best.category == code and area[best.segment] * 2 > whole:
                found.add(best.segment)
                self.right[code] += 1
                self.overlap[code] += area[best.segment] / whole
            else:
                self.wrong[code] += 1
        for segment in segments:
            if segment.segment not in found and not segment.is_crowd:
                self.missed[segment.category] += 1

    def values(self, things: np.ndarray) -> dict[str, float]:
        """PQ, SQ, RQ over all classes that occur, PQ of things and of stuff, mIoU."""
        quality = panoptic_quality(self.overlap, self.right, self.wrong, self.missed)
        occurs = ~np.isnan(quality)
        divisor = self.right + self.wrong / 2 + self.missed / 2
        segmentation = np.divide(self.overlap, self.right, out=np.zeros(len(quality)), where=self.right > 0)
        recognition = np.divide(self.right, divisor, out=np.zeros(len(quality)), where=divisor > 0)
        return {
            "PQ": _mean(quality[occurs]),
            "SQ": _mean(segmentation[occurs]),
            "RQ": _mean(recognition[occurs]),
            "PQ_things": _mean(quality[occurs & things]),
            "PQ_stuff": _mean(quality[occurs & ~things]),
            "mIoU": _mean(self._pixel_iou()),
        }

    def _pixel_iou(self) -> Floats:
        """IoU over pixels of each class that occurs in truth or prediction; void truth is not counted."""
        right = np.diagonal(self.pixels[:, :-1])
        union = self.pixels.sum(axis=1) + self.pixels[:, :-1].sum(axis=0) - right
        overlap: Floats = right[union > 0] / union[union > 0]
        return overlap

    def table(self, names: list[str]) -> list[dict[str, Any]]:
        """One row per class that occurs."""
        quality = panoptic_quality(self.overlap, self.right, self.wrong, self.missed)
        return [
            {"class": name, "PQ": float(value), "TP": int(true), "FP": int(wrong), "FN": int(missed)}
            for name, value, true, wrong, missed in zip(
                names, quality, self.right, self.wrong, self.missed, strict=True
            )
            if not np.isnan(value)
        ]


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
