"""Untrusted text (labels, file names, answers of models) made safe to print."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["visible"]

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(text: str, keep: str = "") -> str:
    """`text` as a terminal only prints it: control, escape, direction and line characters are shown as their escapes.

    `keep`: characters that pass all the same, such as a newline in a message of ours that has several lines.
    """
    if text.isprintable():
        return text
    return "".join(
        sign
        if sign in keep or unicodedata.category(sign) not in _HIDDEN
        else sign.encode("unicode_escape", "surrogatepass").decode()
        for sign in text
    )
