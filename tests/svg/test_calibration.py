"""Precision and recall at each threshold, against a count over all relations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge_svg.calibration import calibrate


def test_a_small_sample_by_hand() -> None:
    rows = calibrate([0.9, 0.8, 0.8, 0.2], [True, False, True, False])
    assert [(r.threshold, r.precision, r.recall, r.kept) for r in rows] == [
        (0.2, 0.5, 1.0, 1.0),
        (0.8, 2 / 3, 1.0, 0.75),
        (0.9, 1.0, 0.5, 0.25),
    ]
    assert rows[1].f1 == pytest.approx(0.8)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans()), min_size=1, max_size=12))
def test_each_threshold_counts_what_it_keeps(sample: list[tuple[float, bool]]) -> None:
    degrees, labels = [d for d, _ in sample], [t for _, t in sample]
    if not any(labels):
        with pytest.raises(ValueError, match="right one"):
            calibrate(degrees, labels)
        return
    for row in calibrate(degrees, labels):
        kept = [t for d, t in sample if d >= row.threshold]
        assert row.precision == sum(kept) / len(kept)
        assert row.recall == sum(kept) / sum(labels)
        assert row.kept == len(kept) / len(sample)
