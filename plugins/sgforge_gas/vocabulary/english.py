"""English forms: a or an, plurals, verbs. Rules for words that a vocabulary does not know; entries go before rules."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = [
    "PREPOSITIONS",
    "article",
    "is_mass",
    "looks_plural",
    "ordinal",
    "plural",
    "relation_kind",
    "verb_for",
    "without_article",
    "without_last_article",
]

_AN_SOUND: Final = re.compile(r"(?:hour|honest|honou?r|heir)|[aeiou]|x-|8|11\b|18\b", re.I)
_A_SOUND: Final = re.compile(
    r"(?:uni(?![nmd])|eu|ewe|one\b|once|ones|us[eau]|uk[eur]|ut[eo]|ura|ubiq|ouija)",
    re.I,
)
_LETTERS: Final = re.compile(r"[A-Z](?:[A-Z0-9]+)?(?![a-z])")
_SPELT_WITH_AN: Final = frozenset("AEFHILMNORSX")

_ARTICLES: Final = frozenset(("a", "an", "the", "some", "another"))

_PLURAL_ONLY: Final = frozenset(
    "scissors pliers tongs tweezers trousers jeans pants shorts tights leggings pyjamas pajamas glasses sunglasses "
    "goggles binoculars headphones earphones stairs clothes people men women children feet teeth geese mice "
    "policemen firemen snowmen dice cattle lice oxen".split()
)
_SINGULAR_S: Final = frozenset(
    "bus gas lens canvas atlas christmas tennis chess news series species pancreas iris christmas bias alias "
    "texas swiss yes this bras walrus".split()
)
_MASS: Final = frozenset(
    "water grass sand snow rice bread milk hair smoke dirt mud ice soup foliage furniture clothing food meat "
    "cheese butter juice coffee tea wine beer luggage gravel fog traffic graffiti equipment jewelry jewellery".split()
)
_IRREGULAR: Final = {
    "man": "men", "woman": "women", "child": "children", "person": "people", "foot": "feet", "tooth": "teeth",
    "goose": "geese", "mouse": "mice", "ox": "oxen", "sheep": "sheep", "deer": "deer", "fish": "fish", "leaf": "leaves",
    "knife": "knives", "wolf": "wolves", "shelf": "shelves", "half": "halves", "loaf": "loaves", "wife": "wives",
    "calf": "calves", "scarf": "scarves", "thief": "thieves",
}  # fmt: skip

PREPOSITIONS: Final = frozenset(
    "on in at of by to from with under underneath over above below beneath behind beside besides between among around "
    "near inside outside within without into onto upon across along against toward towards through throughout past "
    "opposite off out up down before after next close far alongside atop amid aboard as like for about beyond part "
    "left right adjacent".split()
)
_PARTICIPLES: Final = frozenset(
    "tied made built held worn drawn driven eaten hung hidden kept laid led lit ridden seen set shown spread "
    "stuck thrown taken written cut bound caught fed hit known lost read sold sung swept torn woven blown".split()
)
_TAILS: Final = frozenset("than to as of with from by at in on for about towards".split())


@lru_cache(maxsize=100_000)
def article(phrase: str) -> str:
    """Its indefinite article, by the sound with which a phrase begins."""
    word = phrase.lstrip("\"'([{“‘ ")
    letters = _LETTERS.match(word)
    if letters and (len(letters[0]) > 1 or len(word) == 1 or word[1:2] in "- "):
        return "an" if word[0] in _SPELT_WITH_AN else "a"
    if _A_SOUND.match(word):
        return "a"
    return "an" if _AN_SOUND.match(word) else "a"


def without_article(phrase: str) -> str:
    """A phrase without the articles it begins with, "some" and "another" among them: "the man" is "man".

    Words are parted by single blanks. A phrase that is an article alone stays.
    """
    first, _, rest = phrase.partition(" ")
    while rest and first.casefold() in _ARTICLES:
        phrase = rest
        first, _, rest = phrase.partition(" ")
    return phrase


def without_last_article(phrase: str) -> str:
    """A predicate without the article it ends with, which is its object's: "on a" is "on"; as `without_article`."""
    rest, _, last = phrase.rpartition(" ")
    return rest if rest and last.casefold() in _ARTICLES else phrase


def _last(phrase: str) -> str:
    """The word that carries the number: before "of" and the like, else the last."""
    head = re.split(r"\s+(?:of|with|in|on|for|from|made|without)\s+", phrase.strip(), maxsplit=1)[0]
    words = head.split()
    return words[-1].casefold() if words else ""


@lru_cache(maxsize=100_000)
def looks_plural(phrase: str) -> bool:
    """Whether a phrase names several things, or one that is always a plural (scissors)."""
    word = _last(phrase)
    if word in _PLURAL_ONLY:
        return True
    if word in _SINGULAR_S or len(word) < 4 or not word.endswith("s"):
        return False
    return not word.endswith(("ss", "us", "is", "os"))


@lru_cache(maxsize=100_000)
def is_mass(phrase: str) -> bool:
    """Whether a phrase names a stuff that is not counted (water)."""
    return _last(phrase) in _MASS


@lru_cache(maxsize=100_000)
def plural(phrase: str) -> str:
    """The plural of a noun phrase."""
    head, middle, rest = re.match(r"(.*?)(\s+(?:of|with|in|on|for|from)\s+|$)(.*)", phrase, re.S).groups()  # type: ignore[union-attr]
    before, _, word = head.rpartition(" ")
    return f"{before} {_plural_word(word)}".lstrip() + middle + rest


def _plural_word(word: str) -> str:
    small = word.casefold()
    if small in _PLURAL_ONLY:
        return word
    for singular, several in _IRREGULAR.items():
        if small == singular or (small.endswith(singular) and singular in ("man", "woman", "foot", "tooth", "child")):
            return word[: len(word) - len(singular)] + several
    if small.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if small.endswith("y") and small[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    if small.endswith("o") and small in ("tomato", "potato", "hero", "echo", "mosquito"):
        return f"{word}es"
    return f"{word}s"


_ORDINALS: Final = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth twentieth"
).split()


def ordinal(number: int) -> str:
    """First, second, ... twentieth, then 21st and so on; `number` from 1."""
    if number <= len(_ORDINALS):
        return _ORDINALS[number - 1]
    tail = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{tail}"


@lru_cache(maxsize=100_000)
def relation_kind(predicate: str) -> str:
    """How a predicate stands after its subject: "prepositional" (is on), "participle" (is holding) or "finite"."""
    words = predicate.casefold().split()
    first = words[0] if words else ""
    if first in PREPOSITIONS or first.endswith("ing"):
        return "participle" if first.endswith("ing") else "prepositional"
    if first in _PARTICIPLES or (first.endswith("ed") and len(first) > 3):
        return "participle"
    if first in ("is", "are", "has", "have", "can"):
        return "finite"
    if len(words) > 1 and words[-1] in _TAILS and not first.endswith("s"):
        return "prepositional"  # larger than, similar to, afraid of
    return "finite"


@lru_cache(maxsize=100_000)
def verb_for(predicate: str, several: bool) -> str:
    """A finite predicate as it stands after one or several: "holds", "hold"."""
    first, space, rest = predicate.partition(" ")
    small = first.casefold()
    forms = {"is": ("is", "are"), "are": ("is", "are"), "has": ("has", "have"), "have": ("has", "have")}
    if small in forms:
        return forms[small][several] + space + rest
    if small == "can":
        return predicate
    is_third = small.endswith("s") and not small.endswith("ss")
    if several:
        return (_without_s(first) if is_third else first) + space + rest
    return (first if is_third else _with_s(first)) + space + rest


def _with_s(verb: str) -> str:
    if verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        return f"{verb}es"
    if verb.endswith("y") and verb[-2:-1] not in "aeiou":
        return f"{verb[:-1]}ies"
    return f"{verb}s"


def _without_s(verb: str) -> str:
    if verb.endswith("ies") and len(verb) > 4:
        return f"{verb[:-3]}y"
    if verb.endswith(("sses", "xes", "zzes", "ches", "shes", "oes")):
        return verb[:-2]
    return verb[:-1]
