"""Options of a task from the command line: KEY=VALUE texts to typed fields."""

from __future__ import annotations

import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from sgforge.errors import ConfigError
from sgforge.text.did_you_mean import choices
from sgforge.text.wording import with_article

__all__ = ["task_options"]


def task_options(kind: type[Any], task: str, questions: Path, pairs: Sequence[str]) -> Any:
    """The options of a task: its questions file, and what the KEY=VALUE `pairs` set."""
    hints = get_type_hints(kind)
    values: dict[str, Any] = {"questions": questions}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign:
            raise ConfigError(f"--set {pair!r} must be KEY=VALUE")
        if key not in hints or key == "questions":
            raise ConfigError(
                f"{task} has no option {key!r}; {choices(key, [name for name in hints if name != 'questions'])}"
            )
        values[key] = _typed(text, hints[key], key)
    missing = [
        field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING and field.name not in values
    ]
    if missing:
        raise ConfigError(f"{task} also needs {', '.join(missing)}: give --set {missing[0]}=...")
    return kind(**values)


def _typed(text: str, hint: Any, key: str) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is Literal:
        if text not in get_args(hint):
            raise ConfigError(f"--set {key}={text}: choose one of {', '.join(get_args(hint))}")
        return text
    if hint is bool:
        if text not in ("true", "false"):
            raise ConfigError(f"--set {key}={text}: must be true or false")
        return text == "true"
    try:
        return hint(text)
    except ValueError:
        raise ConfigError(f"--set {key}={text}: must be {with_article(hint.__name__)}") from None
