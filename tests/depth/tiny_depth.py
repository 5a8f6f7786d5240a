"""A tiny depth model with random weights."""

from __future__ import annotations

from pathlib import Path

import torch


def saved_depth(folder: Path, kind: str = "relative") -> Path:
    """A tiny Depth Anything with its processor; `kind` is relative or metric."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config
    from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

    torch.manual_seed(0)
    config = DepthAnythingConfig(
        backbone_config=Dinov2Config(
            hidden_size=16,
            num_hidden_layers=4,
            num_attention_heads=2,
            image_size=56,
            patch_size=14,
            mlp_ratio=2,
            out_features=["stage1", "stage2", "stage3", "stage4"],
            reshape_hidden_states=False,
            apply_layernorm=True,
        ),
        patch_size=14,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
    )
    model = DepthAnythingForDepthEstimation(config)
    with torch.no_grad():  # initial weights are so small that every image would be flat
        for parameter in [*model.neck.parameters(), *model.head.parameters()]:
            if parameter.dim() > 1:
                parameter.mul_(8)
        model.head.conv3.bias += 1.0
    path = folder / kind
    model.save_pretrained(path)
    processor = DPTImageProcessorPil(size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14)
    processor.save_pretrained(path)
    return path
