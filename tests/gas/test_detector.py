"""The detector of generated pictures: figures by hand, what it learns, and how well it is said to tell kinds apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sgforge_gas.judging.detector import Detector, figures, hardest, separation

FLOOR = math.log(1e-8)


def picture(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def test_a_picture_of_one_colour_has_no_power_and_no_differences() -> None:
    found = figures(picture(np.full((16, 20), 77)))
    np.testing.assert_allclose(found[:16], FLOOR)
    np.testing.assert_allclose(found[16:].reshape(3, 3), [[0.5 * FLOOR, FLOOR, 1.0]] * 3)


def test_a_board_of_black_and_white_has_all_power_at_the_end_and_differences_of_two() -> None:
    found = figures(picture(np.indices((32, 32)).sum(axis=0) % 2 * 255))
    assert int(np.argmax(found[:16])) == 15
    np.testing.assert_allclose(found[:15], FLOOR)
    # Second differences are all 2 or -2: standard deviation 2, kurtosis 16 / 4 ** 2.
    np.testing.assert_allclose(found[16:].reshape(3, 3), [[math.log(2), 0.0, 0.0]] * 3, atol=1e-7)


@pytest.mark.parametrize(("waves", "ring"), [(4, 2), (8, 4), (20, 10)])
def test_a_wave_has_its_power_in_its_ring(waves: int, ring: int) -> None:
    # `waves` over 64 pixels: of the Nyquist frequency's 32 this is the share waves / 32, of 16 rings.
    wave = 128 + 100 * np.cos(2 * np.pi * waves * (np.arange(64) + 0.25) / 64)
    for grey in (np.tile(wave, (64, 1)), np.tile(wave[:, None], (1, 64))):
        found = figures(picture(grey))
        assert int(np.argmax(found[:16])) == ring
        assert np.delete(found[:16], ring).max() < found[ring] - 5


def test_channels_are_told_apart() -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[..., 1] = np.random.default_rng(0).integers(0, 256, (16, 16))
    red, green, blue = figures(pixels)[16:].reshape(3, 3)
    assert red[2] == blue[2] == 1
    assert green[2] < 0.1


@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 4), (7, 16, 3)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="3 channels and 8 pixels"):
        figures(np.zeros(shape, np.uint8))


def test_it_learns_the_least_loss() -> None:
    chance = np.random.default_rng(1)
    real, generated = chance.normal(0, 1, (30, 3)), chance.normal(0.7, 2, (12, 3))
    found = Detector.learnt(real, generated)
    rows = (np.concatenate([real, generated]) - found.mean) / found.scale
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(rows.std(axis=0), 1)

    def loss(weights: np.ndarray) -> float:
        odds = rows @ weights[:3] + weights[3]
        real_loss, generated_loss = np.log1p(np.exp(odds[:30])), np.log1p(np.exp(-odds[30:]))
        return 21 * (real_loss.mean() + generated_loss.mean()) + 0.5 * np.sum(weights[:3] ** 2)

    best = np.array([*found.weights, found.bias])
    for place in range(4):
        for step in (-1e-3, 1e-3):
            other = best.copy()
            other[place] += step
            assert loss(other) > loss(best)
    np.testing.assert_allclose(found.probabilities(real), 1 / (1 + np.exp(-(rows[:30] @ best[:3] + best[3]))))


def test_one_kind_alone_teaches_nothing() -> None:
    with pytest.raises(ValueError, match="both kinds"):
        Detector.learnt(np.zeros((3, 2)), np.zeros((0, 2)))
    with pytest.raises(ValueError, match="both kinds"):
        separation([], [0.5])


def test_separation_by_hand() -> None:
    found = separation(real=[0.1, 0.4], generated=[0.4, 0.9])
    # Of four pairs three are in order and one is a tie: 3.5 / 4. Its variance after Hanley and McNeil:
    # (0.875 * 0.125 + (0.875 / 1.125 - 0.875 ** 2) + (2 * 0.875 ** 2 / 1.875 - 0.875 ** 2)) / 4 = 0.043142
    assert found.auroc == 0.875
    assert found.low == pytest.approx(0.875 - 1.959964 * math.sqrt(0.0431424), abs=1e-5)
    assert found.high == 1.0
    assert found.accuracy == 0.75  # one of two generated ones is above 0.5, both real ones are not


def test_the_hardest_look_most_real() -> None:
    assert hardest([0.9, 0.2, 0.5, 0.2], 3) == [1, 3, 2]
    assert hardest([0.9], 3) == [0]
