"""Near names: what someone may have meant by a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["choices", "near_name"]

_CUTOFF = 0.6
_MOST_LISTED = 12


def near_name(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None if none is near; case and '-' against '_' make no difference."""
    import difflib

    by_plain = {_plain(other): other for other in known}
    found = difflib.get_close_matches(_plain(name), sorted(by_plain), n=1, cutoff=_CUTOFF)
    return by_plain[found[0]] if found else None


def choices(name: str, known: Iterable[str], beside: Iterable[str] = ()) -> str:
    """The end of a sentence about an unknown name: the near one, else the known ones (at most 12 of them).

    `beside`: names that may be meant too, but are not listed.
    """
    names = sorted(set(known))
    near = near_name(name, {*names, *beside})
    if near is not None:
        return f"did you mean {near!r}?"
    if not names:
        return "there are none"
    listed = ", ".join(names[:_MOST_LISTED])
    return f"known: {listed}" + (f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else "")


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_")
