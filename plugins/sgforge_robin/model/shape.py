"""The shape of a Robin: what its config says, and what the shapes of its weights say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import attrs

from sgforge.errors import StepError
from sgforge_robin.model.names import COMPARING, EXTRACTOR, HEAD, PAIR_HEAD, PROJECTOR, REFERENCES, TRUNK
from sgforge_robin.model.naming import NameIds

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "IGNORED",
    "IMAGE_ID",
    "QWEN_3B",
    "Aspect",
    "ComparingShape",
    "PairShape",
    "RobinShape",
    "SpecialIds",
    "TowerShape",
]

IMAGE_ID: Final = -200
"""Stands in the ids for a whole image; never a row of the embedding table."""
IGNORED: Final = -100
"""The label of a position that is not learnt."""

Aspect = Literal["stretch", "pad"]

QWEN_3B: Final[Mapping[str, Any]] = {
    "model_type": "qwen2",
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "rope_theta": 1e6,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}
"""The sizes of the public Qwen2.5-3B-Instruct, the released Robin's language model."""

_OURS: Final = "sgforge"
_FOREIGN: Final = ("rope_scaling", "architectures", "transformers_version", "auto_map", "_name_or_path")


@attrs.frozen
class SpecialIds:
    """Ids of the tokens that stand for a region: `mask` for its features, `pos` for its place."""

    mask: int
    pos: int


@attrs.frozen
class TowerShape:
    """A ConvNeXt: `depths` and `dims` of its four stages, `head` the (hidden, out) widths of the CLIP head, if kept."""

    depths: tuple[int, ...] = (3, 3, 27, 3)
    dims: tuple[int, ...] = (192, 384, 768, 1536)
    head: tuple[int, int] | None = (1536, 768)


@attrs.frozen
class PairShape:
    """A pair head: sizes of its closed vocabularies, `width` of a region's vector, `hidden` of a pair's."""

    labels: int
    predicates: int
    width: int = 96
    hidden: int = 192


@attrs.frozen
class ComparingShape:
    """A comparing layer: `width` of what it makes of a region, in `heads` equal parts."""

    width: int = 128
    heads: int = 4


@attrs.frozen
class RobinShape:
    """Everything that building a Robin needs.

    `language`: the config of a causal language model in transformers' terms, with its `model_type`. `inner`: width of
    the extractor's sum over levels; `mask_side`: the grid of the spatial token. `projector`: "mlp2x_gelu" or "linear".
    `aspect`: how an image became square ("stretch", or "pad" with a border). `tokens`: None until a tokenizer says.
    `pair`, `comparing`: of the pair head and the comparing layer, None without one. `names`: None without a reference
    layer, of one empty until a tokenizer says.
    """

    language: Mapping[str, Any] = attrs.field(converter=dict, hash=False)
    tower: TowerShape = TowerShape()
    inner: int = 1024
    mask_side: int = 112
    projector: str = "mlp2x_gelu"
    aspect: Aspect = "stretch"
    tokens: SpecialIds | None = None
    pair: PairShape | None = None
    comparing: ComparingShape | None = None
    names: NameIds | None = None

    @property
    def width(self) -> int:
        """Channels of a token of the language model."""
        return int(self.language["hidden_size"])

    @classmethod
    def read(cls, state: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> Self:
        """What weights and config say together; the weights win where both speak (the table's rows, the widths).

        `config` is a config.json of the public form, or one with parts "config", "tokens". Without one, weights of the
        released widths take the sizes of Qwen2.5-3B; others are a `StepError`.
        """
        given = dict(config or {})
        flat = dict(given.get("config", given))
        tower = _tower(state)
        table = _need(state, "model.embed_tokens.weight", 2)
        language = _language(flat, table)
        feat = _need(state, f"{EXTRACTOR}feat_linear.weight", 2)
        grid = _need(state, f"{EXTRACTOR}mask_linear.layers.0.weight", 2)[1]
        return cls(
            language=language,
            tower=tower,
            inner=feat[1],
            mask_side=math.isqrt(grid),
            projector="mlp2x_gelu" if f"{PROJECTOR}0.weight" in state else "linear",
            aspect="pad" if flat.get("image_aspect_ratio") == "pad" else "stretch",
            tokens=_tokens(given, flat),
            pair=_pair(state),
            comparing=_comparing(state),
            names=NameIds() if f"{REFERENCES}focus.weight" in state else None,
        )

    def as_config(self) -> dict[str, Any]:
        """config.json: the language model's fields, the public form's, and ours in a part of their own."""
        ours = {} if self.tokens is None else {"tokens": attrs.asdict(self.tokens)}
        return {
            **self.language,
            "model_type": "robin_qwen" if self.language["model_type"] == "qwen2" else self.language["model_type"],
            "architectures": ["RobinQwenForCausalLM"],
            "mm_hidden_size": self.tower.dims[2],
            "mm_projector_type": self.projector,
            "image_aspect_ratio": self.aspect,
            "mm_use_im_start_end": False,
            _OURS: ours,
        }


def _need(state: Mapping[str, Tensor], name: str, dims: int) -> tuple[int, ...]:
    """The shape of a tensor that must be there."""
    if name not in state:
        raise StepError(f"the checkpoint has no {name}: it is no Robin, or a part of one")
    shape = tuple(state[name].shape)
    if len(shape) != dims:
        raise StepError(f"{name} of the checkpoint has shape {shape}, not {dims} dimensions")
    return shape


def _tower(state: Mapping[str, Tensor]) -> TowerShape:
    _need(state, f"{TRUNK}stem.0.weight", 4)
    depths: list[int] = []
    dims: list[int] = []
    while f"{TRUNK}stages.{len(depths)}.blocks.0.gamma" in state:
        stage = f"{TRUNK}stages.{len(depths)}.blocks."
        dims.append(_need(state, f"{stage}0.gamma", 1)[0])
        depths.append(sum(name.startswith(stage) and name.endswith(".gamma") for name in state))
    if len(depths) != 4:
        raise StepError(f"the checkpoint's vision tower has {len(depths)} stages, a ConvNeXt has 4")
    hidden, out = state.get(f"{HEAD}fc1.weight"), state.get(f"{HEAD}fc2.weight")
    head = None if hidden is None or out is None else (int(hidden.shape[0]), int(out.shape[0]))
    return TowerShape(tuple(depths), tuple(dims), head)


def _language(flat: Mapping[str, Any], table: tuple[int, ...]) -> dict[str, Any]:
    """The language model's part of a config, in the terms of the transformers library."""
    if "num_attention_heads" not in flat:
        if table[1] != QWEN_3B["hidden_size"]:
            raise StepError(
                f"weights of width {table[1]} need a config (config.json): heads cannot be read off their shapes"
            )
        flat = {**QWEN_3B, **flat}
    kind = str(flat.get("model_type", "qwen2"))
    language = {name: value for name, value in flat.items() if not name.startswith(("mm_", "image_", "tune_"))}
    for name in (*_FOREIGN, _OURS):
        language.pop(name, None)
    if int(flat["hidden_size"]) != table[1]:
        raise StepError(
            f"the config says hidden_size {flat['hidden_size']}, the checkpoint's embeddings have {table[1]} channels: "
            "config and weights are of different language models"
        )
    if "rope_theta" in language:
        theta = float(language.pop("rope_theta"))
        language.setdefault("rope_parameters", {"rope_type": "default", "rope_theta": theta})
    return {**language, "model_type": "qwen2" if kind == "robin_qwen" else kind, "vocab_size": table[0]}


def _pair(state: Mapping[str, Tensor]) -> PairShape | None:
    label, last = state.get(f"{PAIR_HEAD}label.weight"), state.get(f"{PAIR_HEAD}pair.5.weight")
    if label is None or last is None:
        return None
    return PairShape(len(label) - 1, len(last), label.shape[1], last.shape[1])


def _comparing(state: Mapping[str, Tensor]) -> ComparingShape | None:
    nobody = state.get(f"{COMPARING}nobody")
    return None if nobody is None or nobody.ndim != 2 else ComparingShape(nobody.numel(), len(nobody))


def _tokens(given: Mapping[str, Any], flat: Mapping[str, Any]) -> SpecialIds | None:
    named = given.get("tokens") or dict(flat.get(_OURS) or {}).get("tokens")
    return None if named is None else SpecialIds(int(named["mask"]), int(named["pos"]))
