"""hf/: a vision-language model in process, tiny and random, through the whole gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from models import tiny_vlm
from models.support import SCHEMA, ask, gateway, picture, run
from support.extras import needs_extra

from sgforge.models import ChatResponse, ModelError, ModelSettings
from sgforge_transformers.provider import HfProvider

needs_extra("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vlm.build(tmp_path_factory.mktemp("vlm"))


def test_yes_no_probabilities_are_those_of_the_model(folder: Path, tmp_path: Path) -> None:
    """Worked out again here, with nothing of the plugin: one image, one forward pass, one softmax."""
    import torch
    from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_vl import Qwen2VLImageProcessor

    async def work() -> ChatResponse:
        async with gateway(tmp_path) as opened:
            model = opened.bind(f"hf/{folder}")
            assert model.capabilities.probabilities
            return await model.complete(ask("a dog?", [picture((40, 50))], max_tokens=1, choices=("yes", "no")))

    response = run(work())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder)
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(picture((40, 50)).load())).convert("RGB")
    pixels = Qwen2VLImageProcessor.from_pretrained(folder)(images=[image], return_tensors="pt")
    count = int(pixels["image_grid_thw"].prod()) // 4
    seen = f"<|vision_start|>{'<|image_pad|>' * count}<|vision_end|>"
    text = f"<|im_start|>user {seen}a dog?<|im_end|><|im_start|>assistant "
    ids = tokenizer(text, return_tensors="pt")
    kinds = (ids["input_ids"] == model.config.image_token_id).int()
    with torch.inference_mode():
        logits = model(**ids, **pixels, mm_token_type_ids=kinds).logits[0, -1]
    row = torch.softmax(logits.float(), -1)
    said = {"yes": 0.0, "no": 0.0}
    for token in range(len(tokenizer)):
        word = tokenizer.decode([token]).strip().lower()
        if word in said:
            said[word] += float(row[token])
    assert response.probabilities == pytest.approx(said, rel=1e-4)
    assert response.yes_probability == pytest.approx(said["yes"] / (said["yes"] + said["no"]), rel=1e-4)
    assert response.usage.input == ids["input_ids"].shape[1]
    assert response.usage.output == 1
    assert response.cost_usd == 0.0


def test_a_batch_gives_what_single_calls_give(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sgforge_transformers.generation import Generator

    sizes: list[int] = []
    real = Generator.answer

    def counted(self: Generator, asked: object) -> list[bytes]:
        sizes.append(len(asked))  # type: ignore[arg-type]
        return real(self, asked)  # type: ignore[arg-type]

    monkeypatch.setattr(Generator, "answer", counted)
    requests = [
        ask("x" * number, [picture((30 + number, 40))] if number % 2 else [], max_tokens=6, choices=("yes", "no"))
        for number in range(7)
    ]

    async def work(where: str, batch_size: int) -> list[ChatResponse]:
        async with gateway(tmp_path / where) as opened:
            model = opened.bind(f"hf/{folder}", ModelSettings(batch_size=batch_size))
            return await asyncio.gather(*(model.complete(request) for request in requests))

    alone = run(work("alone", 1))
    assert set(sizes) == {1}
    together = run(work("together", 7))
    assert max(sizes) > 1
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        assert one.usage == other.usage


def test_sampling_with_a_seed_is_repeatable_and_without_differs_by_ordinal(folder: Path, tmp_path: Path) -> None:
    async def work(where: str) -> list[str]:
        async with gateway(tmp_path / where) as opened:
            model = opened.bind(f"hf/{folder}")
            given = [ask(max_tokens=8, temperature=1.5, seed=seed, choices=("yes",)) for seed in (1, 2)]
            return [(await model.complete(request)).text for request in given]

    first = run(work("a"))
    assert first == run(work("b"))
    assert first[0] != first[1]


def test_a_schema_the_model_cannot_keep_ends_as_invalid(folder: Path, tmp_path: Path) -> None:
    async def work() -> None:
        async with gateway(tmp_path) as opened:
            with pytest.raises(ModelError) as caught:
                await opened.bind(f"hf/{folder}").complete(ask(schema=SCHEMA, max_tokens=4))
            assert caught.value.reason in ("invalid", "truncated")

    run(work())


def test_new_weights_under_one_name_are_another_model(folder: Path, tmp_path: Path) -> None:
    first, second = tiny_vlm.build(tmp_path / "one", seed=1), tmp_path / "two"
    provider = HfProvider(ModelSettings())
    before = provider.identity(str(first))
    assert before == provider.identity(str(first))
    tiny_vlm.build(second, seed=2)
    assert provider.identity(str(second)) != before
    assert provider.identity("some/name-on-the-hub") is None


def test_what_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "pytorch_model.bin").write_bytes(b"pickle")

    async def work() -> None:
        async with gateway(tmp_path) as opened:
            model = opened.bind(f"hf/{tmp_path / 'weights'}")
            opened.bind(f"hf/{tmp_path / 'none'}")
            found = "\n".join(opened.problems())
            assert "safetensors" in found
            assert "no folder" in found
            with pytest.raises(ModelError, match="cannot be loaded"):
                await model.complete(ask())

    run(work())
