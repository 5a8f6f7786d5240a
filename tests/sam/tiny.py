"""Tiny models with random weights, and pictures for them. They segment nothing that people would see."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from sgforge_sam.torchvision_free import import_segment_anything

FEW: Mapping[str, Any] = {"points_per_side": 3, "pred_iou": 0.5, "stability": 0.0, "clean": 0, "min_area": 0}
"""Options of `sam` that are quick, and let random masks pass."""


def picture(height: int = 60, width: int = 80, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: blocks of colour with noise."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (height // 16 + 1, width // 16 + 1, 3))
    pixels = blocks.repeat(16, axis=0).repeat(16, axis=1)[:height, :width] + rng.integers(-20, 20, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def tiny_sam(seed: int = 0, side: int = 128) -> Any:
    """A `Sam` of segment-anything's own classes with 3 masks a prompt; masks come out in blobs of many sizes."""
    import_segment_anything()
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(seed)
    grid = side // 16
    sam = Sam(
        image_encoder=ImageEncoderViT(
            depth=2,
            embed_dim=32,
            img_size=side,
            mlp_ratio=2,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=2,
            patch_size=16,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=[1],
            window_size=4,
            out_chans=32,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=32, image_embedding_size=(grid, grid), input_image_size=(side, side), mask_in_chans=4
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=8),
            transformer_dim=32,
            iou_head_depth=2,
            iou_head_hidden_dim=16,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
    with torch.no_grad():  # logits of a few units and predicted IoUs around 0.9, as of a trained model
        for mlp in sam.mask_decoder.output_hypernetworks_mlps:
            mlp.layers[-1].weight *= 100
            mlp.layers[-1].bias *= 100
        sam.mask_decoder.iou_prediction_head.layers[-1].bias += 0.85
    sam.mask_threshold = 3.0  # peaks alone: masks stay smaller than a crop
    return sam.eval()


def saved_sam(folder: Path, seed: int = 0) -> Path:
    """A checkpoint file of `tiny_sam`, as segment-anything's own are written."""
    path = folder / f"sam_tiny_{seed}.pth"
    torch.save(tiny_sam(seed).state_dict(), path)
    return path


def tiny_family(kind: str) -> Any:
    """A model of transformers' SAM family: sam, sam_hq, sam2, sam3_tracker."""
    import transformers as tf

    torch.manual_seed(0)
    if kind in ("sam", "sam_hq"):
        name = "Sam" if kind == "sam" else "SamHQ"
        vision = getattr(tf, f"{name}VisionConfig")(
            hidden_size=32,
            output_channels=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=128,
            patch_size=16,
            window_size=4,
            global_attn_indexes=[1],
            mlp_dim=64,
            num_pos_feats=8,
        )
        prompts = getattr(tf, f"{name}PromptEncoderConfig")(
            hidden_size=16, image_size=128, patch_size=16, mask_input_channels=4
        )
        decoder = getattr(tf, f"{name}MaskDecoderConfig")(
            hidden_size=16,
            mlp_dim=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            attention_downsample_rate=2,
            iou_head_depth=2,
            iou_head_hidden_dim=16,
            **({"vit_dim": 32} if kind == "sam_hq" else {}),
        )
        config = getattr(tf, f"{name}Config")(
            vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder
        )
        return getattr(tf, f"{name}Model")(config).eval()
    return _tiny_sam2() if kind == "sam2" else _tiny_sam3_tracker()


def _tiny_sam2() -> Any:
    import transformers as tf

    hiera = tf.Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[128, 128],
        patch_kernel_size=[7, 7],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[8, 4, 4, 2],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[2, 2],
    )
    vision = tf.Sam2VisionConfig(
        backbone_config=hiera,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
        fpn_hidden_size=32,
        fpn_top_down_levels=[2, 3],
        num_feature_levels=3,
    )
    config = tf.Sam2Config(
        vision_config=vision,
        prompt_encoder_config=tf.Sam2PromptEncoderConfig(
            hidden_size=32, image_size=128, patch_size=16, mask_input_channels=8
        ),
        mask_decoder_config=tf.Sam2MaskDecoderConfig(
            hidden_size=32,
            mlp_dim=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            iou_head_depth=2,
            iou_head_hidden_dim=32,
        ),
    )
    return tf.Sam2Model(config).eval()


def _tiny_sam3_tracker() -> Any:
    import transformers as tf

    vit = tf.Sam3ViTConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=112,
        patch_size=14,
        window_size=4,
        global_attn_indexes=[1],
        pretrain_image_size=56,
    )
    config = tf.Sam3TrackerConfig(
        vision_config={
            "backbone_config": vit.to_dict(),
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "scale_factors": [4.0, 2.0, 1.0],
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 112, "patch_size": 14, "mask_input_channels": 8},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "iou_head_depth": 2,
            "iou_head_hidden_dim": 32,
        },
    )
    return tf.Sam3TrackerModel(config).eval()


def semantic_tensors() -> dict[str, torch.Tensor]:
    """The tiny Semantic-SAM on file."""
    return load_file(Path(__file__).parents[1] / "data" / "sam" / "semantic_sam_weights.safetensors")


def semantic_options(folder: Path) -> dict[str, Any]:
    """Options of `semantic-sam` that are quick on a checkpoint written into `folder`."""
    path = folder / "semantic_tiny.pth"
    torch.save({"model": semantic_tensors()}, path)
    return {"checkpoint": str(path), "short_side": 64, "points_per_side": 2, "pred_iou": 0.0, "stability": 0.0}


def tiny_grounding(folder: Path) -> Path:
    """A Grounding DINO of eleven words."""
    import transformers as tf
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "cat", "dog", "red", "car", "grass"]
    swin = tf.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
    text = tf.BertConfig(
        vocab_size=200, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    config = tf.GroundingDinoConfig(
        backbone_config=swin,
        text_config=text,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_queries=10,
        max_text_len=16,
    )
    tf.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    tf.BertTokenizer(vocab={word: place for place, word in enumerate(words)}).save_pretrained(folder)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return folder


def tiny_owl(folder: Path) -> Path:
    """An OWLv2 of a few letters."""
    import transformers as tf
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    torch.manual_seed(0)
    config = tf.Owlv2Config(
        text_config={
            "vocab_size": 100,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 16,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 16,
        },
        projection_dim=16,
    )
    tf.Owlv2ForObjectDetection(config).save_pretrained(folder)
    _letters(16).save_pretrained(folder)
    Owlv2ImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def text_options(folder: Path) -> dict[str, Any]:
    """Options of `sam-text` with weights written into `folder`."""
    return {
        "checkpoint": str(saved_sam(folder)),
        "detector": str(tiny_grounding(folder / "grounding")),
        "phrases": ["cat", "red car"],
    }


def _letters(length: int) -> Any:
    """A CLIP tokenizer that knows single letters."""
    import transformers as tf

    letters = [*"abcdefghijklmnopqrstuvwxyz", *[f"{one}</w>" for one in "abcdefghijklmnopqrstuvwxyz"]]
    vocabulary = {word: place for place, word in enumerate(["!", "<|startoftext|>", "<|endoftext|>", *letters])}
    return tf.CLIPTokenizer(vocab=vocabulary, merges=[], pad_token="!", model_max_length=length)


def tiny_concepts(folder: Path) -> Path:
    """A SAM 3 with seven queries, an image of 112 pixels."""
    import transformers as tf

    torch.manual_seed(0)
    vit = tf.Sam3ViTConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=112,
        patch_size=14,
        window_size=4,
        global_attn_indexes=[1],
        pretrain_image_size=56,
    )
    part = {"hidden_size": 32, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = tf.Sam3Config(
        vision_config={
            "backbone_config": vit.to_dict(),
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "scale_factors": [4.0, 2.0, 1.0, 0.5],
        },
        text_config={
            "vocab_size": 100,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 16,
            "projection_dim": 16,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        geometry_encoder_config=part,
        detr_encoder_config=part,
        detr_decoder_config={**part, "num_queries": 7},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )
    tf.Sam3Model(config).save_pretrained(folder)
    _letters(16).save_pretrained(folder)
    return folder
