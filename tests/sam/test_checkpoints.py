"""Checkpoint files: sizes read off tensors, and every fault told in one line."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sam.tiny import picture, saved_sam, tiny_sam

from sgforge.errors import StepError
from sgforge_sam.architecture import build_sam
from sgforge_sam.original import OriginalSam
from sgforge_sam.tensors import read_tensors
from sgforge_sam.torchvision_free import import_segment_anything
from sgforge_sam.weights import load_sam

CPU = torch.device("cpu")


@pytest.mark.parametrize("form", ["pth", "wrapped", "safetensors"])
def test_a_checkpoint_gives_the_model_that_wrote_it(form: str, tmp_path: Path) -> None:
    sam = tiny_sam(seed=3)
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(sam.state_dict(), path)
    else:
        torch.save({"model": sam.state_dict()} if form == "wrapped" else sam.state_dict(), path)
    pixels = picture()
    points = np.array([[5.0, 6.0], [70.0, 41.0]])
    wanted = OriginalSam(sam)
    found = load_sam(path, CPU, torch.float32)
    for model in (wanted, found):
        assert model.encode([pixels])[0].tensors[0].dtype == torch.float32
    theirs, ours = (model.decode_points(model.encode([pixels])[0], points) for model in (wanted, found))
    assert torch.equal(theirs.logits, ours.logits)
    assert torch.equal(theirs.iou, ours.iou)


@pytest.mark.parametrize(("name", "embed", "depth", "heads"), [("vit_b", 768, 12, 12), ("vit_h", 1280, 32, 16)])
def test_published_architectures_are_recognised(name: str, embed: int, depth: int, heads: int) -> None:
    """Of their real sizes, without memory for them."""
    package = import_segment_anything()
    with torch.device("meta"):
        wanted = package.sam_model_registry[name]()
    sam = build_sam(wanted.state_dict(), "no file")
    assert len(sam.image_encoder.blocks) == depth
    assert sam.image_encoder.img_size == 1024
    assert sam.image_encoder.blocks[0].attn.num_heads == heads
    assert sam.image_encoder.blocks[0].window_size == 14
    assert [block.window_size for block in sam.image_encoder.blocks].count(0) == 4
    assert sam.image_encoder.pos_embed.shape[-1] == embed
    assert sam.state_dict().keys() == wanted.state_dict().keys()
    attention = sam.mask_decoder.transformer.layers[0].self_attn
    assert attention.num_heads == wanted.mask_decoder.transformer.layers[0].self_attn.num_heads


def without(sam: Any, *names: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in sam.state_dict().items() if name not in names}


def test_another_architecture_is_named_with_its_first_keys(tmp_path: Path) -> None:
    sam = tiny_sam()
    cases = {
        "it lacks mask_decoder.iou_token.weight": without(sam, "mask_decoder.iou_token.weight"),
        "it has the unknown mask_decoder.hf_token.weight": {
            **sam.state_dict(),
            "mask_decoder.hf_token.weight": torch.ones(1),
        },
        r"no_mask_embed.weight is \(2, 32\) instead of \(1, 32\)": {
            **sam.state_dict(),
            "prompt_encoder.no_mask_embed.weight": torch.zeros(2, 32),
        },
        "begins with a, b": {"a": torch.ones(1), "b": torch.ones(1)},
        'Semantic-SAM, use segment = "semantic-sam"': {"model.backbone.norm0.weight": torch.ones(1)},
        "SAM 2's own files": {"image_encoder.trunk.pos_embed": torch.ones(1)},
        "no sizes fit": {"image_encoder.pos_embed": torch.ones(1, 8, 8, 32)},
    }
    for message, tensors in cases.items():
        path = tmp_path / "other.pth"
        torch.save(tensors, path)
        with pytest.raises(StepError, match=message):
            load_sam(path, CPU, torch.float32)


class Harmful:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("fault", ["cut", "cut early", "empty", "text", "pickle", "list", "cut safetensors", "missing"])
def test_files_that_are_no_tensors_are_refused(fault: str, tmp_path: Path) -> None:
    whole = saved_sam(tmp_path).read_bytes()
    path = tmp_path / ("bad.safetensors" if "safetensors" in fault else "bad.pth")
    message = "damaged or cut off"
    if fault == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif fault == "cut early":
        path.write_bytes(whole[:100])
    elif fault == "empty":
        path.touch()
    elif fault == "text":
        path.write_text("<html>not found</html>")
        message = "refused|damaged"
    elif fault == "pickle":
        path.write_bytes(pickle.dumps({"image_encoder.pos_embed": Harmful(tmp_path / "made")}, protocol=2))
        message = "refused"
    elif fault == "list":
        torch.save([torch.ones(1)], path)
        message = "no table of named tensors"
    elif fault == "cut safetensors":
        save_file({"a": torch.ones(100)}, path)
        path.write_bytes(path.read_bytes()[:-40])
    else:
        message = "there is no such file"
    with pytest.raises(StepError, match=message) as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "made").exists()
