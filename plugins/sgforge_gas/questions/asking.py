"""All questions about a graph: one for each element, as many whose answer is no as the graph is sure of, and counts.

As in the paper (Generate Any Scene, section 3), objects, attributes and relations give a question each, and an
attribute's depends on its object's, a relation's on those of both ends. Ours beside these: scene attributes, counts,
questions whose answer is no, and choices.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from sgforge.graph import Question, SceneGraph
from sgforge_gas.captions.phrases import Phrase, Phrases, plain, predicate_text
from sgforge_gas.structures.dice import Dice, dice_of
from sgforge_gas.vocabulary import Vocabulary, english, starter

__all__ = ["Asker"]

_YES_NO: Final = ("yes", "no")
_NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WRONG_CHOICES: Final = 3


@attrs.frozen
class _Scene:
    """A graph with its phrases: `alike` counts objects by label, `first` are the questions of existence by region."""

    graph: SceneGraph
    phrases: dict[int, Phrase]
    alike: Counter[str]
    first: dict[int, int]


class Asker:
    """Asks about graphs. Which wrong words are offered depends on the graph and `seed` alone.

    `counts`: ask how many there are of each label. `negatives`: ask what is false for sure: an object of a type that
    the graph lacks, an attribute that one which is there excludes, a relation backwards that cannot hold both ways.
    `choices`: ask for attributes and relations with choices too, of which one is right. An object that shares its label
    is asked about as one of several, since no picture shows which is the second.
    """

    def __init__(
        self,
        vocabulary: Vocabulary | None = None,
        *,
        counts: bool = True,
        negatives: bool = True,
        choices: bool = False,
        seed: int = 0,
    ) -> None:
        self._words = starter() if vocabulary is None else vocabulary
        self._phrases = Phrases(self._words)
        self._counts = counts
        self._negatives = negatives
        self._choices = choices
        self._seed = seed

    def ask(self, graph: SceneGraph) -> list[Question]:
        """The questions about the kept rows of a graph: existence first, region by region."""
        phrases = {index: self._phrases.of(region.label, region.attributes) for index, region in graph.regions.items()}
        scene = _Scene(graph, phrases, Counter(phrase.label.casefold() for phrase in phrases.values()), {})
        found = list(self._existence(scene))
        scene.first.update({index: place for place, index in enumerate(phrases)})
        found += self._attributes(scene)
        found += self._relations(scene)
        found += self._scene(graph)
        if self._counts:
            found += self._how_many(scene)
        dice = self._dice(graph)
        if self._negatives:
            found += self._false(scene, dice)
        if self._choices:
            found += self._with_choices(scene, dice)
        return found

    def _dice(self, graph: SceneGraph) -> Dice:
        told = repr(([(row.label, row.attributes) for row in graph.all.regions], list(graph.triplets()), self._seed))
        number = int.from_bytes(hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=6).digest(), "big")
        return next(dice_of(self._seed, range(number, number + 1)))

    # One for each element

    def _existence(self, scene: _Scene) -> Iterator[Question]:
        seen: Counter[str] = Counter()
        for index, phrase in scene.phrases.items():
            seen[phrase.label.casefold()] += 1
            number = seen[phrase.label.casefold()]
            if number > 1:
                text = f"Are there at least {_number(number)} {self._several(phrase)}?"
            else:
                text = f"{_be(phrase.is_plural)} there {self._with_article(phrase)}?"
            yield _yes_no("existence", text, references=(index,))

    def _attributes(self, scene: _Scene) -> Iterator[Question]:
        seen: Counter[tuple[str, str]] = Counter()
        for index, phrase in scene.phrases.items():
            for word, _ in sorted(phrase.placed, key=lambda item: item[1]):
                key = phrase.label.casefold(), word.casefold()
                seen[key] += 1
                yield _yes_no(
                    "attribute",
                    f"{self._subject(scene, index, seen[key])} {word}?",
                    references=(index,),
                    dependencies=(scene.first[index],),
                )

    def _relations(self, scene: _Scene) -> Iterator[Question]:
        seen: Counter[tuple[str, str, str]] = Counter()
        for row in scene.graph.relations.values():
            labels = [scene.phrases[end].label.casefold() for end in (row.subject, row.object)]
            key = labels[0], row.predicate, labels[1]
            seen[key] += 1
            text = self._relation_text(scene, row.subject, row.predicate, row.object, is_another=seen[key] > 1)
            yield _yes_no("relation", text, references=(row.subject, row.object), dependencies=self._ends(scene, row))

    def _ends(self, scene: _Scene, row: object) -> tuple[int, ...]:
        return tuple(scene.first[end] for end in (row.subject, row.object))  # type: ignore[attr-defined]

    def _scene(self, graph: SceneGraph) -> Iterator[Question]:
        for name, value in sorted(graph.attributes.items()):
            known = self._words.scene_of.get(name)
            says = known.says if known else f"has the {name} {{}}"
            yield _yes_no("scene", f"Is it true that the scene {says.replace('{}', value)}?")

    def _how_many(self, scene: _Scene) -> Iterator[Question]:
        for label, count in scene.alike.items():
            index, phrase = next((i, one) for i, one in scene.phrases.items() if one.label.casefold() == label)
            if phrase.is_plural or phrase.article == "some":
                continue  # nobody counts scissors or water
            numbers = [number for number in range(max(0, count - 2), count + 3) if number != count][:_WRONG_CHOICES]
            yield Question(
                kind="count",
                text=f"How many {self._several(phrase)} are there?",
                answer=str(count),
                choices=tuple(map(str, sorted({*numbers, count}))),
                references=tuple(i for i, one in scene.phrases.items() if one.label.casefold() == label),
                dependencies=(scene.first[index],),
            )

    # What is false

    def _false(self, scene: _Scene, dice: Dice) -> Iterator[Question]:
        yield from self._absent(scene, dice)
        for index, phrase in scene.phrases.items():
            for word in sorted(phrase.words):
                wrong = self._wrong_attributes(scene, phrase, word)
                if wrong:
                    text = f"{self._subject(scene, index, 1)} {dice.pick(wrong)}?"
                    yield _yes_no("attribute", text, "no", references=(index,), dependencies=(scene.first[index],))
        for row in scene.graph.relations.values():
            if self._holds_one_way(scene, row.subject, row.predicate, row.object):
                text = self._relation_text(scene, row.object, row.predicate, row.subject)
                ends = (row.object, row.subject)
                yield _yes_no("relation", text, "no", references=ends, dependencies=self._ends(scene, row))

    def _absent(self, scene: _Scene, dice: Dice) -> Iterator[Question]:
        """As many objects that are not there as there are objects, one at least, of other types where there are any."""
        known = {word for phrase in scene.phrases.values() for word in _words_of(phrase.label)}
        labels = [scene.graph.regions[index].label for index in scene.phrases]
        known_as = {*map(plain, labels), *(phrase.label for phrase in scene.phrases.values())}
        types = {self._words.noun_of[name].type for name in known_as if name in self._words.noun_of}
        absent = [noun for noun in self._words.nouns if not known & _words_of(noun.word)]
        nouns = [noun for noun in absent if noun.type not in types] or absent
        for _ in range(min(max(1, len(scene.phrases)), len(nouns))):
            noun = nouns.pop(dice.below(len(nouns)))
            phrase = self._phrases.of(noun.word, ())
            yield _yes_no("existence", f"{_be(noun.is_plural)} there {self._with_article(phrase)}?", "no")

    def _wrong_attributes(self, scene: _Scene, phrase: Phrase, word: str) -> list[str]:
        """Attributes that this one excludes and no object of the label has; only where all of these have the like."""
        wrong = self._words.excluded_by(word)
        alike = [one for one in scene.phrases.values() if one.label.casefold() == phrase.label.casefold()]
        told = [set().union(*(self._words.excluded_by(own) for own in one.words)) for one in alike]
        owned = frozenset().union(*(one.words for one in alike))
        return [other for other in wrong if other not in owned and all(other in excluded for excluded in told)]

    def _holds_one_way(self, scene: _Scene, subject: int, predicate: str, object_: int) -> bool:
        """Whether a relation cannot hold backwards, for any objects of these labels."""
        known = self._words.predicate_of.get(predicate)
        if known is None or known.inverse in (None, known.word):
            return False
        ends = scene.phrases[subject].label.casefold(), scene.phrases[object_].label.casefold()
        # Of several objects with a label, another one may well stand the other way round.
        return ends[0] != ends[1] and all(scene.alike[label] == 1 for label in ends)

    # Choices

    def _with_choices(self, scene: _Scene, dice: Dice) -> Iterator[Question]:
        for index, phrase in scene.phrases.items():
            if scene.alike[phrase.label.casefold()] > 1:
                continue
            for word in sorted(phrase.words):
                wrong = self._wrong_attributes(scene, phrase, word)
                if len(wrong) >= _WRONG_CHOICES:
                    the = "are" if phrase.is_plural else "is"
                    yield Question(
                        kind="attribute",
                        text=f"Which of these {the} the {phrase.label}?",
                        answer=word,
                        choices=_mixed(word, wrong, dice),
                        references=(index,),
                        dependencies=(scene.first[index],),
                    )
        for row in scene.graph.relations.values():
            wrong = self._wrong_relations(scene, row.subject, row.predicate, row.object)
            if wrong:
                be = "are" if scene.phrases[row.subject].is_plural else "is"
                ends = [scene.phrases[end].label for end in (row.subject, row.object)]
                yield Question(
                    kind="relation",
                    text=f"Where {be} the {ends[0]}, as seen from the {ends[1]}?",
                    answer=row.predicate,
                    choices=_mixed(row.predicate, wrong, dice),
                    references=(row.subject, row.object),
                    dependencies=self._ends(scene, row),
                )

    def _wrong_relations(self, scene: _Scene, subject: int, predicate: str, object_: int) -> list[str]:
        """What cannot be right as well: the inverse of a relation of place, where the graph does not say it too."""
        known = self._words.predicate_of.get(predicate)
        if known is None or known.category != "spatial" or not self._holds_one_way(scene, subject, predicate, object_):
            return []
        said = {
            row.predicate for row in scene.graph.relations.values() if (row.subject, row.object) == (subject, object_)
        }
        return [known.inverse] if known.inverse and known.inverse not in said else []

    # Words

    def _subject(self, scene: _Scene, index: int, number: int) -> str:
        """The beginning of a question about an object: "Is the dog", "Are at least two of the dogs"."""
        phrase = scene.phrases[index]
        if scene.alike[phrase.label.casefold()] == 1:
            return f"{_be(phrase.is_plural)} the {phrase.label}"
        if number == 1:
            return f"Is one of the {self._several(phrase)}"
        return f"Are at least {_number(number)} of the {self._several(phrase)}"

    def _relation_text(
        self, scene: _Scene, subject: int, predicate: str, object_: int, *, is_another: bool = False
    ) -> str:
        one = self._one_of(scene, subject)
        is_plural = scene.phrases[subject].is_plural and not one.startswith("one of")
        if is_another:
            one = one.replace("one of", "another one of", 1)
        other = self._one_of(scene, object_)
        predicate = predicate_text(predicate)
        if self._words.kind(predicate) == "finite" and not predicate.casefold().startswith(("is ", "are ")):
            if predicate.casefold() in ("has", "have"):
                return f"{'Do' if is_plural else 'Does'} {one} have {other}?"
            return f"{'Do' if is_plural else 'Does'} {one} {english.verb_for(predicate, several=True)} {other}?"
        said = predicate.partition(" ")[2] if predicate.casefold().startswith(("is ", "are ")) else predicate
        the = "the " if said.casefold().startswith("same ") else ""
        return f"{_be(is_plural)} {one} {the}{said} {other}?"

    def _one_of(self, scene: _Scene, index: int) -> str:
        phrase = scene.phrases[index]
        is_only = scene.alike[phrase.label.casefold()] == 1
        return f"the {phrase.label}" if is_only else f"one of the {self._several(phrase)}"

    def _several(self, phrase: Phrase) -> str:
        return self._words.plural(phrase.label)

    def _with_article(self, phrase: Phrase) -> str:
        article = phrase.article if phrase.article in ("", "some", "the") else english.article(phrase.label)
        return f"{article} {phrase.label}".lstrip()


def _yes_no(
    kind: str, text: str, answer: str = "yes", *, references: Sequence[int] = (), dependencies: Sequence[int] = ()
) -> Question:
    return Question(
        kind=kind,
        text=text,
        answer=answer,
        choices=_YES_NO,
        references=tuple(references),
        dependencies=tuple(dict.fromkeys(dependencies)),
    )


def _be(is_plural: bool) -> str:
    return "Are" if is_plural else "Is"


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def _words_of(label: str) -> set[str]:
    return set(label.casefold().split())


def _mixed(right: str, wrong: Sequence[str], dice: Dice) -> tuple[str, ...]:
    """The right answer among a few wrong ones."""
    return tuple(dice.shuffled([right, *dice.shuffled(wrong)[:_WRONG_CHOICES]]))
