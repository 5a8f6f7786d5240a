"""Which options hold secrets.

An option counts as secret if a part of its name is key, token, secret, password or credential(s) (`api_key`,
`hf_token`), unless it only says where the secret is (`api_key_env`, `token_file`). An author overrules the guess with
`attrs.field(metadata={"secret": False})`.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["REDACTED", "is_secret"]

REDACTED: Final = "***"
"""What stands for a secret in everything that is saved or shown."""

_PARTS: Final = frozenset({"apikey", "key", "token", "secret", "password", "credential", "credentials"})
_POINTERS: Final = frozenset({"env", "file", "path"})


def is_secret(name: str) -> bool:
    """Whether an option of this name looks like it holds a secret."""
    parts = re.split(r"[^a-z0-9]+", name.casefold())
    return bool(_PARTS.intersection(parts)) and parts[-1] not in _POINTERS
