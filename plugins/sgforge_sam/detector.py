"""Detectors that find what a text names: Grounding DINO and OWLv2 of transformers, boxes with phrases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from sgforge.errors import StepError
from sgforge_sam.frames import Pixels
from sgforge_sam.tensors import check_names, why_not_loaded

__all__ = ["Detection", "Detector", "load_detector"]

_GROUNDING: Final = ("grounding-dino", "mm-grounding-dino")
_ENDS: Final = 2
"""Tokens before and behind a text."""


@attrs.frozen
class Detection:
    """A box xyxy in pixels of the image, inside it; which phrase it shows, None for none; and how sure that is."""

    box: tuple[float, float, float, float]
    phrase: str | None
    score: float


class Detector:
    """A detector on its device. `box_threshold`, `text_threshold`: as Grounding DINO has them; OWLv2 has the first."""

    def __init__(self, model: Any, processor: Any, box_threshold: float, text_threshold: float) -> None:
        self._model = model.eval()
        self._processor = processor
        self._box_threshold = box_threshold
        self._text_threshold = text_threshold

    @torch.inference_mode()
    def detect(self, pixels: Pixels, phrases: Sequence[str]) -> list[Detection]:
        """What of the phrases an (H, W, 3) uint8 RGB image shows, by falling score, its boxes cut to the image."""
        if not phrases:
            return []
        height, width = pixels.shape[:2]
        size = np.array([width, height, width, height])
        detections = []
        for group in self._groups(phrases):
            found = self._found(pixels, group)
            scores = found["scores"].float().cpu().numpy()
            boxes: NDArray[np.float64] = np.clip(found["boxes"].double().cpu().numpy().reshape(-1, 4), 0, size)
            detections += [
                Detection(tuple(box), phrase, float(score))
                for box, phrase, score in zip(boxes.tolist(), found["text_labels"], scores, strict=True)
                if box[0] < box[2] and box[1] < box[3]
            ]
        return sorted(detections, key=lambda one: -one.score)

    def _groups(self, phrases: Sequence[str]) -> list[list[str]]:
        """The phrases in as few texts as the model can read: Grounding DINO puts them side by side, up to a length."""
        if self._model.config.model_type not in _GROUNDING:
            return [list(phrases)]
        groups: list[list[str]] = []
        room = 0
        for phrase in phrases:
            length = len(self._processor.tokenizer(f"{phrase}.", add_special_tokens=False)["input_ids"])
            if length > room:
                groups.append([])
                room = self._longest - _ENDS
            groups[-1].append(phrase)
            room -= length
        return groups

    @property
    def _longest(self) -> int:
        """The most tokens of a text."""
        return int(self._model.config.max_text_len)

    def _found(self, pixels: Pixels, phrases: list[str]) -> dict[str, Any]:
        sizes = [pixels.shape[:2]]
        if self._model.config.model_type in _GROUNDING:
            text = ". ".join(phrases) + "."
            given = self._processor(
                images=pixels, text=text, truncation=True, max_length=self._longest, return_tensors="pt"
            ).to(self._model.device)
            output = self._model(**given)
            (found,) = self._processor.post_process_grounded_object_detection(
                output,
                given["input_ids"],
                threshold=self._box_threshold,
                text_threshold=self._text_threshold,
                target_sizes=sizes,
            )
            # Of no boxes it gives one empty text.
            texts = found["text_labels"][: len(found["scores"])]
            return {**found, "text_labels": [_phrase(text, phrases) for text in texts]}
        words = {"truncation": True, "max_length": self._model.config.text_config.max_position_embeddings}
        given = self._processor(images=pixels, text=[phrases], return_tensors="pt", **words).to(self._model.device)
        (found,) = self._processor.post_process_grounded_object_detection(
            self._model(**given), threshold=self._box_threshold, target_sizes=sizes, text_labels=[phrases]
        )
        return dict(found)


def _phrase(tokens: str, phrases: Sequence[str]) -> str | None:
    """The phrase that most of the matched words belong to: Grounding DINO matches words, at times of two phrases.

    Of equal ones the one with fewer words; None where only marks between the phrases were matched.
    """
    words = set(tokens.split())
    shared = [len(words & set(phrase.lower().split())) for phrase in phrases]
    best = max(range(len(phrases)), key=lambda place: (shared[place], -len(phrases[place].split())))
    return phrases[best] if shared[best] else None


def load_detector(name: Path | str, device: torch.device, *, box_threshold: float, text_threshold: float) -> Detector:
    """Weights in safetensors form from a folder or the hub, no code from there; faults are a `StepError`."""
    from transformers import (
        AutoConfig,
        AutoImageProcessor,
        AutoModelForZeroShotObjectDetection,
        AutoTokenizer,
        GroundingDinoProcessor,
        Owlv2Processor,
        OwlViTProcessor,
    )

    kinds = {"owlv2": Owlv2Processor, "owlvit": OwlViTProcessor, **dict.fromkeys(_GROUNDING, GroundingDinoProcessor)}
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        if config.model_type not in kinds:
            known = ", ".join(kinds)
            raise StepError(f"detector {name} is a model of type {config.model_type!r}, not one of {known}")
        model, report = AutoModelForZeroShotObjectDetection.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        # Pillow's resizing on every machine, also where torchvision is there and would resize otherwise.
        images: Any = AutoImageProcessor.from_pretrained(name, backend="pil", trust_remote_code=False)
        words: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        raise StepError(f"detector {name} cannot be loaded: {why_not_loaded(error)}") from error
    check_names(name, type(model).__name__, report["missing_keys"], ())
    processor = kinds[config.model_type](images, words)
    return Detector(model.to(device), processor, box_threshold, text_threshold)
