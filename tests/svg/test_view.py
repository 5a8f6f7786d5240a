"""What a model is shown: pictures of a useful size, marks where regions have a place, prompts that ask for all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sgforge.graph import CATEGORIES, Region, Sample, SceneGraph
from sgforge.images import Roots
from sgforge.masks import from_array
from sgforge_svg.prompts import COMPLETION_SCHEMA, ask_completion
from sgforge_svg.view import look_at, picture_of

GREY = (128, 128, 128)


def sample(folder: Path, size: tuple[int, int], regions: list[Region]) -> Sample:
    Image.new("RGB", size, GREY).save(folder / "p.png")
    image = Roots({"here": folder}).image("here:p.png")
    return Sample("p", SceneGraph(*size, regions), uri="here:p.png", image=image)


@pytest.mark.parametrize(
    ("size", "style", "max_side", "expected"),
    [
        ((64, 48), "marks", 1024, (512, 384)),
        ((64, 48), "plain", 1024, (64, 48)),
        ((64, 48), "marks", 256, (256, 192)),
        ((640, 480), "marks", 1024, (640, 480)),
        ((2048, 1024), "marks", 1024, (1024, 512)),
        ((2048, 1024), "plain", 1024, (1024, 512)),
    ],
)
def test_pictures_are_neither_too_large_nor_too_small_for_marks(
    size: tuple[int, int], style: str, max_side: int, expected: tuple[int, int], tmp_path: Path
) -> None:
    width, height = size
    half = Region("left half", (0, 0, width / 2, height))
    picture = picture_of(look_at(sample(tmp_path, size, [half]), 60), style, max_side)
    assert picture.size == expected
    drawn = (np.asarray(picture) != GREY).any(axis=2)
    if style == "plain":
        assert not drawn.any()
    else:  # the outline of the half lies where the half is in the picture that is sent
        assert drawn[:, expected[0] // 2 - 3 : expected[0] // 2 + 3].any(axis=1).all()
        assert not drawn[:, expected[0] * 3 // 4 :].any()


def test_a_region_without_a_place_is_told_without_a_box_and_not_marked(tmp_path: Path) -> None:
    regions = [
        Region("idea"),
        Region("ghost", mask=from_array(np.zeros((48, 64), bool))),
        Region("thing", (1, 1, 9, 9)),
    ]
    view = look_at(sample(tmp_path, (64, 48), regions), 60)
    assert picture_of(view, "marks", 512).size == (512, 384)
    assert json.loads(view.facts([]))["regions"] == [
        {"region": 1, "label": "idea"},
        {"region": 2, "label": "ghost"},
        {"region": 3, "label": "thing", "box": [1, 1, 9, 9]},
    ]
    assert list(look_at(view.sample, 1).regions) == [2]


def test_depth_is_told_as_an_order_from_the_nearest_and_only_where_it_is_known(tmp_path: Path) -> None:
    depths = (0.5, None, 0.125, 0.5)
    regions = [Region(str(place), (place, 0, place + 1, 1), depth=depth) for place, depth in enumerate(depths)]
    rows = json.loads(look_at(sample(tmp_path, (9, 9), regions), 60).facts([]))["regions"]
    assert [row.get("depth_order") for row in rows] == [2, None, 1, 2]


def test_the_teacher_is_asked_for_k_subjects_and_all_five_categories() -> None:
    prompt = ask_completion("{}", subjects=7, most_subjects=14, relations_per_subject=4, picture="marks", size=(64, 48))
    assert "at least 7 and at most 14 regions as subjects" in prompt
    assert "up to 4 relations" in prompt
    five = [name for name in CATEGORIES if name != "unknown"]
    assert len(five) == 5
    assert all(f"{name}: " in prompt for name in five)
    subject = COMPLETION_SCHEMA["properties"]["subjects"]["items"]["properties"]
    assert subject["relations"]["items"]["properties"]["category"]["enum"] == five
    assert {"description", "region"} < subject.keys()
