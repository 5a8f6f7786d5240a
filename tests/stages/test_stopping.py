"""How a training is asked to stop: by SIGTERM in the main thread, and never elsewhere."""

from __future__ import annotations

import os
import signal
import threading

from sgforge.stages import asked_to_stop


def test_sigterm_sets_it_and_what_was_before_comes_back():
    def before(number, frame):
        raise AssertionError("nobody asked")

    usual = signal.signal(signal.SIGTERM, before)
    try:
        with asked_to_stop() as stopped:
            assert not stopped.is_set()
            os.kill(os.getpid(), signal.SIGTERM)
            assert stopped.wait(30)
        assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGTERM, usual)


def test_another_thread_takes_no_signal_and_sets_no_handler():
    found = []

    def train():
        with asked_to_stop() as stopped:
            found.append((stopped.is_set(), signal.getsignal(signal.SIGTERM)))

    usual = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert found == [(False, usual)]
