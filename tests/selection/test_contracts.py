"""The suite of selectors, met by a toy and by those of the baseline; and what it catches."""

from __future__ import annotations

import sys

import pytest

import sgforge as sg
from sgforge.plugins import Owner, Registry
from sgforge.testing import HolderContract, SelectorContract
from tests.selection import toys


@sg.hookimpl
def sgforge_register_selectors(register):
    register("toy", toys.Selector, config=toys.Options)


@sg.hookimpl
def sgforge_register_rewards(register):
    register("few", toys.Few)


class _Toys:
    """The components of this module and of the baseline, and no others."""

    # Toys of a test are no installed plugin: the test of their imports is taken out, not passed.
    test_plugin_is_light_to_import = None

    def registry(self) -> Registry:
        import sgforge_baseline

        registry = Registry()
        assert registry.add(sys.modules[__name__], Owner("toy")).ok
        assert registry.add(sgforge_baseline, Owner("baseline")).ok
        return registry


class TestSelector(_Toys, SelectorContract):
    component = "toy"
    options = {"drop": ["a~0:dull"]}


class TestBestOf(_Toys, HolderContract, SelectorContract):
    component = "best-of"
    options = {"rewards": ["few"]}


class TestTopFraction(_Toys, HolderContract, SelectorContract):
    component = "top-fraction"
    options = {"rewards": [{"use": "few", "weight": 2.0}], "fraction": 0.25, "others": "keep"}


class _Faulty:
    """A suite for one class."""

    def __init__(self, target: type) -> None:
        class Suite(_Toys, SelectorContract):
            component = "faulty"

            def registry(self):
                class Plugin:
                    @sg.hookimpl
                    def sgforge_register_selectors(self, register):
                        register("faulty", target)

                registry = Registry()
                assert registry.add(Plugin(), Owner("faulty")).ok
                return registry

        self.suite = Suite()


class Short:
    def select(self, samples):
        return [sg.Edit() for _ in samples][1:]


class Wordy:
    def select(self, samples):
        return ["yes" for _ in samples]


class Adding:
    def select(self, samples):
        return [sg.Edit.add(sg.Region("dog")) for _ in samples]


class Counting:
    calls = 0

    def select(self, samples):
        type(self).calls += 1
        return [sg.Edit.value("image", None, "chosen", [self.calls]) for _ in samples]


@pytest.mark.parametrize(
    ("target", "test", "told"),
    [
        (Short, "test_every_sample_gets_an_answer", "answers"),
        (Wordy, "test_every_sample_gets_an_answer", "neither Edit nor Failure"),
        (Adding, "test_edits_drop_or_say_what_was_chosen", "may not add regions"),
        (Counting, "test_same_input_same_answer", "two instances differ"),
    ],
)
def test_the_suite_catches(tmp_path, target, test, told):
    with pytest.raises(AssertionError, match=told):
        getattr(_Faulty(target).suite, test)(tmp_path)
