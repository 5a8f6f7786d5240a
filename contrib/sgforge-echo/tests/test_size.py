"""The contract of a filter, and what this one measures."""

import pytest

from sgforge.testing import FilterContract


class TestSize(FilterContract):
    component = "size"

    def test_it_is_the_share_of_the_picture(self, tmp_path):
        cup = self.samples(tmp_path)[0]
        [edit] = self.answers(tmp_path, [cup])
        # Boxes of 12 x 12 and 56 x 24 pixels in a picture of 64 x 48.
        assert [value.value for value in edit.values] == pytest.approx([144 / 3072, 1344 / 3072])
