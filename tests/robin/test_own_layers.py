"""What holds of both layers that the released model has not: untrained nothing, in checkpoints, in trainings."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import torch
from robin.test_training import SHORT
from robin.worlds import example_of, maker, model, scenes, stream, tokenizer
from safetensors.torch import load_file

from sgforge import Resources, Selection
from sgforge.dataset import Snapshot
from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.testing.contracts.data import publish_samples
from sgforge_robin import save_model
from sgforge_robin.config import RobinOptions
from sgforge_robin.learnt import TrainedRobin
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.shape import ComparingShape
from sgforge_robin.student import RobinStudent
from sgforge_robin.training.loop import Life, StepReport, train
from sgforge_robin.training.loss import packed_loss
from sgforge_robin.training.stages import STAGES

LAYERS = ("comparing_layer", "reference_layer")


def robin(layer: str) -> RobinModel:
    """One with a new layer."""
    made = model()
    if layer == "comparing_layer":
        made.add_comparing_layer(ComparingShape(width=6, heads=2))
    else:
        made.add_reference_layer(tokenizer().names)
    return made


def own_weights(made: RobinModel, layer: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in made.state_dict().items() if name.startswith(f"{layer}.")}


@pytest.mark.parametrize("layer", LAYERS)
def test_untrained_it_changes_nothing_and_its_first_step_moves_it(tmp_path: Path, layer: str) -> None:
    (sample,) = scenes(tmp_path, 1)
    example, own = example_of(maker(), sample), robin(layer)
    assert example is not None
    loss = packed_loss(own, [example]).total
    torch.testing.assert_close(loss, packed_loss(model(), [example]).total, rtol=0, atol=0)
    loss.backward()
    gradients = [one.grad for one in getattr(own, layer).parameters() if one.grad is not None]
    assert any(bool(one.any()) for one in gradients)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_checkpoint_with_it_has_its_weights_beside_the_public_ones(tmp_path: Path, layer: str) -> None:
    save_model(robin(layer), tmp_path / "own")
    save_model(model(), tmp_path / "plain")
    names = [set(load_file(tmp_path / folder / "model.safetensors")) for folder in ("own", "plain")]
    assert {name.partition(".")[0] for name in names[0] - names[1]} == {layer}
    assert not names[1] - names[0]


def trained(
    folder: Path, layer: str, samples: list[Sample], stop_after: int | None = None
) -> tuple[RobinModel, list[float]]:
    own, losses = robin(layer), list[float]()

    def report(step: StepReport) -> None:
        losses.append(step.loss)

    life = Life(folder, "a plan", 2, report, lambda: len(losses) == stop_after)
    train(own, stream(samples, SHORT), SHORT, 4, life)
    return own, losses


@pytest.mark.parametrize("layer", LAYERS)
def test_a_training_moves_all_of_it_and_goes_on_to_the_bit_where_it_was_cut(tmp_path: Path, layer: str) -> None:
    samples = scenes(tmp_path, 4)
    whole, losses = trained(tmp_path / "whole", layer, samples)
    before, after = (own_weights(made, layer) for made in (robin(layer), whole))
    still = {name for name, value in after.items() if torch.equal(value, before[name])}
    # Keys that all regions share cancel out: their bias may stay.
    assert still <= {"comparing_layer.key.bias"}
    with pytest.raises(StepError, match="stop after step 3 of 4"):
        trained(tmp_path / "cut", layer, samples, 3)
    resumed, rest = trained(tmp_path / "cut", layer, samples)
    assert rest == losses[3:]
    assert all(torch.equal(one, two) for one, two in zip(whole.parameters(), resumed.parameters(), strict=True))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Snapshot, Resources]:
    folder = tmp_path_factory.mktemp("layers")
    samples = [attrs.evolve(sample, split="train") for sample in scenes(folder, 4)]
    return publish_samples(folder, samples), Resources(roots=Roots({"scenes": folder / "scenes"}))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_student_is_given_it_and_one_that_goes_on_keeps_it(
    data: tuple[Snapshot, Resources], tmp_path: Path, layer: str
) -> None:
    snapshot, resources = data
    found: list[dict[str, torch.Tensor]] = []
    for place, option in enumerate((False, True, False)):  # each goes on from the one before
        (tmp_path / f"{place}").mkdir()
        student = RobinStudent(attrs.evolve(RobinOptions(steps=1, images=2), **{layer: option}))
        done = student.train(snapshot.path, Selection(), tmp_path / f"{place}", resources)
        resources = attrs.evolve(resources, checkpoint=done)
        found.append(own_weights(TrainedRobin.load(done.path).model, layer))
    none, first, second = found
    assert not none
    assert first.keys() == second.keys()
    assert any(not torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("layer", LAYERS)
def test_where_it_learns(layer: str) -> None:
    rates = {name: stage.rates.get(layer) for name, stage in STAGES.items()}
    none = dict.fromkeys(("projector", "extractor", "language"))
    assert rates == {"scratch": 1.5e-3, "1": 1e-3, "2": 1e-3, **none}
