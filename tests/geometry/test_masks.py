"""Masks from and to arrays and COCO run lengths, against pycocotools and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from geometry.arrays import encode, mask_arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from sgforge import masks
from sgforge.errors import GraphError
from sgforge.graph import Mask
from sgforge.masks.runs import most_bytes

MANY = settings(max_examples=200, deadline=None)


def test_a_mask_by_hand() -> None:
    array = np.zeros((4, 6), bool)
    array[1:3, 2] = array[2, 3] = True
    # Crop of 2 rows and 2 columns, column by column: 1 1 0 1, so 0 false, 2 true, 1 false, 1 true; the fourth run is
    # written as its difference to the second, -1.
    mask = masks.from_array(array)
    assert mask == Mask(4, 6, 2, 1, 2, 2, bytes([48 + 0, 48 + 2, 48 + 1, 48 + 31]))
    assert mask.box == (2, 1, 4, 3)
    assert masks.areas([mask]).tolist() == [3]
    assert masks.boxes([mask]).tolist() == [[2, 1, 4, 3]]
    assert masks.to_crop(mask).tolist() == [[True, False], [True, True]]


@MANY
@given(mask_arrays())
def test_encoding_is_that_of_pycocotools_byte_for_byte(arrays: np.ndarray) -> None:
    strings = [rle["counts"] for rle in encode(arrays)]
    found = masks.from_arrays(arrays)
    assert masks.to_coco_batch(found) == strings
    sizes = [arrays.shape[1:]] * len(arrays)
    assert masks.from_coco_batch(strings, sizes) == found
    assert masks.from_coco_batch([text.decode() for text in strings], sizes) == found


@MANY
@given(mask_arrays())
def test_arrays_come_back(arrays: np.ndarray) -> None:
    found = masks.from_arrays(arrays)
    assert np.array_equal(masks.to_arrays(found), arrays)
    assert masks.areas(found).tolist() == arrays.sum(axis=(1, 2)).tolist()
    for mask, array, box in zip(found, arrays, masks.boxes(found).astype(int).tolist(), strict=True):
        assert np.array_equal(masks.to_array(mask), array)
        assert np.array_equal(masks.to_crop(mask), array[box[1] : box[3], box[0] : box[2]])
        rows, columns = np.nonzero(array)
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0, 0, 0, 0]
        assert box == tight
        assert masks.from_array(array) == mask


@MANY
@given(st.lists(st.integers(0, 2**13), min_size=1, max_size=12), st.integers(1, 9))
def test_uncompressed_counts_are_those_of_pycocotools(runs: list[int], height: int) -> None:
    runs[-1] += -sum(runs) % height
    width = sum(runs) // height
    if not width:
        return
    reference = coco.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    mask = masks.from_coco(runs, height, width)
    assert mask == masks.from_coco(reference["counts"], height, width)
    assert masks.areas([mask])[0] == int(coco.area(reference))


def test_run_lengths_of_several_bytes() -> None:
    mask = masks.from_coco([2**30, 2**30, 1, 2**30 - 1], 3, 2**30)
    assert masks.areas([mask]).tolist() == [2**31 - 1]
    assert masks.from_coco(masks.to_coco(mask), 3, 2**30) == mask


def test_more_masks_than_pycocotools_can_measure_at_once() -> None:
    arrays = np.arange(300 * 4 * 5).reshape(300, 4, 5) % 7 < 3
    assert masks.areas(masks.from_arrays(arrays)).tolist() == arrays.sum(axis=(1, 2)).tolist()


def test_no_masks_and_frames_without_pixels() -> None:
    assert masks.from_arrays(np.zeros((0, 5, 6), bool)) == []
    assert masks.to_arrays([]).shape == (0, 0, 0)
    assert masks.to_coco_batch([]) == []
    assert masks.areas([]).tolist() == []
    empty = masks.from_array(np.zeros((0, 3), bool))
    assert empty == Mask(0, 3, 0, 0, 0, 0, b"")
    assert masks.to_array(empty).shape == (0, 3)
    assert masks.from_coco(masks.to_coco(empty), 0, 3) == empty


def test_masks_of_different_frames_in_one_batch() -> None:
    arrays = [np.ones((3, 5), bool), np.eye(7, dtype=bool), np.zeros((2, 2), bool)]
    strings = [encode(array[None])[0]["counts"] for array in arrays]
    found = masks.from_coco_batch(strings, [array.shape for array in arrays])
    assert found == [masks.from_array(array) for array in arrays]
    assert masks.to_coco_batch(found) == strings
    with pytest.raises(GraphError, match="mask 1 is 7x7, mask 0 is 5x3"):
        masks.to_arrays(found)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (b"11", "mask 1 of 2: its runs do not fill its frame of 7x9"),
        (b"P", "mask 1 of 2: its counts end inside a number"),
        (b"\x00", "mask 1 of 2: its counts hold a byte outside"),
        (b"z", "mask 1 of 2: its counts hold a byte outside"),
        (b"O", "negative or impossibly long run"),
        (b"PPPPPPPPPPPP0", "negative or impossibly long run"),
        (b"oooooooooooooooooooo0", "negative or impossibly long run"),
        (b"", "do not fill"),
        ("é", "mask 1: its counts hold a character outside ASCII"),
        ([60, -1, 4], "mask 1: its counts must be run lengths"),
        ([60, 3.0], "mask 1: its counts must be run lengths"),
        ([True, 62], "mask 1: its counts must be run lengths"),
        ([60, 4], "do not fill"),
        ([], "do not fill"),
    ],
)
def test_malformed_run_lengths_name_the_mask(counts: object, message: str) -> None:
    good = masks.to_coco(masks.from_array(np.eye(7, 9, dtype=bool)))
    with pytest.raises(GraphError, match=message):
        masks.from_coco_batch([good, counts], [(7, 9), (7, 9)])  # type: ignore[list-item]


@MANY
@given(st.lists(st.binary(max_size=12) | st.text("0123OPQRo", max_size=6).map(str.encode), min_size=1, max_size=5))
def test_any_bytes_are_either_a_mask_of_the_frame_or_a_fault(strings: list[bytes]) -> None:
    frame = np.full((len(strings), 2), (3, 5))
    table, faults = masks.from_coco_strings(masks.CocoStrings.of(strings), frame)
    for string, mask, fault in zip(strings, table.masks(), faults.tolist(), strict=True):
        if fault:
            assert masks.fault_text(fault, 3, 5)
            with pytest.raises(GraphError):
                masks.from_coco(string, 3, 5)
        else:
            reference = coco.decode({"size": [3, 5], "counts": string}).astype(bool)
            assert np.array_equal(masks.to_array(mask), reference)


def test_a_mask_value_with_wrong_counts_is_refused_when_decoded() -> None:
    with pytest.raises(GraphError, match="mask 0 of 1"):
        masks.to_array(Mask(9, 9, 1, 1, 3, 3, b"12"))


@pytest.mark.parametrize("array", [np.full((1, 3, 3), 2), np.full((1, 3, 3), 0.5), np.full((1, 3, 3), -1)])
def test_numbers_other_than_0_and_1_are_no_mask(array: np.ndarray) -> None:
    with pytest.raises(GraphError, match="0 and 1"):
        masks.from_arrays(array)


def test_wrong_dimensions_are_refused() -> None:
    with pytest.raises(GraphError, match="shape"):
        masks.from_array(np.zeros((2, 3, 3), bool))
    with pytest.raises(GraphError, match="as many sizes"):
        masks.from_coco_batch([b"9"], [])


@given(mask_arrays())
def test_no_string_is_longer_than_its_frame_allows(arrays: np.ndarray) -> None:
    for array in arrays:
        assert len(coco.encode(np.asfortranarray(array.astype(np.uint8)))["counts"]) <= most_bytes(array.size)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (7, 9), (16, 33), (64, 64)])
def test_the_longest_strings_fit(shape: tuple[int, int]) -> None:
    rows, columns = np.indices(shape)
    # Every pixel another run; long and short runs by turns, whose differences take two bytes each.
    order = columns * shape[0] + rows
    for array in ((order % 2 == 0), (order % 17 == 0), (order % 34 < 17), (order % 18 < 17)):
        counts = coco.encode(np.asfortranarray(array.astype(np.uint8)))["counts"]
        assert len(counts) <= most_bytes(array.size)
        assert (masks.to_array(masks.from_coco(counts, *shape)) == array).all()


def test_what_is_longer_than_its_frame_allows_is_refused_by_its_length() -> None:
    with pytest.raises(GraphError, match=r"mask 1 of 3: its counts are longer than 100x100"):
        masks.from_coco_batch([b"1", b"01" * 1_000_000, b"1"], [(1, 1), (100, 100), (1, 1)])
    with pytest.raises(GraphError, match=r"mask 0: 4 run lengths, its 2 pixels have at most one more"):
        masks.from_coco([0, 1, 1, 0], 1, 2)
    with pytest.raises(GraphError, match="mask 0 of 1: its counts are longer than 2x2"):
        masks.to_array(Mask(9, 9, 0, 0, 2, 2, b"0" * 9))


def test_masks_beside_one_that_is_too_long_are_read() -> None:
    strings = masks.CocoStrings.of([b"3", b"0" * 90, b"02", b""])
    table, faults = masks.from_coco_strings(strings, np.array([(1, 3), (2, 2), (1, 2), (0, 0)]))
    assert faults.tolist() == [0, 5, 0, 0]
    assert [mask.crop_width for mask in table.masks()] == [0, 0, 2, 0]
