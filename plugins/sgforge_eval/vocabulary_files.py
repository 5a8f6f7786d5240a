"""Aliases, zero-shot lists, names seen in training and a judge's verdicts from files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from sgforge.durable import whole_file
from sgforge.errors import ConfigError
from sgforge.labels.name_files import NameKind
from sgforge_eval.intake.arrays import Ints
from sgforge_eval.intake.batch import Codebook
from sgforge_eval.measures.scorer import triplet_codes

__all__ = [
    "Seen",
    "Verdict",
    "ZeroShot",
    "judged_names",
    "read_aliases",
    "read_seen",
    "read_triplets",
    "read_verdicts",
    "vocabulary_digest",
    "write_verdicts",
]


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


def read_aliases(path: Path) -> Mapping[str, str]:
    """Further names for names of a vocabulary: a JSON object {"further name": "name"}."""
    found = _read_json(path, "aliases file")
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise ConfigError(f'aliases file {path} must be a JSON object {{"further name": "name of the vocabulary"}}')
    return found


@attrs.frozen(eq=False)
class ZeroShot:
    """Triplets of names never seen in training; called, it gives their codes as far as all three names have one.

    Names are looked up, not added: a predicate that neither side uses must not enter mean recall.
    """

    triplets: tuple[tuple[str, str, str], ...]
    labels: Codebook
    predicates: Codebook

    def __call__(self) -> Ints:
        rows = np.array(
            [(self.labels.find(s), self.predicates.find(p), self.labels.find(o)) for s, p, o in self.triplets], np.int64
        ).reshape(-1, 3)
        codes = triplet_codes(rows[:, 0], rows[:, 1], rows[:, 2])
        return np.unique(codes[codes >= 0])


@attrs.frozen(eq=False)
class Seen:
    """Names of labels and predicates seen in training; called, it gives the codes of those that have one by now."""

    names: tuple[tuple[str, ...], tuple[str, ...]]
    labels: Codebook
    predicates: Codebook

    def __call__(self) -> tuple[Ints, Ints]:
        books = (self.labels, self.predicates)
        found = [np.array([book.find(name) for name in names]) for book, names in zip(books, self.names, strict=True)]
        return found[0], found[1]


def read_seen(path: Path, labels: Codebook, predicates: Codebook) -> Seen:
    """Names seen in training: a JSON object {"labels": [...], "predicates": [...]}."""
    found = _read_json(path, "seen file")
    lists = [found.get(key) for key in ("labels", "predicates")] if isinstance(found, dict) else []
    if not lists or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists
    ):
        raise ConfigError(f'seen file {path} must be a JSON object {{"labels": [names], "predicates": [names]}}')
    return Seen((tuple(lists[0] or ()), tuple(lists[1] or ())), labels, predicates)


def read_triplets(path: Path, labels: Codebook, predicates: Codebook) -> ZeroShot:
    """A zero-shot list: JSON [[subject, predicate, object], ...] or tab-separated names, or VG150's .npy.

    The .npy has (subject class, object class, predicate) numbers from 1: `labels` and `predicates` must then be closed,
    in the order of VG150's own file.
    """
    rows = _numbered_triplets(path, labels, predicates) if path.suffix == ".npy" else _named_triplets(path)
    return ZeroShot(tuple(rows), labels, predicates)


def _named_triplets(path: Path) -> list[tuple[str, str, str]]:
    text = _read_text(path, "zero-shot file")
    if text.lstrip().startswith("["):
        rows = _read_json(path, "zero-shot file")
    else:
        rows = [line.split("\t") for line in text.splitlines() if line.strip()]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != 3 or not all(isinstance(name, str) for name in row):
            raise ConfigError(f"zero-shot file {path}, row {number}: expected [subject, predicate, object] names")
    return [(row[0], row[1], row[2]) for row in rows]


def _numbered_triplets(path: Path, labels: Codebook, predicates: Codebook) -> list[tuple[str, str, str]]:
    if not labels.closed or not predicates.closed:
        raise ConfigError(f"zero-shot file {path} holds numbers: give the labels and predicates they stand for")
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"zero-shot file {path} cannot be read: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != 3 or rows.dtype.kind not in "iu":
        raise ConfigError(f"zero-shot file {path} must hold (N, 3) whole numbers")
    limits = np.array([len(labels), len(labels), len(predicates)])
    if ((rows < 1) | (rows > limits)).any():
        raise ConfigError(
            f"zero-shot file {path} has numbers outside of {len(labels)} labels, {len(predicates)} predicates"
        )
    names, verbs = labels.names, predicates.names
    return [(names[s - 1], verbs[p - 1], names[o - 1]) for s, o, p in rows.tolist()]


@attrs.frozen
class Verdict:
    """What a judge said of a predicted name: `means`, the name of the vocabulary that says the same, or None.

    `among`: digest of the vocabulary it was shown, since another could have held a better name. `judge`: who said it.
    """

    kind: NameKind
    name: str
    means: str | None
    among: str
    judge: str


def vocabulary_digest(names: Iterable[str]) -> str:
    """16 hex digits that name a vocabulary, whatever its order."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]


def judged_names(verdicts: Iterable[Verdict], kind: NameKind, vocabulary: Sequence[str]) -> dict[str, str | None]:
    """By name what was said of it among this vocabulary; of several verdicts the last."""
    among = vocabulary_digest(vocabulary)
    return {one.name: one.means for one in verdicts if one.kind == kind and one.among == among}


def read_verdicts(path: Path) -> tuple[Verdict, ...]:
    """The verdicts of a JSONL file as `write_verdicts` writes it; none of a file that is not there yet."""
    if not path.exists():
        return ()
    found = []
    for number, text in enumerate(_read_text(path, "verdicts file").splitlines(), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
            found.append(Verdict(**row))
            _check_verdict(found[-1])
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"verdicts file {path}, line {number}: {error}; a line is "
                '{"kind": "labels" or "predicates", "name", "means": name or null, "among", "judge"}'
            ) from None
    return tuple(found)


def _check_verdict(one: Verdict) -> None:
    if one.kind not in ("labels", "predicates"):
        raise ValueError(f"kind is {one.kind!r}")
    if not all(isinstance(text, str) for text in (one.name, one.among, one.judge)):
        raise ValueError("name, among and judge must be texts")
    if one.means is not None and not isinstance(one.means, str):
        raise ValueError(f"means is {one.means!r}")


def write_verdicts(path: Path, verdicts: Iterable[Verdict]) -> None:
    """All verdicts as JSONL, one a line; what was there is replaced as a whole."""
    data = "".join(json.dumps(attrs.asdict(one), ensure_ascii=False) + "\n" for one in verdicts)
    try:
        with whole_file(path) as stream:
            stream.write(data.encode())
    except OSError as error:
        raise ConfigError(f"verdicts file {path} cannot be written: {error.strerror or error}") from None
