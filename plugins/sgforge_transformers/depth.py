"""Segmenter `depth`: how far each region is, as the median of a predicted depth map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModelForDepthEstimation

from sgforge.edits import Edit
from sgforge.errors import StepError
from sgforge.graph import Region, Sample
from sgforge.masks import to_crop
from sgforge.stages import Answer, Files, Resources, pixels_of
from sgforge_transformers.config import DEPTH_MAP, DEPTH_RANGE, DepthOptions
from sgforge_transformers.devices import auto_dtype

__all__ = ["DepthModel", "DepthSegmenter"]

Map = NDArray[np.float32]

_METRIC: Final = ("zoedepth",)
_SHOWN: Final = 3
_STEPS: Final = 65535


class DepthModel:
    """A depth model on its device. Its maps are larger where it is farther.

    A model of metric depth gives metres. Others give disparity up to scale and shift, which is turned around and
    stretched to [0, 1] for each image: an order within the image, not a distance.
    """

    def __init__(self, model: Any, processor: Any, device: torch.device, dtype: torch.dtype) -> None:
        self._model = model.to(device).eval()
        self._processor = processor
        self._device = device
        self._dtype = dtype
        metric = getattr(model.config, "depth_estimation_type", None) == "metric"
        self.is_metric = metric or model.config.model_type in _METRIC

    @classmethod
    def load(cls, name: Path | str, device: torch.device, dtype: torch.dtype) -> DepthModel:
        """Weights in safetensors form from a folder or the hub, no code from there; faults are a `StepError`."""
        try:
            AutoConfig.from_pretrained(name, trust_remote_code=False)
            model, report = AutoModelForDepthEstimation.from_pretrained(
                name, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
            # Pillow's resizing on every machine, also where torchvision is there and would resize otherwise.
            processor: Any = AutoImageProcessor.from_pretrained(name, backend="pil", trust_remote_code=False)
        except (OSError, ValueError, ImportError) as error:
            raise StepError(f"checkpoint {name} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
        missing = sorted(report["missing_keys"])
        if missing:  # transformers gives them random values, with no more than a warning
            raise StepError(f"checkpoint {name} is no whole {type(model).__name__}: it lacks {missing[:_SHOWN]}")
        return cls(model, processor, device, dtype)

    @torch.inference_mode()
    def maps(self, images: Sequence[NDArray[np.uint8]]) -> list[Map]:
        """Depth (H, W) of each (H, W, 3) image; all of one size."""
        given = self._processor(images=list(images), return_tensors="pt").to(self._device)
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            output = self._model(**given)
        output.predicted_depth = output.predicted_depth.float()
        sizes = [image.shape[:2] for image in images]
        found = self._post_processed(output, sizes)
        return [self._farther(one["predicted_depth"].cpu().numpy().astype(np.float32)) for one in found]

    def _post_processed(self, output: Any, sizes: list[tuple[int, ...]]) -> list[dict[str, torch.Tensor]]:
        # ZoeDepth cuts off the padding it put around each image, so it must know the size before as well.
        before = {"source_sizes": sizes} if self._model.config.model_type == "zoedepth" else {}
        found: list[dict[str, torch.Tensor]] = self._processor.post_process_depth_estimation(
            output, target_sizes=sizes, **before
        )
        return found

    def _farther(self, values: Map) -> Map:
        if self.is_metric:
            return values
        low, high = values.min(), values.max()
        return (high - values) / (high - low) if high > low else np.zeros_like(values)


class DepthSegmenter:
    """Sets the depth of regions that have none: the median over the mask's pixels, or the box's where there is no mask.

    Regions without a place are counted as `no-geometry`. An image that has depths to set keeps its map, too.
    """

    def __init__(self, options: DepthOptions) -> None:
        self.options = options
        self._model: DepthModel | None = None
        self._files: Files | None = None

    def setup(self, resources: Resources) -> None:
        """Loads the weights."""
        self._files = resources.files if self.options.keep_map else None
        device = torch.device(resources.device)
        dtype = auto_dtype(device) if self.options.dtype == "auto" else getattr(torch, self.options.dtype)
        self._model = DepthModel.load(self.options.checkpoint, device, dtype)

    def segment(self, samples: Sequence[Sample], /) -> list[Answer]:
        """The depths of each image's regions; images of one size go through the model together."""
        assert self._model is not None, "setup() comes first"
        pixels = [_pixels(sample) for sample in samples]
        answers: dict[int, Answer] = {place: one for place, one in enumerate(pixels) if not isinstance(one, np.ndarray)}
        wanted = [place for place, one in enumerate(pixels) if isinstance(one, np.ndarray)]
        for shape in dict.fromkeys(pixels[place].shape for place in wanted):  # type: ignore[union-attr]
            places = [place for place in wanted if pixels[place].shape == shape]  # type: ignore[union-attr]
            maps = self._model.maps([pixels[place] for place in places])  # type: ignore[misc]
            for place, depths in zip(places, maps, strict=True):
                answers[place] = _edit(samples[place], depths) + self._kept(depths)
        return [answers[place] for place in range(len(samples))]

    def _kept(self, depths: Map) -> Edit:
        """What keeps a map (H, W): stretched to the column's shape, in steps from its nearest to its farthest depth."""
        if self._files is None:
            return Edit()
        low, high = float(depths.min()), float(depths.max())
        small = np.asarray(Image.fromarray(depths).resize(DEPTH_MAP.shape[::-1], Image.Resampling.BOX), np.float64)
        steps = np.clip((small - low) / ((high - low) or 1.0), 0.0, 1.0) * _STEPS
        kept = self._files.put(np.rint(steps).astype("<u2").tobytes(), ".u2")
        edges = Edit.value("image", None, DEPTH_RANGE.name, [low, high])
        return Edit.value("image", None, DEPTH_MAP.name, kept) + edges


def _pixels(sample: Sample) -> NDArray[np.uint8] | Answer:
    """The pixels of a sample that has depths to set; else what to answer without them."""
    if all(region.depth is not None for region in sample.graph.regions.values()):
        return Edit()
    return pixels_of(sample)


def _edit(sample: Sample, depths: Map) -> Edit:
    sets = []
    placeless = 0
    for index, region in sample.graph.regions.items():
        if region.depth is not None:
            continue
        inside = _inside(region, depths)
        if inside.size:
            sets.append(Edit.set("region", index, depth=float(np.median(inside))))
        else:
            placeless += 1
    return Edit.sum([*sets, Edit(faults={"no-geometry": placeless} if placeless else {})])


def _inside(region: Region, depths: Map) -> Map:
    """The depths (N,) at a region's pixels; a box counts every pixel it touches."""
    mask = region.mask
    if mask is not None and mask.box is not None:
        crop = depths[mask.y : mask.y + mask.crop_height, mask.x : mask.x + mask.crop_width]
        return crop[to_crop(mask)]
    if region.box is None:
        return depths[:0, 0]
    height, width = depths.shape
    x0, y0, x1, y1 = region.box
    rows = slice(max(0, int(np.floor(y0))), min(height, int(np.ceil(y1))))
    columns = slice(max(0, int(np.floor(x0))), min(width, int(np.ceil(x1))))
    return depths[rows, columns].reshape(-1)
