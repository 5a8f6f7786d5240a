"""A teacher that relates each region to the next, and a reward for graphs that leave no region alone."""

from __future__ import annotations

import attrs

import sgforge
from sgforge.hookspecs import Register


@attrs.frozen
class EchoOptions:
    """`predicate`: what every new relation says."""

    predicate: str = "near"


@sgforge.hookimpl
def sgforge_register_teachers(register: Register) -> None:
    """`echo`."""
    register("echo", "sgforge_echo.teacher:EchoTeacher", config=EchoOptions)


@sgforge.hookimpl
def sgforge_register_rewards(register: Register) -> None:
    """`coverage`."""
    register("coverage", "sgforge_echo.reward:CoverageReward")
