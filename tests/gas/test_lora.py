"""LoRA training of the renderer `diffusers`, on pipelines of random weights: a UNet and a diffusion transformer."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from PIL import Image
from support.extras import needs_extra

needs_extra("gas-images")

import torch  # noqa: E402
from diffusers import DiffusionPipeline  # noqa: E402
from gas.tiny_pipeline import save_tiny_pipeline, save_tiny_transformer  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from sgforge.errors import StepError  # noqa: E402
from sgforge.graph import Caption, Sample  # noqa: E402
from sgforge.images import Roots  # noqa: E402
from sgforge.made_files import MadeFiles  # noqa: E402
from sgforge.stages import Checkpoint, Resources  # noqa: E402
from sgforge.testing import TrainedRendererContract  # noqa: E402
from sgforge_gas.config import DiffusersOptions  # noqa: E402
from sgforge_gas.rendering.diffusion import DiffusersRenderer  # noqa: E402
from sgforge_gas.rendering.lora import LORA_FILE, Example, examples_of, learn  # noqa: E402

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch.set_num_threads(1)

TINY: Mapping[str, Callable[[Path], Path]] = {"unet": save_tiny_pipeline, "transformer": save_tiny_transformer}
TEXTS = ("a red dog", "a blue cat")


@pytest.fixture(scope="module", params=sorted(TINY))
def pipeline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TINY[request.param](tmp_path_factory.mktemp(request.param))


def pictures(folder: Path) -> list[Sample]:
    """Two captions, each with a picture of one colour."""
    found = []
    for text, colour in zip(TEXTS, ((220, 30, 30), (30, 30, 220)), strict=True):
        path = folder / f"{text[-3:]}.png"
        Image.new("RGB", (48, 40), colour).save(path)
        image = Roots({"here": folder}).image(f"here:{path.name}")
        found.append(Sample(text, image=image, uri=image.uri, split="train", values={"caption": Caption(text)}))
    return found


def loaded(folder: Path) -> Any:
    found = DiffusionPipeline.from_pretrained(folder, use_safetensors=True)
    found.set_progress_bar_config(disable=True)
    return found


def examples(folder: Path) -> list[Example]:
    return examples_of(pictures(folder), 32)


class TestDiffusersLearns(TrainedRendererContract):
    component = "diffusers"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        tiny = folder / "tiny"
        found = tiny / "pipeline" if tiny.exists() else save_tiny_pipeline(tiny)
        return {"checkpoint": str(found), "steps": 1, "train_steps": 2, "batch": 1, "rank": 2}

    def resources(self, folder: Path) -> Resources:
        return attrs.evolve(super().resources(folder), roots=Roots({"here": folder}))

    def samples(self, folder: Path) -> list[Sample]:
        return [Sample(text, values={"caption": Caption(text)}) for text in TEXTS]

    def training_samples(self, folder: Path) -> list[Sample]:
        folder.mkdir(exist_ok=True)
        return pictures(folder)


def test_the_loss_falls_and_nothing_but_low_rank_matrices_is_written(pipeline: Path, tmp_path: Path) -> None:
    options = DiffusersOptions(checkpoint=pipeline, rank=2, train_steps=40, batch=4, rate=2e-2)
    told: list[float] = []
    resources = Resources(reporter=lambda name, value, step: told.append(value))
    model = loaded(pipeline)
    network = getattr(model, "unet", None) or model.transformer
    before = {name: value.clone() for name, value in network.state_dict().items()}
    learn(model, examples(tmp_path), options, resources, tmp_path / "weights")
    assert len(told) == 40
    assert np.mean(told[-10:]) < np.mean(told[:10])
    kept = {name.replace(".base_layer", ""): value for name, value in network.state_dict().items()}
    assert all(torch.equal(kept[name], value) for name, value in before.items())
    written = load_file(str(tmp_path / "weights" / LORA_FILE))
    assert written
    assert all("lora" in name and min(value.shape) == 2 for name, value in written.items())


def test_what_is_learnt_is_what_is_loaded(pipeline: Path, tmp_path: Path) -> None:
    options = DiffusersOptions(checkpoint=pipeline, rank=2, train_steps=8, batch=2, rate=2e-2, steps=2)
    model = loaded(pipeline)
    learn(model, examples(tmp_path), options, Resources(), tmp_path / "weights")

    def drawn(one: Any) -> np.ndarray:
        noise = torch.Generator("cpu").manual_seed(0)
        picture = one(prompt="a red dog", num_inference_steps=2, generator=noise).images[0]
        return np.asarray(picture).astype(int)

    reloaded = loaded(pipeline)
    plain = drawn(reloaded)
    reloaded.load_lora_weights(str(tmp_path / "weights"))
    assert np.abs(drawn(reloaded) - drawn(model)).max() <= 1
    assert np.abs(drawn(reloaded) - plain).max() > 1


def test_a_round_goes_on_from_the_one_before(pipeline: Path, tmp_path: Path) -> None:
    options = DiffusersOptions(checkpoint=pipeline, rank=2, train_steps=3, batch=2, rate=1e-9)
    learn(loaded(pipeline), examples(tmp_path), options, Resources(), tmp_path / "first")
    renderer = DiffusersRenderer(options)
    resources = Resources(checkpoint=Checkpoint.of(tmp_path / "first"), files=MadeFiles(tmp_path / "files"))
    model = renderer._loaded(resources)
    learn(model, examples(tmp_path), options, Resources(), tmp_path / "second")
    first, second = (load_file(str(tmp_path / name / LORA_FILE)) for name in ("first", "second"))
    assert first.keys() == second.keys()
    assert any(value.abs().max() > 1e-3 for value in first.values())
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-6, rtol=0)


def test_another_family_is_refused_by_name(pipeline: Path, tmp_path: Path) -> None:
    class Other:
        pass

    with pytest.raises(StepError, match="a Other is not trained here"):
        learn(Other(), examples(tmp_path), DiffusersOptions(checkpoint=pipeline), Resources(), tmp_path)


def test_examples_are_the_middle_square_in_units(tmp_path: Path) -> None:
    wide = Image.new("RGB", (60, 20), (0, 0, 0))
    wide.paste((255, 255, 255), (20, 0, 40, 20))
    wide.save(tmp_path / "wide.png")
    image = Roots({"here": tmp_path}).image("here:wide.png")
    samples = [
        Sample("a", image=image, values={"caption": Caption("x")}),
        Sample("b", image=image),
        Sample("c", values={"caption": Caption("x")}),
    ]
    (found,) = examples_of(samples, 8)
    assert found.text == "x"
    torch.testing.assert_close(found.pixels, torch.ones(3, 8, 8))
