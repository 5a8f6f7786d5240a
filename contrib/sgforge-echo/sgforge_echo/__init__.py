"""A teacher that relates each region to the next: the smallest plugin of sgforge."""

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
