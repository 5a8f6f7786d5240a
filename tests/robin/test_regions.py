"""What the extractor makes of masks by default: exact shares of area, nothing lost, aligned with the image."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from robin.given import figures, robin, weights
from torch import Tensor

from sgforge.errors import StepError
from sgforge_robin import MaskExtractor
from sgforge_robin.model.extractor import area_pooled, pad_to_square

LEVELS = ("res2", "res3", "res4", "res5")


def extractor_weights() -> dict[str, Tensor]:
    return {name: value for name, value in weights().items() if name.startswith("mask_extractor.")}


def covered(mask: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float64]:
    """Share of each cell that the mask covers, from the masks enlarged until cells are whole pixels."""
    height, width = mask.shape
    fine = np.kron(mask, np.ones((rows, columns)))
    return fine.reshape(rows, height, columns, width).mean(axis=(1, 3))


@settings(max_examples=60)
@given(st.data())
def test_area_pooling_is_exact(data: st.DataObject) -> None:
    size = st.integers(1, 9)
    height, width, rows, columns = (data.draw(size) for _ in range(4))
    mask = np.array(data.draw(st.lists(st.integers(0, 1), min_size=height * width, max_size=height * width)))
    mask = mask.reshape(height, width).astype(float)
    found = area_pooled(torch.from_numpy(mask)[None].float(), (rows, columns))[0].numpy()
    np.testing.assert_allclose(found, covered(mask, rows, columns), atol=1e-6)


def test_a_mean_by_hand() -> None:
    extractor = MaskExtractor((1, 1, 1, 1), 2, 2, mask_side=2)
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    features = dict.fromkeys(LEVELS, maps)
    mask = torch.zeros(1, 4, 4)
    mask[0, 0, :3] = 1  # two pixels of the first cell, one of the second
    means = extractor.pooled(features, mask)
    assert means["res2"].item() == pytest.approx((2 * 1 + 1 * 2) / 3)


@pytest.mark.parametrize("place", [(0, 0), (479, 639), (333, 71)])
@torch.no_grad()
def test_a_region_of_one_pixel_keeps_its_features(place: tuple[int, int]) -> None:
    extractor = MaskExtractor.from_state_dict(extractor_weights())
    features = {name: figures()[f"out.fp32.vision.{name}"][:1] for name in LEVELS}
    mask = torch.zeros(1, 480, 640, dtype=torch.uint8)
    mask[0, place[0], place[1]] = 1
    for name, means in extractor.pooled(features, mask).items():
        rows, columns = features[name].shape[2:]
        cell = features[name][0, :, place[0] * rows // 480, place[1] * columns // 640]
        torch.testing.assert_close(means[0], cell)
    with_parity = MaskExtractor.from_state_dict(extractor_weights(), parity=True)
    lost = [name for name, means in with_parity.pooled(features, mask).items() if not means.any()]
    assert lost == [
        name
        for name in LEVELS
        if not torch.nn.functional.interpolate(
            mask.float()[:, None], features[name].shape[2:], mode="bilinear", align_corners=False
        ).any()
    ]


def test_masks_of_a_padded_image_stand_where_the_image_stands() -> None:
    masks = torch.zeros(1, 2, 6)
    masks[0, :, 0] = 1
    square = pad_to_square(masks)
    assert square.shape == (1, 6, 6)
    assert square[0].nonzero().tolist() == [[2, 0], [3, 0]]
    wide = robin(parity=False)
    wide.shape = attrs.evolve(wide.shape, aspect="pad")
    features = wide.tower(figures()["in.images"][:1])
    found = wide.region_tokens(features, masks)
    meant = wide.extractor(features, square)
    assert found is not None
    assert torch.equal(found.mask, meant[0])
    wide.parity = True
    stretched = wide.region_tokens(features, masks)
    assert stretched is not None
    assert torch.equal(stretched.mask, wide.extractor(features, masks)[0])
    assert not torch.equal(stretched.mask, found.mask)


@torch.no_grad()
def test_an_empty_mask_and_one_of_the_whole_image() -> None:
    model = robin()
    features = {name: figures()[f"out.fp32.vision.{name}"][:1] for name in LEVELS}
    masks = torch.stack([torch.zeros(50, 70), torch.ones(50, 70)])
    means = model.extractor.pooled(features, masks)
    for name in LEVELS:
        assert not means[name][0].any()
        torch.testing.assert_close(means[name][1], features[name][0].mean(dim=(1, 2)))


def test_an_extractor_of_other_weights_is_refused() -> None:
    with pytest.raises(StepError, match=r"feat_linear.weight, mask_linear.layers.0.weight.*missing"):
        MaskExtractor.from_state_dict({"res2.weight": torch.zeros(2, 2)})
    state = extractor_weights()
    state["mask_extractor.res3.bias"] = torch.zeros(5)
    with pytest.raises(StepError, match=r"res3.bias"):
        MaskExtractor.from_state_dict(state)


@pytest.mark.parametrize(
    ("masks", "level", "words"),
    [
        (torch.ones(8, 8), None, r"masks have the shape \(8, 8\), not \(N, h, w\)"),
        (torch.ones(1, 8, 8), {"res5": None}, "no level res5"),
        (torch.ones(1, 8, 8), {"res3": torch.zeros(1, 3, 2, 2)}, r"level res3 has the shape \(1, 3, 2, 2\)"),
        (torch.ones(1, 8, 8), {"res2": torch.zeros(2, 1, 2, 2)}, "masks are of one image"),
    ],
)
def test_what_is_of_another_shape_is_named(masks: Tensor, level: dict[str, Tensor | None] | None, words: str) -> None:
    extractor = MaskExtractor((1, 1, 1, 1), 2, 2, mask_side=2)
    features = {name: torch.zeros(1, 1, 2, 2) for name in LEVELS} | (level or {})
    with pytest.raises(StepError, match=words):
        extractor({name: value for name, value in features.items() if value is not None}, masks)
