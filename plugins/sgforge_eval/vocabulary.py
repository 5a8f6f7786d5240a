"""Vocabularies and zero-shot lists from files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sgforge.errors import ConfigError
from sgforge_eval.arrays import Ints
from sgforge_eval.batch import Codebook
from sgforge_eval.scorer import triplet_codes

__all__ = ["read_aliases", "read_names", "read_triplets"]


def _read_text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {path} cannot be read: {error}") from None


def _read_json(path: Path, what: str) -> Any:
    try:
        return json.loads(_read_text(path, what))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{what} {path} is not JSON: {error}") from None


def read_names(path: Path, what: str = "predicates file") -> tuple[str, ...]:
    """Names of a vocabulary: one a line, or a JSON list, in the order of the file; blank lines are skipped."""
    text = _read_text(path, what)
    names = _read_json(path, what) if text.lstrip().startswith("[") else [line.strip() for line in text.splitlines()]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{what} {path} must list texts: one name a line, or a JSON list")
    kept = tuple(dict.fromkeys(name for name in names if name))
    if not kept:
        raise ConfigError(f"{what} {path} names nothing: give one name a line")
    return kept


def read_aliases(path: Path) -> Mapping[str, str]:
    """Further names for names of a vocabulary: a JSON object {"further name": "name"}."""
    found = _read_json(path, "aliases file")
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise ConfigError(f'aliases file {path} must be a JSON object {{"further name": "name of the vocabulary"}}')
    return found


def read_triplets(path: Path, labels: Codebook, predicates: Codebook) -> Ints:
    """Sorted codes of a zero-shot list: JSON [[subject, predicate, object], ...], or a tab-separated triplet a line."""
    text = _read_text(path, "zero-shot file")
    if text.lstrip().startswith("["):
        rows = _read_json(path, "zero-shot file")
    else:
        rows = [line.split("\t") for line in text.splitlines() if line.strip()]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != 3 or not all(isinstance(name, str) for name in row):
            raise ConfigError(f"zero-shot file {path}, row {number}: expected [subject, predicate, object] names")
    codes = triplet_codes(
        labels.codes(row[0] for row in rows).astype(np.int64),
        predicates.codes(row[1] for row in rows).astype(np.int64),
        labels.codes(row[2] for row in rows).astype(np.int64),
    )
    return np.unique(codes[codes >= 0])
