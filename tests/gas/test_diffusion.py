"""The renderer `diffusers` on a pipeline of random weights: seeds by image, batches, what cannot be loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.extras import needs_extra

needs_extra("gas-images")

from gas.tiny_pipeline import save_tiny_pipeline  # noqa: E402

from sgforge.errors import StepError  # noqa: E402
from sgforge.graph import Caption, Sample  # noqa: E402
from sgforge.images import Roots  # noqa: E402
from sgforge.made_files import MadeFiles  # noqa: E402
from sgforge.stages import Failure, Resources  # noqa: E402
from sgforge.testing import RendererContract  # noqa: E402
from sgforge_gas.config import DiffusersOptions  # noqa: E402
from sgforge_gas.rendering.diffusion import DiffusersRenderer, seed_of  # noqa: E402

os.environ.setdefault("HF_HUB_OFFLINE", "1")


class TestDiffusers(RendererContract):
    component = "diffusers"

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        return {"checkpoint": str(save_tiny_pipeline(folder / "pipeline")), "steps": 2}

    def samples(self, folder: Path) -> list[Sample]:
        return [sample("a"), sample("b", "a blue cat")]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("tiny"))


def renderer(pipeline: Path, folder: Path, **options) -> DiffusersRenderer:
    found = DiffusersRenderer(DiffusersOptions(checkpoint=pipeline, steps=2, **options))
    found.setup(Resources(files=MadeFiles(folder)))
    return found


def sample(name: str, text: str = "a red dog") -> Sample:
    return Sample(name, values={"caption": Caption(text)})


def pixels(folder: Path, edit) -> np.ndarray:
    return Roots({"files": folder}).image(edit.image.uri).array().astype(int)


def test_copies_differ_and_a_batch_gives_what_each_alone_would(pipeline: Path, tmp_path: Path) -> None:
    made = renderer(pipeline, tmp_path)
    samples = [sample("a~0"), sample("a~1"), sample("b", "a blue cat")]
    together = [pixels(tmp_path, edit) for edit in made.render(samples)]
    alone = [pixels(tmp_path, made.render([one])[0]) for one in samples]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one - other).max() <= 1  # sums in another order
    assert np.abs(together[0] - together[1]).max() > 3
    assert together[0].shape == (32, 32, 3)


def test_a_seed_is_of_the_image_alone() -> None:
    assert seed_of("a", 0) == seed_of("a", 0)
    assert len({seed_of(name, seed) for name in "abc" for seed in range(3)}) == 9


def test_a_sample_without_a_caption_fails_alone(pipeline: Path, tmp_path: Path) -> None:
    first, second = renderer(pipeline, tmp_path).render([Sample("bare"), sample("a")])
    assert isinstance(first, Failure)
    assert first.reason == "no-caption"
    assert second.image is not None


def test_a_folder_that_is_no_pipeline_says_so(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(StepError, match="cannot be loaded as a pipeline"):
        renderer(tmp_path / "x", tmp_path)


def test_without_a_place_for_pictures_nothing_is_drawn(pipeline: Path) -> None:
    made = DiffusersRenderer(DiffusersOptions(checkpoint=pipeline, steps=2))
    made.setup(Resources())  # as a training is set up, which draws nothing
    with pytest.raises(StepError, match=r"needs Resources\.files"):
        made.render([sample("a")])
