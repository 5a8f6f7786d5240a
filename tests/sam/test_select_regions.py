"""`select-regions` on hand-made masks: each rule by its reason, their order, and a run that counts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import pytest

from sgforge.edits import Edit, Value, apply_edit
from sgforge.graph import Region, Sample, SceneGraph
from sgforge.masks import from_array
from sgforge.stages import Failure, Part, Resources
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


class Finder:
    """Finds what it was given, each a part of the one before; says how stable each is."""

    def __init__(self, *boxes: Box, score: float = 0.9, fails: bool = False) -> None:
        self.boxes = boxes
        self.score = score
        self.fails = fails

    def segment(self, samples: Sequence[Sample]) -> list[Edit | Failure]:
        return [Failure("dark", "too dark") if self.fails else self._find(sample) for sample in samples]

    def _find(self, sample: Sample) -> Edit:
        first = len(sample.graph.all.regions)
        found = [region(box, made=None, score=self.score, parent=None) for box in self.boxes]
        rows = [
            Region(
                box=one.box,
                mask=one.mask,
                score=one.score,
                source="finder",
                parent=first + place - 1 if place else None,
            )
            for place, one in enumerate(found)
        ]
        values = [Value("region", first + place, "sam.stability", place / 10) for place in range(len(rows))]
        return Edit(regions=rows, values=[*values, Value("region", first, "other.column", 1)])


def selected(regions: Sequence[Region], *finders: Finder, **options: Any) -> Edit | Failure:
    selector = RegionSelector(SelectOptions(**options))
    held = tuple(Part(f"finder-{n}", 1.0, Resources(), one) for n, one in enumerate(finders))
    selector.setup(Resources(parts={"by": held}))
    sample = Sample("a", SceneGraph(WIDTH, HEIGHT, regions))
    (answer,) = selector.segment([sample])
    if isinstance(answer, Edit):
        apply_edit(sample.graph, attrs_without_values(answer), "select")
    return answer


def attrs_without_values(edit: Edit) -> Edit:
    return attrs.evolve(edit, values=())


def test_regions_of_nested_segmenters_confirm_and_are_not_stored() -> None:
    annotated = [region((0, 0, 20, 10), made=None), region((50, 20, 60, 40), made=None)]
    edit = selected(annotated, Finder((0, 0, 20, 9)), Finder((80, 40, 90, 50)), generated="drop", duplicates=1.0)
    assert isinstance(edit, Edit)
    assert [(one.index, one.status, one.reason) for one in edit.verdicts] == [
        (1, "rejected", "unconfirmed"),
        (0, "kept", None),
    ]
    assert (edit.regions, edit.values, edit.faults) == ((), (), {"generated": 2})


def test_those_that_stay_are_added_with_their_values_and_the_parents_that_are_left() -> None:
    annotated = [region((0, 0, 20, 10), made=None)]
    # The second of the first finder covers what is annotated, so that it goes; what is a part of it has its parent now.
    first, second = Finder((0, 0, 60, 50), (0, 0, 20, 10), (0, 0, 8, 8)), Finder((70, 0, 90, 20), (72, 2, 80, 10))
    edit = selected(annotated, first, second, generated="uncovered")
    assert isinstance(edit, Edit)
    assert [one.box for one in edit.regions] == [(0, 0, 60, 50), (0, 0, 8, 8), (70, 0, 90, 20), (72, 2, 80, 10)]
    assert [one.parent for one in edit.regions] == [None, 1, None, 3]
    assert [(one.index, one.column, one.value) for one in edit.values] == [
        (1, "sam.stability", 0.0),
        (2, "sam.stability", 0.2),
        (3, "sam.stability", 0.0),
        (4, "sam.stability", 0.1),
    ]
    assert edit.faults == {"covered": 1}


def test_what_one_nested_segmenter_cannot_do_fails_the_image() -> None:
    answer = selected([], Finder(), Finder(fails=True))
    assert answer == Failure("dark", "finder-1: too dark")


def test_a_nested_segmenter_stays_in_its_role() -> None:
    class Chatty(Finder):
        def segment(self, samples: Sequence[Sample]) -> list[Edit | Failure]:
            return [Edit.set("region", 0, label="cat") for _ in samples]

    answer = selected([region((0, 0, 5, 5))], Chatty())
    assert isinstance(answer, Failure)
    assert (answer.reason, "finder-0" in answer.detail) == ("role", True)
