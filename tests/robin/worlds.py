"""Small images with exact relations, and what trains on them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs
import torch

from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.testing.scenes import scene_samples
from sgforge_robin.encoding import Example
from sgforge_robin.model.checkpoint import build
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.shape import TowerShape
from sgforge_robin.sizes import Size
from sgforge_robin.tokens import RobinTokenizer
from sgforge_robin.training.examples import ExampleMaker
from sgforge_robin.training.stages import STAGES, Stage
from sgforge_robin.training.stream import PackedStream

torch.set_num_threads(1)

LANGUAGE = {
    "model_type": "qwen2",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
SMALLEST = Size(
    language=LANGUAGE,
    tower=TowerShape((1, 1, 1, 1), (4, 8, 8, 8), None),
    inner=8,
    mask_side=8,
    side=64,
    box_text=True,
    rows=400,
)
STAGE = STAGES["scratch"]


def scenes(folder: Path, count: int, first: int = 0) -> list[Sample]:
    roots = Roots({"scenes": folder / "scenes"})
    made = scene_samples(folder / "scenes", count, first, size=64, uri="scenes:")
    return [attrs.evolve(sample, image=roots.image(sample.uri or "")) for sample in made]


def tokenizer() -> RobinTokenizer:
    words = "region the marked regions: relate to other What is How does From none person left of on " * 3
    return RobinTokenizer.trained([words], SMALLEST.rows)


def model(seed: int = 0) -> RobinModel:
    torch.manual_seed(seed)
    own = tokenizer()
    return build(SMALLEST.shape(len(own), own.special))


def referring(seed: int = 0) -> RobinModel:
    """The same with a reference layer, as a training might leave it."""
    made = model(seed)
    made.add_reference_layer(tokenizer().names)
    assert made.reference_layer is not None
    layer = made.reference_layer
    for weight in (layer.focus.weight, layer.topic.weight, layer.numbers):
        torch.nn.init.normal_(weight, std=0.1)
    return made


def maker(stage: Stage = STAGE, seed: int = 0, left: Counter[str] | None = None) -> ExampleMaker:
    counts = Counter[str]() if left is None else left
    return ExampleMaker(tokenizer(), SMALLEST, stage, seed, lambda number: counts.update({"branches": number}))


def stream(samples: list[Sample], stage: Stage = STAGE, batch: int = 2, seed: int = 0) -> PackedStream:
    return PackedStream(samples, maker(stage, seed), batch, Counter())


def example_of(made: ExampleMaker, sample: Sample, epoch: int = 0) -> Example | None:
    draft = made.draft(sample, epoch)
    return None if draft is None else made.finish(draft)
