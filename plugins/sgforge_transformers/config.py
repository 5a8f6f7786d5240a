"""Options of the components; light to import."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import attrs

from sgforge.columns.declared import Column
from sgforge.weights import path_or_hub_id

__all__ = ["DEPTH_MAP", "DEPTH_RANGE", "DepthOptions"]

DEPTH_MAP: Final = Column("image", "transformers.depth_map", "u2", (256, 256))
DEPTH_RANGE: Final = Column("image", "transformers.depth_range", "f4", (2,))


@attrs.frozen(kw_only=True)
class DepthOptions:
    """`depth` sets how far each region is, by a depth model.

    `checkpoint`: a folder in transformers' form, or a hub id: Depth Anything, DPT, ZoeDepth. `dtype`: "auto" is
    bfloat16 on CUDA, else float32. `keep_map`: the map of each image is kept, in column `transformers.depth_map`, 256
    by 256 uint16 whatever the image's size (131 kB in the dataset's files); 0 and 65535 stand for the two depths in
    `transformers.depth_range`.
    """

    checkpoint: Path | str = attrs.field(converter=path_or_hub_id)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    keep_map: bool = True
