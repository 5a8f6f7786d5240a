"""`--set a.b=c`: one value of a config replaced from the command line, typed as TOML.

`step.NAME.option=value` names a step by its name, `step[2].option=value` by its index from 0. A value that is no TOML
is taken as a text, so that quotes need not pass through the shell: `--set step.complete.model=openai/gpt-6.2-sol`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from sgforge.config.faults import Where
from sgforge.config.lines import read_keys
from sgforge.config.values import default_names, verbs_in
from sgforge.errors import ConfigError
from sgforge.text.did_you_mean import choices
from sgforge.text.wording import counted

__all__ = ["apply_override"]

_EXAMPLES: Final = 'step.complete.subjects=5, step[2].batch_size=4 or models."openai/NAME".max_in_flight=9'
_INDEXED_STEP: Final = re.compile(r"step\[(\d+)\]\.(.+)")


def apply_override(document: dict[str, Any], override: str) -> Where:
    """Set one value in `document` as "key=value" says; returns its path."""
    keys, value = _split(override)
    key_text = override.partition("=")[0].strip()
    node: Any = document
    path: list[str | int] = []
    for key in _resolve_step(document, keys, key_text):
        path.append(key)
        if len(path) == len(keys):
            break
        if isinstance(node, dict) and key not in node:
            node[key] = {}
        node = node[key]
        if not isinstance(node, (dict, list)):
            raise ConfigError(f"--set {key_text}: {'.'.join(map(str, path))} is a value, not a table")
    node[path[-1]] = value
    return tuple(path)


def _split(override: str) -> tuple[Where, Any]:
    """The path and the value; an "=" may stand inside a quoted key, so every one is tried from the left."""
    for position in (found.start() for found in re.finditer("=", override)):
        keys = _read_path(override[:position].strip())
        if keys:
            return keys, _read_value(override, override[position + 1 :].strip())
    key, equals, _ = override.partition("=")
    what = "must read key=value" if not (equals and key.strip()) else "this key cannot be read; quote odd parts of it"
    raise ConfigError(f"--set {key}: {what}, such as {_EXAMPLES}")


def _read_path(text: str) -> Where:
    indexed = _INDEXED_STEP.fullmatch(text)
    if indexed:
        rest = _read_path(indexed[2])
        return ("step", int(indexed[1]), *rest) if rest else ()
    try:
        return read_keys(text)
    except tomllib.TOMLDecodeError:
        return ()


def _read_value(override: str, text: str) -> Any:
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError as error:
        if not text:
            key = override.partition("=")[0].strip()
            raise ConfigError(f'--set {key}: no value stands behind the =; an empty text is ""') from None
        if text[0] in "\"'[{":
            raise ConfigError(f"--set {override.partition('=')[0].strip()}: the value is no TOML: {error}") from None
        return text
    return document["value"] if list(document) == ["value"] else text


def _resolve_step(document: Mapping[str, Any], keys: Where, key_text: str) -> Where:
    """The path with a step's name replaced by its index."""
    if keys[0] != "step":
        return keys
    tables = document.get("step")
    steps = [table for table in tables if isinstance(table, Mapping)] if isinstance(tables, list) else []
    if len(keys) < 3:
        raise ConfigError(f"--set {key_text}: name the step and the option, such as step.complete.model=...")
    if isinstance(keys[1], int):
        if keys[1] >= len(steps):
            raise ConfigError(
                f"--set {key_text}: there is no step[{keys[1]}]; the config has {counted(len(steps), 'step')}, from 0"
            )
        return keys
    names = default_names(
        [next(iter(verbs_in(step)), None) for step in steps],
        [step.get("name") if isinstance(step.get("name"), str) else None for step in steps],
    )
    if keys[1] not in names:
        raise ConfigError(f"--set {key_text}: there is no step {keys[1]!r}; {choices(keys[1], names)}")
    return ("step", names.index(keys[1]), *keys[2:])
