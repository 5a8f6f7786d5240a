"""The comparing layer: by hand, in any order, as nothing before it is trained, in checkpoints, and that it learns."""

from __future__ import annotations

import math
from pathlib import Path

import attrs
import pytest
import torch
from robin.test_training import SHORT
from robin.worlds import SMALLEST, example_of, maker, scenes, stream, tokenizer
from safetensors.torch import load_file

from sgforge import Resources, Selection
from sgforge.dataset import DatasetWriter, Snapshot
from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge_robin import load_model, save_model
from sgforge_robin.config import RobinOptions
from sgforge_robin.learnt import TrainedRobin
from sgforge_robin.model.checkpoint import build
from sgforge_robin.model.comparing import ComparingLayer
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.shape import ComparingShape
from sgforge_robin.model.splice import RegionTokens
from sgforge_robin.student import RobinStudent
from sgforge_robin.training.forward import See
from sgforge_robin.training.loop import Life, StepReport, train
from sgforge_robin.training.loss import packed_loss
from sgforge_robin.training.stages import STAGES

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


def test_untrained_it_changes_nothing_and_its_first_step_moves_it(tmp_path: Path) -> None:
    (sample,) = scenes(tmp_path, 1)
    example = example_of(maker(), sample)
    assert example is not None
    plain, own = robin(None), robin()
    assert own.comparing_layer is not None
    loss = packed_loss(own, [example]).total
    torch.testing.assert_close(loss, packed_loss(plain, [example]).total, rtol=0, atol=0)
    loss.backward()
    assert float(own.comparing_layer.told.weight.grad.abs().max()) > 0  # type: ignore[union-attr]


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
    save_model(robin(None), tmp_path / "plain")
    names = [set(load_file(tmp_path / folder / "model.safetensors")) for folder in ("own", "plain")]
    assert {name.partition(".")[0] for name in names[0] - names[1]} == {"comparing_layer"}
    assert not names[1] - names[0]
    state = load_file(tmp_path / "own" / "model.safetensors")
    del state["comparing_layer.told.weight"]
    with pytest.raises(StepError, match=r"missing: comparing_layer\.told\.weight"):
        load_model(state, config=own.shape)


def trained(folder: Path, samples: list[Sample], stop_after: int | None = None) -> tuple[RobinModel, list[float]]:
    own, losses = robin(), list[float]()

    def report(step: StepReport) -> None:
        losses.append(step.loss)

    life = Life(folder, "a plan", 2, report, lambda: len(losses) == stop_after)
    train(own, stream(samples, SHORT), SHORT, 4, life)
    return own, losses


def test_a_training_moves_all_of_it_and_goes_on_to_the_bit_where_it_was_cut(tmp_path: Path) -> None:
    samples = scenes(tmp_path, 4)
    whole, losses = trained(tmp_path / "whole", samples)
    before = robin().state_dict()
    moved = [
        name
        for name, value in whole.state_dict().items()
        if "comparing" in name and not torch.equal(value, before[name])
    ]
    # Keys that all regions share cancel out: their bias alone may stay.
    assert {name.partition(".")[2] for name in moved} >= {
        *("look.weight", "ask.weight", "key.weight", "nobody", "feature.weight", "where.weight", "told.weight")
    }
    with pytest.raises(StepError, match="stop after step 3 of 4"):
        trained(tmp_path / "cut", samples, 3)
    resumed, rest = trained(tmp_path / "cut", samples)
    assert rest == losses[3:]
    assert all(torch.equal(one, two) for one, two in zip(whole.parameters(), resumed.parameters(), strict=True))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Snapshot, Resources]:
    folder = tmp_path_factory.mktemp("comparing")
    samples = [attrs.evolve(sample, split="train") for sample in scenes(folder, 4)]
    with DatasetWriter.open(folder / "data") as writer:
        snapshot = writer.publish_source(samples, [place.to_bytes(16, "big") for place in range(len(samples))])
    return snapshot, Resources(roots=Roots({"scenes": folder / "scenes"}))


def test_a_student_is_given_it_and_one_that_goes_on_keeps_it(data: tuple[Snapshot, Resources], tmp_path: Path) -> None:
    snapshot, resources = data
    layers: list[ComparingLayer | None] = []
    for place, option in enumerate((False, True, False)):  # each goes on from the one before
        (tmp_path / f"{place}").mkdir()
        student = RobinStudent(RobinOptions(steps=1, images=2, comparing_layer=option))
        done = student.train(snapshot.path, Selection(), tmp_path / f"{place}", resources)
        resources = attrs.evolve(resources, checkpoint=done)
        layers.append(TrainedRobin.load(done.path).model.comparing_layer)
    none, first, second = layers
    assert none is None
    assert first is not None
    assert second is not None
    assert bool(first.told.weight.any())
    assert not torch.equal(second.told.weight, first.told.weight)


def test_where_it_learns() -> None:
    rates = {name: stage.rates.get("comparing_layer") for name, stage in STAGES.items()}
    none = dict.fromkeys(("projector", "extractor", "language"))
    assert rates == {"scratch": 1.5e-3, "1": 1e-3, "2": 1e-3, **none}
