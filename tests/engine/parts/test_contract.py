"""The contract of a component that holds others: a good one passes it, one that closes its parts is caught."""

from __future__ import annotations

import pytest
from engine_parts import Panel

from sgforge.testing import FilterContract, HolderContract

OPTIONS = {"critics": ["critic-async", {"use": "critic", "least": 0.2}]}


class _Contract(HolderContract, FilterContract):
    options = OPTIONS

    # Toys of a test are no installed plugin: the test of their imports is taken out, not passed.
    test_plugin_is_light_to_import = None


class TestPanel(_Contract):
    component = "panel"

    @pytest.fixture(autouse=True)
    def plugins(self, registry):
        """Those of the tests."""


class TestAsyncPanel(TestPanel):
    component = "panel-async"


class TestChaired(TestPanel):
    component = "chaired"
    options = {}


def test_a_holder_that_closes_its_parts_is_caught(registry, tmp_path):
    class Greedy(Panel):
        def close(self):
            for part in self.parts:
                part.component.close()

    class Contract(_Contract):
        component = "panel"

    object.__setattr__(registry.lookup("filter", "panel"), "target", Greedy)
    with pytest.raises(AssertionError, match=r"it called critic-async.close, critic.close"):
        Contract().test_it_leaves_the_life_of_its_parts_to_the_engine(tmp_path)


def test_options_without_a_part_are_caught(registry, tmp_path):
    class Contract(_Contract):
        component = "panel"
        options = {"critics": []}

    with pytest.raises(AssertionError, match="its options hold no component"):
        Contract().test_its_parts_are_there(tmp_path)
