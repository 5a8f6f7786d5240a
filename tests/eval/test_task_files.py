"""Task files that are not as their format says: each fault is one error that names the place, never a crash."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sgforge_eval.tasks import TASKS, task_named
from sgforge_eval.tasks.base import Predictions, TaskFileError
from sgforge_eval.tasks.options import task_options

INSTANCES = {
    "images": [{"id": 1, "width": 100, "height": 80, "file_name": "a.jpg"}],
    "annotations": [{"id": 5, "image_id": 1, "category_id": 3, "bbox": [10, 10, 20, 20]}],
    "categories": [{"id": 3, "name": "cup"}],
}
REFS = [
    {"ann_id": 5, "image_id": 1, "split": "val", "sentences": [{"sent_id": 0, "sent": "the cup"}]},
]
CHOICES = {"choice_a": "a", "choice_b": "b", "choice_c": "c", "choice_d": "d"}
FILES: dict[str, dict[str, Any]] = {
    "refcoco": {"questions": REFS, "instances": INSTANCES},
    "regions": {"questions": INSTANCES},
    "panoptic": {
        "questions": {
            "annotations": [
                {"image_id": 1, "file_name": "x.png", "segments_info": [{"id": 1, "category_id": 3, "area": 16}]}
            ],
            "categories": [{"id": 3, "name": "cup", "isthing": 1}],
        }
    },
    "vsr": {"questions": [{"image": "a.jpg", "caption": "c", "label": 1, "relation": "on"}]},
    "sugarcrepe": {"questions": {"0": {"filename": "a.jpg", "caption": "c", "negative_caption": "n"}}},
    "whatsup": {"questions": [{"image_path": "A/mug_on_table.jpeg", "caption_options": ["a", "b", "c", "d"]}]},
    "crpe": {
        "questions": [
            {"question_id": n, "image": "a.jpg", "text": "?", "correct_option": "ABCD"[n], "category": "subject"}
            for n in range(4)
        ]
    },
    "seed": {
        "questions": {
            "questions": [
                {"question_id": "1", "question": "?", "answer": "A", "question_type_id": 1, "data_id": "x", **CHOICES}
            ],
            "question_type": {"kind": 1},
        }
    },
    "gqa": {
        "questions": {
            "1": {"imageId": "2", "question": "?", "answer": "a", "isBalanced": True, "types": {"structural": "q"}}
        }
    },
    "vqa": {
        "questions": {"questions": [{"question_id": 1, "image_id": 2, "question": "?"}]},
        "annotations": {
            "annotations": [{"question_id": 1, "image_id": 2, "answers": [{"answer": "a"}], "answer_type": "other"}]
        },
    },
    "aokvqa": {
        "questions": [
            {"question_id": "1", "image_id": 2, "question": "?", "choices": list("abcd"), "correct_choice_idx": 1}
        ]
    },
}
WRONG = (None, 7, True, "x", [], ["x"], {"x": 1})


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from _places(part, (*path, key))


def _changed(value: Any, path: tuple[Any, ...], change: Any) -> Any:
    """A copy with another value at `path`; `...` takes it away."""
    if not path:
        return change
    whole = part = copy.deepcopy(value)
    for key in path[:-1]:
        part = part[key]
    if change is ...:
        del part[path[-1]]
    else:
        part[path[-1]] = change
    return whole


def _write(folder: Path, task: str, files: dict[str, Any]) -> dict[str, Path]:
    paths = {}
    for name, value in files.items():
        path = paths[name] = folder / f"{name}.json"
        if task == "refcoco" and name == "questions":
            path = paths[name] = folder / "refs.p"
            path.write_bytes(pickle.dumps(value))
        elif task in ("vsr", "crpe"):
            rows = value if isinstance(value, list) else [value]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            path.write_text(json.dumps(value))
    return paths


def _evaluate(folder: Path, task: str, files: dict[str, Any]) -> Any:
    paths = _write(folder, task, files)
    kind = task_named(task)
    pairs = [f"{name}={path}" for name, path in paths.items() if name != "questions"]
    pairs += {"panoptic": [f"segments={folder}"], "regions": ["encoder="]}.get(task, [])
    return kind(task_options(kind.options, task, paths["questions"], pairs)).evaluate(Predictions())


@pytest.mark.parametrize("task", FILES)
def test_a_wrong_value_anywhere_is_an_error_that_names_the_file(tmp_path, task) -> None:
    Image.fromarray(np.tile(np.array([1, 0, 0], np.uint8), (4, 4, 1))).save(tmp_path / "x.png")
    assert _evaluate(tmp_path, task, FILES[task]).images_used >= 1
    messages = []
    for name, value in FILES[task].items():
        for path in _places(value):
            for change in (*WRONG, *((...,) if path else ())):
                try:
                    _evaluate(tmp_path, task, FILES[task] | {name: _changed(value, path, change)})
                except TaskFileError as error:
                    messages.append(str(error))
                except Exception as error:
                    raise AssertionError(f"{name} {path} as {change!r}: {error!r}") from error
    assert len(messages) > 10
    assert [message for message in messages if str(tmp_path) not in message] == []


def test_every_task_with_a_json_file_is_tried() -> None:
    assert set(FILES) == set(TASKS) - {"mmbench"}
