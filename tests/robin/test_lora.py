"""Adapters: what they change, what learns, and that they are saved within their layers."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import torch
from robin.worlds import STAGE, example_of, maker, model, scenes
from safetensors.torch import load_file

from sgforge import Resources, Selection
from sgforge.errors import StepError
from sgforge.images import Roots
from sgforge.testing.contracts.data import publish_samples
from sgforge_robin import load_model, save_model
from sgforge_robin.config import RobinOptions
from sgforge_robin.model.lora import adapters, add_adapters
from sgforge_robin.student import RobinStudent
from sgforge_robin.training.loss import packed_loss
from sgforge_robin.training.optimizer import freeze


def test_they_begin_as_nothing_and_alone_learn_of_the_language_model(tmp_path: Path) -> None:
    example = example_of(maker(), scenes(tmp_path, 1)[0])
    assert example is not None
    plain, robin = model(), model()
    add_adapters(robin.language.base_model.layers, 2)
    assert len(dict(adapters(robin))) == 2 * 7
    freeze(robin, STAGE)
    loss = packed_loss(robin, [example]).total
    torch.testing.assert_close(loss, packed_loss(plain, [example]).total, rtol=0, atol=0)
    loss.backward()
    learnt = {name for name, value in robin.named_parameters() if value.grad is not None}
    own = {name for name in learnt if name.startswith("language.")}
    assert own == {f"{name}.{part}" for name, _ in adapters(robin) for part in ("down", "up")}
    assert any(name.startswith("tower.") for name in learnt)


def test_what_is_saved_is_one_layer_each(tmp_path: Path) -> None:
    example = example_of(maker(), scenes(tmp_path, 1)[0])
    assert example is not None
    plain, robin = model(), model()
    add_adapters(robin.language.base_model.layers, 3)
    torch.manual_seed(1)
    with torch.no_grad():
        for _, adapter in adapters(robin):
            adapter.up.normal_(std=0.1)
        expected = packed_loss(robin, [example]).total
    save_model(robin, tmp_path / "out")
    save_model(plain, tmp_path / "plain")
    names = [set(load_file(tmp_path / folder / "model.safetensors")) for folder in ("out", "plain")]
    assert names[0] == names[1]
    again = load_model(tmp_path / "out", config=robin.shape)
    with torch.no_grad():
        torch.testing.assert_close(packed_loss(again, [example]).total, expected, rtol=1e-5, atol=1e-4)
        assert abs(float(packed_loss(plain, [example]).total - expected)) > 0.1


@pytest.mark.parametrize("extra", [{}, {"source_weights": {"other": 1.0}}, {"source_weights": {"scenes": 0.0}}])
def test_a_training_with_adapters_and_one_of_sources_that_are_not_there(
    tmp_path: Path, extra: dict[str, object]
) -> None:
    samples = [attrs.evolve(one, split="train", source="scenes") for one in scenes(tmp_path, 3)]
    snapshot = publish_samples(tmp_path, samples)
    (tmp_path / "out").mkdir()
    resources = Resources(roots=Roots({"scenes": tmp_path / "scenes"}))
    options = RobinOptions(steps=2, images=2, lora=2, **extra)  # type: ignore[arg-type]
    if not extra:
        checkpoint = RobinStudent(options).train(snapshot.path, Selection(), tmp_path / "out", resources)
        assert not [name for name in load_file(checkpoint.path / "model.safetensors") if "base" in name]
        return
    with pytest.raises(StepError, match=r"name other; .* of scenes|are 0 for all"):
        RobinStudent(options).train(snapshot.path, Selection(), tmp_path / "out", resources)
