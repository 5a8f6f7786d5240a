"""A CLIP of a few thousand random weights, made without a network."""

from __future__ import annotations

import json
from pathlib import Path

LETTERS = "abcdefghijklmnopqrstuvwxyz.,;"
WORDS = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{one}</w>" for one in LETTERS)]
SIZE = 32
MOST_TOKENS = 24
MEAN = (0.5, 0.4, 0.3)
SPREAD = (0.25, 0.5, 0.75)


def save_tiny_clip(folder: Path, *, flipped: bool = False) -> Path:
    """Model, tokenizer and picture settings in one folder; `flipped`: every cosine has the other sign."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=MOST_TOKENS)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(
            text_config={**size, **ends, "vocab_size": len(WORDS), "max_position_embeddings": MOST_TOKENS},
            vision_config={**size, "image_size": SIZE, "patch_size": 8},
            projection_dim=8,
        )
    )
    with torch.no_grad():
        model.logit_scale.fill_(3.0)
        model.text_projection.weight.normal_()
        model.visual_projection.weight.normal_()
        if flipped:
            model.visual_projection.weight.neg_()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pictures = CLIPImageProcessorPil(
        size={"shortest_edge": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=list(MEAN),
        image_std=list(SPREAD),
    )
    pictures.save_pretrained(folder)
    return folder
