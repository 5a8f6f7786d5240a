"""Semantic-SAM behind the protocol: images at its own scale, points and boxes, a mask for each level of detail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate, pad

from sgforge.errors import StepError
from sgforge_sam.frames import IMAGENET, Pixels
from sgforge_sam.protocol import Decoded, Features
from sgforge_sam.semantic.network import Network, build_network
from sgforge_sam.tensors import read_tensors

__all__ = ["LEVEL_TOKENS", "SemanticFrame", "SemanticSam", "load_network"]

LEVEL_TOKENS: Final = {1: 3, 2: 2, 3: 0, 4: 4, 5: 1, 6: 5}
"""Which of the six masks of a prompt each user level is: 1 and 2 semantic, 3 instance, 4 to 6 parts (its README)."""

_LONGEST: Final = 4  # times the short side: a strip would else become as long as memory lasts
_MULTIPLE: Final = 32
_POINT_SIDE: Final = 0.005


@attrs.frozen
class SemanticFrame:
    """An image of `height` x `width` resized to `inner` (height, width) and padded to `padded`."""

    height: int
    width: int
    inner: tuple[int, int]
    padded: tuple[int, int]

    @classmethod
    def of(cls, pixels: Pixels, short: int = 640) -> SemanticFrame:
        """The shorter side becomes `short` pixels, unless the longer one would pass four times that."""
        height, width = pixels.shape[:2]
        scale = min(short / min(height, width), _LONGEST * short / max(height, width))
        inner = (max(1, int(height * scale)), max(1, int(width * scale)))
        rows, columns = (-(-side // _MULTIPLE) * _MULTIPLE for side in inner)
        return cls(height, width, inner, (rows, columns))

    def fitted(self, pixels: Pixels) -> torch.Tensor:
        """(3, *padded) float32: resized bicubically, normalised, padded with zeros."""
        height, width = self.inner
        if (height, width) != pixels.shape[:2]:
            pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
        values = IMAGENET(torch.from_numpy(np.array(pixels)).permute(2, 0, 1))
        return pad(values, (0, self.padded[1] - width, 0, self.padded[0] - height))

    def fractions(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (..., 2) x, y in pixels of the image, in fractions of the padded one."""
        shares = np.array([self.inner[1] / self.padded[1] / self.width, self.inner[0] / self.padded[0] / self.height])
        moved: NDArray[np.float64] = points * shares
        return moved

    def enlarge(self, logits: torch.Tensor) -> torch.Tensor:
        """(N, h, w) logits to (N, height, width), bilinear, by way of the padded and the resized image."""
        height, width = self.inner
        resized = interpolate(logits[None], self.padded, mode="bilinear", align_corners=False)[..., :height, :width]
        if self.inner == (self.height, self.width):
            return resized[0]
        return interpolate(resized, (self.height, self.width), mode="bilinear", align_corners=False)[0]


class SemanticSam:
    """The network on its device; the masks of a prompt come in the order of the levels, 1 to 6.

    `apart`: each prompt by itself; else prompts decoded together see one another, as in the released inference.
    `short`: pixels of an image's shorter side in the network's input, 640 in the released inference.
    """

    outputs = len(LEVEL_TOKENS)
    threshold = 0.0

    def __init__(
        self, network: Network, *, apart: bool = True, short: int = 640, dtype: torch.dtype = torch.float32
    ) -> None:
        self._network = network
        self._tokens = list(LEVEL_TOKENS.values())
        self._apart = apart
        self._short = short
        self._dtype = dtype

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self._network.parameters()).device

    def placed(self, pixels: Pixels, /) -> SemanticFrame:
        """Where an image lies in the network's input."""
        return SemanticFrame.of(pixels, self._short)

    def encode(self, images: Sequence[Pixels], /) -> list[Features]:
        """Features of some images; those of one size go through together."""
        frames = [self.placed(pixels) for pixels in images]
        found: dict[int, Features] = {}
        for inner in dict.fromkeys(frame.inner for frame in frames):
            places = [place for place, frame in enumerate(frames) if frame.inner == inner]
            fitted = torch.stack([frames[place].fitted(images[place]) for place in places])
            for place, tensors in zip(places, self._encoded(fitted), strict=True):
                found[place] = Features(tensors, frames[place])
        return [found[place] for place in range(len(images))]

    @torch.inference_mode()
    def _encoded(self, fitted: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
        device = self.device
        with torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32):
            levels, masks = self._network.encode(fitted.to(device))
        return [tuple(one[place : place + 1].float() for one in (masks, *levels)) for place in range(len(fitted))]

    def decode_points(self, features: Features, points: NDArray[np.float64], /) -> Decoded:
        """A mask of each level for each point, which is given to the network as a tiny box."""
        assert isinstance(features.frame, SemanticFrame)
        frame = features.frame
        shares = np.array([frame.inner[1] / frame.padded[1], frame.inner[0] / frame.padded[0]])
        sides = np.broadcast_to(_POINT_SIDE * shares, points.shape)
        return self._decode(features, np.concatenate([frame.fractions(points), sides], axis=1), kind=0)

    def decode_boxes(self, features: Features, boxes: NDArray[np.float64], /) -> Decoded:
        """A mask of each level for each box."""
        assert isinstance(features.frame, SemanticFrame)
        corners = features.frame.fractions(boxes.reshape(-1, 2, 2))
        centred = np.concatenate([corners.mean(axis=1), corners[:, 1] - corners[:, 0]], axis=1)
        return self._decode(features, centred, kind=1)

    @torch.inference_mode()
    def _decode(self, features: Features, boxes: NDArray[np.float64], kind: int) -> Decoded:
        masks, *levels = features.tensors
        given = torch.from_numpy(boxes).to(masks.device, torch.float32)
        kinds = torch.full((len(boxes),), kind, device=masks.device)
        embeddings, iou = self._network.sem_seg_head.predictor(levels, given, kinds, apart=self._apart)
        chosen = embeddings[:, self._tokens]
        return Decoded(torch.einsum("ptc,chw->pthw", chosen, masks[0]), iou[:, self._tokens])


def load_network(checkpoint: Path | str, device: torch.device) -> Network:
    """The network of a checkpoint file; a hub id or a folder is none."""
    if isinstance(checkpoint, str):
        raise StepError(f"checkpoint {checkpoint}: Semantic-SAM is read from a file, swinl_only_sam_many2many.pth")
    return build_network(read_tensors(checkpoint), checkpoint).to(device)
