"""Event hooks: all trackers are called, a broken one is named once and then left alone."""

from __future__ import annotations

import logging

import pytest

import sgforge
from sgforge.plugins import Owner, Registry


class Tracker:
    def __init__(self, log, name):
        self.log, self.name = log, name

    @sgforge.hookimpl
    def sgforge_run_started(self, event):
        self.log.append((self.name, event))


class Broken:
    calls = 0

    @sgforge.hookimpl
    def sgforge_run_started(self, event):
        self.calls += 1
        raise RuntimeError("no connection")

    @sgforge.hookimpl
    def sgforge_step_finished(self):
        self.calls += 100


def test_trackers_are_called_in_order_and_a_broken_one_harms_nobody(caplog):
    log, registry, broken = [], Registry(), Broken()
    registry.add(Tracker(log, "first"), Owner("first"))
    registry.add(broken, Owner("broken", "acme-broken", "0.3"))
    registry.add(Tracker(log, "last"), Owner("last"))
    with caplog.at_level(logging.WARNING):
        registry.events.sgforge_run_started(event="one")
        registry.events.sgforge_run_started(event="two")
    assert log == [("first", "one"), ("last", "one"), ("first", "two"), ("last", "two")]
    assert broken.calls == 1
    [record] = caplog.records
    assert "acme-broken 0.3 (plugin broken)" in record.getMessage()
    assert "sgforge_run_started" in record.getMessage()


def test_a_hook_may_take_fewer_arguments_and_its_other_hooks_go_on():
    registry, broken = Registry(), Broken()
    registry.add(broken, Owner("broken"))
    registry.events.sgforge_run_started(event=None)
    registry.events.sgforge_step_finished(event=None)
    assert broken.calls == 101


def test_an_event_that_does_not_exist_is_an_error():
    with pytest.raises(AttributeError):
        Registry().events.sgforge_run_strated(event=None)


def test_hooks_of_a_plugin_that_failed_to_register_are_not_called():
    log = []

    class Half(Tracker):
        @sgforge.hookimpl
        def sgforge_register_teachers(self, register):
            raise RuntimeError

    registry = Registry()
    assert not registry.add(Half(log, "half"), Owner("half")).ok
    registry.events.sgforge_run_started(event=None)
    assert log == []
