"""The rewards `clipscore` and `pickscore`: how alike CLIP finds a picture and its caption, on transformers alone.

CLIPScore (Hessel et al. 2021, arXiv 2104.08718, section 3): 2.5 max(cos(text, picture), 0), the caption behind the
words "A photo depicts". PickScore (Kirstain et al. 2023, arXiv 2305.01569, section 3): the temperature of a CLIP that
was trained on preferences, times that cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from sgforge.errors import ImageError, StepError
from sgforge.graph import Caption, Sample
from sgforge.stages import Credit, Failure, Outcome, Resources
from sgforge.stages.rewards import Scored
from sgforge_gas.config import ClipScoreOptions, PickScoreOptions

__all__ = ["ClipScoreReward", "PickScoreReward"]

_WEIGHT: Final = 2.5
_AT_ONCE: Final = 32
_SHOWN: Final = 3


class _Clip:
    """A CLIP with its tokenizer and what it does to pictures."""

    def __init__(self, checkpoint: Path | str, processor: Path | str | None, device: str) -> None:
        """Weights in safetensors form from a folder or the hub, no code from there; faults are a `StepError`."""
        beside = checkpoint if processor is None else processor
        try:
            model, report = CLIPModel.from_pretrained(
                checkpoint, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
            self._tokenizer: Any = AutoTokenizer.from_pretrained(beside, trust_remote_code=False)
            # Pillow's resizing on every machine, also where torchvision is there and would resize otherwise.
            self._pictures: Any = AutoImageProcessor.from_pretrained(beside, backend="pil", trust_remote_code=False)
        except (OSError, ValueError, ImportError) as error:
            what = " ".join(str(error).split())[:300]
            raise StepError(f"checkpoint {checkpoint} cannot be loaded as a CLIP: {what}") from error
        missing = sorted(report["missing_keys"])
        if missing:  # transformers gives them random values, with no more than a warning
            raise StepError(f"checkpoint {checkpoint} is no whole CLIP: it lacks {missing[:_SHOWN]}")
        self._model: Any = model.to(device).eval()  # type: ignore[arg-type]
        self._device = device
        self.temperature = float(model.logit_scale.detach().exp())

    @torch.inference_mode()
    def cosines(self, texts: Sequence[str], pictures: Sequence[Any]) -> list[float]:
        """Of each text and its picture, in [-1, 1]; of a text that is longer than the model reads its beginning."""
        most = self._model.config.text_config.max_position_embeddings
        words = self._tokenizer(list(texts), padding=True, truncation=True, max_length=most, return_tensors="pt").to(
            self._device
        )
        pixels = self._pictures(images=list(pictures), return_tensors="pt").to(self._device)
        found = self._model(
            input_ids=words["input_ids"], attention_mask=words["attention_mask"], pixel_values=pixels["pixel_values"]
        )
        # Both are of length 1 already.
        cosines: list[float] = (found.text_embeds * found.image_embeds).sum(-1).clamp(-1.0, 1.0).tolist()
        return cosines


class _ClipReward:
    """Scores each outcome's picture against the caption of its sample.

    Failures: no-caption (put a caption step before), no-image (nothing was drawn), image (it cannot be read).
    """

    range: tuple[float, float]
    _prompt = ""

    def __init__(self, checkpoint: Path | str, processor: Path | str | None) -> None:
        self._checkpoint = checkpoint
        self._processor = processor
        self._clip: _Clip | None = None

    def setup(self, resources: Resources) -> None:
        """Load the weights."""
        self._clip = _Clip(self._checkpoint, self._processor, resources.device)

    def close(self) -> None:
        """Let the weights go."""
        self._clip = None

    def total(self, cosine: float) -> float:
        """What a cosine is worth."""
        raise NotImplementedError

    def score(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[list[Scored]]:
        """The credits of all outcomes."""
        assert self._clip is not None, "setup() comes first"
        found: list[list[Any]] = [
            [_seen(sample, outcome) for outcome in group] for sample, group in zip(samples, outcomes, strict=True)
        ]
        shown = [
            (row, place)
            for row, group in enumerate(found)
            for place, one in enumerate(group)
            if not isinstance(one, Failure)
        ]
        for start in range(0, len(shown), _AT_ONCE):
            some = shown[start : start + _AT_ONCE]
            texts = [f"{self._prompt}{_text_of(samples[row])}" for row, _ in some]
            cosines = self._clip.cosines(texts, [found[row][place] for row, place in some])
            for (row, place), cosine in zip(some, cosines, strict=True):
                # Rounded, so that a batch of another size says the same.
                found[row][place] = Credit(round(self.total(cosine), 4), {"cosine": round(cosine, 5)})
        return found


class ClipScoreReward(_ClipReward):
    """2.5 max(cosine, 0), in [0, 2.5]."""

    range = (0.0, _WEIGHT)

    def __init__(self, options: ClipScoreOptions) -> None:
        super().__init__(options.checkpoint, options.processor)
        self._prompt = options.prompt

    def total(self, cosine: float) -> float:
        """What a cosine is worth."""
        return _WEIGHT * max(cosine, 0.0)


class PickScoreReward(_ClipReward):
    """The model's temperature times the cosine."""

    range = (-100.0, 100.0)

    def __init__(self, options: PickScoreOptions) -> None:
        super().__init__(options.checkpoint, options.processor)

    def setup(self, resources: Resources) -> None:
        """Load the weights, among which the temperature is."""
        super().setup(resources)
        assert self._clip is not None
        most = round(self._clip.temperature, 4)
        self.range = (-most, most)

    def total(self, cosine: float) -> float:
        """What a cosine is worth."""
        assert self._clip is not None
        return self._clip.temperature * cosine


def _text_of(sample: Sample) -> str | None:
    caption = sample.values.get("caption")
    return caption.text if isinstance(caption, Caption) else None


def _seen(sample: Sample, outcome: Outcome) -> Any:
    """The picture of an outcome, or why there is none to be scored."""
    if _text_of(sample) is None:
        return Failure("no-caption", f"image {sample.image_id} has no caption: put a caption step before")
    if outcome.image is None:
        return Failure("no-image", f"image {sample.image_id}: what was made of it has no picture")
    try:
        return outcome.image.pil().convert("RGB")
    except ImageError as error:
        return Failure("image", str(error))
