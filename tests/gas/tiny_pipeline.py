"""A text-to-image pipeline of a few thousand random weights, made without a network."""

from __future__ import annotations

import json
from pathlib import Path


def save_tiny_pipeline(folder: Path) -> Path:
    """A StableDiffusionPipeline without a safety checker, 32 x 32 pixels."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    letters = "abcdefghijklmnopqrstuvwxyz.,;"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{one}</w>" for one in letters)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    blocks = {"block_out_channels": (16, 16), "layers_per_block": 1, "norm_num_groups": 4}
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        **blocks,
    )
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        **blocks,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "pipeline")
    return folder / "pipeline"


def save_tiny_transformer(folder: Path) -> Path:
    """A StableDiffusion3Pipeline (a diffusion transformer), one tokenizer for its three texts, 32 x 32."""
    import torch
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
        StableDiffusionPipeline,
    )
    from transformers import CLIPTextModelWithProjection, T5Config, T5EncoderModel

    other = StableDiffusionPipeline.from_pretrained(save_tiny_pipeline(folder / "other"), use_safetensors=True)
    torch.manual_seed(1)
    config = other.text_encoder.config
    config.projection_dim = 16
    texts = [CLIPTextModelWithProjection(config) for _ in range(2)]
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    third = T5EncoderModel(T5Config(vocab_size=config.vocab_size, **sizes))
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=16,
    )
    vae = AutoencoderKL.from_config({**other.vae.config, "shift_factor": 0.0609, "scaling_factor": 1.5305})
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae,
        text_encoder=texts[0],
        tokenizer=other.tokenizer,
        text_encoder_2=texts[1],
        tokenizer_2=other.tokenizer,
        text_encoder_3=third,
        tokenizer_3=other.tokenizer,
    )
    pipeline.save_pretrained(folder / "transformer")
    return folder / "transformer"
