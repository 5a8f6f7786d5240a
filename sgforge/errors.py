"""Every error that sgforge raises on purpose; each says what was wrong, where, and what to do next."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "ConfigError",
    "DatasetError",
    "GraphError",
    "ImageError",
    "ImageFault",
    "PluginError",
    "PreflightError",
    "SgforgeError",
    "StepError",
]


class SgforgeError(Exception):
    """Root of all errors meant for people; `exit_code` is what the command line returns for it."""

    exit_code = 1


class GraphError(SgforgeError, ValueError):
    """A value of a scene graph that breaks its rules (a bad box, an index out of range, a self-relation)."""


ImageFault = Literal["image-unreadable", "image-missing", "image-truncated", "image-refused"]


class ImageError(SgforgeError, ValueError):
    """An image that cannot be used; `code` is the reason under which it is counted."""

    def __init__(self, message: str, code: ImageFault = "image-unreadable") -> None:
        super().__init__(message)
        self.code: ImageFault = code


class ConfigError(SgforgeError, ValueError):
    """A fault in a config file, an option or a command line; the message lists every fault found."""

    exit_code = 2


class PluginError(SgforgeError):
    """A plugin that could not be loaded or breaks the contract of its hook."""

    exit_code = 2


class PreflightError(SgforgeError):
    """A plan that cannot run as it stands; the message lists every unmet need with its mend."""

    exit_code = 2


class DatasetError(SgforgeError):
    """A dataset folder that cannot be read or written as asked."""


class StepError(SgforgeError):
    """A whole step failed (a crashed training, a component that broke its contract); finished work is kept."""
