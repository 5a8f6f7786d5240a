"""The vocabulary of spatial predicates: names, synonyms, inverses, symmetry, and each definition in words.

Only words that speak of place alone are here. "sitting on" or "holding" also say what is being done, "of" and "has"
may speak of possession: none of them is in the vocabulary, and `canonical` answers None for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import attrs

__all__ = [
    "VOCABULARY",
    "Predicate",
    "are_contradictory",
    "canonical",
    "inverse",
    "predicate_named",
]


@attrs.frozen
class Predicate:
    """One spatial predicate: "subject NAME object".

    `inverse`: the name that holds with subject and object exchanged; the same name for a symmetric predicate.
    `definition`: what its degree measures, for people. `excludes`: names that cannot hold for the same ordered pair.
    """

    name: str
    inverse: str
    definition: str
    synonyms: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    needs_depth: bool = False

    @property
    def symmetric(self) -> bool:
        """Whether it holds for (a, b) exactly when it holds for (b, a)."""
        return self.inverse == self.name


_PREDICATES = (
    Predicate(
        name="left of",
        inverse="right of",
        definition=(
            "shift to the left (both edges of the subject left of the object's, in widths of the narrower box, at most"
            " 1) times dx² / (dx² + vertical gap²), dx between the centres; where one spans the other the shift counts"
            " as 0.3 dx in halves of the wider width, times 1 - overlapping"
        ),
        synonyms=(
            "left from",
            "left side of",
            "at left of",
            "at left side of",
            "on left of",
            "on left side of",
            "to left of",
            "to left side of",
            "to left from",
            "leftward of",
        ),
        excludes=("right of", "inside", "contains", "part of", "has part"),
    ),
    Predicate(
        name="right of",
        inverse="left of",
        definition="left of, with subject and object exchanged",
        synonyms=(
            "right from",
            "right side of",
            "at right of",
            "at right side of",
            "on right of",
            "on right side of",
            "to right of",
            "to right side of",
            "to right from",
            "rightward of",
        ),
        excludes=("left of", "inside", "contains", "part of", "has part"),
    ),
    Predicate(
        name="above",
        inverse="below",
        definition=(
            "shift upwards (both edges of the subject above the object's, in heights of the lower box, at most 1)"
            " times dy² / (dy² + horizontal gap²), dy between the centres; at least roof (see below)"
        ),
        synonyms=("higher than", "up from", "located above", "up above"),
        excludes=("below", "under", "supporting", "inside", "contains", "part of", "has part"),
    ),
    Predicate(
        name="below",
        inverse="above",
        definition="above, with subject and object exchanged",
        synonyms=("lower than", "down from", "down below"),
        excludes=("above", "over", "on", "inside", "contains", "part of", "has part"),
    ),
    Predicate(
        name="over",
        inverse="under",
        definition=(
            "the largest of: shift upwards (as in above) times the horizontal overlap in widths of the narrower box; "
            "roof (see below); 0.3 of the degree of on, since a picture does not tell a level surface from an upright "
            "one"
        ),
        synonyms=("over top of",),
        excludes=("below", "under", "supporting", "inside", "contains", "part of", "has part"),
    ),
    Predicate(
        name="under",
        inverse="over",
        definition="over, with subject and object exchanged",
        synonyms=("beneath", "underneath", "underneath of"),
        excludes=("above", "over", "on", "inside", "contains", "part of", "has part"),
    ),
    Predicate(
        name="on",
        inverse="supporting",
        definition=(
            "horizontal overlap in widths of the narrower box, times how nearly the subject's lower edge lies within "
            "the object's height (1 inside it, 0 a quarter of the lower box's height, or of half their size, outside),"
            " times the larger of: how much higher the subject begins (2 rise), how much smaller it is (2 (1 - area "
            "ratio), down to 0.3 of that if the object may stand on the subject instead), each at most 1; with masks "
            "also times the share of the subject's lower outline in contact with the object, doubled, at most 1, or "
            "0.3 where they meet elsewhere"
        ),
        synonyms=("on top of", "atop", "upon", "onto", "on surface of", "resting on"),
        excludes=("under", "below", "supporting"),
    ),
    Predicate(
        name="supporting",
        inverse="on",
        definition="on, with subject and object exchanged",
        synonyms=("supports", "holding up", "has on top", "has on it", "bearing"),
        excludes=("above", "over", "on"),
    ),
    Predicate(
        name="inside",
        inverse="contains",
        definition=(
            "share of the subject within the object (within the rows and columns that its mask spans, where masks are "
            "known), times 2 (1 - area ratio), at most 1, so that equal boxes are not inside each other; down to 0.3 "
            "of that if the subject is nearer by a fifth of the larger depth, since it may stand before the object; at"
            " least 0.3 of the degree of on, since what lies in an open container shows above its rim"
        ),
        synonyms=(
            "in",
            "within",
            "inside of",
            "into",
            "enclosed by",
            "contained in",
            "contained by",
            "surrounded by",
            "in middle of",
            "in interior of",
        ),
        excludes=(
            "contains",
            "has part",
            "left of",
            "right of",
            "above",
            "below",
            "over",
            "under",
            "next to",
            "far from",
        ),
    ),
    Predicate(
        name="contains",
        inverse="inside",
        definition="inside, with subject and object exchanged",
        synonyms=("containing", "enclosing", "encloses", "surrounding", "surrounds", "has inside", "has in it"),
        excludes=("inside", "part of", "left of", "right of", "above", "below", "over", "under", "next to", "far from"),
    ),
    Predicate(
        name="part of",
        inverse="has part",
        definition=(
            "1 if the object is the subject's parent or a parent of it, else as inside, whatever the depths; where "
            "masks meet at least 0.3 of what boxes alone give, since masks without common pixels cut a part out of the"
            " whole"
        ),
        synonyms=("a part of", "component of", "portion of", "section of"),
        excludes=(
            "has part",
            "contains",
            "left of",
            "right of",
            "above",
            "below",
            "over",
            "under",
            "next to",
            "far from",
        ),
    ),
    Predicate(
        name="has part",
        inverse="part of",
        definition="part of, with subject and object exchanged",
        synonyms=("has as part", "has as a part", "has parts", "consists of", "composed of"),
        excludes=("part of", "inside", "left of", "right of", "above", "below", "over", "under", "next to", "far from"),
    ),
    Predicate(
        name="in front of",
        inverse="behind",
        definition="how much nearer the subject is, ((depth of object - depth of subject) / larger depth + 0.03) / 0.23"
        " in [0, 1], times near; the 0.03 because median depths do not settle which of two level things is nearer",
        synonyms=("ahead of", "at front of", "in foreground of", "before"),
        excludes=("behind",),
        needs_depth=True,
    ),
    Predicate(
        name="behind",
        inverse="in front of",
        definition="in front of, with subject and object exchanged",
        synonyms=("in back of", "at back of", "in background of", "at rear of"),
        excludes=("in front of",),
        needs_depth=True,
    ),
    Predicate(
        name="next to",
        inverse="next to",
        definition="near, times 1 - overlapping, times the larger of: the vertical overlap in heights of the lower box;"
        " (1 - horizontal overlap) dx² / (dx² + vertical gap²), since of two things side by side the farther one is"
        " seen higher",
        synonyms=(
            "beside",
            "alongside",
            "alongside of",
            "at side of",
            "by side of",
            "to side of",
            "adjacent to",
            "side by side with",
        ),
        excludes=("inside", "contains", "part of", "has part", "far from"),
    ),
    Predicate(
        name="near",
        inverse="near",
        definition=(
            "1 - gap / size, at least 0; gap between the boxes, size the geometric mean of the square roots of the "
            "areas"
        ),
        synonyms=("nearby", "near to", "close to", "close by", "by", "around", "in vicinity of"),
        excludes=("far from",),
    ),
    Predicate(
        name="far from",
        inverse="far from",
        definition="(gap / size - 1) / 2 in [0, 1]: 0 up to one size apart, 1 from three sizes",
        synonyms=("far away from", "away from", "distant from"),
        excludes=(
            "near",
            "next to",
            "touching",
            "overlapping",
            "inside",
            "contains",
            "part of",
            "has part",
            "on",
            "supporting",
        ),
    ),
    Predicate(
        name="overlapping",
        inverse="overlapping",
        definition=(
            "the larger of: share of the subject within the object, share of the object within the subject (as in "
            "inside); where masks meet at least 0.3 of the same by boxes, since each pixel shows only one of two "
            "things"
        ),
        synonyms=("overlaps", "overlapping with", "overlaps with", "intersecting", "intersects", "intersecting with"),
        excludes=("far from",),
    ),
    Predicate(
        name="touching",
        inverse="touching",
        definition=(
            "1 - gap / 0.1 size, at least 0; with masks also 0 unless they come within a hundredth of the image of each"
            " other"
        ),
        synonyms=("touches", "in contact with", "making contact with", "contacting"),
        excludes=("far from",),
    ),
)

VOCABULARY: Final[Mapping[str, Predicate]] = {predicate.name: predicate for predicate in _PREDICATES}
"""Every spatial predicate by its name."""

_BY_TEXT: Final = {text: predicate for predicate in _PREDICATES for text in (predicate.name, *predicate.synonyms)}
_LEADING = re.compile(
    r"^(?:(?:is|are|was|were|be|being|has been|located|placed|positioned|situated|found|directly|just|immediately|"
    r"slightly|partially|partly|completely|fully) )+"
)
_ARTICLES = re.compile(r"\b(?:the|a|an) ")
_SEPARATORS = re.compile(r"[\s_\-]+")


@lru_cache(maxsize=65536)
def canonical(predicate: str) -> Predicate | None:
    """The spatial predicate that a free text means; None if it is not one.

    Case, articles, "is", underscores and adverbs such as "directly" do not matter: "is to the left of" is "left of".
    """
    text = _SEPARATORS.sub(" ", predicate).strip(" .,;:!").lower()
    found = _BY_TEXT.get(text)
    if found is None:
        found = _BY_TEXT.get(_LEADING.sub("", _ARTICLES.sub("", text)))
    return found


def predicate_named(text: str) -> Predicate:
    """As `canonical`, but a text that means no spatial predicate is a `ValueError` listing the vocabulary."""
    found = canonical(text)
    if found is None:
        raise ValueError(f"{text!r} is no spatial predicate; the vocabulary: {', '.join(VOCABULARY)}")
    return found


def inverse(predicate: str) -> str | None:
    """The name that holds with subject and object exchanged; None if `predicate` is not a spatial one."""
    found = canonical(predicate)
    return None if found is None else found.inverse


def are_contradictory(first: str, second: str) -> bool:
    """Whether two spatial predicates cannot both hold for one ordered pair; False for other texts."""
    one, other = canonical(first), canonical(second)
    return one is not None and other is not None and (other.name in one.excludes or one.name in other.excludes)
