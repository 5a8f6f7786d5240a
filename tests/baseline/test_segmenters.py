from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from support.extras import needs_extra

from sgforge import Edit, Failure, Region, Roots, Sample, SceneGraph
from sgforge.masks import from_array, to_array, to_arrays
from sgforge_baseline.config import RegionsOptions, SuperpixelsOptions
from sgforge_baseline.hierarchy import build_hierarchy
from sgforge_baseline.regions import RegionsSegmenter

needs_extra("superpixels")

from sgforge_baseline.superpixels import SuperpixelSegmenter  # noqa: E402 - imports the extra


def test_regions_adds_nothing_and_counts_what_has_no_place() -> None:
    empty_mask = from_array(np.zeros((5, 5), bool))
    graph = SceneGraph(5, 5, [Region("a", (0, 0, 2, 2)), Region("b"), Region("c", mask=empty_mask)])
    (answer,) = RegionsSegmenter(RegionsOptions()).segment([Sample("x", graph)])
    assert isinstance(answer, Edit)
    assert answer.is_empty
    assert answer.faults == {"no-geometry": 2}


# Four superpixels in a row, 2 x 4 pixels each: black, nearly black, white, nearly white.
STRIPES = np.repeat(np.arange(4), 4)[None].repeat(2, axis=0)
GREYS = np.array([[0, 0, 0], [4, 0, 0], [100, 0, 0], [97, 0, 0]], np.float32)[STRIPES]


def test_hierarchy_by_hand() -> None:
    nodes = build_hierarchy(STRIPES, GREYS, [4, 2])
    found = [(node.leaves.tolist(), node.parent, node.level) for node in nodes]
    # 2 and 3 differ least (3), then 0 and 1 (4).
    assert found == [([2, 3], None, 0), ([0, 1], None, 0), ([0], 1, 1), ([1], 1, 1), ([2], 0, 1), ([3], 0, 1)]
    # Mean greys 98.5 and 2 across one border; the contrast of 1 is between 0 (4) and 2 (96), equally long.
    assert nodes[0].contrast == pytest.approx(1 - np.exp(-96.5 / 20))
    assert nodes[3].contrast == pytest.approx(1 - np.exp(-50 / 20))


def test_small_regions_merge_before_large_ones_by_the_root_of_their_sizes() -> None:
    """Two borders of one pixel: 1 | 1 pixels that differ by 10, and 50 | 50 that differ by 1.

    Costs, but for the common factor of the border: 10 * sqrt(1 / 2) = 7.1 and 1 * sqrt(50 / 2) = 5. Without the root
    they would be 5 and 25; without the sizes 10 and 1.
    """
    row = np.repeat(np.arange(4), [1, 1, 50, 50])[None]
    greys = np.array([[0, 0, 0], [10, 0, 0], [90, 0, 0], [91, 0, 0]], np.float32)[row]
    assert [node.leaves.tolist() for node in build_hierarchy(row, greys, [3])] == [[0], [1], [2, 3]]
    greys = np.array([[0, 0, 0], [6, 0, 0], [90, 0, 0], [91, 0, 0]], np.float32)[row]
    assert [node.leaves.tolist() for node in build_hierarchy(row, greys, [3])] == [[2], [3], [0, 1]]


def test_a_region_of_several_levels_is_there_once() -> None:
    nodes = build_hierarchy(STRIPES, GREYS, [4, 3])
    found = [(node.leaves.tolist(), node.parent, node.level) for node in nodes]
    assert found == [([0], None, 0), ([1], None, 0), ([2, 3], None, 0), ([2], 2, 1), ([3], 2, 1)]


def test_one_superpixel_is_one_region_without_contrast() -> None:
    (node,) = build_hierarchy(np.zeros((3, 3), np.int64), np.zeros((3, 3, 3), np.float32), [8, 2])
    assert (node.leaves.tolist(), node.parent, node.level, node.contrast) == ([0], None, 0, 0.0)


def photo(height: int, width: int) -> np.ndarray:
    """Four flat quarters with a little noise."""
    rng = np.random.default_rng(5)
    pixels = np.zeros((height, width, 3), np.int64)
    pixels[: height // 2, : width // 2] = (200, 40, 40)
    pixels[: height // 2, width // 2 :] = (40, 200, 40)
    pixels[height // 2 :, : width // 2] = (40, 40, 200)
    pixels[height // 2 :, width // 2 :] = (220, 220, 220)
    return np.clip(pixels + rng.integers(-8, 9, pixels.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(120, 160), (121, 163), (700, 401), (64, 64), (20, 900)])
def test_every_level_tiles_the_image_and_nests(shape: tuple[int, int]) -> None:
    levels = (24, 12, 4)
    segmenter = SuperpixelSegmenter(SuperpixelsOptions(levels=levels, segments=100))
    regions = segmenter.regions(photo(*shape), first=10)
    masks = to_arrays([region.mask for region in regions if region.mask is not None])
    assert masks.shape == (len(regions), *shape)
    alive: dict[int, np.ndarray] = {}
    sizes = []
    for level in range(len(levels)):
        for index, region in enumerate(regions):
            if region.level != level:
                continue
            assert region.parent is None or region.parent >= 10
            if region.parent is not None:
                parent = region.parent - 10
                assert (masks[parent] | ~masks[index]).all()
                assert masks[index].sum() < masks[parent].sum()
                alive.pop(parent, None)
            alive[index] = masks[index]
            assert region.box == region.mask.box
            assert region.label is None
            assert 0 <= region.score <= 1
        assert (np.sum(list(alive.values()), axis=0) == 1).all()
        sizes.append(len(alive))
    assert sizes[0] <= 4
    assert all(fewer <= more for fewer, more in pairwise(sizes))
    assert sizes[-1] <= 24


def test_the_four_quarters_come_out_as_the_coarsest_level() -> None:
    regions = SuperpixelSegmenter(SuperpixelsOptions(levels=(4,), segments=64)).regions(photo(128, 128))
    masks = [to_array(region.mask) for region in regions]
    quarters = [(slice(0, 64), slice(0, 64)), (slice(0, 64), slice(64, 128))]
    quarters += [(slice(64, 128), slice(0, 64)), (slice(64, 128), slice(64, 128))]
    for rows, columns in quarters:
        truth = np.zeros((128, 128), bool)
        truth[rows, columns] = True
        best = max((truth & mask).sum() / (truth | mask).sum() for mask in masks)
        assert best > 0.95


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 3)])
def test_tiny_images(shape: tuple[int, int]) -> None:
    regions = SuperpixelSegmenter(SuperpixelsOptions(levels=(4, 2))).regions(np.full((*shape, 3), 90, np.uint8))
    coarsest = [region for region in regions if region.level == 0]
    assert (np.sum([to_array(region.mask) for region in coarsest], axis=0) == 1).all()
    assert len(coarsest) <= 2


def test_images_that_cannot_be_read_fail_alone(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(photo(40, 40)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:50])
    roots = Roots({"r": tmp_path})
    samples = [Sample(name, image=roots.image(f"r:{name}.png")) for name in ("bad", "good", "missing")]
    samples.append(Sample("none"))
    answers = SuperpixelSegmenter(SuperpixelsOptions(segments=20)).segment(samples)
    assert [type(answer) for answer in answers] == [Failure, Edit, Failure, Failure]
    assert [answer.reason for answer in answers if isinstance(answer, Failure)] == ["bad-image"] * 2 + ["no-image"]


def test_only_without_regions_leaves_annotated_images_alone() -> None:
    graph = SceneGraph(5, 5, [Region("a", (0, 0, 2, 2))])
    segmenter = SuperpixelSegmenter(SuperpixelsOptions(only_without_regions=True))
    assert segmenter.segment([Sample("x", graph)]) == [Edit()]


@pytest.mark.parametrize("levels", [(), (4, 8), (4, 4), (3, 0)])
def test_levels_that_do_not_fall_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="levels must be falling"):
        SuperpixelsOptions(levels=levels)
