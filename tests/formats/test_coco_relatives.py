"""COCO files with more in them: relations of SGG-Annotate, parts and attributes of PACO, phrases of RefCOCO."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from formats.reading import Result
from formats.there_and_back import read as read_all

from sgforge import masks
from sgforge.errors import ConfigError
from sgforge_formats.refcoco.options import RefcocoOptions
from sgforge_formats.refcoco.source import RefcocoSource

Reader = Callable[..., Result]


def test_relations_of_sgg_annotate(coco: dict[str, Any], read: Reader) -> None:
    rows = [(1, 4, 2), (1, 9, 2), (1, 4, 77), (1, 4, 1), (2, "4", 1)]
    coco["rel_annotations"] = [
        {"id": at, "image_id": 7, "subject_id": s, "predicate_id": p, "object_id": o}
        for at, (s, p, o) in enumerate(rows)
    ]
    coco["rel_categories"] = [{"id": 4, "name": "chewing"}, {"id": "4", "name": "left of"}, {"id": 5}]
    found = read(coco)
    assert [one.triplet for one in found.samples["7"].graph.all.relations] == [(0, "chewing", 1), (1, "left of", 0)]
    assert found.reasons == {"bad-relation": 2, "unknown-region": 1}
    assert found.samples["8"].graph.all.relations == ()


def test_parts_and_attributes_of_paco(coco: dict[str, Any], read: Reader) -> None:
    coco["attributes"] = [{"id": 0, "name": "red"}, {"id": 7, "name": "plastic"}]
    box = {"image_id": 7, "category_id": 3, "bbox": [2, 3, 10, 5], "area": 9}
    coco["annotations"] = [
        {**box, "id": 1, "obj_ann_id": 1, "attribute_ids": [7, 0, 99], "dom_color_ids": [0]},
        {**box, "id": 2, "obj_ann_id": 1, "attribute_ids": [], "iscrowd": 1},
        {**box, "id": 3, "obj_ann_id": 44},
        {**box, "id": 4, "obj_ann_id": 5},
        {**box, "id": 5, "obj_ann_id": 4, "attribute_ids": "x"},
    ]
    found = read(coco)
    regions = found.samples["7"].graph.all.regions
    assert [one.parent for one in regions] == [None, 0, None, 4, None]
    assert [one.attributes for one in regions] == [("plastic", "red"), ("crowd",), (), (), ()]
    assert found.reasons == {"bad-part": 2}


def refcoco(folder: Path, refs: Any, instances: dict[str, Any]) -> RefcocoSource:
    (folder / "refs.p").write_bytes(refs if isinstance(refs, bytes) else pickle.dumps(refs, 2))
    (folder / "instances.json").write_text(json.dumps(instances))
    return RefcocoSource(RefcocoOptions(str(folder / "refs.p"), str(folder / "instances.json")))


def ref(number: int, annotation: Any, *texts: str, image: Any = 7, split: str = "testA") -> dict[str, Any]:
    sentences = [
        {"tokens": text.split(), "raw": text, "sent_id": at, "sent": text.lower()} for at, text in enumerate(texts)
    ]
    name = f"COCO_train2014_{image:012d}_{number}.jpg" if isinstance(image, int) else ""
    return {"ref_id": number, "ann_id": annotation, "image_id": image, "split": split} | {
        "file_name": name,
        "sentences": sentences,
    }


def test_phrases_are_descriptions_of_objects(coco: dict[str, Any], tmp_path: Path) -> None:
    refs = [ref(50, 2, "The brush", "white thing"), ref(51, 1, "dog"), ref(52, 2, "left"), ref(53, 3, "b", image=8)]
    found = read_all(refcoco(tmp_path, refs, coco))
    assert found.failures == []
    first, second = found.samples["7"].graph.all.regions
    assert (first.label, first.box, first.descriptions) == (
        "toothbrush",
        (5, 5, 25, 15),
        ("The brush", "white thing", "left"),
    )
    assert first.mask == masks.from_polygons([[5, 5, 25, 5, 25, 15, 5, 15]], 30, 40)
    assert (second.label, second.descriptions) == ("dog", ("dog",))
    assert found.samples["7"].split == "testA"
    assert found.samples["7"].values["formats.origin"]["regions"] == [2, 1]
    assert len(found.samples["8"].graph.all.regions) == 1


def test_bad_references_cost_themselves(coco: dict[str, Any], tmp_path: Path) -> None:
    refs = [ref(1, 1, "dog"), ref(2, 99, "x"), {"image_id": 7}, 5, ref(3, 1, "a\nb"), ref(4, 1, "x", image=66)]
    source = refcoco(tmp_path, [*refs, ref(5, 2, "y", split="train")], coco)
    found = read_all(source)
    assert list(found.samples) == ["7"]
    assert found.reasons == {"bad-reference": 2, "unknown-object": 1, "bad-description": 1, "bad-image": 1}
    assert list(source.remarks()) == ["images whose references are of several splits; they have that of the first: 1"]


class _Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("evil"),))


@pytest.mark.parametrize(
    "data", [pickle.dumps([_Evil()]), b"no pickle", pickle.dumps(Path("x")), b"\x80\x04cos\nsystem\n."]
)
def test_a_pickle_with_code_in_it_is_refused_unread(coco: dict[str, Any], tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"references .* is refused"):
        read_all(refcoco(tmp_path, data, coco))
    assert not Path("evil").exists()
