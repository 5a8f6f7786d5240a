"""Float32 numbers with as few decimals as tell them apart."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sgforge.jsonl.numbers import shortest, shortest_or_none


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=8))
def test_every_number_comes_back_and_none_is_longer_than_numpy_writes_it(values: list[float]) -> None:
    found = shortest(np.array(values, np.float32)).tolist()
    assert [float(np.float32(near)) for near in found] == values
    for near, value in zip(found, values, strict=True):
        # numpy writes the shortest text by itself (Dragon4); the signs of both are compared, not dots and exponents.
        digits = [len(_digits(one)) for one in (near, _numpy(value))]
        assert digits[0] <= max(digits[1], 1) or abs(near) >= 2**24


def _digits(value: float) -> str:
    """The significant digits of the shortest text of a double, without its exponent."""
    return repr(abs(value)).partition("e")[0].replace(".", "").strip("0")


def _numpy(value: float) -> float:
    return float(str(np.float32(value)))


@given(st.integers(-(10**6), 10**6), st.integers(1, 3))
def test_decimals_that_a_file_had_are_written_again(whole: int, decimals: int) -> None:
    given_number = whole / 10**decimals
    if abs(given_number) < 10**4:
        assert shortest(np.array([given_number], np.float32)).tolist() == [given_number]


def test_what_is_no_number_stays() -> None:
    found = shortest(np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38], np.float32)).tolist()
    assert math.isnan(found[0])
    assert found[1:3] == [math.inf, -math.inf]
    assert str(found[3]) == "-0.0"
    assert found[4] == 1e-45
    assert np.float32(found[5]) == np.float32(3.4e38)


def test_missing_numbers_stay_missing() -> None:
    assert shortest_or_none([None, 0.1, None, 2.0]) == [None, 0.1, None, 2.0]
    assert shortest_or_none([None, None]) == [None, None]
    assert shortest_or_none([]) == []
