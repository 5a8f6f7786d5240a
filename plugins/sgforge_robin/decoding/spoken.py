"""The probability of each relation in a spoken answer, from the probabilities of its tokens."""

from __future__ import annotations

import math
import re
from typing import Final

import attrs

from sgforge_robin.decoding.decode import Said
from sgforge_robin.text.graphs import RELATIONS
from sgforge_robin.tokens import RobinTokenizer

__all__ = ["spoken_lines", "spoken_scores", "spoken_triplets"]

_ITEM: Final = re.compile(r"region([1-9]\d{0,3}) ([^\n]*?[^\s])(?=, region[1-9]|\n|\Z)")
_LINE: Final = re.compile(r"^region([1-9]\d{0,3}): (.*)$", re.MULTILINE)


@attrs.frozen(eq=False)
class _Spoken:
    """An answer as text, where each token begins in it, and the log-probability of each; one more for its end."""

    text: str
    starts: list[int]
    logprobs: list[float]

    @classmethod
    def of(cls, tokenizer: RobinTokenizer, said: Said) -> _Spoken:
        pieces = [tokenizer.text([token]) for token in said.ids]
        starts = [0]
        for piece in pieces:
            starts.append(starts[-1] + len(piece))
        return cls("".join(pieces), starts, said.logprobs)

    def share(self, first: int, last: int) -> float:
        """The probability of what begins in [first, last) of the text, and of the token behind that ends it.

        Without the latter, "on" would count what belongs to "on top of".
        """
        own = [place for place, start in enumerate(self.starts[:-1]) if first <= start < last]
        ending = (own[-1] + 1) if own else len(self.starts) - 1
        logprobs = [self.logprobs[place] for place in own] + self.logprobs[ending : ending + 1]
        return min(math.exp(math.fsum(logprobs)), 1.0)

    def items(self, begin: int, end: int) -> dict[tuple[int, str], float]:
        """Each `regionJ predicate` between two places of the text, by (J, predicate)."""
        found: dict[tuple[int, str], float] = {}
        for match in _ITEM.finditer(self.text, begin, end):
            # The blank before a predicate belongs to its first word's token.
            found.setdefault((int(match[1]), match[2]), self.share(match.start(2) - 1, match.end(2)))
        return found


def spoken_scores(tokenizer: RobinTokenizer, said: Said) -> dict[tuple[int, str], float]:
    """P(predicate | subject, object) of each `regionJ predicate` in an answer about one subject, by (J, predicate)."""
    spoken = _Spoken.of(tokenizer, said)
    return spoken.items(0, len(spoken.text))


def spoken_triplets(tokenizer: RobinTokenizer, said: Said) -> dict[tuple[int, str, int], float]:
    """P(predicate | subject, object) of each relation of a whole graph's text, by (subject, predicate, object)."""
    spoken = _Spoken.of(tokenizer, said)
    found: dict[tuple[int, str, int], float] = {}
    begin = spoken.text.find(f"{RELATIONS}\n")
    for line in _LINE.finditer(spoken.text, begin if begin >= 0 else len(spoken.text)):
        for (other, predicate), share in spoken.items(line.start(2), line.end(2)).items():
            found.setdefault((int(line[1]), predicate, other), share)
    return found


def spoken_lines(tokenizer: RobinTokenizer, said: Said) -> dict[int, float]:
    """The probability of each object's line of a whole graph's text, by its region."""
    spoken = _Spoken.of(tokenizer, said)
    end = spoken.text.find(f"{RELATIONS}\n")
    found: dict[int, float] = {}
    for line in _LINE.finditer(spoken.text, 0, end if end >= 0 else len(spoken.text)):
        found.setdefault(int(line[1]), spoken.share(line.start(2) - 1, line.end(2)))
    return found
