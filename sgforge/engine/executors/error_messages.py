"""Errors as messages: raised in one process, raised again as what they are in another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sgforge.errors import ImageError, SgforgeError, StepError
from sgforge.text.blame import told

__all__ = ["error_fields", "error_of"]


def error_fields(error: Exception) -> dict[str, Any]:
    """An error as plain values."""
    if not isinstance(error, SgforgeError):
        return {"message": told(error)}
    fields = {"message": str(error), "exit_code": error.exit_code}
    if isinstance(error, ImageError):
        fields["image_fault"] = error.code
    reason, detail = getattr(error, "reason", None), getattr(error, "detail", None)
    if isinstance(reason, str) and isinstance(detail, str):
        fields |= {"kind": type(error).__name__, "reason": reason, "detail": detail}
    return fields


def error_of(fields: Mapping[str, Any]) -> Exception:
    """The error of a model or image as it was; any other of ours as a `StepError`, the rest as a `RuntimeError`."""
    from sgforge.models import errors
    from sgforge.models.errors import ModelError

    if "exit_code" not in fields:
        return RuntimeError(fields["message"])
    kind = getattr(errors, str(fields.get("kind")), None)
    if isinstance(kind, type) and issubclass(kind, ModelError):
        # Their own constructors take fewer words, as each knows its reason.
        error = kind.__new__(kind)
        ModelError.__init__(error, fields["reason"], fields["detail"])
        return error
    if "image_fault" in fields:
        return ImageError(fields["message"], fields["image_fault"])
    other = StepError(fields["message"])
    other.exit_code = fields["exit_code"]
    return other
