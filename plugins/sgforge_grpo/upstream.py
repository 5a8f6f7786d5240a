"""The six rewards of R1-SGG's released code, value by value, quirks included: to compare with what was published.

`score` gives them for one completion; the registered rewards take it in the modes `upstream` and `upstream-head`.
What differs in mode `robust`, and why, stands in docs/refiners.md. Nothing here mends anything: one bad item takes the
whole reward, boxes of NaN pass as found, and the last predicate of a pair stands for all of them, as released.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from sgforge.labels import Similarity, similarity_named
from sgforge.matching import hungarian

__all__ = ["REWARDS", "PairSimilarity", "extract", "label_of", "pairwise_of", "score"]

PairSimilarity: TypeAlias = Callable[[str, str], float]
"""How alike two names are."""
Task: TypeAlias = Literal["sgg", "det", "cls"]

FORMAT_WEIGHT: Final = 1.0
NODE_WEIGHT: Final = 2.0
EDGE_WEIGHT: Final = 5.0
REWARDS: Final = (
    "format_reward",
    "node_acc_reward",
    "node_box_reward",
    "edge_reward",
    "edge_hard_reward",
    "edge_hard_relax_reward",
)
_NAME_COST, _OVERLAP_COST, _DISTANCE_COST = 1.0, 2.0, 5.0
_PADDING: Final = 1e5
_IOU: Final = 0.5
_TAGGED: Final = re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL)
_CLOSED: Final = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def score(
    completion: str,
    truth: Mapping[str, Any],
    box_scale: Sequence[float],
    similarity: PairSimilarity | str = "exact",
    task_type: str = "sgg",
    *,
    head: bool = True,
    strict: bool = True,
) -> dict[str, float]:
    """The six rewards of one completion, by the released code's names, its weights (1, 2, 5) inside.

    `truth`: {"objects": [{"id": "label.1", "bbox": [x0, y0, x1, y1]}], "relationships": [{"subject": id, "predicate":
    text, "object": id}]}, boxes in [0, 1]. `box_scale`: (width, height) that boxes of the completion are divided by:
    (1000, 1000), or the pixels that the model saw. `similarity`: of two lower-case names without their numbers, a
    callable or a name ("exact", "lemma", "minilm", ...). `task_type`: "sgg", "det" or "cls"; another scores 0.

    `head`: the format reward as of the released commit, which is 0 for every graph with objects; False is the code
    before that regression. `strict`: False pays 0.5 for a valid graph without tags, as STRICT_FORMAT=false does.
    """
    reading = _Reading(completion, truth, box_scale, _compared(similarity))
    found = dict.fromkeys(REWARDS, 0.0)
    if task_type in ("sgg", "det", "cls"):
        found["format_reward"] = FORMAT_WEIGHT * _format(reading, completion, task_type, head=head, strict=strict)
    if task_type in ("sgg", "det"):
        found["node_acc_reward"] = _or_zero(reading.node_accuracy)
        found["node_box_reward"] = _or_zero(reading.node_box)
    if task_type in ("sgg", "cls"):
        found["edge_reward"] = _or_zero(reading.edge_soft if task_type == "sgg" else reading.triplets_alone)
        found["edge_hard_reward"] = _or_zero(reading.edge_hard)
        found["edge_hard_relax_reward"] = _or_zero(reading.edge_relaxed)
    return found


def pairwise_of(matrix: Similarity) -> PairSimilarity:
    """A similarity of many names asked pair by pair; answers are kept."""
    known: dict[tuple[str, str], float] = {}

    def compare(first: str, second: str) -> float:
        if (first, second) not in known:
            known[first, second] = float(matrix([first], [second])[0, 0])
        return known[first, second]

    return compare


def _compared(similarity: PairSimilarity | str) -> PairSimilarity:
    given = pairwise_of(similarity_named(similarity)) if isinstance(similarity, str) else similarity
    known: dict[tuple[str, str], float] = {}

    def compare(first: str, second: str) -> float:
        pair = label_of(first), label_of(second)
        if pair not in known:
            known[pair] = given(*pair)
        return known[pair]

    return compare


def label_of(name: str) -> str:
    """The label of an id: what stands before its first dot, in lower case."""
    return name.split(".")[0].lower()


def extract(text: str) -> str:
    """What stands for the answer in a completion: between the tags, after an open one, or all of it.

    Fences and every "json" are blanked out first, within labels too.
    """
    text = text.replace("```", " ").replace("json", " ").strip()
    closed = _CLOSED.search(text)
    if closed:
        return closed[1].strip()
    _, opened, rest = text.partition("<answer>")
    return rest.strip() if opened else text


def _spaced(name: str) -> str:
    return name.replace("_", " ").replace("-", " ").strip().lower()


def _or_zero(compute: Callable[[], float]) -> float:
    """What the released code pays where anything goes wrong: nothing."""
    try:
        return float(compute())
    except Exception:
        return 0.0


class _Objects:
    """Predicted objects in their order, and by id, where the last of several stands."""

    def __init__(self, objects: Any, scale: Sequence[float]) -> None:
        self.ids: list[str] = []
        self.boxes: list[list[float]] = []
        for one in objects:
            x0, y0, x1, y1 = one["bbox"]
            self.boxes.append([x0 / scale[0], y0 / scale[1], x1 / scale[0], y1 / scale[1]])
            self.ids.append(_spaced(one["id"]))
        self.box_of = dict(zip(self.ids, self.boxes, strict=True))


class _Reading:
    """One completion beside its truth; what several rewards need is computed once."""

    def __init__(
        self, completion: str, truth: Mapping[str, Any], scale: Sequence[float], compare: PairSimilarity
    ) -> None:
        self._text = completion
        self._scale = scale
        self._compare = compare
        self._truth = truth

    @cached_property
    def answer(self) -> Any:
        return json.loads(extract(self._text))

    @cached_property
    def _objects(self) -> _Objects:
        return _Objects(self.answer["objects"], self._scale)

    @cached_property
    def _match(self) -> list[tuple[int, int]]:
        """Pairs (truth, predicted) of the assignment of least cost."""
        truth, found = self._truth["objects"], self._objects
        rows, columns = max(len(found.ids), len(truth)), len(truth)
        cost = np.full((rows, columns), _PADDING)
        for row, (name, box) in enumerate(zip(found.ids, found.boxes, strict=True)):
            for column, target in enumerate(truth):
                cost[row, column] = self._cost(name, box, target)
        pairs = hungarian(cost).tolist() if columns else []
        return sorted((column, row) for row, column in pairs if row < len(found.ids))

    def _cost(self, name: str, box: Sequence[float], target: Mapping[str, Any]) -> float:
        other = target["bbox"]
        likeness = self._compare(name, target["id"])
        return (
            _NAME_COST * (1 - likeness)
            + _OVERLAP_COST * (1 - _overlaps(box, other)[1])
            + _DISTANCE_COST * _distance(box, other)
        )

    def node_accuracy(self) -> float:
        truth = self._truth["objects"]
        total = sum(self._compare(truth[row]["id"], self._objects.ids[column]) for row, column in self._match)
        return NODE_WEIGHT * total / max(1, len(truth))

    def node_box(self) -> float:
        truth = self._truth["objects"]
        total = 0.0
        for row, column in self._match:
            box, other = truth[row]["bbox"], self._objects.boxes[column]
            overlap, distance = _overlaps(box, other)[0], _distance(box, other)
            total += (_OVERLAP_COST * overlap + _DISTANCE_COST * math.exp(-distance)) / (_OVERLAP_COST + _DISTANCE_COST)
        return NODE_WEIGHT * total / max(1, len(truth))

    def edge_soft(self) -> float:
        objects, relations = self._truth["objects"], self._truth["relationships"]
        place = {objects[row]["id"]: self._objects.ids[column] for row, column in self._match}
        said = {
            (_spaced(one["subject"]), _spaced(one["object"])): _spaced(one["predicate"])
            for one in self.answer["relationships"]
        }
        total = 0.0
        for one in relations:
            ends = place.get(one["subject"]), place.get(one["object"])
            if None in ends or ends not in said:
                continue
            total += (
                self._compare(one["subject"], str(ends[0]))
                * self._compare(one["object"], str(ends[1]))
                * self._compare(one["predicate"], said[ends])
            )
        return EDGE_WEIGHT * total / max(1, len(relations))

    @cached_property
    def _triplets(self) -> list[tuple[str, str, str]]:
        return [
            (_spaced(one["subject"]), _spaced(one["predicate"]), _spaced(one["object"]))
            for one in self.answer["relationships"]
        ]

    def _overlap_enough(self, truth_id: str, name: str) -> bool:
        # Written so that an overlap of NaN passes, as released.
        box = next(one["bbox"] for one in reversed(self._truth["objects"]) if one["id"] == truth_id)
        return not _overlaps(box, self._objects.box_of[name])[0] < _IOU

    def edge_hard(self) -> float:
        relations = self._truth["relationships"]
        boxes = self._objects.box_of
        found = 0
        for one in relations:
            predicate = _spaced(one["predicate"])
            names = label_of(_spaced(one["subject"])), label_of(_spaced(one["object"]))
            for subject, said, object_ in self._triplets:
                if said != predicate:
                    continue
                if subject not in boxes or object_ not in boxes:
                    raise KeyError(subject, object_)
                near = self._overlap_enough(one["subject"], subject) and self._overlap_enough(one["object"], object_)
                if near and (label_of(subject), label_of(object_)) == names:
                    found += 1
                    break
        return EDGE_WEIGHT * found / max(1, len(relations))

    def edge_relaxed(self) -> float:
        relations = self._truth["relationships"]
        boxes = self._objects.box_of
        total = 0.0
        for one in relations:
            subject_id, object_id, predicate = (_spaced(one[key]) for key in ("subject", "object", "predicate"))
            best = 0.0
            for subject, said, object_ in self._triplets:
                if subject not in boxes or object_ not in boxes:
                    raise KeyError(subject, object_)
                if self._overlap_enough(one["subject"], subject) and self._overlap_enough(one["object"], object_):
                    worth = (
                        self._compare(subject_id, subject)
                        * self._compare(object_id, object_)
                        * self._compare(predicate, said)
                    )
                    best = max(best, worth)
            total += best
        return EDGE_WEIGHT * total / max(1, len(relations))

    def triplets_alone(self) -> float:
        """Task "cls": triplets assigned to each other by their names alone."""
        wanted, given = self._truth["relationships"], self.answer["relationships"]
        if not (wanted and given):
            return 0.0
        alike = np.array([[self._alike(one, other) for other in given] for one in wanted], float)
        pairs = hungarian(1 - alike)
        return EDGE_WEIGHT * float(alike[pairs[:, 0], pairs[:, 1]].sum()) / max(1, len(wanted))

    def _alike(self, one: Mapping[str, str], other: Mapping[str, str]) -> float:
        parts = (self._compare(one[key], _spaced(other[key])) for key in ("subject", "object", "predicate"))
        return math.prod(parts)


def _overlaps(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """IoU and generalised IoU of two boxes as they are, ordered or not; a zero around both is a ZeroDivisionError."""
    wide = max(0, min(first[2], second[2]) - max(first[0], second[0]))
    high = max(0, min(first[3], second[3]) - max(first[1], second[1]))
    shared = wide * high
    union = (first[2] - first[0]) * (first[3] - first[1]) + (second[2] - second[0]) * (second[3] - second[1]) - shared
    if union == 0:
        return 0.0, 0.0
    around = (max(first[2], second[2]) - min(first[0], second[0])) * (
        max(first[3], second[3]) - min(first[1], second[1])
    )
    return shared / union, shared / union - (around - union) / around


def _distance(first: Sequence[float], second: Sequence[float]) -> float:
    return sum(abs(one - other) for one, other in zip(first, second, strict=True))


def _format(reading: _Reading, completion: str, task_type: str, *, head: bool, strict: bool) -> float:
    try:
        valid = _is_valid(reading.answer, task_type, head=head)
    except Exception:
        return 0.0
    if not valid:
        return 0.0
    if _TAGGED.fullmatch(completion.strip()):
        return 1.0
    return 0.0 if strict else 0.5


def _is_valid(answer: Any, task_type: str, *, head: bool) -> bool:
    """Whether the answer is a graph of the task's form; ids are compared as they are written."""
    wanted = {"sgg": ("objects", "relationships"), "det": ("objects",), "cls": ("relationships",)}[task_type]
    if not isinstance(answer, dict) or not all(key in answer for key in wanted):
        return False
    ids = None
    if "objects" in wanted:
        if not all(map(_is_object, answer["objects"])):
            return False
        ids = {one["id"] for one in answer["objects"]}
        # The released commit puts the objects themselves, which are dicts, into a set.
        if head and task_type == "sgg" and answer["objects"]:
            return False
    return "relationships" not in wanted or all(_is_relation(one, ids) for one in answer["relationships"])


def _is_object(one: Any) -> bool:
    if not (isinstance(one, dict) and "id" in one and "bbox" in one):
        return False
    box = one["bbox"]
    return isinstance(box, list) and len(box) == 4 and all(isinstance(value, int | float) for value in box)


def _is_relation(one: Any, ids: set[str] | None) -> bool:
    if not isinstance(one, dict):
        return False
    parts = [one.get(key) for key in ("subject", "predicate", "object")]
    if not all(isinstance(part, str) for part in parts):
        return False
    return ids is None or (parts[0] in ids and parts[2] in ids)
