"""Decoding: right images come through, broken and hostile ones are refused."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.waiting import LONGEST

from sgforge import Roots, decoding
from sgforge.decoding import FORMATS, MAX_PIXELS, decode_image
from sgforge.errors import ImageError
from sgforge.images import ImageSource

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def encoded(form: str = "PNG", mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(stream, form)
    return stream.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> ImageSource:
    (tmp_path / "a.png").write_bytes(encoded())
    return Roots({"data": tmp_path}).image("data:a.png")


def test_pixels_size_and_hash(source: ImageSource) -> None:
    assert (source.array() == PIXELS).all()
    assert source.size() == (20, 12)
    assert source.sha256() == hashlib.sha256(encoded()).hexdigest()


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_formats(form: str) -> None:
    image = decode_image(encoded(form), "here")
    assert (image.mode, image.size) == ("RGB", (20, 12))


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "LA", "I;16"])
def test_modes_become_rgb(mode: str) -> None:
    assert decode_image(encoded(mode=mode), "here").mode == "RGB"


def test_grey_stays_grey() -> None:
    array = np.asarray(decode_image(encoded(mode="L"), "here"))
    assert (array == np.asarray(Image.fromarray(PIXELS).convert("L"))[..., None]).all()


@pytest.mark.parametrize(("form", "mode"), [("PNG", "I;16"), ("TIFF", "I;16"), ("TIFF", "I;16B"), ("PPM", "I;16")])
def test_grey_of_16_bits_keeps_its_upper_8(form: str, mode: str) -> None:
    deep = np.array([[0, 255, 256, 0x1234], [0x7FFF, 0x8000, 0xFF00, 0xFFFF]], np.uint16)
    stream = io.BytesIO()
    order = ">u2" if mode == "I;16B" else "<u2"
    Image.frombytes(mode, (4, 2), deep.astype(order).tobytes()).save(stream, form)
    expected = [[0, 0, 1, 0x12], [0x7F, 0x80, 0xFF, 0xFF]]
    decoded = np.asarray(decode_image(stream.getvalue(), "here"))
    assert decoded.tolist() == [[[value] * 3 for value in row] for row in expected]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_grey_without_a_fixed_white_is_refused(kind: type[np.generic]) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.ones((2, 4), kind)).save(stream, "TIFF")
    with pytest.raises(ImageError, match=r"image here has grey values of 32 bits.*: convert it to 8 or 16 bits"):
        decode_image(stream.getvalue(), "here")


def test_four_inks_become_the_colours_they_print() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 60)).convert("CMYK").save(stream, "JPEG", quality=100)
    assert np.abs(np.asarray(decode_image(stream.getvalue(), "here")).astype(int) - (200, 30, 60)).max() <= 3


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_picture_counts(form: str) -> None:
    stream = io.BytesIO()
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    pictures[0].save(stream, form, save_all=True, append_images=pictures[1:])
    pixel = np.asarray(decode_image(stream.getvalue(), "here"))[0, 0].astype(int)
    assert np.abs(pixel - (255, 0, 0)).max() <= 3


def test_no_orientation_is_applied() -> None:
    """Annotations are in the pixels of the file as stored."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "JPEG", exif=exif)
    assert decode_image(stream.getvalue(), "here").size == (20, 12)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_every_truncation_is_refused_or_whole(form: str) -> None:
    """No cut of a file raises anything but our error; most cuts must be refused."""
    data = encoded(form)
    refused = 0
    for length in range(0, len(data), 7):
        try:
            assert decode_image(data[:length], "cut").size == (20, 12)
        except ImageError:
            refused += 1
    assert refused > 0.8 * len(range(0, len(data), 7))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_flipped_bytes_raise_nothing_else(form: str) -> None:
    data = encoded(form)
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(150):
        spoilt = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            spoilt[place] ^= int(rng.integers(1, 256))
        try:
            assert decode_image(bytes(spoilt), "spoilt").mode == "RGB"
        except ImageError:
            refused += 1
    assert refused > 0


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header states a size, with hardly any data behind it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


BOMBS = [(10_001, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (1, MAX_PIXELS + 1), (9_460, 9_460), (1, 65_536)]


@pytest.mark.parametrize("size", BOMBS)
@pytest.mark.filterwarnings("error")
def test_bombs_are_refused_before_they_are_decoded(size: tuple[int, int], tmp_path: Path) -> None:
    data = png_of_size(*size)
    with pytest.raises(ImageError, match="pixels, refused"):
        decode_image(data, "bomb")
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(ImageError, match="pixels, refused"):
        Roots({"data": tmp_path}).image("data:bomb.png").size()


def test_limits_are_below_100_megapixels_and_those_of_pillow() -> None:
    decode_image(encoded(), "here")
    assert MAX_PIXELS < 100_000_000
    assert MAX_PIXELS == Image.MAX_IMAGE_PIXELS


def test_nothing_is_warned_of_in_a_fresh_process(tmp_path: Path) -> None:
    """89.5 to 179 million pixels: Pillow by itself warns, on the stderr of whoever runs this."""
    (tmp_path / "a.png").write_bytes(png_of_size(12_000, 12_000))
    code = (
        "import sys; from sgforge.images import Roots\n"
        "try: Roots({'data': sys.argv[1]}).image('data:a.png').pil()\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ImageError image data:a.png is 12000x12000: more than 89,478,485 pixels, refused")
    assert done.stderr == ""


def test_the_environment_says_other_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGFORGE_MAX_PIXELS", "200")
    with pytest.raises(
        ImageError, match=r"20x12: more than 200 pixels, refused; SGFORGE_MAX_PIXELS=NUMBER allows more"
    ):
        decode_image(encoded(), "here")
    monkeypatch.setenv("SGFORGE_MAX_PIXELS", "240")
    monkeypatch.setenv("SGFORGE_MAX_SIDE", "19")
    with pytest.raises(ImageError, match=r"20x12: a side of more than 19 pixels, refused; SGFORGE_MAX_SIDE=NUMBER"):
        decode_image(encoded(), "here")
    monkeypatch.setenv("SGFORGE_MAX_SIDE", "20")
    assert decode_image(encoded(), "here").size == (20, 12)
    monkeypatch.setenv("SGFORGE_MAX_SIDE", "many")
    with pytest.raises(ImageError, match="SGFORGE_MAX_SIDE='many' must be a whole number of pixels"):
        decode_image(encoded(), "here")


def test_decoding_waits_for_room_and_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 x 12 pixels of RGB take 1440 bytes, as they are and as they become: there is room for two at a time."""
    monkeypatch.setattr(decoding, "_ROOM", decoding._Room(3000))
    most, now, lock = 0, 0, threading.Lock()
    convert = decoding._to_rgb

    def watched(image: Image.Image, where: str) -> Image.Image:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        with suppress(threading.BrokenBarrierError):
            barrier.wait(0.2)
        try:
            return convert(image, where)
        finally:
            with lock:
                now -= 1

    barrier = threading.Barrier(3)
    monkeypatch.setattr(decoding, "_to_rgb", watched)
    with ThreadPoolExecutor(6) as threads:
        sizes = [image.size for image in threads.map(lambda _: decode_image(encoded(), "here"), range(6))]
    assert sizes == [(20, 12)] * 6
    assert most <= 2
    monkeypatch.setattr(decoding, "_ROOM", decoding._Room(1000))
    with pytest.raises(ImageError, match="takes 1,440 bytes to decode, more than 1,000: refused"):
        decode_image(encoded(), "here")


@pytest.mark.parametrize("data", [encoded()[:60], b"x"])
def test_room_is_given_back_after_an_error(data: bytes) -> None:
    for _ in range(3):
        with pytest.raises(ImageError):
            decode_image(data, "here")
    assert decoding._ROOM._free == decoding.MAX_DECODED_BYTES


def test_formats_that_start_programs_are_not_read(tmp_path: Path) -> None:
    """PostScript would run a program to be read."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    image = Roots({"data": tmp_path}).image("data:a.png")
    for read in (image.size, image.pil):
        with pytest.raises(ImageError, match="no image of a known format"):
            read()


@pytest.mark.parametrize("data", [b"", b"text", b"\x89PNG\r\n\x1a\n"])
def test_no_image_at_all(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(data)
    image = Roots({"data": tmp_path}).image("data:a.png")
    for read in (image.size, image.pil):
        with pytest.raises(ImageError, match=r"data:a\.png") as caught:
            read()
        assert str(tmp_path) not in str(caught.value), "messages name uris, not places of this machine"
        assert "0x" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    image = Roots({"data": tmp_path}).image("data:none.png")
    for read in (image.size, image.pil, image.read_bytes, image.sha256):
        with pytest.raises(ImageError, match=r"data:none\.png.*No such file"):
            read()


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    image = Roots({"data": tmp_path}).image("data:a.png")
    for read in (image.size, image.pil):
        with pytest.raises(ImageError, match="no regular file"):
            read()


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    image = Roots({"data": tmp_path}).image("data:a.png")
    errors: list[Exception] = []

    def read() -> None:
        for call in (image.size, image.read_bytes):
            try:
                call()
            except ImageError as error:
                errors.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(timeout=LONGEST)
    assert not thread.is_alive(), "reading a pipe waits for ever"
    assert len(errors) == 2


def test_size_does_not_read_the_whole_file(tmp_path: Path) -> None:
    """The header is enough: a file cut off after it still has its size."""
    (tmp_path / "a.png").write_bytes(encoded()[:60])
    image = Roots({"data": tmp_path}).image("data:a.png")
    assert image.size() == (20, 12)
    with pytest.raises(ImageError):
        image.pil()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(ImageError, match="Permission denied"):
        Roots({"data": tmp_path}).image("data:a.png").pil()
