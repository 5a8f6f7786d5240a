"""Models of the package segment-anything behind the protocol: vit_b, vit_l, vit_h, or any `Sam` of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sgforge_sam.frames import IMAGENET, Frame, Normal, Pixels
from sgforge_sam.protocol import Decoded, Features

__all__ = ["OriginalSam"]


class OriginalSam:
    """A `segment_anything.modeling.Sam`; the encoder may run in another dtype, the decoder is float32."""

    outputs = 3

    def __init__(self, sam: Any, dtype: torch.dtype = torch.float32) -> None:
        self._sam = sam.eval()
        self._dtype = dtype
        sam.image_encoder.to(dtype)
        self.threshold = float(sam.mask_threshold)
        self._side = int(sam.image_encoder.img_size)
        mean, std = (tuple(value.flatten().tolist()) for value in (sam.pixel_mean, sam.pixel_std))
        self._normal = IMAGENET if mean == IMAGENET.mean else Normal(mean, std)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        found: torch.device = self._sam.device
        return found

    def placed(self, pixels: Pixels, /) -> Frame:
        """Where an image lies in the square."""
        return Frame.of(pixels, self._side, "padded")

    @torch.inference_mode()
    def encode(self, images: Sequence[Pixels], /) -> list[Features]:
        """Features of some images, in one pass."""
        frames = [self.placed(pixels) for pixels in images]
        fitted = [frame.fitted(pixels, self._normal) for frame, pixels in zip(frames, images, strict=True)]
        features = self._sam.image_encoder(torch.stack(fitted).to(self._sam.device, self._dtype)).float()
        return [Features((one[None],), frame) for one, frame in zip(features, frames, strict=True)]

    def decode_points(self, features: Features, points: NDArray[np.float64], /) -> Decoded:
        """Three masks for each point."""
        assert isinstance(features.frame, Frame)
        placed = torch.from_numpy(features.frame.points(points)[:, None]).to(self._sam.device)
        labels = torch.ones(placed.shape[:2], dtype=torch.int, device=placed.device)
        return self._decode(features, points=(placed, labels), boxes=None)

    def decode_boxes(self, features: Features, boxes: NDArray[np.float64], /) -> Decoded:
        """Three masks for each box."""
        assert isinstance(features.frame, Frame)
        corners = features.frame.points(boxes.reshape(-1, 2, 2)).reshape(-1, 4)
        return self._decode(features, points=None, boxes=torch.from_numpy(corners).to(self._sam.device))

    @torch.inference_mode()
    def _decode(self, features: Features, **prompts: Any) -> Decoded:
        sparse, dense = self._sam.prompt_encoder(masks=None, **prompts)
        logits, iou = self._sam.mask_decoder(
            image_embeddings=features.tensors[0],
            image_pe=self._sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        return Decoded(logits, iou)
