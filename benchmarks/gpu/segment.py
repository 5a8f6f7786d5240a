"""Encoding and decoding of a SAM of full size with random weights on one device. Prints one JSON line.

    python benchmarks/gpu/segment.py [--device cuda] [--size vit_h] [--batches 1 4 8] [--repeats 5]
    python benchmarks/gpu/segment.py --device cpu --size tiny --batches 1 2 --repeats 1

For each batch of images: images a second through the encoder (preprocessing left out), and what share that is of the
device's rate in matrix products of the same dtype, measured in the same run; operations are counted by torch. Then the
rest of one image: 32 x 32 points decoded, filtered, enlarged, packed, suppressed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from sgforge_sam.features import Encoder
from sgforge_sam.generator import Grid, generate
from sgforge_sam.original import OriginalSam
from sgforge_sam.torchvision_free import import_segment_anything


def built(size: str, device: torch.device) -> Any:
    """A `Sam` of a published size, or a tiny one, with random weights on the device."""
    package = import_segment_anything()
    torch.manual_seed(0)
    with device:
        if size != "tiny":
            # Its means of pixels are made on the CPU, whatever the device of the weights.
            return package.sam_model_registry[size]().to(device)
        from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

        return Sam(
            ImageEncoderViT(
                img_size=128,
                embed_dim=32,
                depth=2,
                num_heads=2,
                out_chans=32,
                use_rel_pos=True,
                window_size=4,
                global_attn_indexes=(1,),
                norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            ),
            PromptEncoder(32, (8, 8), (128, 128), 4),
            MaskDecoder(
                transformer_dim=32,
                transformer=TwoWayTransformer(depth=2, embedding_dim=32, num_heads=8, mlp_dim=64),
                iou_head_hidden_dim=16,
            ),
        ).eval()


def timed(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """The median of some runs in seconds, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def matrix_rate(device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    """Operations a second in products of large square matrices."""
    side = 8192 if device.type == "cuda" else 512
    first, second = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    rounds = 10 if device.type == "cuda" else 1

    def products() -> None:
        for _ in range(rounds):
            first @ second

    return rounds * 2 * side**3 / timed(products, device, repeats)


def picture(height: int = 480, width: int = 640, seed: int = 0) -> NDArray[np.uint8]:
    """Blocks of colour, (height, width, 3)."""
    blocks = np.random.default_rng(seed).integers(0, 255, (height // 40, width // 40, 3), np.uint8)
    return blocks.repeat(40, axis=0).repeat(40, axis=1)


@torch.inference_mode()
def encoding(
    sam: Any, device: torch.device, dtype: torch.dtype, batch: int, repeats: int, rate: float
) -> dict[str, Any]:
    """Images a second of the encoder alone, and the share of the matrix rate."""
    side = sam.image_encoder.img_size
    images = torch.randn(batch, 3, side, side, device=device, dtype=dtype)
    with FlopCounterMode(display=False) as counter:
        sam.image_encoder(images)
    seconds = timed(lambda: sam.image_encoder(images), device, repeats)
    return {
        "batch": batch,
        "images_s": round(batch / seconds, 2),
        "tera_operations_an_image": round(counter.get_total_flops() / batch / 1e12, 3),
        "share_of_matrix_rate": round(counter.get_total_flops() / seconds / rate, 3),
    }


def decoding(model: OriginalSam, device: torch.device, repeats: int, per_side: int) -> dict[str, Any]:
    """Seconds for everything after the encoder, for one image; with random weights half of the points pass."""
    encoder, pixels = Encoder(model), picture()
    features = encoder.features(pixels)
    centres = np.random.default_rng(0).uniform(0, 480, (per_side**2, 2))
    pred_iou = float(model.decode_points(features, centres[:64]).iou.median())
    grid = Grid(points_per_side=per_side, pred_iou=pred_iou, stability=0.0)
    found = generate(encoder, pixels, grid)
    return {
        "points": per_side**2,
        "kept": len(found),
        "decode_s_an_image": round(timed(lambda: generate(encoder, pixels, grid), device, repeats), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", default="vit_h", choices=["vit_b", "vit_l", "vit_h", "tiny"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    device = torch.device(args.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    sam = built(args.size, device)
    model = OriginalSam(sam, dtype=dtype)
    rate = matrix_rate(device, dtype, args.repeats)
    result = {
        "benchmark": "gpu segment",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "size": args.size,
        "dtype": str(dtype).removeprefix("torch."),
        "matrix_tera_operations_s": round(rate / 1e12, 2),
        "encoding": [encoding(sam, device, dtype, batch, args.repeats, rate) for batch in args.batches],
        **decoding(model, device, args.repeats, per_side=4 if args.size == "tiny" else 32),
    }
    if device.type == "cuda":
        result["peak_gb"] = round(torch.cuda.max_memory_allocated(device) / 1e9, 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
