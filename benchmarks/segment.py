"""Segmenting everything against segment-anything in the same run, on a tiny SAM with random weights. One JSON line.

    python benchmarks/segment.py [--small]

One process, one thread, no GPU. The model is small (image 256, width 32, two blocks), the picture noise in blocks of
colour, so that the work around the network counts; masks of random weights are ragged, which makes run lengths long.
Each case is the reference generator's CPU time over ours, kept masks compared before a time counts. Bars:

- `worst_ratio` >= 2: end to end, run lengths of all kept masks written.
- `ratio_with_few_run_lengths` >= 4: with box suppression on, where few masks are left to write; the reference writes
  them before it suppresses.
- `encodings` = 1: whole masks, part masks and 20 boxes of one image.
- `merge_ratio` >= 10: merging 150 + 150 masks at 1024 x 1024, against float matrix products of the same masks in torch.
- `memory_share` <= 0.02: 99 masks of a 12-megapixel image as values, against their boolean arrays.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from masks import REPEATS, blobs
from numpy.typing import NDArray

from sgforge import masks
from sgforge.masks import selection
from sgforge_sam.config import SamOptions
from sgforge_sam.features import Encoder
from sgforge_sam.generator import Grid, generate
from sgforge_sam.original import OriginalSam
from sgforge_sam.presets import grid_of
from sgforge_sam.sam import masks_of_boxes
from sgforge_sam.torchvision_free import import_segment_anything

T = TypeVar("T")

CASES = {
    "all kept": ({"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0}, (0.0, 0.0, 1.0)),
    "half kept": ({"pred_iou_thresh": 0.9, "stability_score_thresh": 0.1, "box_nms_thresh": 1.0}, (0.9, 0.1, 1.0)),
    "suppressed": ({"pred_iou_thresh": 0.9, "stability_score_thresh": 0.1}, (0.9, 0.1, 0.7)),
    "suppressed, few pass": ({"pred_iou_thresh": 1.1, "stability_score_thresh": 0.1}, (1.1, 0.1, 0.7)),
}


def best(work: Callable[[], T]) -> tuple[float, T]:
    """The least CPU seconds of some runs, and the result: other processes take wall time from either side."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return min(times), result


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Blocks of colour with noise, (height, width, 3)."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (height // 40 + 1, width // 40 + 1, 3)).repeat(40, axis=0).repeat(40, axis=1)
    return (blocks[:height, :width] + rng.integers(-20, 20, (height, width, 3))).clip(0, 255).astype(np.uint8)


def tiny_sam() -> Any:
    """A `Sam` of segment-anything's own classes, logits of a few units, predicted IoU from 0.5 to 1.15."""
    import_segment_anything()
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(0)
    sam = Sam(
        image_encoder=ImageEncoderViT(
            depth=2,
            embed_dim=32,
            img_size=256,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=2,
            use_rel_pos=True,
            global_attn_indexes=(1,),
            window_size=4,
            out_chans=32,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=32, image_embedding_size=(16, 16), input_image_size=(256, 256), mask_in_chans=4
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=2),
            transformer_dim=32,
            iou_head_depth=2,
            iou_head_hidden_dim=16,
        ),
    )
    with torch.no_grad():
        for mlp in sam.mask_decoder.output_hypernetworks_mlps:
            mlp.layers[-1].weight *= 100
            mlp.layers[-1].bias *= 100
        sam.mask_decoder.iou_prediction_head.layers[-1].bias += 0.85
    return sam.eval()


def compare(sam: Any, pixels: NDArray[np.uint8], per_side: int) -> list[dict[str, Any]]:
    """Both generators on each case."""
    from segment_anything import SamAutomaticMaskGenerator

    found = []
    for name, (theirs, (pred_iou, stability, box_nms)) in CASES.items():
        reference = SamAutomaticMaskGenerator(sam, points_per_side=per_side, **theirs)
        grid = Grid(points_per_side=per_side, pred_iou=pred_iou, stability=stability, box_nms=box_nms)
        peer, records = best(partial(reference.generate, pixels))
        own, proposals = best(lambda grid=grid: generate(Encoder(OriginalSam(sam)), pixels, grid))
        arrays = masks.to_arrays([proposal.mask for proposal in proposals])
        np.testing.assert_array_equal(arrays, [record["segmentation"] for record in records])
        found.append(
            {"case": name, "kept": len(records), "own_cpu_s": round(own, 2), "ratio": round(peer / own, 2)},
        )
    return found


def encodings(sam: Any, pixels: NDArray[np.uint8]) -> int:
    """How often the encoder runs for whole masks, part masks and 20 boxes."""
    encoder = Encoder(OriginalSam(sam))
    options = SamOptions(checkpoint="none.pth", points_per_side=4)
    for preset in ("whole", "part"):
        generate(encoder, pixels, grid_of(preset, options))
    corners = np.arange(20.0)[:, None]
    masks_of_boxes(encoder, pixels, np.concatenate([corners, corners, corners + 90, corners + 60], axis=1), 64)
    return encoder.encoded


def merging(height: int, width: int, number: int) -> float:
    """Float products' time over that of merging, both from boolean arrays."""
    arrays = blobs(height, width, number)
    half = number // 2
    own, _ = best(lambda: selection.merge(arrays[:half], arrays[half:]))

    def products() -> torch.Tensor:
        first, second = (torch.from_numpy(part.reshape(len(part), -1)).float() for part in np.split(arrays, [half]))
        return first @ second.T

    peer, shared = best(products)
    packed = [masks.PackedMasks.from_arrays(part) for part in np.split(arrays, [half])]
    np.testing.assert_array_equal(packed[0].intersections(packed[1]), shared.numpy())
    return peer / own


def memory(height: int, width: int, number: int) -> float:
    """Bytes of masks as values over those of boolean arrays."""
    values = [masks.from_array(array) for array in blobs(height, width, number)]
    held = sum(sys.getsizeof(value) + sys.getsizeof(value.counts) for value in values)
    return held / (height * width * number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help="smaller pictures and grids, half a minute")
    small = parser.parse_args().small
    torch.set_num_threads(1)
    sam = tiny_sam()
    pixels = picture(240, 320) if small else picture(480, 640)
    cases = compare(sam, pixels, per_side=8 if small else 16)
    result = {
        "benchmark": "segment",
        "worst_ratio": min(case["ratio"] for case in cases),
        "ratio_with_few_run_lengths": min(case["ratio"] for case in cases if "suppressed" in case["case"]),
        "encodings": encodings(sam, pixels),
        "merge_ratio": round(merging(512, 512, 100) if small else merging(1024, 1024, 300), 1),
        "memory_share": round(memory(1500, 2000, 20) if small else memory(3000, 4000, 99), 5),
        "cases": cases,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
