"""The whole network, built from a checkpoint: every size is read off the shapes of its tensors."""

from __future__ import annotations

import math
import re
from typing import Final

import torch
from torch import nn

from sgforge.errors import StepError
from sgforge_sam.semantic.pixels import PixelDecoder, PixelSizes
from sgforge_sam.semantic.prompts import PromptDecoder, PromptSizes
from sgforge_sam.semantic.swin import Swin
from sgforge_sam.tensors import Tensors, check_names

__all__ = ["Network", "build_network"]

_POINTS: Final = 4  # sampled per head and level in every published model; no tensor's shape tells it
_HEADS: Final = 8  # likewise of the prompt decoder's self-attention
_PREFIX: Final = "model."
_NAME: Final = "Semantic-SAM"

_UNUSED: Final = re.compile(
    r".*\.relative_position_index"
    r"|sem_seg_head\.predictor\.(decoder\.)?bbox_embed\..*"  # copies of _bbox_embed
    r"|sem_seg_head\.predictor\.decoder\.norm\..*"  # a copy of decoder_norm
    r"|sem_seg_head\.predictor\.(class_embed|class_embed_part|lang_mapper)"  # for training alone
    r"|criterion\..*|pixel_mean|pixel_std"
)


class _Head(nn.Module):
    def __init__(self, pixels: PixelSizes, prompts: PromptSizes) -> None:
        super().__init__()
        self.pixel_decoder = PixelDecoder(pixels)
        self.predictor = PromptDecoder(prompts)


class Network(nn.Module):
    """Backbone and heads under the names of the public checkpoints."""

    def __init__(self, backbone: Swin, pixels: PixelSizes, prompts: PromptSizes) -> None:
        super().__init__()
        self.backbone = backbone
        self.sem_seg_head = _Head(pixels, prompts)

    def encode(self, images: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Normalised (B, 3, H, W), sides multiples of 32, to (levels of strides 8 to 64, mask features of stride 4)."""
        found: tuple[list[torch.Tensor], torch.Tensor] = self.sem_seg_head.pixel_decoder(self.backbone(images))
        return found


def build_network(tensors: Tensors, where: object) -> Network:
    """The network with these weights, on the CPU, for inference; a checkpoint of another model is a `StepError`."""
    plain = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
    used = {name: tensor for name, tensor in plain.items() if not _UNUSED.fullmatch(name)}
    first = "backbone.patch_embed.norm.weight"
    if first not in used:
        shown = ", ".join(sorted(tensors)[:3]) or "nothing"
        raise StepError(f"checkpoint {where} is none of {_NAME}: it has no {_PREFIX}{first}; it begins with {shown}")
    try:
        network = _sized(used)
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise StepError(f"checkpoint {where} is none of {_NAME}: it lacks {error.args[0]}") from error
    expected = network.state_dict()
    check_names(where, _NAME, expected.keys() - used.keys(), used.keys() - expected.keys())
    for name, tensor in used.items():
        if tensor.shape != expected[name].shape:
            shapes = f"{tuple(tensor.shape)} instead of {tuple(expected[name].shape)}"
            raise StepError(f"checkpoint {where} is of another architecture than {_NAME}: {name} is {shapes}")
    network.load_state_dict(used)
    return network.eval()


def _depth(tensors: Tensors, prefix: str) -> int:
    places = [int(name[len(prefix) :].split(".")[0]) for name in tensors if name.startswith(prefix)]
    return 1 + max(places)


def _sized(tensors: Tensors) -> Network:
    backbone, widths = _backbone(tensors)
    pixels = "sem_seg_head.pixel_decoder."
    prompts = "sem_seg_head.predictor."
    levels, dim = tensors[f"{pixels}transformer.level_embed"].shape
    mask_dim = tensors[f"{pixels}mask_features.weight"].shape[0]
    layer = f"{pixels}transformer.encoder.layers."
    places = tensors[f"{layer}0.self_attn.attention_weights.weight"].shape[0]
    decoder = f"{prompts}decoder.layers."
    return Network(
        backbone,
        PixelSizes(
            backbone=widths,
            dim=dim,
            mask_dim=mask_dim,
            layers=_depth(tensors, layer),
            hidden=tensors[f"{layer}0.linear1.weight"].shape[0],
            heads=places // (levels * _POINTS),
            levels=levels,
            points=_POINTS,
        ),
        PromptSizes(
            dim=dim,
            mask_dim=mask_dim,
            tokens=tensors[f"{prompts}mask_tokens.weight"].shape[0],
            layers=_depth(tensors, decoder),
            hidden=tensors[f"{decoder}0.linear1.weight"].shape[0],
            heads=_HEADS,
            levels=levels,
            points=_POINTS,
        ),
    )


def _backbone(tensors: Tensors) -> tuple[Swin, tuple[int, ...]]:
    stages = _depth(tensors, "backbone.layers.")
    tables = [tensors[f"backbone.layers.{stage}.blocks.0.attn.relative_position_bias_table"] for stage in range(stages)]
    dim = tensors["backbone.patch_embed.norm.weight"].shape[0]
    swin = Swin(
        dim=dim,
        depths=[_depth(tensors, f"backbone.layers.{stage}.blocks.") for stage in range(stages)],
        heads=[table.shape[1] for table in tables],
        window=(math.isqrt(tables[0].shape[0]) + 1) // 2,
        ratio=tensors["backbone.layers.0.blocks.0.mlp.fc1.weight"].shape[0] // dim,
        patch=tensors["backbone.patch_embed.proj.weight"].shape[-1],
    )
    return swin, tuple(dim * 2**stage for stage in range(stages))
