"""Files that a command names as they are options of a source: `scene_graphs.json` is the option scene_graphs.

`sgforge import`, `sgforge init` and `sgforge eval` name sources by this one rule, and `[source]` of a config takes the
same options by their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from sgforge.errors import ConfigError
from sgforge.plugins import Component

__all__ = ["source_options"]

_NO_FILES: Final = frozenset({"split", "images", "folder"})
_TEXTS: Final = frozenset({"str", "str | None"})


def source_options(source: Component, files: Sequence[str], images: str | None = None) -> dict[str, Any]:
    """The options of a source that files stand for; `images`: the folder of pictures, if one is named.

    "OPTION=FILE" says it; else a file is the option whose name stands in its own ("image_data.json"), else the first
    option that no file has yet. A file too many, or pictures for a source that takes none, is a `ConfigError`.
    """
    names = _file_options(source)
    found: dict[str, Any] = {}
    left = []
    for file in files:
        option, equals, path = file.partition("=")
        if equals and option in (*names, *_NO_FILES):
            found[option] = path
        else:
            left.append(file)
    for file in list(left):
        named = _named_in(file, [name for name in names if name not in found])
        if named is not None:
            found[named] = file
            left.remove(file)
    free = [name for name in names if name not in found]
    for file in left:
        if not free:
            raise ConfigError(
                f"source {source.name!r} takes no further file {file}: its options are {', '.join(names)}; "
                "say which with OPTION=FILE"
            )
        found[free.pop(0)] = file
    return {**found, **_pictures(source, images)}


def _pictures(source: Component, images: str | None) -> Mapping[str, str]:
    if images is None:
        return {}
    if source.config is None or "images" not in attrs.fields_dict(source.config):
        raise ConfigError(f"source {source.name!r} takes no folder of images")
    return {"images": images}


def _file_options(source: Component) -> list[str]:
    """The options that name files, required ones first; of a source that has none, the folder that it reads."""
    fields: Iterable[Any] = () if source.config is None else attrs.fields(source.config)
    texts = [field for field in fields if _type_name(field.type) in _TEXTS]
    names = sorted((field for field in texts if field.name not in _NO_FILES), key=_is_optional)
    return [field.name for field in names] or [field.name for field in texts if field.name != "split"]


def _is_optional(field: Any) -> bool:
    return field.default is not attrs.NOTHING


def _type_name(kind: Any) -> str:
    return kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))


def _named_in(file: str, names: Sequence[str]) -> str | None:
    """The option whose name is in the name of a file, the longest of several."""
    stem = re.sub(r"[^a-z0-9]+", "_", Path(file).name.lower())
    return max((name for name in names if name in stem), key=len, default=None)
