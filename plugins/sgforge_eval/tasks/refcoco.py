"""Referring expressions (SVG section 4.2): RefCOCO, RefCOCO+ and RefCOCOg; is the box of the described thing found?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from sgforge import boxes
from sgforge.stages import Report
from sgforge_eval.intake.arrays import Floats
from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.intake.hints import Hints
from sgforge_eval.tasks.base import (
    Asked,
    Predictions,
    TaskFileError,
    accuracy,
    by_group,
    field_of,
    json_lines,
    json_value,
    rows_of,
    task_report,
)
from sgforge_eval.tasks.pickles import read_plain_pickle
from sgforge_eval.tasks.saying import Numbers, boxes_in_text

__all__ = ["Expression", "ReferringOptions", "ReferringTask"]


@attrs.frozen
class ReferringOptions:
    """`questions`: a refs pickle (refs(unc).p, refs(umd).p), then `instances` is its COCO file; or a JSONL with
    question_id, text, bbox (xyxy), width, height, category. `split`: of a refs file, one split or all.

    `scale`: in what predicted boxes are: pixels, or whole numbers of a side's 1000ths or 999ths, `square` counted on
    the image padded to a square (as LLaVA and ASMv2 do). `strict`: an IoU of exactly 0.5 is not enough.
    """

    questions: Path
    instances: Path | None = None
    split: str | None = None
    scale: Literal["pixels", "unit", "999", "1000"] = "pixels"
    square: bool = False
    strict: bool = True


@attrs.frozen
class Expression:
    """One sentence about one thing: its true box xyxy in pixels, the size of the image (0 if unknown), its split."""

    id: str
    text: str
    box: Numbers
    width: int
    height: int
    split: str
    image: str


class ReferringTask:
    """Accuracy at IoU 0.5, one sample per sentence. Source: Yu et al. 2016; strictness as in ASMv2's scorer."""

    name: ClassVar[str] = "refcoco"
    shows_images: ClassVar[bool] = True
    options: ClassVar[type[Any]] = ReferringOptions

    def __init__(self, options: ReferringOptions) -> None:
        self._options = options

    def expressions(self) -> list[Expression]:
        """All sentences; ids are sentence ids of a refs file, question ids of a JSONL."""
        if self._options.questions.suffix in (".p", ".pkl", ".pickle"):
            return list(self._from_refs())
        return list(self._from_lines())

    def open_questions(self) -> list[Asked]:
        """All sentences as they are put, with the unit in which boxes are scored."""
        return [Asked(item.id, self._prompt(item), item.image) for item in self.expressions()]

    def _prompt(self, item: Expression) -> str:
        scale = self._options.scale
        if scale == "pixels":
            unit = "in pixels" + (f" of the image, which is {item.width} x {item.height}" if item.width else "")
        else:
            whole = "image padded to a square around its centre" if self._options.square else "image"
            most = "fractions from 0 to 1" if scale == "unit" else f"whole numbers from 0 to {scale}"
            unit = f"as {most} of the sides of the {whole}"
        return f"Give the box of: {item.text}\nReply with [x0, y0, x1, y1] {unit}, and nothing else."

    def _from_lines(self) -> Iterator[Expression]:
        for where, row in json_lines(self._options.questions, "referring file"):
            yield Expression(
                id=str(field_of(row, "question_id", (str, int), where)),
                text=field_of(row, "text", str, where),
                box=_numbers(row.get("bbox"), where),
                width=field_of(row, "width", int, where),
                height=field_of(row, "height", int, where),
                split=str(row.get("category", "")),
                image=str(row.get("image", "")),
            )

    def _from_refs(self) -> Iterator[Expression]:
        path = self._options.questions
        if self._options.instances is None:
            raise TaskFileError(f"a refs file needs its COCO instances too: set instances=... beside {path}")
        annotations, images = _coco_boxes(self._options.instances)
        refs = read_plain_pickle(path, "refs file")
        if not isinstance(refs, list):
            raise TaskFileError(f"refs file {path} is not a list of refs")
        for where, ref in rows_of(refs, f"{path}: refs"):
            split = field_of(ref, "split", str, where)
            if self._options.split not in (None, split):
                continue
            annotation = field_of(ref, "ann_id", int, where)
            image = field_of(ref, "image_id", int, where)
            if annotation not in annotations or image not in images:
                raise TaskFileError(f"{where}: annotation {annotation} of image {image} is not in the instances file")
            width, height, name = images[image]
            for sentence in field_of(ref, "sentences", list, where):
                key, text = field_of(sentence, "sent_id", int, where), field_of(sentence, "sent", str, where)
                yield Expression(
                    id=str(key),
                    text=text,
                    box=annotations[annotation],
                    width=width,
                    height=height,
                    split=split,
                    image=name,
                )

    def evaluate(self, predictions: Predictions) -> Report:
        """A line has `box` [x0, y0, x1, y1], or `answer`, a text that writes one."""
        expressions = self.expressions()
        predictions.check(expression.id for expression in expressions)
        found = [self._box(expression, predictions) for expression in expressions]
        true = np.array([expression.box for expression in expressions]).reshape(-1, 4)
        overlap = boxes.iou_rows(true, np.array(found).reshape(-1, 4))
        right = (overlap > 0.5 if self._options.strict else overlap >= 0.5).tolist()
        table = by_group(((item.split, ok) for item, ok in zip(expressions, right, strict=True)), "split")
        return task_report(
            self.name,
            {"accuracy": accuracy(right), "mean_IoU": float(overlap.mean()) if len(overlap) else 0.0},
            predictions,
            len(expressions),
            convention=f"IoU {'>' if self._options.strict else '>='} 0.5, boxes in {self._options.scale}",
            tables={"per_split": table},
            notes=self._hints(expressions, np.array(found).reshape(-1, 4)),
            units={"accuracy": right, "mean_IoU": overlap.tolist()},
        )

    def _hints(self, expressions: Sequence[Expression], found: Floats) -> list[str]:
        """What boxes look like that are told to be in pixels and are in something else."""
        if self._options.scale != "pixels":
            return []
        answered = found.any(axis=1)
        sizes = np.array([(item.width, item.height) for item in expressions]).reshape(-1, 2)
        hints = Hints(
            largest_true=max((max(item.box) for item in expressions), default=0.0),
            largest_side=int(sizes.max(initial=0)),
        )
        hints.see_boxes(found[answered], sizes[answered])
        return [f"{line}; --set scale= says in what they are" for line in hints.lines(Dropped())]

    def _box(self, expression: Expression, predictions: Predictions) -> Numbers:
        """The predicted box in pixels; a box of zeros, which overlaps nothing, where there is none."""
        nothing = (0.0, 0.0, 0.0, 0.0)
        row = predictions.get(expression.id)
        if row is None:
            return nothing
        value = row.get("box", row.get("bbox"))
        answer = row.get("answer", row.get("text"))
        box = _four(value) if value is not None else self._written(answer, predictions)
        if box is None or box[0] > box[2] or box[1] > box[3]:
            predictions.skipped["answer without one box (x0 <= x1, y0 <= y1), counted as wrong"] += 1
            return nothing
        return self._in_pixels(box, expression)

    @staticmethod
    def _written(answer: Any, predictions: Predictions) -> Numbers | None:
        """The box in an answer; of several the first, as ASMv2's scorer takes it."""
        found = boxes_in_text(answer) if isinstance(answer, str) else []
        if len(set(found)) > 1:
            predictions.skipped["answer with several boxes, of which the first is taken"] += 1
        return found[0] if found else None

    def _in_pixels(self, box: Numbers, expression: Expression) -> Numbers:
        scale = {"pixels": None, "unit": 1.0, "999": 999.0, "1000": 1000.0}[self._options.scale]
        if scale is None:
            return box
        width, height = expression.width, expression.height
        if not width or not height:
            raise TaskFileError(
                f"the size of image {expression.image!r} is unknown, so {self._options.scale} has no scale"
            )
        if not self._options.square:
            return box[0] / scale * width, box[1] / scale * height, box[2] / scale * width, box[3] / scale * height
        side = max(width, height)
        left, top = (side - width) // 2, (side - height) // 2
        return (
            box[0] / scale * side - left,
            box[1] / scale * side - top,
            box[2] / scale * side - left,
            box[3] / scale * side - top,
        )


def _four(value: Any) -> Numbers | None:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 4:
        return None
    if not all(isinstance(part, (int, float)) and not isinstance(part, bool) and np.isfinite(part) for part in value):
        return None
    return float(value[0]), float(value[1]), float(value[2]), float(value[3])


def _numbers(value: Any, where: str) -> Numbers:
    box = _four(value)
    if box is None:
        raise TaskFileError(f"{where}: bbox {value!r} is not four numbers")
    return box


def _coco_boxes(path: Path) -> tuple[Mapping[int, Numbers], Mapping[int, tuple[int, int, str]]]:
    """xyxy boxes by annotation id, and (width, height, file name) by image id, of a COCO instances file."""
    data = json_value(path, "instances file", dict)
    found: dict[int, Numbers] = {}
    for where, row in rows_of(field_of(data, "annotations", list, str(path)), f"{path}: annotations"):
        x, y, width, height = _numbers(row.get("bbox"), where)
        found[field_of(row, "id", int, where)] = (x, y, x + width, y + height)
    images = {}
    for where, row in rows_of(field_of(data, "images", list, str(path)), f"{path}: images"):
        size = field_of(row, "width", int, where), field_of(row, "height", int, where)
        images[field_of(row, "id", int, where)] = (*size, str(row.get("file_name", "")))
    return found, images
