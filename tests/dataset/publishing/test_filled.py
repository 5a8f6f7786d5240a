"""What answers filled of a column, by image: numbers of values in an array, whatever the order they came in."""

from __future__ import annotations

from array import array

from sgforge.dataset.publishing.answer_values import Filled


def test_numbers_of_values_are_found_in_any_order() -> None:
    filled = Filled()
    assert list(filled) == []
    for image, number in ((5, 0), (7, 1), (3, 2), (7, 3)):
        filled.put(image, number)
    assert list(filled) == [3, 5, 7]
    assert [filled.get(image) for image in range(2, 9)] == [None, 2, None, 0, None, 3, None]


def test_images_are_numbered_anew() -> None:
    filled = Filled()
    for image, number in ((0, 10), (2, 11)):
        filled.put(image, number)
    moved = filled.moved(array("q", [2, 0, 1]))  # the first image is the third now
    assert [moved.get(image) for image in range(3)] == [None, 11, 10]
