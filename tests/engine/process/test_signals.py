"""A Ctrl-C is taken at any moment, however close to the beginning, to the end, or to another one."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable

import pytest
from engine_toys import SourceOptions, ToySource, ToyTeacher, sample

import sgforge as sg
from sgforge.engine.process.signals import calling_on


def ctrl_c(times: int = 1) -> None:
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def at_start(monkeypatch) -> Callable[[Callable[[], None]], None]:
    """Does something right after the engine's thread was started, before its `start` is back."""

    def arrange(action: Callable[[], None]) -> None:
        start = threading.Thread.start

        def start_and_act(thread: threading.Thread) -> None:
            start(thread)
            if thread.name == "sgforge-engine":
                action()

        monkeypatch.setattr(threading.Thread, "start", start_and_act)

    return arrange


def engines() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sgforge-engine"]


class Endless:
    """Gives images until the run is stopped."""

    def samples(self, roots, name):
        return (sample(f"{number:09}") for number in itertools.count())


def run(folder, source):
    return sg.Pipeline(sg.complete(ToyTeacher())).run(source, folder, progress=False)


def test_one_before_the_engine_counts_as_started_drains(toys, tmp_path, at_start, capsys):
    at_start(ctrl_c)
    assert run(tmp_path / "data", Endless()).status == "interrupted"
    assert capsys.readouterr().err == "finishing what is in flight; Ctrl-C again cancels it\n"


def test_two_at_once_cancel_and_are_raised_when_the_engine_has_ended(toys, tmp_path, at_start):
    at_start(lambda: ctrl_c(2))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "data", Endless())
    assert engines() == []


def test_one_after_the_last_image_leaves_a_report(toys, tmp_path, monkeypatch):
    """The engine has its report, but its thread is not back: there is no loop any more that could be told."""
    from sgforge.engine import launch

    ended = launch.asyncio.run

    def run_and_interrupt(work):
        report = ended(work)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return report

    monkeypatch.setattr(launch.asyncio, "run", run_and_interrupt)
    assert run(tmp_path / "data", ToySource(SourceOptions())).status == "done"


def test_what_a_signal_did_before_it_does_again():
    taken = []
    with calling_on([signal.SIGINT, signal.SIGTERM], lambda: taken.append(1)):
        ctrl_c(2)
        signal.raise_signal(signal.SIGTERM)
    assert len(taken) == 3
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with calling_on([signal.SIGINT], lambda: pytest.fail("it was not ignored")):
            ctrl_c()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_runs_without_signals(toys, tmp_path):
    reports = []
    thread = threading.Thread(target=lambda: reports.append(run(tmp_path / "data", ToySource(SourceOptions()))))
    thread.start()
    thread.join()
    assert [report.status for report in reports] == ["done"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
