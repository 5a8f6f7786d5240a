"""Marks for models' pictures: each region is outlined in a colour of its own, and its number stands where it can be."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sgforge.draw.canvas import Rect
from sgforge.draw.marks import distinct_colors, mark_regions
from sgforge.errors import GraphError
from sgforge.graph import Region
from sgforge.masks import from_array, to_array, to_crop, to_crops

GREY = Image.new("RGB", (320, 240), (128, 128, 128))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def disc(x: int, y: int, radius: int, size: tuple[int, int] = (320, 240)) -> np.ndarray:
    rows, columns = np.mgrid[: size[1], : size[0]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_an_outline_lies_along_the_border_of_a_mask_and_nowhere_else() -> None:
    mask = disc(160, 120, 60)
    changed = (pixels(mark_regions(GREY, {0: Region(mask=from_array(mask))})) != 128).any(axis=2)
    rows, columns = np.mgrid[:240, :320]
    from_center = np.hypot(columns - 160, rows - 120)
    border = (from_center > 57) & (from_center < 63)
    assert changed[(from_center > 58.5) & (from_center <= 60)].all()
    # Beside the outline there is one mark, with its line.
    assert 100 < changed[~border].sum() < 1500


def test_a_mask_at_the_frame_and_one_beyond_a_tiny_picture_do_no_harm() -> None:
    mark_regions(GREY, {0: Region(mask=from_array(np.ones((240, 320), bool))), 1: Region(box=(-50, -50, 900, 900))})
    assert mark_regions(Image.new("RGB", (4, 3)), {0: Region(box=(0, 0, 4, 3))}).size == (4, 3)
    shrunk = mark_regions(GREY.resize((32, 24)), {0: Region(mask=from_array(disc(319, 239, 40)))}, scale=0.1)
    assert shrunk.size == (32, 24)


def test_a_region_without_geometry_is_refused_by_index() -> None:
    with pytest.raises(GraphError, match="region 1 has neither box nor mask"):
        mark_regions(GREY, {0: Region(box=(0, 0, 5, 5)), 1: Region("idea")})


def test_numbers_are_those_given_and_the_image_stays() -> None:
    regions = {3: Region(box=(20, 20, 200, 200))}
    assert (pixels(mark_regions(GREY, regions, {3: 1})) != pixels(mark_regions(GREY, regions))).any()
    assert (pixels(mark_regions(GREY, regions, {3: 3})) == pixels(mark_regions(GREY, regions))).all()
    assert (pixels(GREY) == 128).all()


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_have_colours_that_differ(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, (560, 400), (20, 2))
    rects = [Rect(x, y, x + 60, y + 60) for x, y in corners]
    colors = distinct_colors(rects, (640, 480))
    for first in range(20):
        for second in range(first):
            if np.hypot(*(corners[first] - corners[second])) < 120:
                assert np.abs(np.subtract(colors[first], colors[second])).sum() > 80


@pytest.mark.parametrize("seed", range(5))
def test_crops_together_are_what_masks_hold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.random((17, 23)) < share for share in (0.02, 0.3, 0.7, 1.0)]
    masks = [from_array(array) for array in arrays]
    for mask, array, crop in zip(masks, arrays, to_crops(masks), strict=True):
        x0, y0, x1, y1 = (round(side) for side in mask.box)
        assert (crop == array[y0:y1, x0:x1]).all()
        assert (to_crop(mask) == crop).all()
        assert (to_array(mask) == array).all()
    assert to_crops([]) == []
