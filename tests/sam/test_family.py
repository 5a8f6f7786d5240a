"""The family of transformers behind the protocol, against the models' own one-call form and post-processing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sam.tiny import picture, tiny_family
from torch.nn.functional import interpolate

from sgforge.errors import StepError
from sgforge.masks import to_array
from sgforge_sam.family import FamilySam, load_family
from sgforge_sam.features import Encoder
from sgforge_sam.generator import Grid, generate
from sgforge_sam.tensors import why_not_loaded

KINDS = ["sam", "sam_hq", "sam2", "sam3_tracker"]
POINTS = np.array([[10.0, 20.0], [70.0, 5.0], [33.5, 40.25]])
BOXES = np.array([[5.0, 6.0, 40.0, 50.0], [0.0, 0.0, 80.0, 60.0]])


def prepared(kind: str, pixels: np.ndarray) -> torch.Tensor:
    """The model's input by plain arithmetic: (1, 3, side, side)."""
    side = 112 if kind == "sam3_tracker" else 128
    padded = kind in ("sam", "sam_hq")
    height, width = pixels.shape[:2]
    size = (side, round(side * height / width)) if padded else (side, side)
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR), np.float64) / 255
    mean, std = (0.5, 0.5) if kind == "sam3_tracker" else ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    full = np.zeros((side, side, 3))
    full[: size[1], : size[0]] = (small - mean) / std
    return torch.from_numpy(full.transpose(2, 0, 1)[None].astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_give_what_one_call_of_the_model_gives(kind: str) -> None:
    model = tiny_family(kind)
    pixels = picture(60, 80)
    values = prepared(kind, pixels)
    side = values.shape[-1]
    scale = np.array([side / 80, side / 80 if kind in ("sam", "sam_hq") else side / 60])
    adapter = FamilySam(model)
    features = adapter.encode([picture(50, 70, seed=1), pixels])[1]
    for found, prompts in (
        (
            adapter.decode_points(features, POINTS),
            {"input_points": torch.tensor((POINTS * scale)[None, :, None], dtype=torch.float32)},
        ),
        (
            adapter.decode_boxes(features, BOXES),
            {"input_boxes": torch.tensor((BOXES.reshape(-1, 2, 2) * scale).reshape(1, -1, 4), dtype=torch.float32)},
        ),
    ):
        with torch.no_grad():
            wanted = model(pixel_values=values, **prompts, multimask_output=True)
        torch.testing.assert_close(found.logits, wanted.pred_masks[0], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(found.iou, wanted.iou_scores[0], atol=1e-4, rtol=1e-3)
        full = wanted.pred_masks[0]
        if kind in ("sam", "sam_hq"):
            full = interpolate(full, (side, side), mode="bilinear", align_corners=False)[..., :96, :128]
        full = interpolate(full, (60, 80), mode="bilinear", align_corners=False).flatten(0, 1)
        torch.testing.assert_close(features.frame.enlarge(found.logits.flatten(0, 1)), full, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_folder_segments_everything(kind: str, tmp_path: Path) -> None:
    tiny_family(kind).save_pretrained(tmp_path)
    model = load_family(tmp_path, torch.device("cpu"), torch.float32)
    pixels = picture(60, 80)
    grid = Grid(points_per_side=3, pred_iou=-9.0, stability=0.0, box_nms=1.0)
    found = generate(Encoder(model), pixels, grid)
    assert len(found) == 27
    features = model.encode([pixels])[0]
    for proposal in found[:5]:
        decoded = model.decode_points(features, np.array([proposal.point]))
        logits = features.frame.enlarge(decoded.logits[0])[proposal.output]
        assert (to_array(proposal.mask) == (logits > 0).numpy()).mean() > 0.999


def test_faults_of_folders_are_told(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    cpu = torch.device("cpu")
    model = tiny_family("sam")
    model.save_pretrained(tmp_path / "whole")
    weights = load_file(tmp_path / "whole" / "model.safetensors")
    for name in ("mask_decoder.iou_token.weight", "vision_encoder.pos_embed"):
        del weights[name]
    model.save_pretrained(tmp_path / "part")
    save_file(weights, tmp_path / "part" / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        StepError, match=r"another architecture than SamModel: it lacks mask_decoder\.iou_token\.weight"
    ):
        load_family(tmp_path / "part", cpu, torch.float32)
    with pytest.raises(StepError, match="cannot be loaded"):
        load_family(tmp_path / "nothing", cpu, torch.float32)
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)).save_pretrained(
        tmp_path / "bert"
    )
    with pytest.raises(StepError, match="type 'bert', not one of sam, sam_hq"):
        load_family(tmp_path / "bert", cpu, torch.float32)


def test_a_gated_model_says_how_to_get_at_it() -> None:
    """In the words of the hub's client for a repository whose terms nobody accepted."""
    said = "You are trying to access a gated repo.\nMake sure to have access to it on its page.\n401"
    assert why_not_loaded(OSError(said)) == (
        "the model is gated: accept its terms on its page, then log in with `hf auth login` or set HF_TOKEN"
    )
    assert why_not_loaded(ValueError("two\n  lines")) == "two lines"
