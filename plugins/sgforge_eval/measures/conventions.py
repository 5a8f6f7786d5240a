"""Named conventions of scene-graph recall: what each public code base does where definitions leave room.

Sources: SGB is Scene-Graph-Benchmark.pytorch, OpenPSG its panoptic successor, Maelic the maintained SGG-Benchmark,
ASMv2 the All-Seeing Model v2 evaluation on PSG, OI the Open Images challenge as PySGG implements it; SVG is section 4.4
of Synthetic Visual Genome, open-ended answers on PSG. `docs/metrics.md` says what each field means and what differs in
a number because of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import attrs

from sgforge import boxes
from sgforge.errors import ConfigError

__all__ = ["CONVENTIONS", "DEFAULT", "Convention", "convention_named"]


@attrs.frozen
class Convention:
    """One way of counting.

    `pixels`: how many pixels a box spans (`sgforge.boxes`). `strict`: an overlap must exceed 0.5, not only reach it.
    `duplicates`: what becomes of equal truth triplets of an image. `unanswered`: whether an image without any predicted
    relation is left out or counts 0. `average`: recall as the mean over images or pooled over all truth triplets.
    `absent`: whether a predicate of the vocabulary without truth counts 0 in mean recall or is left out. `ranked`:
    whether the lists are cut at K. `pair_limit`: how many of its best predicates each pair may list in the constrained
    ranking (None: all). `least_score`: triplets that do not exceed it are not listed. `average_precision`: relations
    and phrases also have an AP per predicate, weighted into one score. `loses_first_box`: in detection mAP the first
    truth box of all is never found, a defect of the reference (see `docs/metrics.md`).
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
            loses_first_box=True,
        ),
        Convention(
            "openpsg",
            "plain IoU >= 0.5, equal truth triplets once, images without a prediction left out, mean over images",
            duplicates="drop",
        ),
        Convention(
            "maelic",
            "IoU with +1 in the intersection only, equal truth triplets kept, images without a prediction count 0",
            pixels="maelic",
            unanswered="zero",
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
            "oi",
            "+1 pixel IoU > 0.5 for AP, two predicates a pair, pooled recall over all truth triplets",
            pixels="legacy",
            unanswered="zero",
            average="pooled",
            pair_limit=2,
            least_score=1e-5,
            average_precision=True,
        ),
    )
}
DEFAULT: Final = "sgforge"


def convention_named(name: str) -> Convention:
    """The convention called `name`; an unknown name is a `ConfigError` listing those there are."""
    try:
        return CONVENTIONS[name]
    except KeyError:
        raise ConfigError(f"no convention {name!r}; choose one of {', '.join(CONVENTIONS)}") from None
