"""A judge says which name of a vocabulary a predicted name stands for, or that none does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from sgforge.stages import Failure
from sgforge_eval.tasks.ask import Asking, Prompt, answers_of

__all__ = ["judge_names"]

_AT_ONCE: Final = 200  # names that one question lists
_ASKED: Final = {
    "labels": 'A thing in an image was called "{name}". Which of these names could the same thing have been called?',
    "predicates": (
        'In an image one thing was said to be related to another by "{name}". '
        "Which of these says the same of the two things?"
    ),
}
_REPLY: Final = "Reply with the number of the one that means the same, or with 0 if none does, and nothing else."


def judge_names(
    names: Sequence[str], vocabulary: Sequence[str], kind: Literal["labels", "predicates"], asking: Asking
) -> dict[str, str | None]:
    """By name the one of the vocabulary that says the same, or None; a name that got no clear answer is left out.

    Of a large vocabulary 200 names are shown at once, and those chosen once more against each other.
    """
    blocks = [vocabulary[start : start + _AT_ONCE] for start in range(0, len(vocabulary), _AT_ONCE)]
    found = _choose([(name, block) for name in names for block in blocks], kind, asking)
    rounds: dict[str, list[str | None]] = {}
    for (name, _), choice in found:
        rounds.setdefault(name, []).append(choice)
    whole = {name: said for name, said in rounds.items() if len(said) == len(blocks)}
    winners = {name: [one for one in said if one is not None] for name, said in whole.items()}
    decided: dict[str, str | None] = {name: (won or [None])[0] for name, won in winners.items() if len(won) < 2}
    again = [(name, won) for name, won in winners.items() if len(won) > 1]
    return decided | {name: choice for (name, _), choice in _choose(again, kind, asking)}


def _choose(
    questions: Sequence[tuple[str, Sequence[str]]], kind: str, asking: Asking
) -> Iterator[tuple[tuple[str, Sequence[str]], str | None]]:
    """The questions that got a clear answer, with the chosen name or None."""
    prompts = [Prompt(_question(name, block, kind)) for name, block in questions]
    replies = answers_of(prompts, asking) if prompts else ()
    for question, reply in zip(questions, replies, strict=True):
        number = None if isinstance(reply, Failure) else _number(reply, question[1])
        if number is not None:
            yield question, question[1][number - 1] if number else None


def _question(name: str, block: Sequence[str], kind: str) -> str:
    listed = "\n".join(f"{number}. {' '.join(word.split())}" for number, word in enumerate(block, 1))
    return f"{_ASKED[kind].format(name=' '.join(name.split()))}\n{listed}\n{_REPLY}"


def _number(reply: str, block: Sequence[str]) -> int | None:
    """The one number that a reply has, or that of the one name which it is, 0 for "none"; None if it is not clear."""
    said = reply.strip().strip(".").casefold()
    named = [number for number, word in enumerate(block, 1) if word.casefold() == said]
    numbers = {int(digits) for digits in re.findall(r"-?\d+", reply)}
    if len(named) == 1:
        return named[0]
    if not numbers and re.match(r"\W*none\b", said):
        return 0
    return numbers.pop() if len(numbers) == 1 and 0 <= min(numbers) <= len(block) else None
