"""A teacher that relates each region to the next, a reward for that, and a filter that measures regions."""

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


@sgforge.hookimpl
def sgforge_register_filters(register: Register) -> None:
    """`size`."""
    register("size", "sgforge_echo.size:SizeFilter", columns=[sgforge.Column("region", "echo.size", "f4")])
