"""Batches for the numeric core: from oracle scenes and from the reference fixtures."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
from eval.oracle import Scene

from sgforge_eval.intake.batch import Dense, EvalBatch, Listed, Objects, Truth, offsets_of

DATA = Path(__file__).parent.parent / "data" / "evals"


def _objects(boxes, labels, scores) -> Objects:
    return Objects(
        offsets_of(len(part) for part in labels),
        np.array([box for part in boxes for box in part], np.float32).reshape(-1, 4),
        np.array([label for part in labels for label in part], np.int32),
        np.array([score for part in scores for score in part], np.float32),
    )


def batch_of_scenes(scenes: list[Scene], mode: str, predicates: int, *, listed: bool = False) -> EvalBatch:
    """One batch; `listed`: predictions as rows with a score each, not as a table."""
    true = _objects(
        [scene.true_boxes for scene in scenes],
        [scene.true_labels for scene in scenes],
        [[1.0] * len(scene.true_labels) for scene in scenes],
    )
    rows = [(image, *row) for image, scene in enumerate(scenes) for row in scene.truth]
    image = np.array([row[0] for row in rows], np.int64)
    truth = Truth(
        true,
        image,
        np.array([row[1] for row in rows], np.int64) + true.offsets[image],
        np.array([row[2] for row in rows], np.int64) + true.offsets[image],
        np.array([row[3] for row in rows], np.int64),
        np.zeros(len(rows), np.uint8),
    )
    if mode == "predcls":
        objects = true
    else:
        boxes = [scene.boxes if mode == "sgdet" else scene.true_boxes for scene in scenes]
        objects = _objects(boxes, [scene.labels for scene in scenes], [scene.scores for scene in scenes])
    made = _listed(scenes, objects) if listed else _dense(scenes, objects, predicates)
    return EvalBatch(len(scenes), truth, made, np.zeros(len(scenes), bool), 30, predicates, mode != "sgdet")


def _dense(scenes, objects, predicates) -> Dense:
    offsets = offsets_of(len(scene.pairs) for scene in scenes)
    start = np.repeat(objects.offsets[:-1], np.diff(offsets))
    pairs = np.array([pair for scene in scenes for pair in scene.pairs], np.int64).reshape(-1, 2)
    table = np.array([row for scene in scenes for row in scene.table], np.float32).reshape(-1, predicates)
    return Dense(
        objects, offsets, pairs[:, 0] + start, pairs[:, 1] + start, table, np.arange(predicates, dtype=np.int32)
    )


def _listed(scenes, objects) -> Listed:
    rows = [
        [
            (*pair, column, score)
            for pair, scores in zip(scene.pairs, scene.table, strict=True)
            for column, score in enumerate(scores)
        ]
        for scene in scenes
    ]
    offsets = offsets_of(len(part) for part in rows)
    start = np.repeat(objects.offsets[:-1], np.diff(offsets))
    flat = [row for part in rows for row in part]
    columns = [np.array([row[place] for row in flat], np.int64) for place in range(3)]
    scores = np.array([row[3] for row in flat], np.float32)
    return Listed(objects, offsets, columns[0] + start, columns[1] + start, columns[2], scores)


def reference_numbers() -> dict:
    """{mode: {code base: results}}."""
    return json.loads((DATA / "sgg_boxes_official.json").read_text())


def edge_cases() -> list[dict]:
    """The hand-made single images."""
    return json.loads((DATA / "edge_cases.json").read_text())["cases"]


@cache
def _reference_arrays() -> dict[str, np.ndarray]:
    """The arrays, decompressed once."""
    with np.load(DATA / "sgg_boxes.npz") as stored:
        return {name: stored[name] for name in stored.files}


def reference_scenes(mode: str) -> list[Scene]:
    """The reference images in one mode; labels and predicates from 0, the background column left out."""
    data = _reference_arrays()
    true, related, ranked = data["gt_obj_off"], data["gt_rel_off"], data[f"{mode}_rel_off"]
    kind = "sgdet" if mode == "sgdet" else "gt"
    seen = data["sgdet_obj_off"] if mode == "sgdet" else true
    labels = data[{"sgdet": "sgdet_labels", "sgcls": "sgcls_labels", "predcls": "gt_labels"}[mode]]
    scores = data[f"{mode}_scores"] if mode != "predcls" else np.ones(len(labels), np.float32)
    scenes = []
    for image in range(len(true) - 1):
        a, b = slice(true[image], true[image + 1]), slice(seen[image], seen[image + 1])
        c, d = slice(related[image], related[image + 1]), slice(ranked[image], ranked[image + 1])
        scenes.append(
            Scene(
                data["gt_boxes"][a].tolist(),
                (data["gt_labels"][a] - 1).tolist(),
                [(int(s), int(o), int(p) - 1) for s, o, p in data["gt_rels"][c]],
                data[f"{kind}_boxes"][b].tolist(),
                (labels[b] - 1).tolist(),
                scores[b].tolist(),
                [(int(s), int(o)) for s, o in data[f"{mode}_pairs"][d]],
                data[f"{mode}_rel_scores"][d][:, 1:].tolist(),
            )
        )
    return scenes


def reference_zero_shot() -> set[tuple[int, int, int]]:
    """(subject label, predicate, object label), from 0."""
    triplets = _reference_arrays()["zeroshot_triplets"]
    return {(int(s) - 1, int(p) - 1, int(o) - 1) for s, o, p in triplets}
