"""Robin at its full size on one CUDA device: a training step of 8,192 positions, generation, two attentions that agree.

    python benchmarks/gpu/robin.py --work FOLDER            python benchmarks/gpu/robin.py --work FOLDER --small

3.3 billion random weights in bfloat16; at most 8 minutes on one H100. Each part's figures go to FOLDER when it is done,
so that a run that was cut goes on with the next; at the end one JSON line. MFU is 6 x weights x positions a second over
the device's dense bfloat16 peak (`--peak`, FLOP/s; an H100's 989e12). Checked too: the loss of a packed row under one
mask is that of its documents one by one, on this device. Without CUDA, or with `--small`, sizes are tiny: to see that
it runs.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
import torch

from sgforge_robin.decoding.decode import Ask, Sampling, decode
from sgforge_robin.decoding.prefix import encode_prefix, see, see_regions
from sgforge_robin.encoding import Branch, Example
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.shape import IGNORED, IMAGE_ID, QWEN_3B, RobinShape, SpecialIds, TowerShape
from sgforge_robin.training.loss import packed_loss
from sgforge_robin.training.optimizer import clip

MASK, POS = 1, 2
REGIONS: Final = 20


@attrs.frozen
class Sizes:
    """What is built and fed: the table's rows, the image's side, positions of a row, ids of an answer, steps timed."""

    language: dict[str, Any]
    tower: TowerShape
    rows: int
    side: int
    positions: int
    answer: int
    steps: int


FULL: Final = Sizes(
    language=dict(QWEN_3B), tower=TowerShape(), rows=151_936, side=512, positions=8192, answer=64, steps=5
)
TINY: Final = Sizes(
    language={**QWEN_3B, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2},
    tower=TowerShape((1, 1, 1, 1), (8, 8, 16, 16), None),
    rows=300,
    side=64,
    positions=512,
    answer=6,
    steps=2,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--peak", type=float, default=989e12)
    args = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    sizes = TINY if args.small or not on_gpu else FULL
    args.work.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {"benchmark": "gpu_robin", "device": torch.cuda.get_device_name() if on_gpu else "cpu"}
    figures |= part(args.work / "agreement.json", lambda: agreement(device))
    figures |= part(args.work / "generation.json", lambda: generation(sizes, device))
    figures |= part(args.work / "training.json", lambda: training(sizes, device, args.peak))
    print(json.dumps(figures))


def part(path: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The figures of a part, found in its file where it was done before."""
    if not path.exists():
        aside = path.with_suffix(".tmp")
        aside.write_text(json.dumps(work()))
        aside.replace(path)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def built(sizes: Sizes, device: torch.device, dtype: torch.dtype) -> RobinModel:
    """A Robin with random weights."""
    torch.manual_seed(0)
    language = {**sizes.language, "vocab_size": sizes.rows}
    with device:
        model = RobinModel(RobinShape(language=language, tower=sizes.tower, tokens=SpecialIds(MASK, POS)), dtype=dtype)
    return model.to(device)


def agreement(device: torch.device) -> dict[str, Any]:
    """How far the two attentions lie apart, in loss and gradients, in float32."""
    found = []
    examples = [example(TINY, seed, 5) for seed in range(3)]
    for attention in ("mask", "documents"):
        model = built(TINY, device, torch.float32)
        summed = packed_loss(model, examples, attention)
        summed.total.backward()
        gradients = [value.grad.flatten() for value in model.parameters() if value.grad is not None]
        found.append((float(summed.total.detach()), torch.cat(gradients)))
    (loss, gradient), (other, others) = found
    apart = float((gradient - others).abs().max() / gradient.abs().max())
    return {"loss_apart": abs(loss - other) / loss, "gradient_apart": apart}


@torch.no_grad()
def generation(sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """Answers a second about 20 regions: over one prefix, and one prompt a region."""
    model = built(sizes, device, torch.bfloat16 if device.type == "cuda" else torch.float32).eval()
    given = example(sizes, 0, REGIONS)
    assert given.masks is not None
    questions = [branch.ids[:8] for branch in given.branches]
    asks = [Ask(0, question, "") for question in questions]
    sampling = Sampling(end=-1, limit=sizes.answer)
    features = see(model, given.pixels)

    def ours() -> Any:
        prefix = encode_prefix(model, features, see_regions(model, features, given.masks), given.prefix, "it")
        return decode(model, [prefix], asks, sampling)

    image = model.image_tokens(features["res4"])[0]
    regions = see_regions(model, features, given.masks)

    def theirs() -> Any:
        ids = torch.tensor([*given.prefix, *questions[0]], device=device)
        embeds = model.row(ids, None, image, regions, "it").embeds[None]
        return model.language.generate(
            inputs_embeds=embeds, attention_mask=torch.ones(embeds.shape[:2], device=device), do_sample=False,
            max_new_tokens=sizes.answer, min_new_tokens=sizes.answer, pad_token_id=0,
        )  # fmt: skip

    shared, alone = seconds(ours, device), seconds(theirs, device)
    return {
        "answers_s": round(REGIONS / shared, 2), "answers_s_alone": round(1 / alone, 2),
        "speedup": round(REGIONS * alone / shared, 1), "prefix": given.length,
    }  # fmt: skip


def training(sizes: Sizes, device: torch.device, peak: float) -> dict[str, Any]:
    """A step of one full row: positions a second, MFU, peak memory."""
    model = built(sizes, device, torch.bfloat16 if device.type == "cuda" else torch.float32).train()
    model.recompute_activations()
    weights = sum(value.numel() for value in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5, fused=device.type == "cuda")
    rows, used = [], 0
    while used + (more := example(sizes, len(rows), REGIONS)).total <= sizes.positions:
        rows.append(more)
        used += more.total

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        summed = packed_loss(model, rows)
        (summed.total / summed.count).backward()
        clip(model)
        optimizer.step()

    took = seconds(step, device, sizes.steps)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    return {
        "weights": weights, "positions": used, "step_s": round(took, 3), "positions_s": round(used / took),
        "mfu": round(6 * weights * used / took / peak, 3), "bar_mfu": 0.5, "peak_gb": round(memory, 1),
    }  # fmt: skip


def example(sizes: Sizes, seed: int, regions: int) -> Example:
    """A made-up example: a picture of noise, regions of noise, answers of random words."""
    dice = random.Random(seed)
    words = [dice.randrange(10, sizes.rows) for _ in range(24 * regions if sizes.positions > 1000 else 8)]
    prefix = [5, IMAGE_ID, *[MASK, POS] * regions, *words]
    branches = []
    for _ in range(regions):
        ids = [dice.randrange(10, sizes.rows) for _ in range(24 if sizes.positions > 1000 else 10)]
        branches.append(Branch(ids, [IGNORED] * 8 + ids[8:]))
    generator = torch.Generator().manual_seed(seed)
    return Example(
        image_id=f"{seed}",
        pixels=torch.randn(3, sizes.side, sizes.side, generator=generator),
        masks=(torch.rand(regions, 240, 320, generator=generator) > 0.7).to(torch.uint8),
        prefix=prefix,
        length=len(prefix) - 1 + (sizes.side // 16) ** 2,
        branches=tuple(branches),
    )


def seconds(work: Callable[[], Any], device: torch.device, times: int = 2) -> float:
    """Seconds a call takes, after two first ones."""
    for _ in range(2):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(times):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / times


if __name__ == "__main__":
    main()
