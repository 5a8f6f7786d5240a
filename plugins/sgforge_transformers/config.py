"""Options of the components; light to import."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs

from sgforge.weights import path_or_hub_id

__all__ = ["DepthOptions"]


@attrs.frozen(kw_only=True)
class DepthOptions:
    """`depth` sets how far each region is, by a depth model.

    `checkpoint`: a folder in transformers' form, or a hub id: Depth Anything, DPT, ZoeDepth. `dtype`: "auto" is
    bfloat16 on CUDA, else float32.
    """

    checkpoint: Path | str = attrs.field(converter=path_or_hub_id)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
