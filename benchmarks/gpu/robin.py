"""Robin at its full size on one CUDA device: a training step of 8,192 positions, generation, two attentions that agree.

    python benchmarks/gpu/robin.py --work FOLDER            python benchmarks/gpu/robin.py --work FOLDER --small

3.3 billion random weights in bfloat16; some minutes on one H100. Each part's figures go to FOLDER when it is done, and
are printed, so that a run that was cut goes on with the next; at the end one JSON line. The training step is taken in
several ways: `trainer` is that of the trainer, the others show what each of its choices is worth. MFU is 6 x weights x
positions a second over the device's dense bfloat16 peak (`--peak`, FLOP/s; an H100's 989e12). `--profile` says where
the trainer's step spends its time. Checked too: the loss of a packed row and its gradients are the same in all ways to
attend, on this device. Without CUDA, or with `--small`, sizes are tiny: to see that it runs.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
import torch
from torch import Tensor

from sgforge_robin.decoding.decode import Ask, Sampling, decode
from sgforge_robin.decoding.prefix import encode_prefix, see, see_regions
from sgforge_robin.encoding import Branch, Example
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.shape import IGNORED, IMAGE_ID, QWEN_3B, RobinShape, SpecialIds, TowerShape
from sgforge_robin.model.tower import ConvNeXt
from sgforge_robin.training.forward import Attention
from sgforge_robin.training.loop import share_of, take_step
from sgforge_robin.training.loss import packed_loss

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
    language={
        **QWEN_3B,
        "hidden_size": 128,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    },
    tower=TowerShape((1, 1, 1, 1), (8, 8, 16, 16), None),
    rows=300,
    side=64,
    positions=512,
    answer=6,
    steps=2,
)


@attrs.frozen
class Way:
    """One way to take a training step."""

    attention: Attention
    compiled: bool = False
    recomputed: bool = False


ON_CUDA: Final = {
    "trainer": Way("flex", compiled=True),
    "not compiled": Way("flex"),
    "recomputed": Way("flex", compiled=True, recomputed=True),
    "one mask, recomputed": Way("mask", recomputed=True),
}
ON_CPU: Final = {"trainer": Way("documents"), "one mask, recomputed": Way("mask", recomputed=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--peak", type=float, default=989e12)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--only", action="append", help="this part alone, or several")
    args = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    sizes = TINY if args.small or not on_gpu else FULL
    args.work.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {"benchmark": "gpu_robin", "device": torch.cuda.get_device_name() if on_gpu else "cpu",
                               "torch": torch.__version__}  # fmt: skip
    parts: dict[str, Callable[[], dict[str, Any]]] = {"agreement": lambda: agreement(device)}
    for name, way in (ON_CUDA if on_gpu else ON_CPU).items():
        profiled = args.profile and name == "trainer"
        parts[name] = lambda way=way, told=profiled: training(sizes, device, args.peak, way, told)  # type: ignore[misc]
    parts["tower"] = lambda: tower(sizes, device)
    parts["generation"] = lambda: generation(sizes, device)
    for name, work in parts.items():
        if args.only and name not in args.only:
            continue
        try:
            found = part(args.work / f"{name.replace(', ', '-').replace(' ', '-')}.json", work)
        except Exception as error:  # the other parts are worth having; this one is tried again in the next run
            found = {"failed": f"{type(error).__name__}: {error}"[:2000]}
        print(f"{name}: {json.dumps(found)}", flush=True)
        figures |= found if name in ("agreement", "generation") else {name: found}
    print(json.dumps(figures | {"mfu": figures.get("trainer", {}).get("mfu"), "bar_mfu": 0.5}))


def part(path: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The figures of a part, found in its file where it was done before."""
    if not path.exists():
        aside = path.with_suffix(".tmp")
        aside.write_text(json.dumps(work()))
        aside.replace(path)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
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
    """How far the ways to attend lie apart, in loss and gradients, in float32."""
    found = []
    examples = [example(TINY, seed, 5) for seed in range(3)]
    ways: tuple[Attention, ...] = ("mask", "documents", "flex") if device.type == "cuda" else ("mask", "documents")
    for attention in ways:
        model = built(TINY, device, torch.float32)
        summed = packed_loss(model, examples, attention)
        summed.total.backward()
        gradients = [value.grad.flatten() for value in model.parameters() if value.grad is not None]
        found.append((float(summed.total.detach()), torch.cat(gradients)))
    (loss, gradient), *others = found
    return {
        "loss_apart": max(abs(loss - other) / loss for other, _ in others),
        "gradient_apart": max(float((gradient - other).abs().max() / gradient.abs().max()) for _, other in others),
    }


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


def training(sizes: Sizes, device: torch.device, peak: float, way: Way, told: bool) -> dict[str, Any]:
    """A step of one full row: positions a second, MFU, peak memory."""
    on_gpu = device.type == "cuda"
    model = built(sizes, device, torch.bfloat16 if on_gpu else torch.float32).train()
    if way.recomputed:
        model.recompute_activations()
    if way.compiled:
        model.compile_parts()
    weights = sum(value.numel() for value in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5, fused=on_gpu)
    rows, used = [], 0
    while used + (more := example(sizes, len(rows), REGIONS)).total <= sizes.positions:
        rows.append(more)
        used += more.total

    share = share_of([rows])

    def step() -> float:
        return take_step(model, optimizer, [rows], share, attention=way.attention)

    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    first = step()
    began = time.perf_counter() - started
    took = seconds(step, device, sizes.steps, 1)
    memory = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else 0.0
    return {
        "weights": weights, "positions": used, "step_s": round(took, 4), "positions_s": round(used / took),
        "mfu": round(6 * weights * used / took / peak, 3), "peak_gb": round(memory, 1), "first_step_s": round(began, 1),
        "first_loss": round(first, 4), **(profiled(step) if told else {}),
    }  # fmt: skip


def profiled(step: Callable[[], float]) -> dict[str, Any]:
    """Milliseconds of the device in a step, by kernel, the longest; and how long the step took beside."""
    kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    started = time.perf_counter()
    with torch.profiler.profile(activities=kinds) as found:
        step()
    took = time.perf_counter() - started
    spent: dict[str, list[float]] = {}
    for event in found.events():
        is_span = "#" in event.name  # a span of the host's, such as that of the optimizer, over kernels listed too
        if event.device_type == torch.autograd.DeviceType.CUDA and not is_span:
            spent.setdefault(event.name[:70], []).append(event.device_time_total / 1000)
    longest = sorted(spent.items(), key=lambda item: -sum(item[1]))[:25]
    return {
        "profiled_s": round(took, 3), "device_ms": round(sum(map(sum, spent.values())), 1),
        "kernels": {name: [round(sum(times), 2), len(times)] for name, times in longest},
    }  # fmt: skip


def tower(sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """Milliseconds that the tower takes for four images, there and back, as it is and with its blocks compiled."""
    on_gpu = device.type == "cuda"
    with device:
        made = ConvNeXt(sizes.tower).to(torch.bfloat16 if on_gpu else torch.float32)
        images = torch.randn(4, 3, sizes.side, sizes.side, dtype=next(made.parameters()).dtype)

    def there_and_back() -> None:
        levels: dict[str, Tensor] = made(images)
        sum(maps.float().mean() for maps in levels.values()).backward()  # type: ignore[union-attr]

    found = {"tower_ms": round(1000 * seconds(there_and_back, device), 1)}
    if on_gpu:
        for stage in made.trunk.stages:
            for block in stage.blocks:
                block.compile(dynamic=True)
        found["compiled_ms"] = round(1000 * seconds(there_and_back, device), 1)
    return found


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


def seconds(work: Callable[[], Any], device: torch.device, times: int = 2, before: int = 2) -> float:
    """Seconds a call takes, after some that are not counted."""
    for _ in range(before):
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
