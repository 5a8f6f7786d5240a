"""A trained Robin with all it needs: model, tokenizer, and what robin.json says of its training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import attrs

from sgforge.durable import write_text
from sgforge.errors import StepError
from sgforge_robin.model.checkpoint import load_model, save_model
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.pairs import PairVocabulary
from sgforge_robin.text.tasks import Task
from sgforge_robin.tokens import RobinTokenizer

__all__ = ["Known", "TrainedRobin", "read_lines"]

_FILE: Final = "robin.json"


def _texts(value: Sequence[str]) -> tuple[str, ...]:
    return tuple(value)


@attrs.frozen
class Known:
    """What a training knows besides weights.

    `labels`, `predicates`: the closed vocabularies; `categories`: of each predicate. `tasks`: what was asked. `side`:
    of the image, in pixels. `box_text`: whether regions had boxes as text. `temperature`: what log-probabilities of a
    closed vocabulary are divided by, fitted on images kept aside.
    """

    labels: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    predicates: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    categories: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    tasks: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    side: int = 512
    box_text: bool = True
    temperature: float = 1.0

    @property
    def knows_pairs(self) -> bool:
        """Whether it was asked about pairs; the released model was not."""
        return Task.PAIR in self.tasks

    @property
    def pair_vocabulary(self) -> PairVocabulary:
        """The ids that a pair head gives labels and predicates."""
        return PairVocabulary.of(self.labels, self.predicates)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """robin.json of a folder; without one, what holds of the released checkpoint."""
        path = folder / _FILE
        if not path.is_file():
            return cls()
        try:
            found: dict[str, Any] = json.loads(path.read_text())
            return cls(**found)
        except (ValueError, TypeError) as error:
            raise StepError(f"{path} cannot be read: {error}") from error


@attrs.frozen(eq=False)
class TrainedRobin:
    """A Robin that can be asked."""

    model: RobinModel
    tokenizer: RobinTokenizer
    known: Known

    @classmethod
    def load(cls, folder: Path, dtype: str = "float32", parity: bool = False) -> Self:
        """From a checkpoint's folder, ours or one of the public form."""
        tokenizer = RobinTokenizer.load(folder)
        model = load_model(folder, dtype=dtype, parity=parity)
        model.shape = attrs.evolve(model.shape, tokens=tokenizer.special)
        return cls(model, tokenizer, Known.read(folder))

    def save(self, folder: Path) -> None:
        """Write all of it; robin.json comes last, so that where it is the rest is whole."""
        save_model(self.model, folder)
        self.tokenizer.save(folder)
        write_text(folder / _FILE, json.dumps(attrs.asdict(self.known), indent=1, ensure_ascii=False))


def read_lines(path: Path) -> tuple[str, ...]:
    """The lines of a vocabulary file, empty ones passed over; an empty or unreadable file is a `StepError`."""
    try:
        lines = tuple(
            dict.fromkeys(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
        )
    except (OSError, UnicodeDecodeError) as error:
        raise StepError(f"{path} cannot be read: {error}") from error
    if not lines:
        raise StepError(f"{path} holds no line: a closed vocabulary needs at least one")
    return lines
