"""Segmenter `sam-concepts`: every instance of a named concept, by SAM 3 with a text prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from sgforge.edits import Edit
from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge.stages import Answer, Failure, Resources, pixels_of
from sgforge_sam.config import SamConceptsOptions
from sgforge_sam.cutouts import masks_above
from sgforge_sam.frames import CLIP_STYLE, Frame, Pixels
from sgforge_sam.phrases import NOTHING_NAMED, Phrases
from sgforge_sam.regions import Found, added
from sgforge_sam.tensors import check_names, why_not_loaded
from sgforge_sam.weights import dtype_of

__all__ = ["ConceptModel", "ConceptSegmenter", "load_concepts"]

_INSIDE: Final = 0.5


class ConceptModel:
    """A `Sam3Model` with its tokenizer. An image is encoded once, whatever is asked of it."""

    def __init__(self, model: Any, tokenizer: Any, dtype: torch.dtype = torch.float32) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._dtype = dtype
        size = model.config.vision_config.backbone_config.image_size
        self._side = int(size if isinstance(size, int) else size[0])

    @torch.inference_mode()
    def find(self, pixels: Pixels, phrases: Sequence[str], threshold: float) -> list[Found]:
        """The instances of each phrase in an (H, W, 3) uint8 RGB image whose score exceeds `threshold`.

        The score is P(this query is an instance) * P(the concept is present in the image). A pixel is in the mask where
        its probability, enlarged bilinearly to the image, exceeds one half.
        """
        frame = Frame.of(pixels, self._side, "stretched")
        device = self._model.device
        with torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32):
            seen = self._model.get_vision_features(frame.fitted(pixels, CLIP_STYLE)[None].to(device))
            return [found for phrase in phrases for found in self._of(phrase, seen, frame, threshold)]

    def _of(self, phrase: str, seen: Any, frame: Frame, threshold: float) -> list[Found]:
        words = self._tokenizer(
            phrase,
            padding="max_length",
            truncation=True,
            max_length=self._model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self._model.device)
        output = self._model(vision_embeds=seen, input_ids=words["input_ids"], attention_mask=words["attention_mask"])
        presence = output.presence_logits[0].float().sigmoid()
        scores = output.pred_logits[0].float().sigmoid() * presence
        sure = torch.nonzero(scores > threshold)[:, 0]
        sure = sure[scores[sure].argsort(descending=True, stable=True)]
        masks = masks_above(output.pred_masks[0, sure].float().sigmoid(), frame, _INSIDE)
        return [
            Found(
                mask=mask,
                score=score,
                level=None,
                source="sam-concepts",
                label=phrase,
                presence=float(presence.reshape(-1)[0]),
            )
            for mask, score in zip(masks, scores[sure].tolist(), strict=True)
        ]


def load_concepts(name: Path | str, device: torch.device, dtype: torch.dtype) -> ConceptModel:
    """Weights in safetensors form from a folder or the hub, no code from there; faults are a `StepError`."""
    from transformers import AutoTokenizer, Sam3Model

    try:
        model, report = Sam3Model.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        raise StepError(f"checkpoint {name} cannot be loaded: {why_not_loaded(error)}") from error
    check_names(name, "Sam3Model", report["missing_keys"], ())
    return ConceptModel(model.to(device), tokenizer, dtype)


class ConceptSegmenter:
    """Adds a region for each instance of each phrase: label, mask, box, score."""

    def __init__(self, options: SamConceptsOptions) -> None:
        self.options = options
        self._model: ConceptModel | None = None
        self._phrases = Phrases(options)

    def setup(self, resources: Resources) -> None:
        """Loads the weights."""
        self._phrases.setup(resources)
        device = torch.device(resources.device)
        self._model = load_concepts(self.options.checkpoint, device, dtype_of(self.options.dtype, device))

    def segment(self, samples: Sequence[Sample], /) -> list[Answer]:
        """An edit for each image; one that is missing, broken or of another size than its graph is a `Failure`."""
        return [self._one(*pair) for pair in zip(samples, self._phrases.of(samples), strict=True)]

    def _one(self, sample: Sample, phrases: tuple[str, ...] | Failure) -> Edit | Failure:
        assert self._model is not None, "setup() comes first"
        pixels = pixels_of(sample)
        if isinstance(pixels, Failure):
            return pixels
        if isinstance(phrases, Failure) or not phrases:
            return phrases if isinstance(phrases, Failure) else Edit(faults={NOTHING_NAMED: 1})
        found = self._model.find(pixels, phrases, self.options.threshold)
        return added(found, len(sample.graph.all.regions), self.options.disjoint)
