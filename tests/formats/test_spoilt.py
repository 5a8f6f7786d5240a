"""Every value of a small right file of each format replaced by junk: what is told is a fault, never a crash."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from formats.there_and_back import read

from sgforge.errors import ConfigError
from sgforge.plugins import load_plugins

JUNK: tuple[Any, ...] = (None, 5, -1.5, "x", "", [], {}, [[1]], {"a": [1]}, True, float("nan"), 10**400)
BOX = {"x": 1, "y": 2, "w": 30, "h": 20}
TURNS = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A cup."}]
SAID = {"objects": [{"id": "cup.1", "bbox": [1, 2, 31, 22]}], "relationships": []}
SIZE = {"width": 60, "height": 50}
RESULT = {"id": "a", "type": "rectanglelabels", "original_width": 60, "original_height": 50}
CONTENT: dict[str, Any] = {
    "vg": [
        {"image_id": 1}
        | {"objects": [{"object_id": 1, "names": ["cup"], "attributes": ["red"], "merged_object_ids": [4], **BOX}]}
        | {"relationships": [{"relationship_id": 3, "predicate": "on", "subject_id": 1, "object_id": 4, "synsets": []}]}
    ],
    "gqa": {"1": {**SIZE, "objects": {"1": {"name": "cup", **BOX, "relations": [{"name": "on", "object": "1"}]}}}},
    "psg": {"thing_classes": ["cup"], "stuff_classes": ["sky"], "predicate_classes": ["on"], "test_image_ids": ["1"]}
    | {
        "data": [
            {"image_id": "1", "file_name": "a.jpg", **SIZE, "relations": [[0, 1, 0]], "pan_seg_file_name": "a.png"}
            | {"annotations": [{"bbox": [1, 2, 31, 22], "category_id": 0, "bbox_mode": 1}]}
            | {"segments_info": [{"id": 1, "category_id": 0, "iscrowd": 0}]}
        ]
    },
    "conversations": [
        {
            "id": "1",
            "image": "a.jpg",
            **SIZE,
            "conversations": [*TURNS, TURNS[0], {"from": "gpt", "value": json.dumps(SAID)}],
        }
        | {"annotation": [{"bbox": [1, 2, 3, 4], "segmentation": [[1, 1, 5, 1, 5, 5]]}]}
    ],
    "r1-sgg": [{"image_id": "1", "image": "a.jpg", **SIZE, **SAID, "split": "train", "text": "a"}],
    "label-studio": [
        {"id": 1, "data": {"image": "a.jpg"}, "predictions": []}
        | {
            "annotations": [
                {
                    "result": [
                        {**RESULT, "value": {"x": 1, "y": 1, "width": 9, "height": 9, "rectanglelabels": ["a"]}},
                        {"id": "b", "type": "polygonlabels", "value": {"points": [[1, 1], [9, 1], [9, 9]]}},
                        {"type": "relation", "from_id": "a", "to_id": "b", "labels": ["on"], "direction": "bi"},
                        {"id": "a", "type": "choices", "value": {"choices": ["red"]}},
                    ]
                }
            ]
        }
    ],
    "ade20k": {
        "annotation": {"filename": "a.jpg", "imsize": [50, 60, 3], "scene": ["a"]}
        | {
            "object": [
                {"id": 0, "name": "cup", "attributes": ["red"], "parts": {"hasparts": [1], "ispartof": []}}
                | {"polygon": {"x": [1, 9, 9], "y": [1, 1, 9]}, "occluded": "yes", "crop": "1"},
                {"id": 1, "name": "ear", "parts": {"hasparts": [], "ispartof": 0}},
            ]
        }
    },
    "coco": {
        "images": [{"id": 1, "file_name": "a.jpg", **SIZE}],
        "annotations": [
            {"id": 3, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 20], "segmentation": [[1, 1, 5, 1, 5, 5]]}
            | {"obj_ann_id": 3, "attribute_ids": [1], "attributes": ["red"], "keypoints": [1, 1, 2], "score": 0.5}
        ],
        "categories": [{"id": 1, "name": "cup"}],
        "attributes": [{"id": 1, "name": "red"}],
        "rel_categories": [{"id": 1, "name": "on"}],
        "rel_annotations": [{"id": 1, "image_id": 1, "subject_id": 3, "object_id": 3, "predicate_id": 1}],
    },
}
REFS = [{"ref_id": 1, "ann_id": 3, "image_id": 1, "split": "val", "sentences": [{"raw": "a", "sent": "a"}]}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value."""
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def spoilt(content: Any) -> Iterator[tuple[Any, Any]]:
    """(where, content with junk there), for every place and every junk."""
    for path in places(content):
        for junk in JUNK:
            if not path:
                yield path, junk
                continue
            made = copy.deepcopy(content)
            holder = made
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = junk
            yield (*path, junk), made


def source_of(name: str, folder: Path) -> Callable[[Any], Any]:
    """What makes a source of some content."""
    component = load_plugins().lookup("source", name)
    option = {"vg": "scene_graphs", "r1-sgg": "data", "ade20k": "folder"}.get(name, "annotations")
    path = folder / "a.json"

    def make(content: Any) -> Any:
        path.write_text(json.dumps(content))
        return component.build(component.config(**{option: str(folder if option == "folder" else path)}))

    return make


@pytest.mark.parametrize("name", CONTENT)
def test_junk_in_any_place_is_told(tmp_path: Path, name: str) -> None:
    make = source_of(name, tmp_path)
    assert read(make(CONTENT[name])).samples
    for where, content in spoilt(CONTENT[name]):
        try:
            found = read(make(content))
        except ConfigError:
            continue
        except Exception as error:
            raise AssertionError(f"{name}: junk at {str(where)[:120]}: {error!r}") from error
        assert all(failure.reason and failure.where for failure in found.failures), where


def test_junk_in_references_is_told(tmp_path: Path) -> None:
    (tmp_path / "i.json").write_text(json.dumps(CONTENT["coco"]))
    component = load_plugins().lookup("source", "refcoco")
    source = component.build(component.config(refs=str(tmp_path / "r.p"), instances=str(tmp_path / "i.json")))
    for where, content in spoilt(REFS):
        (tmp_path / "r.p").write_bytes(pickle.dumps(content))
        try:
            read(source)
        except ConfigError:
            continue
        except Exception as error:
            raise AssertionError(f"junk at {str(where)[:120]}: {error!r}") from error
