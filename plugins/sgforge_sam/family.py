"""The SAM family of transformers behind the protocol: SAM, SAM-HQ, SAM 2, and the tracker of SAM 3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from sgforge.errors import StepError
from sgforge_sam.frames import CLIP_STYLE, IMAGENET, Frame, Normal, Pixels
from sgforge_sam.protocol import Decoded, Features
from sgforge_sam.tensors import check_names, why_not_loaded

__all__ = ["FamilySam", "load_family"]


@attrs.frozen
class _Kind:
    """How a model wants its images; the processors of SAM 2 and 3 need torchvision, so this is done here."""

    layout: Literal["padded", "stretched"]
    normal: Normal


_KINDS: Final = {
    "sam": _Kind("padded", IMAGENET),
    "sam_hq": _Kind("padded", IMAGENET),
    "sam2": _Kind("stretched", IMAGENET),
    "sam2_video": _Kind("stretched", IMAGENET),
    "sam3_tracker": _Kind("stretched", CLIP_STYLE),
    "sam3_tracker_video": _Kind("stretched", CLIP_STYLE),
    "sam3_video": _Kind("stretched", CLIP_STYLE),
}


class FamilySam:
    """A model of transformers that takes points and boxes and gives three masks for each."""

    outputs = 3
    threshold = 0.0

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32) -> None:
        self._model = model.eval()
        self._dtype = dtype
        kind = _KINDS[model.config.model_type]
        self._layout, self._normal = kind.layout, kind.normal
        self._side = int(model.config.prompt_encoder_config.image_size)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        found: torch.device = self._model.device
        return found

    def placed(self, pixels: Pixels, /) -> Frame:
        """Where an image lies in the square."""
        return Frame.of(pixels, self._side, self._layout)

    @torch.inference_mode()
    def encode(self, images: Sequence[Pixels], /) -> list[Features]:
        """Features of some images, in one pass."""
        frames = [self.placed(pixels) for pixels in images]
        fitted = [frame.fitted(pixels, self._normal) for frame, pixels in zip(frames, images, strict=True)]
        device = self._model.device
        with torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32):
            made = _tensors(self._model.get_image_embeddings(torch.stack(fitted).to(device)))
        return [
            Features(tuple(tensor[place : place + 1].float() for tensor in made), frame)
            for place, frame in enumerate(frames)
        ]

    def decode_points(self, features: Features, points: NDArray[np.float64], /) -> Decoded:
        """Three masks for each point."""
        placed = self._on_device(features, points)
        labels = torch.ones((1, len(points), 1), dtype=torch.int, device=placed.device)
        return self._decode(features, input_points=placed[None, :, None], input_labels=labels)

    def decode_boxes(self, features: Features, boxes: NDArray[np.float64], /) -> Decoded:
        """Three masks for each box."""
        return self._decode(features, input_boxes=self._on_device(features, boxes.reshape(-1, 2, 2)).reshape(1, -1, 4))

    def _on_device(self, features: Features, points: NDArray[np.float64]) -> torch.Tensor:
        assert isinstance(features.frame, Frame)
        return torch.from_numpy(features.frame.points(points)).to(self._model.device, torch.float32)

    @torch.inference_mode()
    def _decode(self, features: Features, **prompts: torch.Tensor) -> Decoded:
        tensors = features.tensors
        given: dict[str, Any] = {"image_embeddings": tensors[0]}
        if self._model.config.model_type == "sam_hq":
            given["intermediate_embeddings"] = list(tensors[1:])
        elif self._layout == "stretched":
            given["image_embeddings"] = list(tensors)
        made = self._model(**given, **prompts, multimask_output=True)
        return Decoded(made.pred_masks[0].float(), made.iou_scores[0].float())


def _tensors(made: Any) -> list[torch.Tensor]:
    """Flat tensors of what `get_image_embeddings` gives: one, several, or one and a list (SAM-HQ)."""
    if isinstance(made, torch.Tensor):
        return [made]
    return [tensor for part in made for tensor in _tensors(part)]


def load_family(name: Path | str, device: torch.device, dtype: torch.dtype) -> FamilySam:
    """Weights in safetensors form from a folder or the hub, no code from there; faults are a `StepError`."""
    from transformers import AutoConfig, AutoModelForMaskGeneration

    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        if config.model_type not in _KINDS:
            known = ", ".join(_KINDS)
            raise StepError(f"checkpoint {name} is a model of type {config.model_type!r}, not one of {known}")
        model, report = AutoModelForMaskGeneration.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise StepError(f"checkpoint {name} cannot be loaded: {why_not_loaded(error)}") from error
    # transformers gives what it does not find random values, with no more than a warning.
    check_names(name, type(model).__name__, report["missing_keys"], ())
    return FamilySam(model.to(device), dtype)
