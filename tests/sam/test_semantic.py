"""Semantic-SAM against the published implementation's tensors, prompts apart and together, and its component."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sam.tiny import picture, semantic_options, semantic_tensors
from torch.nn.functional import interpolate, pad

from sgforge.edits import Edit
from sgforge.errors import StepError
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.masks import to_array
from sgforge.stages import Resources, Shared
from sgforge_sam.config import SemanticSamOptions
from sgforge_sam.features import Encoder
from sgforge_sam.frames import IMAGENET
from sgforge_sam.generator import Grid, generate
from sgforge_sam.protocol import Features
from sgforge_sam.semantic.model import LEVEL_TOKENS, SemanticFrame, SemanticSam, load_network
from sgforge_sam.semantic.network import Network, build_network
from sgforge_sam.semantic_sam import SemanticSamSegmenter

DATA = Path(__file__).parents[1] / "data" / "sam"


@pytest.fixture(scope="module")
def network() -> Network:
    return build_network(semantic_tensors(), "tiny")


@pytest.fixture(scope="module")
def io() -> dict[str, torch.Tensor]:
    return load_file(DATA / "semantic_sam_io.safetensors")


@pytest.fixture(scope="module")
def encoded(network: Network, io: dict[str, torch.Tensor]) -> Any:
    image = pad(IMAGENET(io["image"]), (0, 22, 0, 10))
    with torch.no_grad():
        return network.encode(image[None])


def close(found: torch.Tensor, wanted: torch.Tensor, atol: float) -> None:
    torch.testing.assert_close(found, wanted, atol=atol, rtol=0)


def test_the_encoder_agrees_with_the_published_one(encoded: Any, io: dict[str, torch.Tensor]) -> None:
    levels, masks = encoded
    close(levels[0], io["ms_0"], 2e-4)
    close(levels[3], io["ms_3"], 2e-4)
    close(masks, io["mask_features"], 2e-4)


@pytest.mark.parametrize(
    ("name", "prompts", "kind", "tokens"),
    [
        ("point", slice(5), 0, range(6)),
        ("box", slice(2), 1, range(6)),
        ("single", slice(1), 0, range(6)),
        ("level30", slice(5), 0, [3, 0]),
    ],
)
def test_masks_agree_with_the_published_ones(
    name: str, prompts: slice, kind: int, tokens: Any, network: Network, encoded: Any, io: dict[str, torch.Tensor]
) -> None:
    levels, masks = encoded
    boxes = io["boxes" if kind else "points"][prompts] * torch.tensor([202 / 224, 150 / 160] * 2)
    with torch.no_grad():
        embeddings, iou = network.sem_seg_head.predictor(levels, boxes, torch.full((len(boxes),), kind), apart=False)
        low = torch.einsum("ptc,chw->pthw", embeddings, masks[0])
    close(iou[:, list(tokens)], io[f"{name}_ious"][0], 1e-4)
    if name == "point":
        close(low.flatten(0, 1), io["low_res_masks"][0], 2e-4)
    full = interpolate(low[:, list(tokens)].flatten(0, 1)[None], (160, 224), mode="bilinear", align_corners=False)[0]
    wanted = io[f"{name}_mask_logits"]
    close(full[: len(wanted), :150:5, :202:5], wanted, 1e-3)


def test_prompts_apart_give_what_each_gives_alone(network: Network, encoded: Any, io: dict[str, torch.Tensor]) -> None:
    levels, _ = encoded
    boxes = io["points"] * torch.tensor([202 / 224, 150 / 160] * 2)
    kinds = torch.zeros(5, dtype=torch.int64)
    predictor = network.sem_seg_head.predictor
    with torch.no_grad():
        apart, iou = predictor(levels, boxes, kinds, apart=True)
        together, _ = predictor(levels, boxes, kinds, apart=False)
        alone = [predictor(levels, boxes[i : i + 1], kinds[:1], apart=False)[0][0] for i in range(5)]
    close(apart, torch.stack(alone), 1e-5)
    close(iou[:1], io["single_ious"][0], 1e-4)
    assert (apart - together).abs().max() > 0.01


class Unscaled(SemanticSam):
    """Takes the image as it is, as the tensors on file were made."""

    def placed(self, pixels: np.ndarray, /) -> SemanticFrame:
        return SemanticFrame(150, 202, (150, 202), (160, 224))


def test_the_protocol_gives_levels_in_order_at_the_image_s_size(network: Network, io: dict[str, torch.Tensor]) -> None:
    model = Unscaled(network, apart=False)
    pixels = io["image"].permute(1, 2, 0).contiguous().numpy()
    features = model.encode([pixels])[0]
    scale = np.array([202, 150])
    points = io["points"].numpy()[:, :2].astype(np.float64) * scale
    decoded = model.decode_points(features, points)
    close(decoded.iou, io["point_ious"][0][:, list(LEVEL_TOKENS.values())], 1e-4)
    full = features.frame.enlarge(decoded.logits.flatten(0, 1)).view(5, 6, 150, 202)
    close(full[:2, [0, 2]].flatten(0, 1)[:, ::5, ::5], io["level30_mask_logits"], 1e-3)
    centre, side = np.split(io["boxes"].numpy().astype(np.float64), 2, axis=1)
    corners = np.concatenate([(centre - side / 2) * scale, (centre + side / 2) * scale], axis=1)
    boxed = model.decode_boxes(features, corners)
    close(boxed.iou, io["box_ious"][0][:, list(LEVEL_TOKENS.values())], 1e-4)


def test_images_are_scaled_to_a_short_side_of_640_and_padded() -> None:
    pixels = picture(300, 400)
    frame = SemanticFrame.of(pixels)
    assert (frame.inner, frame.padded) == ((640, 853), (640, 864))
    fitted = frame.fitted(pixels)
    assert fitted.shape == (3, 640, 864)
    assert not fitted[:, :, 853:].any()
    small = np.asarray(Image.fromarray(pixels).resize((853, 640), Image.Resampling.BICUBIC), np.float64) / 255
    wanted = (small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(fitted[:, :, :853].permute(1, 2, 0), wanted, atol=1e-4)
    assert frame.fractions(np.array([[400.0, 300.0]])).tolist() == [[pytest.approx(853 / 864), 1.0]]
    strip = SemanticFrame.of(np.zeros((3, 3000, 3), np.uint8))
    assert strip.inner == (2, 2560)
    assert SemanticFrame.of(pixels, 64).padded == (64, 96)


def test_the_duplicates_of_public_files_are_ignored_and_others_named() -> None:
    tensors = semantic_tensors()
    head = "model.sem_seg_head.predictor."
    more = {
        f"{head}bbox_embed.0.layers.0.weight": torch.zeros(1),
        f"{head}decoder.bbox_embed.2.layers.1.bias": torch.zeros(1),
        f"{head}decoder.norm.weight": torch.zeros(1),
        "model.backbone.layers.0.blocks.0.attn.relative_position_index": torch.zeros(1),
    }
    build_network({**tensors, **more}, "w.pth")
    with pytest.raises(StepError, match=r"w\.pth is of another architecture than Semantic-SAM: it has the unknown odd"):
        build_network({**tensors, "model.odd": torch.zeros(1)}, "w.pth")
    name = f"{head}decoder_norm.weight"
    with pytest.raises(StepError, match=r"it lacks sem_seg_head\.predictor\.decoder_norm\.weight"):
        build_network({key: value for key, value in tensors.items() if key != name}, "w.pth")
    with pytest.raises(StepError, match=r"decoder_norm\.weight is \(3,\) instead of \(64,\)"):
        build_network({**tensors, name: torch.zeros(3)}, "w.pth")
    with pytest.raises(StepError, match="none of Semantic-SAM: it has no"):
        build_network({"image_encoder.pos_embed": torch.zeros(1)}, "w.pth")
    with pytest.raises(StepError, match="is read from a file"):
        load_network("owner/name", torch.device("cpu"))


def test_results_do_not_depend_on_the_batch_unless_asked_for(network: Network) -> None:
    pixels = picture(60, 80)
    small, large = (
        Grid(points_per_side=3, points_per_batch=size, pred_iou=-9.0, stability=0.0, box_nms=1.0) for size in (2, 9)
    )

    for apart in (True, False):
        encoder = Encoder(SemanticSam(network, apart=apart, short=60))
        first, second = (generate(encoder, pixels, grid) for grid in (small, large))
        ious = [np.array(sorted(one.iou for one in found)) for found in (first, second)]
        assert len(ious[0]) == 54
        assert np.allclose(*ious, atol=1e-5) == apart


def test_encoding_together_keeps_order_and_results(network: Network) -> None:
    model = SemanticSam(network, short=64)
    images = [picture(16, 20, 0), picture(20, 16, 1), picture(16, 20, 2)]
    together = model.encode(images)
    for image, features in zip(images, together, strict=True):
        (alone,) = model.encode([image])
        assert features.frame == alone.frame
        for ours, theirs in zip(features.tensors, alone.tensors, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


def test_steps_of_other_sizes_share_the_weights_and_not_the_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those features that are kept in a folder, where they outlive the process."""
    loaded: list[object] = []
    monkeypatch.setattr(
        "sgforge_sam.semantic_sam.load_network", lambda *given: loaded.append(given) or load_network(*given)
    )
    Image.fromarray(picture(40, 56)).save(tmp_path / "a.png")
    given = Sample("a", SceneGraph(56, 40), image=Roots({"r": tmp_path}).image("r:a.png"))
    options = semantic_options(tmp_path)
    sizes = {"short_side": 64}, {"short_side": 32}, {"short_side": 64, "independent_prompts": False}

    def found(resources: Resources, size: Mapping[str, Any], folder: Path | None) -> Edit:
        told = {**options, **size}
        segmenter = SemanticSamSegmenter(SemanticSamOptions(**told, levels=(3,), feature_folder=folder))
        segmenter.setup(resources)
        (edit,) = segmenter.segment([given])
        assert isinstance(edit, Edit)
        kept.append(segmenter)
        return edit

    kept: list[SemanticSamSegmenter] = []
    alone = [found(Resources(shared=Shared()), size, None) for size in sizes]
    assert len({len(edit.regions) and edit.regions[0].score for edit in alone[:2]}) == 2
    loaded.clear()
    together = Resources(shared=Shared())
    assert [found(together, size, tmp_path / "features") for size in sizes] == alone
    assert len(loaded) == 1
    # Again, from what the folder has.
    kept.clear()
    assert [found(Resources(shared=Shared()), size, tmp_path / "features") for size in sizes] == alone
    assert [segmenter.encoder.encoded for segmenter in kept] == [0, 0, 0]


def test_regions_carry_their_level(tmp_path: Path) -> None:
    Image.fromarray(picture(24, 32)).save(tmp_path / "a.png")
    given = Sample("a", SceneGraph(32, 24), image=Roots({"r": tmp_path}).image("r:a.png"))
    options = SemanticSamOptions(**semantic_options(tmp_path), levels=(3, 6), box_nms=1.0, clean=0, min_area=0)
    segmenter = SemanticSamSegmenter(options)
    segmenter.setup(Resources())
    (edit,) = segmenter.segment([given])
    assert isinstance(edit, Edit)
    assert {region.level for region in edit.regions} == {3, 6}
    assert {region.source for region in edit.regions} == {"semantic-sam"}
    (features,) = segmenter.encoder.batch([picture(24, 32)])
    assert isinstance(features, Features)
    points = np.array([[8.0, 6.0], [24.0, 6.0], [8.0, 18.0], [24.0, 18.0]])
    decoded = segmenter.encoder.model.decode_points(features, points)
    full = features.frame.enlarge(decoded.logits[:, [2, 5]].flatten(0, 1)) > 0
    wanted = {one.numpy().tobytes() for one in full if one.any()}
    found = {to_array(region.mask).tobytes() for region in edit.regions if region.mask is not None}
    assert found == wanted
    segmenter.close()


@pytest.mark.parametrize("levels", [(), (0,), (7,), (1, 1)])
def test_levels_are_different_numbers_from_1_to_6(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="levels must be different numbers from 1 to 6"):
        SemanticSamOptions(checkpoint="w.pth", levels=levels)
