"""`depth` on tiny models with random weights: what their own processor gives, turned so that larger is farther."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from depth.tiny_depth import saved_depth
from PIL import Image

import sgforge as sg
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.edits import Edit, apply_edit
from sgforge.errors import StepError
from sgforge.graph import Region, Sample, SceneGraph
from sgforge.images import Roots
from sgforge.masks import from_array, to_array
from sgforge.stages import Failure, Resources
from sgforge_transformers.config import DepthOptions
from sgforge_transformers.depth import DepthModel, DepthSegmenter


def picture(seed: int = 0, height: int = 60, width: int = 80) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    return (np.stack([rows, columns, rows + columns], axis=-1) + rng.integers(0, 90, (height, width, 3))).astype(
        np.uint8
    )


def sample(folder: Path, regions: list[Region], pixels: np.ndarray, name: str = "a") -> Sample:
    Image.fromarray(pixels).save(folder / f"{name}.png")
    height, width = pixels.shape[:2]
    return Sample(name, SceneGraph(width, height, regions), image=Roots({"r": folder}).image(f"r:{name}.png"))


def raw(path: Path, pixels: np.ndarray) -> np.ndarray:
    """What the model and its processor say of an image, at the image's size."""
    from transformers import DepthAnythingForDepthEstimation
    from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

    processor = DPTImageProcessorPil.from_pretrained(path)
    with torch.no_grad():
        output = DepthAnythingForDepthEstimation.from_pretrained(path)(
            **processor(images=Image.fromarray(pixels), return_tensors="pt")
        )
    (found,) = processor.post_process_depth_estimation(output, target_sizes=[pixels.shape[:2]])
    return found["predicted_depth"].numpy()


@pytest.mark.parametrize("kind", ["relative", "metric"])
def test_larger_is_farther(kind: str, tmp_path: Path) -> None:
    path = saved_depth(tmp_path, kind)
    pixels = picture()
    wanted = raw(path, pixels)
    assert np.ptp(wanted) > 0.01
    model = DepthModel.load(path, torch.device("cpu"), torch.float32)
    found = model.maps([picture(1), pixels])[1]
    if kind == "metric":
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    else:
        np.testing.assert_allclose(found, (wanted.max() - wanted) / np.ptp(wanted), atol=1e-3)
        assert (found.min(), found.max()) == (0.0, 1.0)


def opened(path: Path) -> DepthSegmenter:
    segmenter = DepthSegmenter(DepthOptions(checkpoint=path))
    segmenter.setup(Resources())
    return segmenter


def test_each_region_gets_the_median_of_its_pixels(tmp_path: Path) -> None:
    path = saved_depth(tmp_path)
    pixels = picture()
    disc = (np.mgrid[:60, :80][0] - 30) ** 2 + (np.mgrid[:60, :80][1] - 30) ** 2 < 200
    regions = [
        Region("disc", (0, 0, 80, 60), mask=from_array(disc)),
        Region("box", (10.5, 5, 20.2, 30)),
        Region("far out", (70, 50, 95, 75)),
        Region("known", (0, 0, 9, 9), depth=3.0),
        Region("nowhere"),
        Region("gone", (0, 0, 9, 9), status="rejected"),
    ]
    given = sample(tmp_path, regions, pixels)
    (edit,) = opened(path).segment([given])
    assert isinstance(edit, Edit)
    disparity = raw(path, pixels)
    depth = (disparity.max() - disparity) / np.ptp(disparity)
    box = depth[5:30, 10:21]
    wanted = {0: np.median(depth[disc]), 1: np.median(box), 2: np.median(depth[50:, 70:])}
    assert {one.index: one.value for one in edit.sets} == pytest.approx(wanted, abs=1e-3)
    assert edit.faults == {"no-geometry": 1}
    graph = apply_edit(given.graph, edit, "depth").graph
    assert graph.regions[3].depth == 3.0


def test_images_of_several_sizes_keep_their_order(tmp_path: Path) -> None:
    path = saved_depth(tmp_path)
    whole = [Region("all", (0, 0, 30, 30))]
    images = [picture(0), picture(1, 40, 50), picture(2), picture(3, 40, 50)]
    samples = [sample(tmp_path, whole, pixels, name=str(place)) for place, pixels in enumerate(images)]
    known = sample(tmp_path, [Region("all", (0, 0, 30, 30), depth=1.0)], images[0], name="known")
    segmenter = opened(path)
    together = segmenter.segment([samples[0], Sample("none", SceneGraph(9, 9, whole[:1])), known, *samples[1:]])
    failure = together.pop(1)
    assert isinstance(failure, Failure)
    assert failure.reason == "no-image"
    assert together.pop(1) == Edit()
    for one, answer in zip(samples, together, strict=True):
        (alone,) = segmenter.segment([one])
        assert isinstance(alone, Edit)
        assert isinstance(answer, Edit)
        assert answer.sets[0].value == pytest.approx(alone.sets[0].value, abs=1e-4)


def test_faults_of_checkpoints_are_told(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    cpu = torch.device("cpu")
    with pytest.raises(StepError, match="cannot be loaded"):
        DepthModel.load(tmp_path / "none", cpu, torch.float32)
    path = saved_depth(tmp_path)
    tensors = load_file(path / "model.safetensors")
    del tensors["head.conv1.weight"]
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(StepError, match=r"no whole DepthAnythingForDepthEstimation: it lacks \['head.conv1.weight'\]"):
        DepthModel.load(path, cpu, torch.float32)


def test_a_mask_counts_more_than_the_box(tmp_path: Path) -> None:
    path = saved_depth(tmp_path)
    pixels = picture()
    strip = np.zeros((60, 80), bool)
    strip[:, 79] = True
    edits: Mapping[str, Any] = {
        name: opened(path).segment([sample(tmp_path, [region], pixels, name=name)])[0]
        for name, region in {
            "mask": Region("x", (0, 0, 80, 60), mask=from_array(strip)),
            "box": Region("x", (79, 0, 80, 60)),
        }.items()
    }
    assert edits["mask"] == edits["box"]
    assert to_array(from_array(strip)).sum() == 60


def test_the_map_is_kept_in_a_file_of_its_column(tmp_path: Path) -> None:
    path = saved_depth(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(2):
        Image.fromarray(picture(number)).save(photos / f"{number}.png")
    line = '{"image_id": "%d", "width": 80, "height": 60, "uri": "photos:%d.png", "regions": [{"box": [0, 0, 9, 9]}]}\n'
    (tmp_path / "g.jsonl").write_text("".join(line % (number, number) for number in range(2)))
    source = sg.source("jsonl", graphs=str(tmp_path / "g.jsonl"))

    def run(folder: str, **options: Any) -> sg.Dataset:
        step = sg.segment("depth", checkpoint=str(path), **options)
        sg.Pipeline(step).run(source, tmp_path / folder, roots={"photos": photos}, progress=False)
        return sg.Dataset.open(tmp_path / folder)

    dataset = run("kept")
    model = DepthModel.load(path, torch.device("cpu"), torch.float32)
    files = dataset.column("image/transformers.depth_map").values
    edges = dataset.column("image/transformers.depth_range").values
    for number, depths in enumerate(model.maps([picture(0), picture(1)])):
        low, high = edges[number]
        assert (low, high) == pytest.approx((depths.min(), depths.max()), abs=1e-5)
        steps = np.frombuffer(dataset.read_file(files[number]), "<u2").reshape(256, 256)
        rows, columns = ((np.arange(256) + 0.5) * 60 / 256).astype(int), ((np.arange(256) + 0.5) * 80 / 256).astype(int)
        off = np.abs(low + steps / 65535 * (high - low) - depths[np.ix_(rows, columns)])
        assert np.quantile(off, 0.99) < 1e-3 * (high - low)
    assert verify_dataset(tmp_path / "kept").problems == []
    assert not run("dropped", keep_map=False).snapshot.meta.columns
