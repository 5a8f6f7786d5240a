"""The rewards `clipscore` and `pickscore` on a CLIP of random weights: their formulas against ones computed here."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.extras import needs_extra

needs_extra("transformers")

from gas.tiny_clip import LETTERS, MEAN, MOST_TOKENS, SIZE, SPREAD, WORDS, save_tiny_clip  # noqa: E402

from sgforge.errors import StepError  # noqa: E402
from sgforge.graph import Caption, Sample  # noqa: E402
from sgforge.images import Roots  # noqa: E402
from sgforge.stages import Failure, Outcome, Resources  # noqa: E402
from sgforge.testing import RewardContract  # noqa: E402
from sgforge_gas.config import ClipScoreOptions, PickScoreOptions  # noqa: E402
from sgforge_gas.judging.clip_rewards import ClipScoreReward, PickScoreReward  # noqa: E402

os.environ.setdefault("HF_HUB_OFFLINE", "1")
TEXTS = ("a red dog", "a cat; the cat is on a mat, and then some more.")


class _Contract(RewardContract):
    def options_in(self, folder: Path) -> Mapping[str, Any]:
        return {"checkpoint": str(save_tiny_clip(folder / "clip"))}

    def samples(self, folder: Path) -> list[Sample]:
        return [picture(folder, f"p{number}", text, seed=number) for number, text in enumerate(TEXTS)]


class TestClipScore(_Contract):
    component = "clipscore"


class TestPickScore(_Contract):
    component = "pickscore"


def picture(folder: Path, name: str, text: str | None, seed: int, size=(SIZE, SIZE)) -> Sample:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(values).save(folder / f"{name}.png")
    image = Roots({"x": folder}).image(f"x:{name}.png")
    return Sample(name, image=image, values={} if text is None else {"caption": Caption(text)})


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return save_tiny_clip(folder / "one"), save_tiny_clip(folder / "other", flipped=True)


def oracle(folder: Path, text: str, values: np.ndarray) -> float:
    """The cosine: words spelt by hand, pixels scaled by hand, the two towers asked one by one, lengths by numpy."""
    import torch
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(folder)
    spelt = [
        WORDS.index(letter if place < len(word) - 1 else f"{letter}</w>")
        for word in text.replace(";", " ;").replace(",", " ,").replace(".", " .").split()
        for place, letter in enumerate(word.lower())
    ]
    assert set(text.lower()) <= set(LETTERS) | {" "}
    ids = [0, *spelt[: MOST_TOKENS - 2], 1]
    pixels = (values.transpose(2, 0, 1) / 255.0 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(SPREAD, (3, 1, 1))
    with torch.no_grad():
        said = model.text_projection(model.text_model(torch.tensor([ids])).pooler_output)[0].numpy()
        seen = model.visual_projection(
            model.vision_model(torch.tensor(pixels[None], dtype=torch.float32)).pooler_output
        )[0].numpy()
    return float(said @ seen / np.linalg.norm(said) / np.linalg.norm(seen))


def credits_of(reward, samples: list[Sample]) -> list[Any]:
    reward.setup(Resources())
    return [group[0] for group in reward.score(samples, [[Outcome(image=sample.image)] for sample in samples])]


def test_both_are_what_the_papers_say(clips: tuple[Path, Path], tmp_path: Path) -> None:
    samples = [picture(tmp_path, f"p{number}", text, seed=number) for number, text in enumerate(TEXTS)]
    values = [np.asarray(Image.open(tmp_path / f"p{number}.png")) for number in range(len(TEXTS))]
    signs = set()
    for folder in clips:
        clip = credits_of(ClipScoreReward(ClipScoreOptions(checkpoint=folder)), samples)
        bare = credits_of(ClipScoreReward(ClipScoreOptions(checkpoint=folder, prompt="")), samples)
        pick = credits_of(PickScoreReward(PickScoreOptions(checkpoint=folder)), samples)
        for number, text in enumerate(TEXTS):
            plain = oracle(folder, text, values[number])
            asked = oracle(folder, f"A photo depicts {text}", values[number])
            assert clip[number].total == pytest.approx(2.5 * max(asked, 0.0), abs=2e-4)
            assert bare[number].total == pytest.approx(2.5 * max(plain, 0.0), abs=2e-4)
            assert pick[number].total == pytest.approx(math.exp(3.0) * plain, abs=2e-3)
            signs.add(plain > 0)
    assert signs == {True, False}  # of two models that differ in the sign alone, one says 0


def test_a_large_picture_is_scaled_and_cropped_in_the_middle(clips: tuple[Path, Path], tmp_path: Path) -> None:
    wide = picture(tmp_path, "wide", TEXTS[0], seed=5, size=(SIZE * 3, SIZE))
    values = np.asarray(Image.open(tmp_path / "wide.png"))[:, SIZE : 2 * SIZE]
    (found,) = credits_of(PickScoreReward(PickScoreOptions(checkpoint=clips[0])), [wide])
    assert found.total == pytest.approx(math.exp(3.0) * oracle(clips[0], TEXTS[0], values), abs=2e-3)


def test_what_cannot_be_scored_fails_alone(clips: tuple[Path, Path], tmp_path: Path) -> None:
    reward = PickScoreReward(PickScoreOptions(checkpoint=clips[0]))
    reward.setup(Resources())
    good, mute = picture(tmp_path, "good", TEXTS[0], seed=1), picture(tmp_path, "mute", None, seed=2)
    (tmp_path / "torn.png").write_bytes((tmp_path / "good.png").read_bytes()[:100])
    torn = Roots({"x": tmp_path}).image("x:torn.png")
    outcomes = [[Outcome(image=good.image), Outcome(), Outcome(image=torn)], [Outcome(image=mute.image)]]
    (first, none, broken), (silent,) = reward.score([good, mute], outcomes)
    assert [one.reason for one in (none, broken, silent)] == ["no-image", "image", "no-caption"]
    assert not isinstance(first, Failure)
    alone = reward.score([good], [[Outcome(image=good.image)]])
    assert alone == [[first]]


def test_what_is_no_clip_is_refused(clips: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(StepError, match="cannot be loaded as a CLIP"):
        ClipScoreReward(ClipScoreOptions(checkpoint=tmp_path / "none")).setup(Resources())
    import safetensors.torch

    cut = save_tiny_clip(tmp_path / "cut")
    weights = safetensors.torch.load_file(cut / "model.safetensors")
    del weights["text_projection.weight"]
    safetensors.torch.save_file(weights, cut / "model.safetensors", {"format": "pt"})
    with pytest.raises(StepError, match="text_projection"):
        ClipScoreReward(ClipScoreOptions(checkpoint=cut)).setup(Resources())
