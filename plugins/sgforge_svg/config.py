"""Options of the Synthetic Visual Genome components; light to import."""

from __future__ import annotations

from typing import Any, Final, Literal

import attrs
from attrs.validators import and_, ge, gt, le, optional

from sgforge.stages.revisions import revision_option, was_default

__all__ = [
    "CompletionConfig",
    "CounterfactualConfig",
    "EditConfig",
    "NamesConfig",
    "NounsConfig",
    "Spatial",
    "VqaConfig",
]

Picture = Literal["marks", "plain"]
Spatial = Literal["never", "without-rule", "always"]


_SHARE: Final[Any] = and_(ge(0), le(1))
_FRAME_TOKENS: Final = 256
_SENTENCE_TOKENS: Final = 80
_RELATION_TOKENS: Final = 40
_ATTRIBUTE_TOKENS: Final = 12
"""Generous for what models write, a quarter of what a tokenizer of bytes would need at the most."""


@attrs.frozen(kw_only=True)
class CompletionConfig:
    """Options of the completion teacher.

    `model`: "provider/model" (the paper used GPT-4V). `subjects`: at least how many subjects to describe (K = 5, SVG
    section 2.1). The other values are ours. `relations_per_subject`: at most how many new relations of each.
    `picture`: regions numbered on the image, or the plain image. `max_regions`: at most how many regions are shown,
    largest first; the rest is counted. `max_side`: longest side of the picture sent, in pixels. `max_predicate_words`:
    longer predicates are refused, item by item. `max_tokens`, `temperature`: of the answer; room that is not given
    follows from subjects and relations. `max_subjects`: at most how many subjects, by default twice as many as at
    least. `prompts`: 2 keeps the words, the picture and the room of revision 2, and the answers that were paid for it.
    """

    model: str
    subjects: int = attrs.field(default=5, validator=ge(1))
    relations_per_subject: int = attrs.field(default=10, validator=ge(1))
    picture: Picture = "marks"
    max_regions: int = attrs.field(default=60, validator=ge(2))
    max_side: int = attrs.field(default=1024, validator=ge(64))
    max_predicate_words: int = attrs.field(default=6, validator=ge(1))
    max_tokens: int | None = attrs.field(default=None, validator=optional(ge(64)), metadata=was_default(r2=4096))
    temperature: float | None = None
    max_subjects: int | None = attrs.field(default=None, validator=optional(ge(1)))
    prompts: Literal[2, 3] = revision_option(3, 2)

    def room(self) -> int:
        """The most tokens of an answer: of each subject a sentence and its relations, each with predicate and keys."""
        if self.max_tokens is not None:
            return self.max_tokens
        if self.prompts == 2:
            return 4096
        return _FRAME_TOKENS + self.most_subjects() * (_SENTENCE_TOKENS + self.relations_per_subject * _RELATION_TOKENS)

    def most_subjects(self) -> int:
        """At most how many subjects are asked for."""
        return 2 * self.subjects if self.max_subjects is None else max(self.max_subjects, self.subjects)


@attrs.frozen(kw_only=True)
class VqaConfig:
    """Options of the VQA filter; the paper gives none of their values.

    `threshold`: relations with P(yes) at or above it are kept; `sgforge calibrate` helps to choose it.
    `probabilities`: ask a model that gives token probabilities one question a request, and read P(yes) from the first
    token. Where it is false, or the model gives none, up to `questions_per_request` relations share a request, and an
    answer of yes or no counts as a P(yes) of 1 or 0. `probe_rate`: share of relations for which a question with the
    answer no is asked as well, to measure how often the judge says yes to everything. `spatial`: never judge relations
    of place (they are left to `spatial-rules`), judge those without a rule for their predicate, or all. `max_regions`:
    at most how many regions one picture marks; the relations of others get a picture of their own. `max_tokens`: of an
    answer to several questions; a single word gets `judge_max_tokens`, which a judge that thinks needs more of.
    `least_mass`: where yes and no have less of the first token's probability together, the word decides. `prompts`: 2
    keeps the words and the picture of revision 2, and the answers that were paid for it.
    """

    model: str
    threshold: float = attrs.field(default=0.5, validator=_SHARE)
    probabilities: bool = True
    questions_per_request: int = attrs.field(default=20, validator=ge(1))
    probe_rate: float = attrs.field(default=0.05, validator=_SHARE)
    spatial: Spatial = "never"
    picture: Picture = "marks"
    max_regions: int = attrs.field(default=60, validator=ge(2))
    max_side: int = attrs.field(default=1024, validator=ge(64))
    max_tokens: int = attrs.field(default=1024, validator=gt(0))
    judge_max_tokens: int = attrs.field(default=16, validator=gt(0))
    least_mass: float = attrs.field(default=0.5, validator=_SHARE)
    prompts: Literal[2, 3] = revision_option(3, 2)


@attrs.frozen(kw_only=True)
class CounterfactualConfig:
    """Options of the counterfactual filter; all values are ours.

    `model`: a judge that gives probabilities; with words alone a drop is 0 or 1. `threshold`: relations with a P(yes)
    below it are left as they are. `least_drop`: how far P(yes) must fall with an end hidden, or the relation is
    rejected. `hide`: which end, or each in turn. The others as for the vqa filter.
    """

    model: str
    threshold: float = attrs.field(default=0.5, validator=_SHARE)
    least_drop: float = attrs.field(default=0.2, validator=_SHARE)
    hide: Literal["either", "subject", "object"] = "either"
    spatial: Spatial = "never"
    picture: Picture = "marks"
    max_regions: int = attrs.field(default=60, validator=ge(2))
    max_side: int = attrs.field(default=1024, validator=ge(64))
    judge_max_tokens: int = attrs.field(default=16, validator=gt(0))
    least_mass: float = attrs.field(default=0.5, validator=_SHARE)


@attrs.frozen(kw_only=True)
class EditConfig:
    """Options of the SG-Edit editor (SVG section 2.2; the paper used gpt-4o-2024-08-06 and gives no other value).

    `scope`: which relations may be removed: those that steps of the pipeline made, or all. Regions are never added,
    moved or removed. `max_additions`: at most how many relations one answer may add. `max_tokens`, `prompts` as for the
    completion teacher.
    """

    model: str
    scope: Literal["generated", "all"] = "generated"
    max_additions: int = attrs.field(default=20, validator=ge(0))
    picture: Picture = "marks"
    max_regions: int = attrs.field(default=60, validator=ge(2))
    max_side: int = attrs.field(default=1024, validator=ge(64))
    max_predicate_words: int = attrs.field(default=6, validator=ge(1))
    max_tokens: int | None = attrs.field(default=None, validator=optional(ge(64)), metadata=was_default(r2=4096))
    temperature: float | None = None
    prompts: Literal[2, 3] = revision_option(3, 2)

    def room(self, regions: int, proposed: int) -> int:
        """The most tokens of an answer about so many regions and proposed relations."""
        if self.max_tokens is not None:
            return self.max_tokens
        if self.prompts == 2:
            return 4096
        about_relations = (proposed + self.max_additions) * _RELATION_TOKENS * 2  # a removal is explained
        return _FRAME_TOKENS + about_relations + regions * _SENTENCE_TOKENS


@attrs.frozen(kw_only=True)
class NamesConfig:
    """Options of the editor that names regions; no paper gives any of their values.

    `scope`: regions without a label, or all. `max_label_words`: longer labels are refused, item by item.
    `max_attributes`: at most how many are taken of one region. `picture`, `max_regions`, `max_side`, `max_tokens` and
    `temperature` as for the completion teacher; `prompts`: 1 keeps those of revision 1.
    """

    model: str
    scope: Literal["unnamed", "all"] = "unnamed"
    max_label_words: int = attrs.field(default=4, validator=ge(1))
    max_attributes: int = attrs.field(default=5, validator=ge(0))
    picture: Picture = "marks"
    max_regions: int = attrs.field(default=60, validator=ge(1))
    max_side: int = attrs.field(default=1024, validator=ge(64))
    max_tokens: int | None = attrs.field(default=None, validator=optional(ge(64)), metadata=was_default(r1=4096))
    temperature: float | None = None
    prompts: Literal[1, 2] = revision_option(2, 1)

    def room(self, asked: int) -> int:
        """The most tokens of an answer about so many regions."""
        if self.max_tokens is not None:
            return self.max_tokens
        if self.prompts == 1:
            return 4096
        return _FRAME_TOKENS + asked * (_RELATION_TOKENS + self.max_attributes * _ATTRIBUTE_TOKENS)


@attrs.frozen(kw_only=True)
class NounsConfig:
    """Options of the captioner that lists nouns; its values are ours.

    `model`: "provider/model" (Synthetic Visual Genome's region code asks gpt-4o-2024-08-06). `max_nouns`: at most how
    many are taken. `max_label_words`: longer ones are refused, item by item. `max_side`: longest side of the picture
    sent, in pixels. `max_tokens`, `temperature`: of the answer; room that is not given follows from the nouns.
    """

    model: str
    max_nouns: int = attrs.field(default=40, validator=ge(1))
    max_label_words: int = attrs.field(default=4, validator=and_(ge(1), le(6)))
    max_side: int = attrs.field(default=1024, validator=ge(64))
    max_tokens: int | None = attrs.field(default=None, validator=optional(ge(64)))
    temperature: float | None = None

    def room(self) -> int:
        """The most tokens of an answer."""
        return _FRAME_TOKENS + self.max_nouns * _ATTRIBUTE_TOKENS if self.max_tokens is None else self.max_tokens
