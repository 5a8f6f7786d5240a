"""The renderer `tokens`: what codes say, what it learns, and its policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.extras import needs_extra

needs_extra("robin")  # torch and safetensors

from sgforge.graph import Sample  # noqa: E402
from sgforge.testing import RendererPolicyContract  # noqa: E402
from sgforge_gas.config import GasOptions  # noqa: E402
from sgforge_gas.rendering.codes import codes_of, prompt_of, things_of  # noqa: E402
from sgforge_gas.rendering.layout import Drawn  # noqa: E402
from sgforge_gas.sampling import Sampler  # noqa: E402

SCENES = Path(__file__).parents[2] / "examples/gas/scenes.toml"


def samples(count: int) -> list[Sample]:
    options = GasOptions(complexity=(2, 4), vocabulary=SCENES, scene_attributes=(0,))
    return list(Sampler(options).samples(range(count), "train"))


class TestTokens(RendererPolicyContract):
    component = "tokens"
    options = {"steps": 3, "size": 64, "width": 16, "layers": 1}
    group = 2

    def samples(self, folder: Path) -> list[Sample]:
        return samples(3)

    def training_samples(self, folder: Path) -> list[Sample]:
        return samples(8)


def test_codes_say_what_was_drawn() -> None:
    things = [Drawn(label="ball", colour="red", column=2, row=1), Drawn(label="tree", colour="green", column=0)]
    assert things_of(codes_of(things)) == things
    assert things_of(codes_of([Drawn(label="cup")])) == [Drawn(label="cup", colour="grey")]


@pytest.mark.parametrize("count", [1, 40])
def test_a_prompt_fits_any_graph(count: int) -> None:
    options = GasOptions(objects=(count,), relations=(0, count - 1), attributes=(0,), prior="sizes")
    for sample in Sampler(options).samples(range(3)):
        assert 0 < len(prompt_of(sample.graph)) <= 140
