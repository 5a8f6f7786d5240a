"""The probability of each relation in a spoken answer, from the probabilities of its tokens."""

from __future__ import annotations

import math
import re
from typing import Final

from sgforge_robin.decoding.decode import Said
from sgforge_robin.tokens import RobinTokenizer

__all__ = ["spoken_scores"]

_ITEM: Final = re.compile(r"region([1-9]\d{0,3}) (.*?\S)(?=, region[1-9]|\Z)", re.DOTALL)


def spoken_scores(tokenizer: RobinTokenizer, said: Said) -> dict[tuple[int, str], float]:
    """P(predicate | subject, object) of each `regionJ predicate` in an answer, by (J, predicate).

    The product over the tokens that begin in the predicate and the one that ends it (a comma, or the end of the turn):
    without that, "on" would count what belongs to "on top of".
    """
    pieces = [tokenizer.text([token]) for token in said.ids]
    starts = [0]
    for piece in pieces:
        starts.append(starts[-1] + len(piece))
    text = "".join(pieces)
    found: dict[tuple[int, str], float] = {}
    for match in _ITEM.finditer(text):
        first, last = match.start(2) - 1, match.end(2)  # the blank before belongs to the first word's token
        own = [place for place, start in enumerate(starts[:-1]) if first <= start < last]
        ending = (own[-1] + 1) if own else len(pieces)
        logprobs = [said.logprobs[place] for place in own]
        if ending < len(said.logprobs):
            logprobs.append(said.logprobs[ending])
        found.setdefault((int(match[1]), match[2]), min(math.exp(math.fsum(logprobs)), 1.0))
    return found
