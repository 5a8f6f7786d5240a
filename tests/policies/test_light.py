"""A plan with a student to be refined is made where torch is not loaded: its registration says what it offers."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import sgforge as sg
steps = sg.train("categorical"), sg.refine("climb"), sg.train("shades", name="draws"), sg.refine("climb", name="more")
from sgforge.plugins import load_plugins
plan = sg.Pipeline(*steps).request(sg.source("toy"), "data").resolve(load_plugins())
print([step.student.name for step in plan.steps], "torch" in sys.modules)
"""


def test_the_preflight_of_a_refiner_needs_no_torch(toys):
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split("]") == ["['categorical', 'categorical', 'shades', 'shades'", " False\n"]
