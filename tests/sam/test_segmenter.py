"""The component `sam`: contract, regions, boxes, shared encodings, odd images, and a run from a config."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from PIL import Image
from sam.tiny import FEW, picture, saved_sam, tiny_sam

from sgforge.edits import Edit, apply_edit
from sgforge.graph import Region, Sample, SceneGraph
from sgforge.images import Roots
from sgforge.masks import from_arrays, to_array
from sgforge.stages import Failure, Resources
from sgforge_sam.config import SamOptions
from sgforge_sam.features import Encoder
from sgforge_sam.original import OriginalSam
from sgforge_sam.protocol import Features
from sgforge_sam.regions import parents_of, with_parents
from sgforge_sam.sam import SamSegmenter


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_sam(tmp_path_factory.mktemp("weights"))


def sample(folder: Path, pixels: np.ndarray, regions: Sequence[Region] = (), name: str = "a") -> Sample:
    Image.fromarray(pixels).save(folder / f"{name}.png")
    roots = Roots({"r": folder})
    height, width = pixels.shape[:2]
    graph = SceneGraph(width, height, regions)
    return Sample(name, graph, f"r:{name}.png", image=roots.image(f"r:{name}.png"))


def opened(checkpoint: Path, **options: Any) -> SamSegmenter:
    segmenter = SamSegmenter(SamOptions(checkpoint=checkpoint, **{**FEW, **options}))
    segmenter.setup(Resources())
    return segmenter


def test_regions_say_what_they_are(checkpoint: Path, tmp_path: Path) -> None:
    known = [Region("cup", (1, 2, 30, 20)), Region("void", status="rejected")]
    given = sample(tmp_path, picture(60, 80), known)
    segmenter = opened(checkpoint, presets=["whole", "part"])
    (edit,) = segmenter.segment([given])
    assert isinstance(edit, Edit)
    assert {region.source for region in edit.regions} == {"sam:whole", "sam:part"}
    for region in edit.regions:
        assert region.level == (2 if region.source == "sam:whole" else 1)
        assert region.label is None
        assert region.mask is not None
        rows, columns = np.nonzero(to_array(region.mask))
        assert region.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert region.score is not None
        assert 0.5 < region.score <= 1.0
        assert region.parent is None or region.parent >= len(known)
    segmenter.close()


def test_a_part_names_the_smallest_region_that_holds_it() -> None:
    arrays = np.zeros((4, 60, 80), bool)
    arrays[0, 10:20, 10:20] = arrays[1, 5:50, 5:60] = arrays[2, 5:30, 5:30] = arrays[3, 40:60, 60:80] = True
    regions = [Region(mask=mask) for mask in from_arrays(arrays)]
    assert [region.parent for region in with_parents(regions, first=7)] == [9, None, 8, None]


@pytest.mark.parametrize("keeps", ["small", "large"])
def test_disjoint_masks_share_no_pixel(keeps: Any, checkpoint: Path, tmp_path: Path) -> None:
    given = sample(tmp_path, picture(60, 80))
    plain, apart = (opened(checkpoint, box_nms=1.0, disjoint=name) for name in ("no", keeps))
    (before,), (after,) = plain.segment([given]), apart.segment([given])
    assert isinstance(before, Edit)
    assert isinstance(after, Edit)
    first, second = (
        np.array([to_array(region.mask) for region in edit.regions if region.mask is not None])
        for edit in (before, after)
    )
    assert first.sum(axis=0).max() > 1
    assert second.sum(axis=0).max() == 1
    assert np.array_equal(first.any(axis=0), second.any(axis=0))
    assert len(first) - len(second) == after.faults.get("empty-mask", 0) - before.faults.get("empty-mask", 0)
    assert all(region.box == region.mask.box and region.parent is None for region in after.regions if region.mask)
    plain.close()
    apart.close()


def test_boxes_get_the_mask_that_the_model_predicts_best(checkpoint: Path, tmp_path: Path) -> None:
    mask = from_arrays(np.eye(60, 80, dtype=bool)[None])[0]
    known = [
        Region("cup", (10, 5, 40, 50)),
        Region("has one", (0, 0, 60, 60), mask=mask),
        Region("gone", (0, 0, 9, 9), status="rejected"),
        Region("dog", (30, 0, 80, 60)),
        Region("nowhere"),
    ]
    given = sample(tmp_path, picture(60, 80), known)
    segmenter = opened(checkpoint, presets=[], boxes=True)
    (edit,) = segmenter.segment([given])
    assert isinstance(edit, Edit)
    assert edit.regions == ()
    assert [(one.index, one.field) for one in edit.sets] == [(0, "mask"), (3, "mask")]
    sam = tiny_sam()
    sam.mask_threshold = 0.0  # a file of weights does not hold it
    sam_side = np.array([128 / 80] * 4)
    for one in edit.sets:
        box = np.array(known[one.index].box) * sam_side
        image = Image.fromarray(picture(60, 80)).resize((128, 96), Image.Resampling.BILINEAR)
        record = {
            "image": torch.from_numpy(np.array(image)).permute(2, 0, 1),
            "original_size": (60, 80),
            "boxes": torch.from_numpy(box[None]),
        }
        (wanted,) = sam([record], multimask_output=True)
        best = int(wanted["iou_predictions"][0].argmax())
        assert np.array_equal(to_array(one.value), wanted["masks"][0, best].numpy())
    segmenter.close()


def test_one_encoding_serves_all_presets_and_boxes_and_steps(checkpoint: Path, tmp_path: Path) -> None:
    boxes = [Region("x", (float(i), float(i), i + 20.0, i + 15.0)) for i in range(20)]
    samples = [sample(tmp_path, picture(60, 80, seed), boxes, name=str(seed)) for seed in range(3)]
    first = opened(checkpoint, presets=["whole", "part"], boxes=True)
    second = opened(checkpoint, presets=["default"])
    third = opened(checkpoint, presets=["default"], dtype="bfloat16")
    shared = first.encoder
    assert second.encoder is shared
    assert third.encoder is not shared
    assert shared.encoded == 0
    first.segment(samples)
    assert shared.encoded == 3
    second.segment(samples)
    first.close()
    first.close()
    second.segment(samples)
    assert shared.encoded == 3
    second.close()
    last = weakref.ref(shared)
    del shared
    gc.collect()
    assert last() is None, "nobody holds the model any more"
    third.close()


def test_weights_are_shared_by_their_content_wherever_the_file_lies(tmp_path: Path) -> None:
    one, other = (saved_sam(tmp_path, seed) for seed in (0, 1))
    first, second = opened(one), opened(other)
    shutil.copyfile(other, one)
    third = opened(one)
    assert first.encoder is not second.encoder
    assert third.encoder is second.encoder
    for segmenter in (first, second, third):
        segmenter.close()


def test_features_in_memory_are_bounded_and_those_on_disk_outlive_the_model(tmp_path: Path) -> None:
    model = OriginalSam(tiny_sam())
    images = [picture(40, 50, seed) for seed in range(4)]
    one = model.encode(images[:1])[0].nbytes
    bounded = Encoder(model, max_bytes=2 * one)
    bounded.batch(images)
    assert bounded.encoded == 4
    bounded.batch(images[2:])
    assert bounded.encoded == 4
    bounded.features(images[0])
    assert bounded.encoded == 5

    kept = Encoder(model, folder=tmp_path / "features", name="weights")
    wanted = kept.batch(images[:2])
    other = Encoder(model, folder=tmp_path / "features", name="weights")
    found = other.batch(images[:2])
    assert other.encoded == 0
    for theirs, ours in zip(wanted, found, strict=True):
        assert torch.equal(theirs.tensors[0], ours.tensors[0])
        assert theirs.frame == ours.frame
    for path in (tmp_path / "features").iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    damaged = Encoder(model, folder=tmp_path / "features", name="weights")
    damaged.batch(images[:2])
    assert damaged.encoded == 2
    another = Encoder(model, folder=tmp_path / "features", name="other weights")
    another.batch(images[:2])
    assert another.encoded == 2


@pytest.mark.parametrize("kind", ["1x1", "1x300", "alpha", "16 bit", "cmyk", "grey"])
def test_odd_images_are_segmented(kind: str, checkpoint: Path, tmp_path: Path) -> None:
    pixels = picture(40, 50)
    images = {
        "1x1": Image.fromarray(pixels[:1, :1]),
        "1x300": Image.fromarray(np.repeat(pixels[:1, :30], 10, axis=1)),
        "alpha": Image.fromarray(np.dstack([pixels, pixels[..., :1]])),
        "16 bit": Image.fromarray(pixels[..., 0].astype(np.uint16) * 257),
        "cmyk": Image.fromarray(pixels).convert("CMYK"),
        "grey": Image.fromarray(pixels[..., 0]),
    }
    name = "a.tif" if kind == "cmyk" else "a.png"
    images[kind].save(tmp_path / name)
    width, height = images[kind].size
    odd = Sample("a", SceneGraph(width, height), image=Roots({"r": tmp_path}).image(f"r:{name}"))
    segmenter = opened(checkpoint)
    (edit,) = segmenter.segment([odd])
    assert isinstance(edit, Edit)
    apply_edit(odd.graph, edit, "sam")
    segmenter.close()


def test_an_image_of_another_size_than_its_graph_fails_alone(checkpoint: Path, tmp_path: Path) -> None:
    good = sample(tmp_path, picture(60, 80))
    wrong = attrs.evolve(good, graph=SceneGraph(800, 600))
    segmenter = opened(checkpoint)
    first, failure, last = segmenter.segment([good, wrong, Sample("none")])
    assert isinstance(first, Edit)
    assert isinstance(failure, Failure)
    assert (failure.reason, "80x60 pixels, its graph says 800x600" in failure.detail) == ("size-differs", True)
    assert isinstance(last, Failure)
    assert last.reason == "no-image"
    segmenter.close()


class Small(OriginalSam):
    """A device whose memory holds two images or seven points at a time."""

    asked: list[int]

    def encode(self, images: Any, /) -> list[Features]:
        self.asked.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return super().encode(images)

    def decode_points(self, features: Any, points: Any, /) -> Any:
        if len(points) > 7:
            raise torch.OutOfMemoryError("out of memory")
        return super().decode_points(features, points)


def test_what_does_not_fit_the_device_is_halved() -> None:
    from sgforge_sam.generator import Grid, generate

    small = Small(tiny_sam())
    small.asked = []
    encoder = Encoder(small)
    images = [picture(40, 50, seed) for seed in range(5)]
    with pytest.warns(RuntimeWarning, match="do not fit the device's memory: halved") as told:
        made = encoder.batch(images)
    assert [str(one.message)[:1] for one in told] == ["5", "3"]
    assert small.asked == [5, 2, 3, 1, 2]
    wanted = Encoder(OriginalSam(tiny_sam())).batch(images)
    for ours, theirs in zip(made, wanted, strict=True):
        torch.testing.assert_close(ours.tensors[0], theirs.tensors[0], atol=1e-5, rtol=1e-4)
    grid = Grid(points_per_side=4, pred_iou=0.5, stability=0.0)
    with pytest.warns(RuntimeWarning, match="do not fit") as told:
        found = generate(encoder, images[0], grid)
    assert [str(one.message)[:2] for one in told] == ["16", "8 ", "8 "]
    assert [one.point for one in found] == [
        one.point for one in generate(Encoder(OriginalSam(tiny_sam())), images[0], grid)
    ]


def test_parents_in_a_large_frame_are_found_on_a_thinner_one() -> None:
    arrays = np.zeros((3, 3000, 4000), bool)
    arrays[0, 100:2900, 201:3900] = True
    arrays[1, 502:1001, 707:1203] = True
    arrays[2, 2000:2999, 10:90] = True
    assert parents_of(from_arrays(arrays)).tolist() == [-1, 0, -1]


def test_nothing_to_do_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing would be segmented"):
        SamOptions(checkpoint="x.pth", presets=())


def test_a_checkpoint_is_a_path_or_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "weights").mkdir(parents=True)
    kinds = {text: SamOptions(checkpoint=text).checkpoint for text in ("a.pth", "facebook/sam-vit-huge", "own/weights")}
    assert kinds == {
        "a.pth": Path("a.pth"),
        "facebook/sam-vit-huge": "facebook/sam-vit-huge",
        "own/weights": Path("own/weights"),
    }
