"""The model against figures that the released classes gave (`tests/data/robin/README.md`)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from robin.given import DATA, figures, masks, meta, robin, weights
from torch import Tensor

from sgforge_robin import MaskExtractor, image_tensor
from sgforge_robin.model.names import module_name, public_name
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.shape import QWEN_3B, RobinShape, SpecialIds, TowerShape

LEVELS = ("res2", "res3", "res4", "res5")


@pytest.fixture(scope="module")
def model() -> RobinModel:
    return robin(parity=True)


def close(found: Tensor, name: str, atol: float = 1e-5) -> None:
    torch.testing.assert_close(found, figures()[name], atol=atol, rtol=0)


def batch() -> list[Any]:
    given = figures()
    return [given["in.images"], masks(), given["in.input_ids"], given["in.attention_mask"], given["in.labels"]]


@torch.no_grad()
def test_the_tower(model: RobinModel) -> None:
    features = model.tower(figures()["in.images"])
    for name, maps in features.items():
        close(maps, f"out.fp32.vision.{name}")
    close(features["res4"].flatten(2).transpose(1, 2), "out.fp32.image_features_raw")
    close(model.image_tokens(features["res4"]), "out.fp32.image_tokens")


@torch.no_grad()
@pytest.mark.parametrize("row", [0, 1])
def test_the_extractor(model: RobinModel, row: int) -> None:
    features = {name: figures()[f"out.fp32.vision.{name}"][row : row + 1] for name in LEVELS}
    given = figures()[f"in.masks.{row}"]
    mask_tokens, pos_tokens = model.extractor(features, given)
    close(mask_tokens, f"out.fp32.mask_tokens.{row}")
    close(pos_tokens, f"out.fp32.pos_tokens.{row}")
    bare = {name.removeprefix("mask_extractor."): value for name, value in weights().items() if "mask_ext" in name}
    for state in (weights(), bare):
        again = MaskExtractor.from_state_dict(state, parity=True)(features, given)
        assert torch.equal(again[0], mask_tokens)
        assert torch.equal(again[1], pos_tokens)


@torch.no_grad()
def test_what_is_pooled(model: RobinModel) -> None:
    features = {name: figures()[f"out.fp32.vision.{name}"][:1] for name in LEVELS}
    for name, means in model.extractor.pooled(features, figures()["in.masks.0"]).items():
        close(means, f"out.fp32.pooled.0.{name}")


def test_splice_logits_and_loss(model: RobinModel) -> None:
    images, given, ids, kept, labels = batch()
    spliced = model.spliced(images, given, ids, kept, labels)
    seen = figures()["out.new_attention_mask"]
    torch.testing.assert_close(spliced.embeds[seen], figures()["out.fp32.inputs_embeds"][seen], atol=1e-5, rtol=0)
    out = model(*batch())
    assert out.labels is not None
    assert out.loss is not None
    assert torch.equal(out.labels, figures()["out.new_labels"])
    assert torch.equal(out.attention_mask, seen)
    torch.testing.assert_close(out.logits[seen], figures()["out.fp32.logits"][seen], atol=1e-5, rtol=0)
    torch.testing.assert_close(out.loss, figures()["out.fp32.loss"], atol=0, rtol=1e-6)


def test_gradients() -> None:
    model = robin(parity=True)
    loss = model(*batch()).loss
    assert loss is not None
    loss.backward()
    found = {public_name(name): value.grad for name, value in model.named_parameters()}
    names = [name.removeprefix("grad.fp32.") for name in figures() if name.startswith("grad.fp32.")]
    assert len(names) == 9
    for name in names:
        torch.testing.assert_close(found[name], figures()[f"grad.fp32.{name}"], atol=1e-6, rtol=1e-5)
    without = sorted(name for name, grad in found.items() if grad is None)
    assert without == sorted(meta()["params_without_grad"])


@torch.no_grad()
@pytest.mark.parametrize("row", [0, 1])
def test_greedy_ids(model: RobinModel, row: int) -> None:
    given = figures()
    prompt = given[f"in.greedy_prompt.{row}"][None]
    spliced = model.spliced(given["in.images"][None, row : row + 1], [given[f"in.masks.{row}"]], prompt)
    ids = model.language.generate(
        inputs_embeds=spliced.embeds,
        attention_mask=spliced.attention_mask,
        do_sample=False,
        max_new_tokens=12,
        pad_token_id=157,
    )
    assert torch.equal(ids[0], given[f"out.fp32.greedy.{row}"])


@torch.no_grad()
def test_the_released_mixture_of_dtypes() -> None:
    out = robin(parity=True, dtype="bfloat16")(*batch())
    assert out.loss is not None
    seen = figures()["out.new_attention_mask"]
    torch.testing.assert_close(out.logits[seen].float(), figures()["out.bf16.logits"][seen].float(), atol=0.15, rtol=0)
    torch.testing.assert_close(out.loss.float(), figures()["out.bf16.loss"].float(), atol=0, rtol=1e-2)


def test_preprocessing_to_the_bit() -> None:
    given = np.load(DATA / "preprocess.npz")
    for aspect in ("stretch", "pad"):
        for which in ("wide", "tall"):
            found = image_tensor(given[f"in.{which}_uint8"], 64, aspect).numpy()
            assert np.array_equal(found, given[f"out.{aspect}.{which}"])


def released_shape() -> RobinShape:
    language = {**QWEN_3B, "num_hidden_layers": 1, "vocab_size": 151936}
    return RobinShape(language=language, tower=TowerShape(), tokens=SpecialIds(151665, 151666))


def test_names_and_shapes_of_the_released_model() -> None:
    full = json.loads((DATA / "full_keys.json").read_text())
    with torch.device("meta"):
        model = RobinModel(released_shape())
    found = {public_name(name): list(value.shape) for name, value in model.state_dict().items()}
    assert found == {**full["non_lm"], **full["lm_layer0"]}
    assert all(public_name(module_name(name)) == name for name in found)
    parts = {"vision": model.tower, "projector": model.projector, "mask_extractor": model.extractor}
    counted = {name: sum(value.numel() for value in part.parameters()) for name, part in parts.items()}
    assert counted == {name: full["counts"][name] for name in counted}


@torch.no_grad()
def test_it_runs_at_the_released_widths() -> None:
    language = {**QWEN_3B, "num_hidden_layers": 1, "vocab_size": 40}
    model = RobinModel(RobinShape(language=language, tokens=SpecialIds(30, 31)), dtype=torch.bfloat16).eval()
    ids = torch.tensor([[1, -200, 30, 31, 2]])
    out = model(torch.zeros(1, 3, 64, 64), [torch.ones(1, 30, 40)], ids)
    assert out.logits.shape == (1, 4 + 16, 40)
    assert bool(out.logits.isfinite().all())
