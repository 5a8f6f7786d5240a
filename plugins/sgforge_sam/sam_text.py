"""Segmenter `sam-text`: masks of what a text names. A detector finds boxes for phrases, SAM their masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from sgforge.edits import Edit
from sgforge.graph import Sample
from sgforge.masks import selection
from sgforge.stages import Answer, Failure, Resources
from sgforge_sam.config import SamTextOptions
from sgforge_sam.detector import Detector, load_detector
from sgforge_sam.encoded import EncodedSegmenter
from sgforge_sam.features import Encoder
from sgforge_sam.frames import Pixels
from sgforge_sam.phrases import NOTHING_NAMED, Phrases
from sgforge_sam.regions import Found, added, measured
from sgforge_sam.sam import masks_of_boxes
from sgforge_sam.weights import sam_encoder

__all__ = ["SamTextSegmenter"]

_DUPLICATE: Final = "duplicate-mask"
_NO_PHRASE: Final = "no-phrase"


class SamTextSegmenter(EncodedSegmenter):
    """Adds a region for each detection: the phrase as label, the mask that SAM predicts best for the box.

    The score is the detector's. Of masks that are the same the one of the highest score stays; the others are counted
    as `duplicate-mask`, masks without pixels as `empty-mask`, boxes of no phrase as `no-phrase`.
    """

    def __init__(self, options: SamTextOptions) -> None:
        super().__init__()
        self.options = options
        self._detector: Detector | None = None
        self._phrases = Phrases(options)
        self._named: dict[str, tuple[str, ...] | Failure] = {}

    def load(self, resources: Resources) -> Encoder:
        """The encoder, shared with `sam` steps of the same weights."""
        return sam_encoder(self.options, resources)

    def setup(self, resources: Resources) -> None:
        """Loads the detector, and SAM or shares it."""
        options = self.options
        self._detector = load_detector(
            options.detector,
            torch.device(resources.device),
            box_threshold=options.box_threshold,
            text_threshold=options.text_threshold,
        )
        self._phrases.setup(resources)
        super().setup(resources)

    def segment(self, samples: Sequence[Sample], /) -> list[Answer]:
        """As of any; a captioner is asked about all images of the batch at once."""
        named = self._phrases.of(samples)
        self._named = {sample.image_id: found for sample, found in zip(samples, named, strict=True)}
        return super().segment(samples)

    def edit(self, encoder: Encoder, sample: Sample, pixels: Pixels) -> Edit | Failure:
        """The regions of all phrases."""
        assert self._detector is not None
        phrases = self._named[sample.image_id]
        if isinstance(phrases, Failure) or not phrases:
            return phrases if isinstance(phrases, Failure) else Edit(faults={NOTHING_NAMED: 1})
        detected = self._detector.detect(pixels, phrases)
        detections = [one for one in detected if one.phrase is not None]
        boxes = np.array([one.box for one in detections], np.float64).reshape(-1, 4)
        masks = masks_of_boxes(encoder, pixels, boxes, self.options.points_per_batch)
        found = [
            Found(mask=mask, score=one.score, level=None, source="sam-text", label=one.phrase)
            for one, mask in zip(detections, masks, strict=True)
        ]
        distinct = _distinct(found, self.options.duplicates)
        counts = {_NO_PHRASE: len(detected) - len(found), _DUPLICATE: len(found) - len(distinct)}
        faults = Edit(faults={reason: count for reason, count in counts.items() if count})
        return added(distinct, len(sample.graph.all.regions)) + faults


def _distinct(found: Sequence[Found], iou: float) -> list[Found]:
    """Those that no earlier one is the same as; masks without pixels are nobody's duplicate."""
    kept = selection.without_duplicates(measured([one.mask for one in found]), iou)
    return [found[place] for place in kept.tolist()]
