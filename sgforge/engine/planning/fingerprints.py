"""Fingerprints of steps and keys of answers: what decides whether work done before can be used again.

The key of an image at its source is a hash over its file and its annotations; each item step that applies to it makes
the next key from its own fingerprint and the key before. So a key names the whole history of a state, and is known
before anything runs. `statekey` says how long a key is, and why.
"""

from __future__ import annotations

import enum
import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from sgforge.digests import file_sha256, folder_sha256
from sgforge.errors import ConfigError
from sgforge.stages.parts import kind_of_part
from sgforge.statekey import state_key

__all__ = [
    "again_key",
    "chain_key",
    "copy_key",
    "differing_options",
    "digest_of",
    "fingerprint",
    "hash_path",
    "image_chain_key",
    "image_digest",
    "source_key",
]

_SOURCE = b"source\0"
_COPY = b"copy\0"
_AGAIN = b"again\0"


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Hex sha256 over named parts (JSON values), independent of their order; parts that are None take no part."""
    present = {key: value for key, value in parts.items() if value is not None}
    text = json.dumps(present, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def image_digest(image: str, annotations: bytes) -> bytes:
    """The digest of one image of a source: the sha256 of its file, or what else names it, and packed annotations."""
    return hashlib.sha256(image.encode() + b"\0" + annotations).digest()


def source_key(digest: bytes) -> bytes:
    """The key of an image as its source gave it."""
    return state_key(_SOURCE, digest)


def copy_key(key: bytes, group: str, number: int) -> bytes:
    """The key of a copy of an image whose key is `key`: each is another state, of which other things may be made."""
    return state_key(_COPY, key, b"%d\0" % number, group.encode())


def chain_key(step: bytes, before: bytes) -> bytes:
    """The key of an image after a step (the raw digest of its fingerprint) whose key before was `before`."""
    return state_key(step, before)


def again_key(key: bytes) -> bytes:
    """The key of an image whose answer under `key` left questions open, which were asked again: another state."""
    return state_key(_AGAIN, key)


def image_chain_key(step: bytes, before: bytes, about: bytes | None) -> bytes:
    """The key of an image after a step whose file has something `about` it; without, as `chain_key`."""
    return chain_key(step if about is None else hashlib.sha256(step + about).digest(), before)


def digest_of(keys: Iterable[bytes]) -> str:
    """Hex digest over the keys that a barrier reads, in the order of its snapshot."""
    total = hashlib.sha256()
    for key in keys:
        total.update(key)
    return total.hexdigest()


def differing_options(options: Any, without: Collection[str] = ()) -> dict[str, Any]:
    """The options (an attrs value) that differ from their defaults, as JSON values; files count by their contents.

    `without`: options that count in another way, or not at all. Components in options are left out: they count by what
    they are (`ComponentSpec.identity`), also at their default.
    """
    found: dict[str, Any] = {}
    for field in attrs.fields(type(options)):
        value = getattr(options, field.name)
        if field.name in without or not field.eq or kind_of_part(field) is not None:
            continue
        if field.default is not attrs.NOTHING and _is_default(field, value, options):
            continue
        found[field.name] = _canonical(value)
    return found


def _is_default(field: attrs.Attribute[Any], value: Any, options: Any) -> bool:
    default: Any = field.default
    converter: Any = field.converter
    if hasattr(default, "takes_self"):
        default = default.factory(options) if default.takes_self else default.factory()
    if callable(converter):
        default = converter(default)
    return type(value) is type(default) and bool(value == default)


def _canonical(value: Any) -> Any:
    if attrs.has(type(value)):
        return differing_options(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Path):
        return {"sha256": hash_path(value)}
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_canonical(item) for item in value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise ConfigError(f"an option of type {type(value).__name__} cannot be part of a fingerprint")


def hash_path(path: Path) -> str:
    """Hex sha256 over a file, or over the names and contents of a folder's files; a missing one is a `ConfigError`."""
    if path.is_file():
        return file_sha256(path).hex()
    if not path.is_dir():
        raise ConfigError(f"{path} does not exist")
    return folder_sha256(path)
