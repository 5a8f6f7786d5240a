"""Images: sent as they are, encoded once, made to fit a provider's limits, bounded in what is held."""

from __future__ import annotations

import asyncio
import io
import random
from pathlib import Path

import attrs
import pytest
from models.support import REMOTE, ask, at, gateway, picture, run
from PIL import Image

from sgforge.errors import ImageError
from sgforge.images import Roots
from sgforge.models import ChatResponse, ImagePart, ModelError
from sgforge.models.wire.pictures import Fit, Pictures
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest, FakeSettings


def noise(width: int, height: int) -> ImagePart:
    """A picture that compresses badly."""
    pixels = random.Random(1).randbytes(width * height * 3)
    return ImagePart.from_pil(Image.frombytes("RGB", (width, height), pixels), "PNG")


def test_bytes_are_named_by_their_hash_and_sent_unchanged(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10), (1, 2, 3)).save(tmp_path / "a.png")
    source = Roots({"here": tmp_path}).image("here:a.png")
    part = ImagePart.from_source(source)
    assert part.sha256 == source.sha256()
    assert (part.media_type, part.size) == ("image/png", (20, 10))
    assert part == ImagePart.from_bytes((tmp_path / "a.png").read_bytes())


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="thing"):
        ImagePart.from_bytes(data, "thing")


def test_another_format_is_refused_with_its_mend() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "BMP")
    with pytest.raises(ImageError, match="from_pil"):
        ImagePart.from_bytes(stream.getvalue())


def test_calls_that_show_one_image_share_its_encoding() -> None:
    loads: list[int] = []
    part = picture()
    data = part.load()

    def load() -> bytes:
        loads.append(1)
        return data

    counted = attrs.evolve(part, load=load)

    async def work() -> None:
        pictures = Pictures(10**9)

        async def one() -> None:
            async with pictures.prepare([counted, counted], Fit()) as prepared:
                await asyncio.sleep(0.01)
                assert prepared.encode(counted)[0] == "image/jpeg"

        await asyncio.gather(*(one() for _ in range(10)))
        assert pictures.held == 0

    run(work())
    assert len(loads) == 1


def test_held_bytes_stay_under_the_bound_and_one_giant_passes_alone() -> None:
    parts = [attrs.evolve(picture(), sha256=f"{number:064x}", byte_count=400) for number in range(20)]
    giant = attrs.evolve(picture(), sha256="f" * 64, byte_count=5000)

    async def work() -> tuple[int, int]:
        pictures = Pictures(1000)
        most = 0

        async def one(part: ImagePart) -> None:
            nonlocal most
            async with pictures.prepare([part], Fit()):
                if part is not giant:
                    most = max(most, pictures.held)
                else:
                    assert pictures.held == 5000
                await asyncio.sleep(0.001)

        await asyncio.gather(*(one(part) for part in [*parts[:10], giant, *parts[10:]]))
        return most, pictures.held

    most, left = run(work())
    assert most == 800
    assert left == 0


def test_cancelled_waiters_give_their_bytes_back() -> None:
    async def work() -> int:
        pictures = Pictures(1000)
        await pictures.reserve(900)
        waiting = [asyncio.create_task(pictures.reserve(900)) for _ in range(3)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        pictures.give_back(900)
        waiting[1].cancel()  # granted in this moment
        pictures.give_back(await waiting[2])
        return pictures.held

    assert run(work()) == 0


@pytest.mark.parametrize("name", REMOTE)
def test_an_image_over_the_limits_is_downscaled_and_recorded(name: str, tmp_path: Path) -> None:
    seen: list[FakeRequest] = []

    def script(request: FakeRequest) -> FakeAnswer:
        seen.append(request)
        return FakeAnswer("ok")

    async def work() -> list[ChatResponse]:
        async with gateway(tmp_path) as opened:
            model = opened.bind(name, at(fake, name, max_image_side=100, max_image_bytes=6000))
            request = ask(images=[noise(300, 150), picture()])
            return [await model.complete(request), await model.complete(request)]

    with FakeProvider(script, FakeSettings(max_image_bytes=6000)) as fake:
        first, again = run(work())
    large, small = seen[0].images
    shrunk = Image.open(io.BytesIO(large))
    assert max(shrunk.size) <= 100
    assert shrunk.width == pytest.approx(2 * shrunk.height, abs=1)
    assert len(large) <= 6000
    assert small == picture().load()
    assert first.notes == again.notes
    assert len(first.notes) == 1
    assert "300x150" in first.notes[0]


@pytest.mark.parametrize("name", REMOTE)
def test_a_model_without_vision_fails_the_item_with_its_words(name: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with gateway(tmp_path) as opened:
            with pytest.raises(ModelError, match="does not take images") as caught:
                await opened.bind(name, at(fake, name)).complete(ask(images=[picture()]))
            assert caught.value.reason == "http_400"

    with FakeProvider(settings=FakeSettings(blind=frozenset({"m"}))) as fake:
        run(work())


def test_an_image_that_vanished_fails_its_item_only(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (20, 10)).save(path)
    part = ImagePart.from_source(Roots({"here": tmp_path}).image("here:a.png"))
    path.unlink()

    async def work() -> None:
        async with gateway(tmp_path) as opened:
            model = opened.bind("compat/m", at(fake, "compat"))
            with pytest.raises(ImageError, match=r"here:a\.png"):
                await model.complete(ask(images=[part]))
            assert (await model.complete(ask(images=[picture()]))).text

    with FakeProvider() as fake:
        run(work())


def test_a_large_one_that_is_given_up_lets_those_behind_it_in() -> None:
    async def work() -> None:
        pictures = Pictures(100)
        assert await pictures.reserve(40) == 40
        large = asyncio.create_task(pictures.reserve(90))
        small = asyncio.create_task(pictures.reserve(50))
        while len(pictures._waiting) < 2:
            await asyncio.sleep(0)
        large.cancel()
        assert await small == 50  # nothing else has changed: the first one still holds its 40
        assert pictures.held == 90

    run(work())


def test_an_encoding_that_nobody_waits_for_is_not_finished() -> None:
    async def work() -> None:
        pictures = Pictures(10**9)
        fit = Fit(side=16)
        waiting = asyncio.create_task(pictures.encode(noise(64, 64), fit))
        while not pictures._shared:
            await asyncio.sleep(0)
        [shared] = pictures._shared.values()
        waiting.cancel()
        await asyncio.wait((waiting, shared.task))
        assert shared.task.cancelled()
        assert pictures._shared == {}
        # Whoever comes then has it made anew.
        assert (await pictures.encode(noise(64, 64), fit)).media_type == "image/jpeg"

    run(work())
