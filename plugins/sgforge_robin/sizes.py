"""The sizes a Robin is built in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from sgforge_robin.model.shape import QWEN_3B, PairShape, RobinShape, SpecialIds, TowerShape

__all__ = ["SIZES", "Size"]


@attrs.frozen
class Size:
    """One size: `language` as in a config of transformers, the tower, the extractor, and the image's side in pixels.

    `rows`: how many tokens a tokenizer learnt from the training's own texts may have; 0 where a language model's own
    tokenizer is needed.
    """

    language: Mapping[str, Any] = attrs.field(converter=dict, hash=False)
    tower: TowerShape
    inner: int
    mask_side: int
    side: int
    box_text: bool
    rows: int = 0

    @property
    def image_tokens(self) -> int:
        """How many tokens an image becomes: cells of stride 16."""
        return (self.side // 16) ** 2

    def shape(self, rows: int, tokens: SpecialIds, pair: PairShape | None = None) -> RobinShape:
        """The shape with a table of so many rows, and with a pair head if it is said."""
        return RobinShape(
            language={**self.language, "vocab_size": rows},
            tower=self.tower,
            inner=self.inner,
            mask_side=self.mask_side,
            tokens=tokens,
            pair=pair,
        )


def _qwen(width: int, layers: int, heads: int, hidden: int) -> dict[str, Any]:
    return {
        "model_type": "qwen2",
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": max(heads // 4, 1),
        "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
    }


SIZES: Final[Mapping[str, Size]] = {
    "tiny": Size(
        language=_qwen(128, 3, 4, 384),
        tower=TowerShape((1, 1, 2, 1), (24, 48, 96, 128), None),
        inner=96,
        mask_side=32,
        side=128,
        box_text=False,
        rows=1024,
    ),
    "small": Size(
        language=_qwen(512, 8, 8, 1408),
        tower=TowerShape((2, 2, 6, 2), (64, 128, 256, 512), None),
        inner=256,
        mask_side=56,
        side=256,
        box_text=True,
        rows=8192,
    ),
    "3b": Size(
        language={name: value for name, value in QWEN_3B.items() if name != "rope_theta"}
        | {"rope_parameters": {"rope_type": "default", "rope_theta": QWEN_3B["rope_theta"]}},
        tower=TowerShape(),
        inner=1024,
        mask_side=112,
        side=512,
        box_text=True,
    ),
}
"""`tiny` and `small` are ours, for tests and small sets; `3b` is the released size."""
