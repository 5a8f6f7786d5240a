"""Options of the Synthetic Visual Genome components; light to import."""

from __future__ import annotations

from typing import Any, Final, Literal

import attrs
from attrs.validators import and_, ge, gt, le

__all__ = ["CompletionConfig", "EditConfig", "NamesConfig", "Spatial", "VqaConfig"]

Picture = Literal["marks", "plain"]
Spatial = Literal["never", "without-rule", "always"]


_SHARE: Final[Any] = and_(ge(0), le(1))


@attrs.frozen(kw_only=True)
class CompletionConfig:
    """Options of the completion teacher.

    `model`: "provider/model" (the paper used GPT-4V). `subjects`: at least how many subjects to describe (K = 5, SVG
    section 2.1). The other values are ours. `relations_per_subject`: at most how many new relations of each.
    `picture`: regions numbered on the image, or the plain image. `max_regions`: at most how many regions are shown,
    largest first; the rest is counted. `max_side`: longest side of the picture sent, in pixels. `max_predicate_words`:
    longer predicates are refused, item by item. `max_tokens`, `temperature`: of the answer.
    """

    model: str
    subjects: int = attrs.field(default=5, validator=ge(1))
    relations_per_subject: int = attrs.field(default=10, validator=ge(1))
    picture: Picture = "marks"
    max_regions: int = attrs.field(default=60, validator=ge(2))
    max_side: int = attrs.field(default=1024, validator=ge(64))
    max_predicate_words: int = attrs.field(default=6, validator=ge(1))
    max_tokens: int = attrs.field(default=4096, validator=ge(64))
    temperature: float | None = None


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
    `least_mass`: where yes and no have less of the first token's probability together, the word decides.
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


@attrs.frozen(kw_only=True)
class EditConfig:
    """Options of the SG-Edit editor (SVG section 2.2; the paper used gpt-4o-2024-08-06 and gives no other value).

    `scope`: which relations may be removed: those that steps of the pipeline made, or all. Regions are never added,
    moved or removed. `max_additions`: at most how many relations one answer may add.
    """

    model: str
    scope: Literal["generated", "all"] = "generated"
    max_additions: int = attrs.field(default=20, validator=ge(0))
    picture: Picture = "marks"
    max_regions: int = attrs.field(default=60, validator=ge(2))
    max_side: int = attrs.field(default=1024, validator=ge(64))
    max_predicate_words: int = attrs.field(default=6, validator=ge(1))
    max_tokens: int = attrs.field(default=4096, validator=ge(64))
    temperature: float | None = None


@attrs.frozen(kw_only=True)
class NamesConfig:
    """Options of the editor that names regions; no paper gives any of their values.

    `scope`: regions without a label, or all. `max_label_words`: longer labels are refused, item by item.
    `max_attributes`: at most how many are taken of one region. `picture`, `max_regions`, `max_side`, `max_tokens` and
    `temperature` as for the completion teacher.
    """

    model: str
    scope: Literal["unnamed", "all"] = "unnamed"
    max_label_words: int = attrs.field(default=4, validator=ge(1))
    max_attributes: int = attrs.field(default=5, validator=ge(0))
    picture: Picture = "marks"
    max_regions: int = attrs.field(default=60, validator=ge(1))
    max_side: int = attrs.field(default=1024, validator=ge(64))
    max_tokens: int = attrs.field(default=4096, validator=ge(64))
    temperature: float | None = None
