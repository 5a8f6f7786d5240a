"""Findings: what is wrong in a dataset, each with the file and the versions that it concerns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

import attrs

__all__ = ["OF_VERSIONS", "Finding", "Kind", "told", "version_names"]

Kind: TypeAlias = Literal[
    "array",
    "group",
    "root",
    "seal",
    "mode",
    "version",
    "content",
    "ref",
    "marker",
    "step",
    "made",
    "sqlite",
    "answer",
    "index",
]
"""What is damaged: of a version a file of an array or group, its root, the root's seal, a mode, itself as a whole, or
what its rows say; a branch or tag, the marker, a file of a step, a file that a step made, a SQLite file, an
answer, the index of states."""


OF_VERSIONS: Final = frozenset({"array", "group", "root", "seal", "version", "content"})
"""What concerns one or several versions."""


@attrs.frozen(kw_only=True)
class Finding:
    """Something that is wrong. `where`: the file within the dataset, or within each of `versions`. `needs`: the id of a
    version that is not here."""

    kind: Kind
    what: str
    where: str = ""
    versions: tuple[str, ...] = ()
    needs: str = ""


def told(finding: Finding, names: Mapping[str, Iterable[str]], dataset: Path) -> str:
    """A finding as a sentence; `names`: branches and tags of versions, by id."""
    if not finding.versions:
        return finding.what
    if len(finding.versions) == 1:
        return f"snapshot {finding.versions[0]}: {finding.what}"
    shown = ", ".join(version_names(each, names) for each in finding.versions)
    return (
        f"{len(finding.versions)} versions share a damaged file ({shown}): {finding.what}: sgforge repair {dataset} "
        "mends all of them at once"
    )


def version_names(snapshot_id: str, names: Mapping[str, Iterable[str]]) -> str:
    """A version by the start of its id and its names."""
    found = sorted(names.get(snapshot_id, ()))
    return f"{snapshot_id[:12]} = {', '.join(found)}" if found else snapshot_id[:12]
