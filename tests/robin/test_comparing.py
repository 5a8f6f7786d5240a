"""The comparing layer: by hand, in any order, image by image, in checkpoints."""

from __future__ import annotations

import math
from pathlib import Path

import attrs
import pytest
import torch
from robin.worlds import SMALLEST, example_of, maker, scenes, tokenizer
from safetensors.torch import load_file

from sgforge.errors import StepError
from sgforge_robin import load_model, save_model
from sgforge_robin.model.checkpoint import build
from sgforge_robin.model.comparing import ComparingLayer
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.shape import ComparingShape
from sgforge_robin.model.splice import RegionTokens
from sgforge_robin.training.forward import See

SMALL = ComparingShape(width=6, heads=2)


def robin(comparing: ComparingShape | None = SMALL) -> RobinModel:
    torch.manual_seed(0)
    own = tokenizer()
    return build(attrs.evolve(SMALLEST.shape(len(own), own.special), comparing=comparing))


def stirred(layer: ComparingLayer) -> ComparingLayer:
    """The layer as a training might leave it."""
    torch.manual_seed(5)
    with torch.no_grad():
        for value in layer.parameters():
            value.normal_(std=0.5)
    return layer


def by_hand(layer: ComparingLayer, mask: torch.Tensor, pos: torch.Tensor) -> list[list[float]]:
    """What it adds to each mask token: number by number, every region with every other."""
    looks, places = layer.look(mask), layer.place(pos)
    asked, keys, own, where = (
        part(of).tolist()
        for part, of in (
            (layer.ask, looks),
            (layer.key, looks),
            (layer.feature, looks),
            (layer.where, places),
        )
    )
    nobody, told, size = layer.nobody.tolist(), layer.told.weight.tolist(), layer.nobody.shape[1]
    added = []
    for one in range(len(mask)):
        shared, stands = [0.0] * len(own[0]), [0.0] * len(own[0])
        for head, silent in enumerate(nobody):
            span = range(head * size, (head + 1) * size)
            heat = {
                other: math.exp(sum(asked[one][at] * keys[other][at] for at in span) / math.sqrt(size))
                for other in range(len(mask))
                if other != one
            }
            total = sum(heat.values()) + math.exp(
                sum(asked[one][at] * silent[at - head * size] for at in span) / math.sqrt(size)
            )
            for other, value in heat.items():
                for at in span:
                    shared[at] += value / total * own[one][at] * own[other][at]
                    stands[at] += value / total * where[other][at]
        both = [*shared, *stands]
        added.append([sum(weight * value for weight, value in zip(row, both, strict=True)) for row in told])
    return added


@torch.no_grad()
def test_by_hand() -> None:
    layer = stirred(ComparingLayer(SMALL, 8))
    mask, pos = torch.randn(3, 8), torch.randn(3, 8)
    found = layer(RegionTokens(mask, pos))
    torch.testing.assert_close(found.mask - mask, torch.tensor(by_hand(layer, mask, pos)), rtol=1e-4, atol=1e-5)
    assert float((found.mask - mask).abs().min(dim=0).values.max()) > 1e-3
    assert torch.equal(found.pos, pos)


@torch.no_grad()
def test_regions_in_another_order_and_one_alone() -> None:
    layer = stirred(ComparingLayer(SMALL, 8))
    mask, pos, order = torch.randn(7, 8), torch.randn(7, 8), torch.tensor([3, 0, 6, 5, 1, 4, 2])
    torch.testing.assert_close(
        layer(RegionTokens(mask[order], pos[order])).mask, layer(RegionTokens(mask, pos)).mask[order]
    )
    assert torch.equal(layer(RegionTokens(mask[:1], pos[:1])).mask, mask[:1])


@torch.no_grad()
def test_an_image_is_seen_as_it_is_alone(tmp_path: Path) -> None:
    examples = [example_of(maker(), sample) for sample in scenes(tmp_path, 3)]
    own = robin()
    assert own.comparing_layer is not None
    stirred(own.comparing_layer)
    kept = [one for one in examples if one is not None]
    assert len(kept) == 3
    for place, regions in enumerate(See(own, kept).regions):
        (alone,) = See(own, [kept[place]]).regions
        assert regions is not None
        assert alone is not None
        torch.testing.assert_close(regions.mask, alone.mask)


@torch.no_grad()
def test_a_checkpoint_that_has_it_brings_it(tmp_path: Path) -> None:
    own = robin(ComparingShape(width=12, heads=3))
    assert own.comparing_layer is not None
    stirred(own.comparing_layer)
    save_model(own, tmp_path / "own")
    again = load_model(tmp_path / "own")
    assert again.shape.comparing == ComparingShape(12, 3)
    for name, value in own.comparing_layer.state_dict().items():
        assert torch.equal(again.state_dict()[f"comparing_layer.{name}"], value)
    state = load_file(tmp_path / "own" / "model.safetensors")
    del state["comparing_layer.told.weight"]
    with pytest.raises(StepError, match=r"missing: comparing_layer\.told\.weight"):
        load_model(state, config=own.shape)
