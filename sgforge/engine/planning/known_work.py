"""What of a group of item steps is known already: keys, states and journalled answers, image by image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from sgforge.engine.planning.fingerprints import again_key, chain_key, digest_of, image_chain_key
from sgforge.engine.planning.plan import PlannedStep
from sgforge.statekey import StateKeys

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot, StateRef

__all__ = ["Images", "Known", "OpenAnswers", "StepWork", "plan_group"]

FindStates = Callable[[Sequence[bytes]], Sequence["StateRef | None"]]
HasAnswers = Callable[[Sequence[bytes]], set[bytes]]


@attrs.frozen(eq=False)
class Images:
    """The images of a snapshot as the engine needs them, in its order; failed and dropped ones take no more steps.

    `chosen`: what the last selectors chose, by row, as bytes; it is in no key.
    """

    ids: Sequence[str]
    keys: Sequence[bytes]
    sources: Sequence[str | None]
    splits: Sequence[str | None]
    alive: Sequence[bool]
    chosen: Mapping[int, bytes] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, snapshot: Snapshot) -> Images:
        """The images of a published snapshot."""
        alive = (_ids(snapshot, "failed_step") < 0) & (_ids(snapshot, "dropped") < 0)
        return cls(
            ids=_Ids(snapshot.column("image/id")),
            keys=StateKeys.of_bytes(snapshot.keys.tobytes()),
            sources=_texts(_ids(snapshot, "source").tolist(), snapshot.vocabulary("source")),
            splits=_texts(_ids(snapshot, "split").tolist(), snapshot.vocabulary("split")),
            alive=alive.tolist(),
            chosen=_chosen(snapshot),
        )

    def read(self, rows: Sequence[int]) -> str:
        """The digest of what a barrier reads that works on these rows: their keys, and what was chosen of them."""
        # Without a choice it is that of the keys alone, as it was before there were selectors.
        chosen = [(place, row) for place, row in enumerate(rows) if row in self.chosen]
        told = (b"%d %d " % (place, len(self.chosen[row])) + self.chosen[row] for place, row in chosen)
        return digest_of(chain((self.keys[row] for row in rows), told))

    def rows(self, step: PlannedStep) -> list[bool]:
        """For each image whether a step works on it."""
        # There are a handful of sources and splits and a hundred thousand images: ask once for each pair.
        cases = {
            (source, split): step.applies_to(source, split)
            for source, split in set(zip(self.sources, self.splits, strict=True))
        }
        return [
            alive and cases[case]
            for alive, case in zip(self.alive, zip(self.sources, self.splits, strict=True), strict=True)
        ]


class _Ids(Sequence[str]):
    """The ids of images, which become texts when they are asked for."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        return self._column.text_at(range(len(self))[row])


def _ids(snapshot: Snapshot, column: str) -> np.ndarray:
    return np.asarray(snapshot.column(f"image/{column}"))


def _chosen(snapshot: Snapshot) -> dict[int, bytes]:
    column = snapshot.value_column("image", "chosen")
    if column is None:
        return {}
    rows = np.flatnonzero(column.given).tolist()
    return dict(zip(rows, column.cells(0, len(rows)), strict=True))


def _texts(ids: Sequence[int], words: Sequence[str]) -> list[str | None]:
    return [words[number] if number >= 0 else None for number in ids]


@attrs.frozen
class Known:
    """Where the answer of one image at one step is: a state in a snapshot, or else the journal."""

    state: StateRef | None = None


@attrs.frozen(eq=False)
class StepWork:
    """One item step over the images of a snapshot: which it works on, its keys, and what is known.

    `keys` are those after the step, `parents` those before it (equal where it does not apply). `replaced`: by row, the
    key of an answer that left questions open, where they are or were asked again.
    """

    step: PlannedStep
    fingerprint: str
    applies: Sequence[bool]
    parents: Sequence[bytes]
    keys: Sequence[bytes]
    known: Sequence[Known | None]
    replaced: Mapping[int, bytes] = attrs.field(factory=dict)

    @property
    def to_compute(self) -> int:
        """Images whose answer is not known."""
        return sum(applies and known is None for applies, known in zip(self.applies, self.known, strict=True))

    @property
    def reused(self) -> int:
        """Images whose answer is known."""
        return sum(known is not None for known in self.known)

    def shared(self) -> frozenset[bytes]:
        """Keys that several images have to be computed under."""
        # Only of what is to be computed: an image whose answer is known waits for nobody.
        counts = Counter(
            key
            for key, applies, known in zip(self.keys, self.applies, self.known, strict=True)
            if applies and known is None
        )
        return frozenset(key for key, count in counts.items() if count > 1)


@attrs.frozen
class OpenAnswers:
    """The keys of answers that left questions open, and whether this run asks those questions again."""

    keys: frozenset[bytes] = frozenset()
    ask_again: bool = False


def plan_group(
    images: Images,
    steps: Sequence[tuple[PlannedStep, str]],
    find_states: FindStates,
    has_answers: HasAnswers,
    still_open: OpenAnswers = OpenAnswers(),
) -> list[StepWork]:
    """The works of a group of item steps, each with its fingerprint, on top of a snapshot."""
    works: list[StepWork] = []
    # Keys are chained before anything runs: a step's key says what it works on, not what came of it. So all that is
    # known of all steps can be looked up at once, and a changed step changes the keys of those after it alone.
    before = images.keys
    for step, fingerprint in steps:
        prefix = bytes.fromhex(fingerprint)
        applies = images.rows(step)
        keys = _chained(step, prefix, images.ids, applies, before)
        known = _known(applies, keys, find_states, has_answers)
        replaced = _ask_again(applies, keys, known, find_states, has_answers, still_open) if still_open.keys else {}
        works.append(
            StepWork(
                step=step,
                fingerprint=fingerprint,
                applies=applies,
                parents=before,
                keys=keys,
                known=known,
                replaced=replaced,
            )
        )
        before = keys
    return works


def _chained(
    step: PlannedStep, prefix: bytes, ids: Sequence[str], applies: Sequence[bool], before: Sequence[bytes]
) -> StateKeys:
    """The key of each image after a step; where it does not apply, the one before."""
    key_of = step.spec.key_of()
    if key_of is None:
        return StateKeys(chain_key(prefix, key) if here else key for here, key in zip(applies, before, strict=True))
    return StateKeys(
        image_chain_key(prefix, key, key_of(image_id)) if here else key
        for image_id, here, key in zip(ids, applies, before, strict=True)
    )


def _ask_again(
    applies: Sequence[bool],
    keys: StateKeys,
    known: list[Known | None],
    find_states: FindStates,
    has_answers: HasAnswers,
    still_open: OpenAnswers,
) -> dict[int, bytes]:
    """Put the newer answer, known or to be asked for, in the place of each that left questions open; those by row."""
    replaced: dict[int, bytes] = {}
    rows = [row for row, key in enumerate(keys) if applies[row] and key in still_open.keys]
    while rows:
        newer = [again_key(keys[row]) for row in rows]
        found = _known([True] * len(rows), newer, find_states, has_answers)
        following = []
        for row, key, answer in zip(rows, newer, found, strict=True):
            if answer is None and not still_open.ask_again:
                continue
            replaced[row], keys[row], known[row] = keys[row], key, answer
            if answer is not None and key in still_open.keys:
                following.append(row)
        rows = following
    return replaced


def _known(
    applies: Sequence[bool], keys: Sequence[bytes], find_states: FindStates, has_answers: HasAnswers
) -> list[Known | None]:
    wanted = [key for key, here in zip(keys, applies, strict=True) if here]
    states = dict(zip(wanted, find_states(wanted), strict=True))
    # A published state comes before a journalled answer: the journal is emptied when its step is published, and a kill
    # between the two leaves the answer in both.
    journalled = has_answers([key for key, state in states.items() if state is None])
    known: list[Known | None] = []
    for key, here in zip(keys, applies, strict=True):
        if here and states[key] is not None:
            known.append(Known(states[key]))
        else:
            known.append(Known() if here and key in journalled else None)
    return known
