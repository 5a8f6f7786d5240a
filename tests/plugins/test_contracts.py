"""The contracts for authors: they pass good components and catch each way of breaking a promise."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import attrs
import pytest

import sgforge
from sgforge import Edit, Failure, Region, Relation
from sgforge.errors import ConfigError, ImageError
from sgforge.plugins import Registry, load_plugins
from sgforge.testing import FilterContract, IsolatedPlugins, SegmenterContract, TeacherContract, tiny_samples
from sgforge.testing.samples import broken_sample


@attrs.frozen
class Options:
    predicate: str = "near"


class Good:
    """One relation per image of two regions; opens the image."""

    def __init__(self, options):
        self.options = options

    def complete(self, samples):
        return [self.one(sample) for sample in samples]

    def one(self, sample):
        try:
            sample.image.array()
        except ImageError as error:
            return Failure("unreadable", str(error))
        if len(sample.graph.regions) < 2:
            return Edit()
        return Edit.add(Relation(0, self.options.predicate, 1))


class Asynchronous(Good):
    async def complete(self, sample):
        await asyncio.sleep(0)
        return self.one(sample)


class DropsOne(Good):
    def complete(self, samples):
        return super().complete(samples)[:-1]


class Reverses(Good):
    def complete(self, samples):
        return super().complete(samples)[::-1]


class Raises(Good):
    def one(self, sample):
        sample.image.array()
        return super().one(sample)


class FailsOnNothing(Good):
    def complete(self, samples):
        assert samples[0]
        return super().complete(samples)


class AddsRegions(Good):
    def one(self, sample):
        return Edit.add(Region("extra", (0, 0, 5, 5)))


class IsRandom(Good):
    def one(self, sample):
        return Edit.set("region", 0, descriptions=(str(random.random()),)) if sample.graph.regions else Edit()


class AnswersNone(Good):
    def one(self, sample):
        return None


class BadIndex(Good):
    def one(self, sample):
        return Edit.add(Relation(0, "near", 7))


def contract_of(target, config=Options):
    class Plugin:
        @sgforge.hookimpl
        def sgforge_register_teachers(self, register):
            register("tried", target, config=config)

    class Contract(TeacherContract):
        component = "tried"
        options = {"predicate": "beside"} if config is Options else {}

        def registry(self):
            registry = IsolatedPlugins(Plugin())
            with registry as found:
                return found

    return Contract()


def failing(contract, folder: Path) -> set[str]:
    """The tests of a contract that fail; skipped ones are none of them."""
    failed = set()
    for number, name in enumerate(sorted(name for name in dir(contract) if name.startswith("test_"))):
        test = getattr(contract, name)
        own = folder / str(number)
        own.mkdir()
        try:
            test(own) if test.__code__.co_argcount == 2 else test()
        except pytest.skip.Exception:
            continue
        except BaseException:
            failed.add(name)
    return failed


@pytest.mark.parametrize("target", [Good, Asynchronous])
def test_good_components_pass(target, tmp_path):
    assert failing(contract_of(target), tmp_path) == set()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (DropsOne, "test_every_sample_gets_an_answer"),
        (Reverses, "test_answers_come_in_order"),
        (Raises, "test_one_bad_image_harms_no_other"),
        (FailsOnNothing, "test_empty_batch"),
        (AddsRegions, "test_edits_stay_in_their_role"),
        (IsRandom, "test_same_input_same_answer"),
        (AnswersNone, "test_every_sample_gets_an_answer"),
        (BadIndex, "test_edits_stay_in_their_role"),
    ],
)
def test_each_broken_promise_is_caught(target, expected, tmp_path):
    assert expected in failing(contract_of(target), tmp_path)


@attrs.define
class Mutable:
    predicate: str = "near"


def test_options_that_can_change_are_caught(tmp_path):
    assert "test_options_are_frozen" in failing(contract_of(Good, Mutable), tmp_path)


def test_a_plugin_that_is_heavy_to_import_is_caught(tmp_path, monkeypatch):
    (tmp_path / "heavy_toy.py").write_text("import numpy\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    contract = contract_of(Good)
    monkeypatch.setattr(contract, "_plugin_module", lambda: "heavy_toy")
    with pytest.raises(AssertionError, match="importing heavy_toy imports numpy: import them where they are used"):
        contract.test_plugin_is_light_to_import()


def test_isolation_hides_what_is_installed():
    with IsolatedPlugins() as registry:
        assert load_plugins() is registry
        assert registry.components() == ()
        with pytest.raises(ConfigError):
            load_plugins().lookup("teacher", "geometry")
    assert load_plugins().lookup("teacher", "geometry")
    assert isinstance(load_plugins(), Registry)


def test_tiny_samples_are_what_they_say(tmp_path):
    cup, dogs, odd, plain = tiny_samples(tmp_path)
    assert cup.image.size() == (64, 48)
    assert list(cup.graph.triplets()) == [("cup", "on", "table")]
    assert [region.label for region in dogs.graph.regions.values()] == ["dog", "dog"]
    assert dogs.graph.all.regions[1].mask.box == dogs.graph.all.regions[1].box
    assert "\x1b" in odd.graph.all.regions[0].label
    assert not plain.graph.regions
    with pytest.raises(ImageError):
        broken_sample(tmp_path).image.array()


class TestInstalledFilter(FilterContract):
    component = "spatial-rules"


class TestInstalledSegmenter(SegmenterContract):
    component = "regions"
