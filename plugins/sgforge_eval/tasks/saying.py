"""What an answer in free text says: a choice, yes or no, a box; in the forms that models write, and never guessed.

An answer is stripped of markup first. A choice is then a lone mark (a letter, or the number of a choice), the text of a
choice, what stands behind words that announce an answer, or the one mark in brackets. What names two choices, or says
that none is right, names none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

__all__ = ["LETTERS", "Numbers", "boxes_in_text", "chosen_letter", "yes_or_no"]

LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""What choices are called, in the order in which they are shown."""
Numbers: TypeAlias = tuple[float, float, float, float]

_TAGGED = re.compile(r"<\s*(answer|final_answer)\s*>(.*?)(?:<\s*/\s*\1\s*>|$)", re.IGNORECASE | re.DOTALL)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_MARKUP = re.compile(r"[*`\"“”]+|__+|</?\w+>")
_ARTICLE = re.compile(r"^(?:a|an|the)\s+")
# In brackets; or a capital or number, "A" and "I" only where no word follows; or a small letter before a sign.
_MARK = (
    r"(?:[\[({]\s*([A-Za-z]|\d{1,2})\s*[\])}]"
    r"|([B-HJ-Z]|\d{1,2}|[AI](?!\s+(?!because\b|since\b|as\b)\w)|[a-z](?=\s*(?:[.,;:!)\]]|$)))(?![\w'’]))"
)
# Words behind which an answer follows: "the (best) answer is", "output", "I would choose", "it is".
_CUE: Final = (
    r"(?:\b(?:answer|option|choice|caption|output|letter|response|select|choose|chose|pick|go\s+with)\b"
    r"(?:\s+(?:to\s+[^.:]{0,60}?|(?:number|letter|option|choice|caption)))?(?:\s+(?:is|would\s+be|must\s+be))?"
    r"|\b(?:it|that|this)(?:\s+(?:is|must\s+be|would\s+be)|['’]s)\b)"
)
_CUED = re.compile(rf"(?i:{_CUE}(?:\s*[:=\-]+)?\s*(?:(?:option|choice|caption|letter|number)\s*:?\s*)?){_MARK}")
_CUED_TEXT = re.compile(rf"{_CUE}(?:\s*[:=\-]+)?\s+(.+)$", re.IGNORECASE | re.DOTALL)
_LEADING = re.compile(
    r"^\W*(?:(?:option|choice|caption)\s+)?[\[(]?\s*([A-Za-z]|[1-9])\s*(?:[\]).:,]|$|\s+(?=[-–A-Za-z(]))"
)
_SET_OFF = re.compile(r"^\W*(?:(?:option|choice|caption)\s+)?(?:[\[(]\s*\w\s*[\])]|\w[.:)\]])", re.IGNORECASE)
_BRACKETED = re.compile(r"[\[(]\s*([A-Z]|[1-9])\s*[\])]")
_REFUSING = re.compile(r"\b(?:neither|nor|none|not|cannot|can't|unable|both|either)\b|n['’]t\b", re.IGNORECASE)
_EITHER = re.compile(r"\b([A-Z]|[1-9])\b[\])]?\s*(?:\bor\b|\band\b|/|&)\s*[\[(]?([A-Z]|[1-9])\b")


def _plain(answer: str) -> str:
    """The answer without markup: what is tagged or boxed as the answer, where anything is."""
    for pattern, group in ((_TAGGED, 2), (_BOXED, 1)):
        found = pattern.findall(answer)
        if found:
            said = found[-1]
            answer = said[group - 1] if isinstance(said, tuple) else said
    return " ".join(_MARKUP.sub(" ", answer).split())


def _key(text: str) -> str:
    """What two writings of one choice have in common: no case, no article, no outer signs."""
    return _ARTICLE.sub("", " ".join(text.casefold().split()).strip(" .,;:!?'\"")).strip()


def chosen_letter(answer: str, choices: Sequence[str], *, strict: bool = False) -> int | None:
    """The index of the choice that an answer names, None where it names none or several.

    Letters are upper case unless they stand alone or in brackets; "(1)" is the first choice. `strict`: the answer must
    be the one letter (CRPE's own scorer).
    """
    if strict:
        text = answer.strip()
        return LETTERS.find(text) if len(text) == 1 and text in LETTERS[: len(choices)] else None
    text = _plain(answer)
    bare = text.strip(" .,:;!?()[]{}'")
    if len(bare) == 1 and bare.isalpha() and bare.isascii():
        return _only({_index(bare, len(choices)), *_same(bare, choices)} - {None})
    same = _same(text, choices)
    if same:
        return _only(same)
    if bare.isdecimal() and bare.isascii():
        return _index(bare, len(choices))
    first = _plain(answer.strip().partition("\n")[0]).strip(" .,:;!?()[]{}'")
    if len(first) == 1 and first in LETTERS:
        return _index(first, len(choices))
    either = _EITHER.search(text)
    is_open = _opens(text, choices) and (either is None or either.start() > 1)
    if not is_open and (either is not None or _REFUSING.search(text)):
        return None
    return _announced(text, choices)


def _opens(text: str, choices: Sequence[str]) -> bool:
    """Whether the answer begins with a mark that is set off: what follows explains it, "B. The cat is not on it."."""
    match = re.match(r"^[\[(]?([A-Z]|[1-9])[\]).:]", text)
    return match is not None and _index(match.group(1), len(choices)) is not None


def _announced(text: str, choices: Sequence[str]) -> int | None:
    """The choice behind words that announce an answer, else a leading mark, else the one in brackets."""
    count = len(choices)
    if not _opens(text, choices):
        behind = [index for match in _CUED_TEXT.finditer(text) for index in _same(match.group(1), choices)]
        if behind:
            return _only(set(behind))
        cued = {_index(match.group(1) or match.group(2), count) for match in _CUED.finditer(text)}
        if cued:
            return _only(cued)
    match = _LEADING.match(text)
    # "A dog" is an article and a noun, not choice A, unless a sign sets the letter off; "I see" is no choice either.
    is_word = re.match(r"^\W*[aAI]\s+\w", text) is not None
    if match is not None and not is_word and (match.group(1).isupper() or _is_set_off(text)):
        return _index(match.group(1), count)
    return _only({_index(mark, count) for mark in _BRACKETED.findall(text)})


def _is_set_off(text: str) -> bool:
    """Whether a leading mark is one even as a small letter: it stands in brackets, before a sign, or is a number."""
    return text[:1].isdecimal() or _SET_OFF.match(text) is not None


def _only(found: set[int | None]) -> int | None:
    """The one index that was named; None for several, or for a mark that no choice has."""
    return next(iter(found)) if len(found) == 1 else None


def _index(mark: str, count: int) -> int | None:
    """The index of a letter, or of a number from 1, among so many choices."""
    index = int(mark) - 1 if mark.isdecimal() else LETTERS.find(mark.upper())
    return index if 0 <= index < count else None


def _same(text: str, choices: Sequence[str]) -> set[int | None]:
    """The choices whose text this is, up to case, an article and outer signs; exactly as written where that is one."""
    for form in (lambda value: value.strip().rstrip(".").casefold(), _key):
        wanted = form(text)
        found = {index for index, choice in enumerate(choices) if form(choice) == wanted} if wanted else set()
        if found:
            return set(found)
    return set()


_YES: Final = frozenset(("yes", "true", "correct", "right", "1"))
_NO: Final = frozenset(("no", "false", "incorrect", "wrong", "untrue", "0"))
_SUBJECT = (
    r"(?:(?:the|this|that)\s+)?(?:(?:final|correct)\s+)?"
    r"(?:answer|statement|caption|claim|description|sentence|it|this|that)"
)
_SAID = re.compile(
    rf"\b{_SUBJECT}(?:\s+(?:is|would\s+be)\b|['’]s\b|\s*[:=])\s*[:=]?\s*(not\s+)?([a-z]+|[01])\b", re.IGNORECASE
)
_TWO_WAYS = re.compile(r"^\W*(?:yes|no|true|false)\b\s*(?:and|or|/|&)\s*(?:yes|no|true|false)\b", re.IGNORECASE)


def yes_or_no(answer: Any) -> bool | None:
    """What an answer says, by its first word or behind words that announce it; None if it says neither or both."""
    if isinstance(answer, bool):
        return answer
    text = _plain(str(answer)) if isinstance(answer, (str, int)) else ""
    words = re.findall(r"[a-z0-9]+", text.casefold())
    if not words or _TWO_WAYS.match(text):
        return None
    if words[0] in _YES - {"right"} or words[0] in _NO - {"wrong"}:
        return words[0] in _YES
    said = {_truth(match.group(2).casefold(), negated=bool(match.group(1))) for match in _SAID.finditer(text)} - {None}
    if said:
        return said.pop() if len(said) == 1 else None
    index = chosen_letter(text, ("Yes", "No"))
    return None if index is None else index == 0


def _truth(word: str, *, negated: bool) -> bool | None:
    if word not in _YES and word not in _NO:
        return None
    return (word in _YES) != negated


_NUMBER: Final = r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_GAP: Final = r"(?:\s*,\s*|\s+)"
_FOUR = re.compile(rf"[\[({{]\s*({_NUMBER}){_GAP}({_NUMBER}){_GAP}({_NUMBER}){_GAP}({_NUMBER})\s*[\])}}]")
_CORNERS = re.compile(
    rf"[\[(]\s*({_NUMBER}){_GAP}({_NUMBER})\s*[\])]\s*(?:,|to|-|and)?\s*[\[(]\s*({_NUMBER}){_GAP}({_NUMBER})\s*[\])]"
)
_BARE = re.compile(rf"^\s*({_NUMBER}){_GAP}({_NUMBER}){_GAP}({_NUMBER}){_GAP}({_NUMBER})\s*\.?\s*$")


def boxes_in_text(text: str) -> list[Numbers]:
    """The boxes x0, y0, x1, y1 that an answer writes, in order: four numbers in brackets, two corners, or bare."""
    return [box for _, box in sorted(_boxes(text), key=lambda found: found[0])]


def _boxes(text: str) -> Iterator[tuple[int, Numbers]]:
    for pattern in (_FOUR, _CORNERS, _BARE):
        for match in pattern.finditer(text):
            x0, y0, x1, y1 = (float(part) for part in match.groups())
            yield match.start(), (x0, y0, x1, y1)
