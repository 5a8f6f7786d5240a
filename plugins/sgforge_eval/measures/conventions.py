"""Named conventions of scene-graph recall: what each public code base does where definitions leave room.

Sources: SGB is Scene-Graph-Benchmark.pytorch, OpenPSG its panoptic successor, Maelic the maintained SGG-Benchmark,
ASMv2 the All-Seeing Model v2 evaluation on PSG, R1 the block over whole images of R1-SGG's `vg150_eval`, OI the Open
Images challenge as PySGG implements it, EGTR the evaluator of the one-stage detectors RelTR and EGTR; SVG is section
4.4 of Synthetic Visual Genome, open-ended answers on PSG.
`docs/metrics.md` says what each field means and what differs in a number because of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from sgforge.errors import ConfigError
from sgforge.text.did_you_mean import choices

if TYPE_CHECKING:
    from sgforge import boxes

__all__ = ["CONVENTIONS", "DEFAULT", "SWITCHES", "Convention", "convention_named"]


@attrs.frozen
class Convention:
    """One way of counting.

    `pixels`: how many pixels a box spans (`sgforge.boxes`). `strict`: an overlap must exceed 0.5, not only reach it.
    `duplicates`: what becomes of equal truth triplets of an image. `unanswered`: whether an image without any predicted
    relation is left out or counts 0. `average`: recall as the mean over images or pooled over all truth triplets.
    `absent`: whether a predicate of the vocabulary without truth counts 0 in mean recall or is left out. `ranked`:
    whether the lists are cut at K. `pair_limit`: how many of its best predicates each pair may list in the constrained
    ranking (None: all). `least_score`: triplets that do not exceed it are not listed. `average_precision`: relations
    and phrases also have an AP per predicate, weighted into one score, and nothing is ever ranked as listed.
    `pairs_after_cut`: pair accuracy cuts the list at K before it keeps the pairs that the truth relates, not after.
    `detection_sides`: pixels added to the far sides of true and of predicted boxes in detection mAP.
    `single`: regions of one object are one, and each stands for one true region (`measures.single`).
    `weighted`: recall is also weighted by rank (`measures.weighted`). `whole`: recall without a cut is also pooled over
    all truth triplets per predicate.
    `loses_first_box`: in detection mAP the first truth box of all is never found, a defect of the reference (see
    `docs/metrics.md`).
    """

    name: str
    summary: str
    pixels: boxes.Convention = "continuous"
    strict: bool = False
    duplicates: Literal["keep", "drop"] = "keep"
    unanswered: Literal["skip", "zero"] = "skip"
    average: Literal["image", "pooled"] = "image"
    absent: Literal["zero", "skip"] = "zero"
    ranked: bool = True
    pair_limit: int | None = 1
    least_score: float = 0.0
    average_precision: bool = False
    pairs_after_cut: bool = False
    detection_sides: tuple[int, int] = (0, 0)
    single: bool = False
    weighted: bool = False
    whole: bool = False
    loses_first_box: bool = False


CONVENTIONS: Final[Mapping[str, Convention]] = {
    convention.name: convention
    for convention in (
        Convention(
            "sgforge",
            "plain IoU >= 0.5, equal truth triplets once, images without a prediction count 0, mean over images",
            duplicates="drop",
            unanswered="zero",
        ),
        Convention(
            "sgb",
            "+1 pixel IoU >= 0.5, equal truth triplets kept, images without a prediction left out, mean over images",
            pixels="legacy",
            detection_sides=(1, 1),
            loses_first_box=True,
        ),
        Convention(
            "egtr",
            "+1 pixel IoU >= 0.5, equal truth triplets kept, images without a prediction count 0, mean over images",
            pixels="legacy",
            unanswered="zero",
        ),
        Convention(
            "openpsg",
            "plain IoU >= 0.5, equal truth triplets once, images without a prediction left out, mean over images",
            duplicates="drop",
        ),
        Convention(
            "single",
            "one region an object and one distribution a pair, plain IoU >= 0.5, images without a prediction count 0",
            duplicates="drop",
            unanswered="zero",
            single=True,
        ),
        Convention(
            "maelic",
            "IoU with +1 in the intersection only, equal truth triplets kept, images without a prediction count 0",
            pixels="maelic",
            unanswered="zero",
            pairs_after_cut=True,
            detection_sides=(0, 1),
            weighted=True,
            loses_first_box=True,
        ),
        Convention(
            "svg",
            "plain IoU > 0.5, every listed triplet takes a rank, equal truth triplets once, mean over images",
            strict=True,
            duplicates="drop",
            unanswered="zero",
            pair_limit=None,
        ),
        Convention(
            "asmv2",
            "plain IoU, every listed triplet counts (no K), pooled over all truth triplets, mean over predicates seen",
            unanswered="zero",
            average="pooled",
            absent="skip",
            ranked=False,
            pair_limit=None,
        ),
        Convention(
            "r1",
            "plain IoU >= 0.5, every listed triplet counts (no K), equal truth triplets kept, by image and pooled",
            unanswered="zero",
            absent="skip",
            ranked=False,
            pair_limit=None,
            whole=True,
        ),
        Convention(
            "oi",
            "+1 pixel IoU > 0.5 for AP, two predicates a pair, pooled recall over all truth triplets",
            pixels="legacy",
            unanswered="zero",
            average="pooled",
            pair_limit=2,
            least_score=1e-5,
            average_precision=True,
            detection_sides=(1, 1),
            loses_first_box=True,
        ),
    )
}
DEFAULT: Final = "sgforge"

SWITCHES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "pixels": ("pixels", {"continuous": "continuous", "legacy": "legacy", "maelic": "maelic"}),
    "duplicates": ("duplicates", {"keep": "keep", "drop": "drop"}),
    "unanswered": ("unanswered", {"skip": "skip", "zero": "zero"}),
    "predicates": ("pair_limit", {"all": None}),
}
"""What may be changed on top of a named convention: name, field, values; `predicates` (a pair) takes a number too."""


def convention_named(text: str) -> Convention:
    """The convention of this name, with its switches: "sgb", "sgb+unanswered=zero+predicates=3".

    The name of what is returned is the whole text, so that a changed convention is never printed as the plain one. An
    unknown name or switch is a `ConfigError` listing those there are.
    """
    name, *switches = text.split("+")
    found = CONVENTIONS.get(name)
    if found is None:
        raise ConfigError(f"no convention {name!r}; choose one of {', '.join(CONVENTIONS)}")
    changed: dict[str, Any] = {}
    for switch in switches:
        field, value = _switch(switch, text)
        if field in changed or getattr(found, field) == value:
            raise ConfigError(f"convention {text!r}: {switch} changes nothing, leave it out")
        changed[field] = value
    said = ", ".join(switches)
    return attrs.evolve(found, name=text, summary=f"{found.summary}; but {said}", **changed) if changed else found


def _switch(switch: str, text: str) -> tuple[str, Any]:
    """The field that a switch KEY=VALUE changes, and its value."""
    key, sign, value = switch.partition("=")
    if not sign or key not in SWITCHES:
        raise ConfigError(f"convention {text!r}: no switch {switch!r}; {choices(key, SWITCHES)}")
    field, values = SWITCHES[key]
    if field == "pair_limit" and value.isdecimal() and int(value) > 0:
        return field, int(value)
    if value not in values:
        more = " or a number" if field == "pair_limit" else ""
        raise ConfigError(f"convention {text!r}: {key} must be {' or '.join(values)}{more}, not {value!r}")
    return field, values[value]
