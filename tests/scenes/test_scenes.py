"""Procedural scenes: exact masks, real occlusion, the same everywhere."""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sgforge import jsonl, masks
from sgforge.errors import GraphError
from sgforge.testing.scenes import Scene, make_scene

SEEDS = range(40)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
ONE_LAYER = {"ball", "apple", "cup", "cone", "tree", "balloon", "plank"}

DIGESTS = {
    0: "7665c081927a59e406c0ffdb210cd6ef29dc556eb740e0183c7a7da14eaf2a41",
    7: "08103214a9ba81a92fb02328e5a58b475ffa4029647d7a947b2598b47db79727",
    123456: "7d26c2e5cdc919b323c68711c68c14110b1aa1fd5f99f75ca93a3a6355842d61",
}
"""sha256 of pixels, depths and graph: the same on every platform, whatever numpy's version."""


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(seed) for seed in SEEDS]


def digest(scene: Scene) -> str:
    total = hashlib.sha256(scene.image.tobytes())
    total.update(scene.depth.astype("<f4").tobytes())
    total.update(jsonl.dump_sample(scene.sample))
    return total.hexdigest()


@pytest.mark.parametrize("seed", DIGESTS)
def test_pinned_digest(seed: int) -> None:
    assert digest(make_scene(seed)) == DIGESTS[seed]


def test_same_in_another_process() -> None:
    code = (
        "import hashlib\nfrom sgforge.testing.scenes import make_scene\n"
        "print(hashlib.sha256(make_scene(5).image.tobytes()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "17"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(make_scene(5).image.tobytes()).hexdigest()


def test_seeds_differ(scenes: list[Scene]) -> None:
    assert len({scene.image.tobytes() for scene in scenes}) == len(scenes)


def test_every_pixel_belongs_to_exactly_one_region(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert (scene.masks.sum(axis=0) == 1).all()
        assert len(scene.masks) == len(scene.full) == len(scene.sample.graph.regions)


def test_what_is_seen_is_part_of_the_whole(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert not (scene.masks & ~scene.full).any()


def test_region_masks_are_the_arrays(scenes: list[Scene]) -> None:
    """Decoded by another library."""
    for scene in scenes[:10]:
        for index, region in scene.sample.graph.regions.items():
            assert region.mask is not None
            counts = {"size": [256, 256], "counts": masks.to_coco(region.mask)}
            assert (coco_mask.decode(counts).astype(bool) == scene.masks[index]).all()


def test_boxes_are_tight(scenes: list[Scene]) -> None:
    for scene in scenes:
        for index, region in scene.sample.graph.regions.items():
            rows, columns = np.nonzero(scene.masks[index])
            assert region.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_depth_is_the_median_over_seen_pixels(scenes: list[Scene]) -> None:
    for scene in scenes:
        for index, region in scene.sample.graph.regions.items():
            values = scene.depth[scene.masks[index]].astype(float).tolist()
            assert region.depth == pytest.approx(statistics.median(values), rel=1e-6)


def test_the_nearer_thing_hides_the_farther(scenes: list[Scene]) -> None:
    """Where two things of one layer overlap, the one of less depth is seen, or something nearer still."""
    overlaps = 0
    for scene in scenes:
        regions = scene.sample.graph.regions
        flat = [index for index, region in regions.items() if region.label in ONE_LAYER]
        for near in flat:
            for far in flat:
                if regions[near].depth >= regions[far].depth:  # type: ignore[operator]
                    continue
                shared = scene.full[near] & scene.full[far]
                overlaps += int(shared.any())
                assert not (shared & scene.masks[far]).any()
    assert overlaps >= 5, "these scenes show no occlusion"


def test_the_ground_comes_nearer_downwards(scenes: list[Scene]) -> None:
    """Level across a row, never farther than the backdrop."""
    for scene in scenes:
        assert scene.depth.min() > 0.8
        assert scene.depth.max() <= 8.0
        ground = scene.masks[-2]
        by_row = [scene.depth[row][ground[row]] for row in range(256) if ground[row].any()]
        assert all(len(set(values.tolist())) == 1 for values in by_row), "the ground is level across a row"
        assert all(a[0] >= b[0] for a, b in pairwise(by_row)), "the ground comes nearer downwards"


def test_things_can_be_seen(scenes: list[Scene]) -> None:
    for scene in scenes:
        for index in range(len(scene.masks) - 2):
            seen, whole = int(scene.masks[index].sum()), int(scene.full[index].sum())
            assert seen >= 12
            assert seen >= 0.3 * whole


def test_labels_and_words(scenes: list[Scene]) -> None:
    labels = {region.label for scene in scenes for region in scene.sample.graph.regions.values()}
    things = {"apple", "ball", "balloon", "book", "bowl", "cone", "crate", "cup", "plank", "robot", "table", "tree"}
    assert things <= labels
    for scene in scenes:
        for region in list(scene.sample.graph.regions.values())[:-2]:
            (description,) = region.descriptions
            assert region.label is not None
            assert region.label in description
            assert all(word in description for word in region.attributes)


@pytest.mark.parametrize("size", [64, 97, 512])
def test_other_sizes(size: int) -> None:
    scene = make_scene(3, size)
    assert scene.image.shape == (size, size, 3)
    assert scene.sample.graph.width == scene.sample.graph.height == size
    assert (scene.masks.sum(axis=0) == 1).all()


def test_too_small_a_size_is_refused() -> None:
    with pytest.raises(GraphError, match="63 pixels is too small"):
        make_scene(0, 63)
