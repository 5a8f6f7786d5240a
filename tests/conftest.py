"""What holds for all tests: the same examples in every run, no limit that a busy machine breaks, signals arrive."""

from __future__ import annotations

import signal
import threading

from hypothesis import HealthCheck, settings

# `pytest --hypothesis-profile=search` draws new examples; one that fails belongs into an `@example`.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("search", settings.get_profile("steady"), derandomize=False)
settings.load_profile("steady")

# In the background of a script, or after nohup, Ctrl-C is ignored, and so it would be in every process that a test
# starts to interrupt it.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
