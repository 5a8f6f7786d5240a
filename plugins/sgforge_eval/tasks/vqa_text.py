"""How short answers are compared: exact match, and VQA's normalisation with its soft accuracy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["exact_text", "match_share", "soft_accuracy", "vqa_text"]

_ARTICLES: Final = frozenset(("a", "an", "the"))
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten"
_NUMBERS: Final = {word: str(number) for number, word in enumerate(_NUMBER_WORDS.split())} | {"none": "0"}
# Contractions that lost their apostrophe, by the part before and after it.
_CONTRACTED: Final = {
    before + after: f"{before}'{after}"
    for after, befores in {
        "t": "ain aren can couldn didn doesn don hadn hasn haven isn mightn mustn needn shouldn wasn weren won wouldn",
        "re": "they you",
        "ve": "could i might must should they we would you",
        "s": "he how let she that there what when where who why",
        "d": "how she that there they who you",
        "ll": "how it she that they what who you",
        "m": "i",
    }.items()
    for before in befores.split()
    if before + after not in ("shell", "were", "hell", "shed", "ill", "wed", "well", "wont")
} | {"wont": "won't"}
_SIGNS: Final = ';/[]"{}()=+\\_-><@`,?!'
_COMMA = re.compile(r"(?<=\d),(?=\d)")
_STOP = re.compile(r"\.(?!\d)")


def exact_text(text: str) -> str:
    """Lower case, single blanks, no final full stop."""
    return " ".join(text.casefold().split()).removesuffix(".")


def _without_signs(text: str) -> str:
    """Punctuation taken out as VQA does: a sign that stands beside a blank anywhere, or any beside a comma within a
    number, leaves nothing, another one a blank; full stops go where no digit follows.
    """
    joined, result = _COMMA.search(text) is not None, text
    for sign in _SIGNS:
        beside = f"{sign} " in text or f" {sign}" in text
        result = result.replace(sign, "" if joined or beside else " ")
    return _STOP.sub("", result)


def vqa_text(text: str) -> str:
    """VQA's form of an answer: no punctuation, digits for number words, no articles, apostrophes of contractions."""
    text = _without_signs(text.replace("\n", " ").replace("\t", " ").strip()).casefold()
    words = (_NUMBERS.get(word, word) for word in text.split())
    return " ".join(_CONTRACTED.get(word, word) for word in words if word not in _ARTICLES)


def soft_accuracy(answer: str, given: Sequence[str]) -> float:
    """min(1, matches / 3) against all given answers but one, averaged over which one is left out.

    With ten given answers: 0.3 for one match, 0.6 for two, 0.9 for three, 1 from four on. The public evaluator takes
    punctuation out of given answers only where they differ, and nothing else: unanimous ones are compared as written.
    """
    if not given:
        return 0.0
    wanted = vqa_text(answer)
    true = [_without_signs(other) for other in given] if len(set(given)) > 1 else given
    matches = [other == wanted for other in true]
    total = sum(matches)
    return sum(min(1.0, (total - match) / 3) for match in matches) / len(matches)


def match_share(answer: str, given: Sequence[str]) -> float:
    """A-OKVQA's own rule for direct answers: min(1, matches / 3) over all given ones, letter for letter."""
    return min(1.0, sum(other == answer for other in given) / 3)
