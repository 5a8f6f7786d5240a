"""`select-regions` on hand-made masks: each rule by its reason, their order, and a run that counts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sgforge.edits import Edit, apply_edit
from sgforge.graph import Region, Sample, SceneGraph
from sgforge.masks import from_array
from sgforge_sam.config import SelectOptions
from sgforge_sam.select_regions import REASONS, RegionSelector

WIDTH, HEIGHT = 100, 60
Box = tuple[int, int, int, int]


def region(box: Box, *, made: str | None = "sam:whole", masked: bool = True, **fields: Any) -> Region:
    """A rectangle; `made` is its source, None for an annotated one."""
    array = np.zeros((HEIGHT, WIDTH), bool)
    x0, y0, x1, y1 = box
    array[y0:y1, x0:x1] = True
    mask = from_array(array) if masked else None
    return Region(box=box, mask=mask, source=made, made_by=None if made is None else "sam", **fields)


def verdicts(regions: Sequence[Region], **options: Any) -> dict[int, tuple[str, str | None, float | None]]:
    """(status, reason, degree) by region."""
    sample = Sample("a", SceneGraph(WIDTH, HEIGHT, regions))
    (edit,) = RegionSelector(SelectOptions(**options)).segment([sample])
    assert isinstance(edit, Edit)
    assert {item.reason for item in edit.verdicts if item.reason} <= set(REASONS)
    apply_edit(sample.graph, edit, "select")
    return {item.index: (item.status, item.reason, item.degree) for item in edit.verdicts}


def test_annotated_regions_are_confirmed_by_masks_or_boxes() -> None:
    regions = [
        region((0, 0, 20, 10), made=None),
        region((0, 0, 20, 10), made=None, masked=False),
        region((0, 0, 10, 10), made=None),
        region((50, 20, 60, 40), made=None, masked=False),
        Region("nowhere"),
        region((0, 0, 10, 5), made=None, status="rejected"),
        region((0, 0, 20, 10)),
        region((0, 0, 9, 40)),
    ]
    assert verdicts(regions) == {
        0: ("kept", None, 1.0),
        1: ("kept", None, 1.0),
        2: ("rejected", "unconfirmed", 0.5),  # 100 of 200 pixels is not more than one half
        3: ("rejected", "unconfirmed", 0.0),
    }
    assert verdicts(regions, confirm_iou=0.4)[2] == ("kept", None, 0.5)
    assert verdicts(regions, confirm=False) == {}


def test_a_mask_counts_more_than_its_box() -> None:
    """A diagonal and the rectangle around it share a box, and few pixels."""
    line = Region(box=(0, 0, 60, 60), mask=from_array(np.eye(HEIGHT, WIDTH, dtype=bool)))
    found = verdicts([line, region((0, 0, 60, 60))])
    assert found == {0: ("rejected", "unconfirmed", pytest.approx(60 / 3600))}


def test_what_becomes_of_generated_regions() -> None:
    regions = [region((0, 0, 20, 10), made=None), region((0, 0, 20, 11)), region((50, 0, 60, 10))]
    kept = {0: ("kept", None, pytest.approx(200 / 220))}
    assert verdicts(regions) == kept
    assert verdicts(regions, generated="uncovered") == {**kept, 1: ("rejected", "covered", pytest.approx(200 / 220))}
    dropped = dict.fromkeys((1, 2), ("rejected", "generated", None))
    assert verdicts(regions, generated="drop") == {**kept, **dropped}


def test_duplicates_and_boxes_are_suppressed_among_generated_regions_alone() -> None:
    regions = [
        region((0, 0, 20, 10), made=None),
        region((0, 0, 20, 10), made=None),
        region((0, 0, 20, 10), score=0.8),
        region((0, 0, 20, 11), score=0.9),
    ]
    assert verdicts(regions, confirm=False) == {3: ("rejected", "duplicate", None)}
    assert verdicts(regions, confirm=False, duplicates=1) == {}
    assert verdicts(regions, confirm=False, duplicates=1, box_nms=0.7) == {2: ("rejected", "suppressed", None)}
    larger = verdicts([regions[3], region((0, 0, 22, 11), score=0.1)], duplicates=1, box_nms=0.7, nms_by="area")
    assert larger == {0: ("rejected", "suppressed", None)}


def test_whole_and_part_are_merged_after_unions_of_the_whole() -> None:
    regions = [
        region((0, 0, 20, 10)),
        region((0, 0, 10, 10)),
        region((10, 0, 20, 10)),
        region((0, 0, 5, 5), made="sam:part"),
        region((60, 0, 70, 10), made="sam:part"),
        region((80, 0, 90, 10), made="semantic-sam"),
    ]
    # Of the parts one lies in a whole and is small, the other lies apart.
    merged = verdicts(regions, merge="non-overlap-only")
    assert merged == {3: ("rejected", "not-merged", None)}
    with_unions = verdicts(regions, merge="non-overlap-only", unions="yes")
    assert with_unions == {0: ("rejected", "union", None), **merged}
    assert verdicts(regions, unions="yes") == {0: ("rejected", "union", None)}
    copies = [region((0, 0, 20, 10))] * 3
    assert verdicts(copies, duplicates=1, unions="yes") == {}
    assert set(verdicts(copies, duplicates=1, unions="as-released")) == {0, 1, 2}


def test_small_ones_go_first_and_the_least_salient_last() -> None:
    regions = [
        region((0, 0, 5, 4), made=None, masked=False),
        region((40, 20, 60, 40)),
        region((0, 0, 3, 3)),
        region((0, 50, 4, 60)),
    ]
    found = verdicts(regions, min_area=10, max_regions=1)
    assert found[2] == ("rejected", "too-small", 9.0)
    assert found[0] == ("rejected", "unconfirmed", pytest.approx(0.0))
    assert found[3][:2] == ("rejected", "beyond-limit")
    # A box of 4 x 10 at the lower left corner: share 40 / 6000, its middle at (2, 55) of (50, 30).
    size, centrality = (40 / 6000) ** 0.5, 1 - ((48**2 / 50**2 + 25**2 / 30**2) / 2) ** 0.5
    assert found[3][2] == pytest.approx((size + centrality) / 2 * (1 - 40 / 6000))
    assert set(found) == {0, 2, 3}
    assert set(verdicts(regions, max_regions=0)) == {0}


def test_an_image_on_which_nothing_was_generated_is_told() -> None:
    sample = Sample("a", SceneGraph(WIDTH, HEIGHT, [region((0, 0, 20, 10), made=None)]))
    selector = RegionSelector(SelectOptions())
    (edit,) = selector.segment([sample])
    assert isinstance(edit, Edit)
    assert edit.faults == {"nothing-generated": 1}
    assert "put a segmenter before this step" in selector.notes(edit.faults)[0]
    assert selector.notes({}) == []
    (bare,) = selector.segment([Sample("b", SceneGraph(WIDTH, HEIGHT))])
    assert bare == Edit()
