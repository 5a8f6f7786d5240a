"""segment-anything's `Sam` built from a checkpoint: every size is read off the shapes of its tensors."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

import torch

from sgforge.errors import StepError
from sgforge_sam.frames import IMAGENET
from sgforge_sam.tensors import Tensors, check_names
from sgforge_sam.torchvision_free import import_segment_anything

__all__ = ["build_sam"]

_DECODER_HEADS: Final = 8  # of every published checkpoint; no tensor's shape tells it
_NAMES: Final = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_FIRST: Final = "image_encoder.pos_embed"


def build_sam(tensors: Tensors, where: object) -> Any:
    """The model of vit_b, vit_l, vit_h or any other size with these weights, on the CPU; faults are a `StepError`."""
    if _FIRST not in tensors:
        raise StepError(f"checkpoint {where} is none of segment-anything: {_looks_like(tensors)}")
    import_segment_anything()
    with torch.device("meta"):
        try:
            sam = _empty(tensors)
        except (KeyError, ValueError, IndexError, ZeroDivisionError, AttributeError) as error:
            raise StepError(f"checkpoint {where} is none of segment-anything: no sizes fit its tensors") from error
    name = _NAMES.get(tensors[_FIRST].shape[-1], "segment-anything's models")
    expected = sam.state_dict()
    check_names(where, name, expected.keys() - tensors.keys(), tensors.keys() - expected.keys())
    for key, tensor in tensors.items():
        if tensor.shape != expected[key].shape:
            shapes = f"{tuple(tensor.shape)} instead of {tuple(expected[key].shape)}"
            raise StepError(f"checkpoint {where} is of another architecture than {name}: {key} is {shapes}")
    sam.load_state_dict(tensors, assign=True)
    # Not among the weights, so still without values.
    sam.register_buffer("pixel_mean", torch.tensor(IMAGENET.mean).view(-1, 1, 1), persistent=False)
    sam.register_buffer("pixel_std", torch.tensor(IMAGENET.std).view(-1, 1, 1), persistent=False)
    return sam.eval()


def _looks_like(tensors: Tensors) -> str:
    if any(name.startswith(("model.backbone", "model.sem_seg_head", "backbone.", "sem_seg_head.")) for name in tensors):
        return 'its names are those of Semantic-SAM, use segment = "semantic-sam"'
    if any(name.startswith("image_encoder.trunk") for name in tensors):
        return "its names are those of SAM 2's own files, use the folder or hub id in transformers' form"
    first = ", ".join(sorted(tensors)[:3]) or "nothing"
    return f"it has no {_FIRST}; it begins with {first}"


def _depth(tensors: Tensors, pattern: str) -> int:
    return 1 + max(int(found[1]) for name in tensors if (found := re.match(pattern + r"\.(\d+)\.", name)))


def _empty(tensors: Tensors) -> Any:
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    _, grid, _, _ = tensors[_FIRST].shape
    patch = tensors["image_encoder.patch_embed.proj.weight"].shape[-1]
    width = tensors["image_encoder.neck.0.weight"].shape[0]
    masks = "prompt_encoder.mask_downscaling.6.weight"
    head = r"mask_decoder\.iou_prediction_head\.layers"
    return Sam(
        image_encoder=_encoder(tensors, grid, patch, width),
        prompt_encoder=PromptEncoder(
            embed_dim=width,
            image_embedding_size=(grid, grid),
            input_image_size=(grid * patch, grid * patch),
            mask_in_chans=tensors[masks].shape[1],
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=tensors["mask_decoder.mask_tokens.weight"].shape[0] - 1,
            transformer=TwoWayTransformer(
                depth=_depth(tensors, r"mask_decoder\.transformer\.layers"),
                embedding_dim=width,
                mlp_dim=tensors["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
                num_heads=_DECODER_HEADS,
            ),
            transformer_dim=width,
            iou_head_depth=_depth(tensors, head),
            iou_head_hidden_dim=tensors["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
        ),
        pixel_mean=list(IMAGENET.mean),
        pixel_std=list(IMAGENET.std),
    )


def _encoder(tensors: Tensors, grid: int, patch: int, width: int) -> Any:
    from segment_anything.modeling import ImageEncoderViT

    embed = tensors[_FIRST].shape[-1]
    block = "image_encoder.blocks.{}."
    depth = _depth(tensors, r"image_encoder\.blocks")
    # A relative position table has an entry for each of 2 * size - 1 distances: of a window, or of the whole grid.
    sizes = [(tensors[block.format(index) + "attn.rel_pos_h"].shape[0] + 1) // 2 for index in range(depth)]
    windows = [size for size in sizes if size != grid]
    return ImageEncoderViT(
        depth=depth,
        embed_dim=embed,
        img_size=grid * patch,
        mlp_ratio=tensors[block.format(0) + "mlp.lin1.weight"].shape[0] / embed,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=embed // tensors[block.format(0) + "attn.rel_pos_h"].shape[1],
        patch_size=patch,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=[index for index, size in enumerate(sizes) if size == grid],
        window_size=windows[0] if windows else 0,
        out_chans=width,
    )
