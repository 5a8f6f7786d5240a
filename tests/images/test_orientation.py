"""Orientation tags: pictures as they are stored, or turned as the tag says, in every format alike."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from sgforge import Roots
from sgforge.decoding import decode_image
from sgforge.images import turned_uri, unturned_uri

# 16 wide, 8 high, a red block at the upper left: which corner it goes to tells the eight turns apart by hand.
STORED = np.zeros((8, 16, 3), np.uint8)
STORED[:4, :8] = (255, 0, 0)
STORED[4:, 8:] = (0, 0, 255)
STORED[:2, 12:] = (0, 255, 0)
FORMS = ("PNG", "TIFF", "WEBP", *(("AVIF",) if features.check("avif") else ()))


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Exif 2.3, tag 0x0112: which side of the picture row 0 and column 0 of the file are."""
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels.transpose(1, 0, 2)[:, ::-1],
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: pixels.transpose(1, 0, 2)[::-1],
    }[orientation]


def encoded(form: str, orientation: int) -> bytes:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    # Not exif=: for a TIFF the tag is one of the file's own.
    if form == "TIFF":
        Image.fromarray(STORED).save(stream, form, tiffinfo={0x0112: orientation})
    else:
        options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}.get(form, {})
        Image.fromarray(STORED).save(stream, form, exif=exif, **options)
    return stream.getvalue()


def alike(left: np.ndarray, right: np.ndarray) -> bool:
    return left.shape == right.shape and int(np.abs(left.astype(int) - right).max()) <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", FORMS)
def test_stored_and_turned_pixels(tmp_path: Path, form: str, orientation: int) -> None:
    data = encoded(form, orientation)
    (tmp_path / "a").write_bytes(data)
    for uri, expected in (("r:a", STORED), ("r+turned:a", turned(STORED, orientation))):
        image = Roots({"r": tmp_path}).image(uri)
        assert alike(np.asarray(decode_image(data, "here", turned="turned" in uri)), expected)
        assert alike(image.array(), expected)
        assert image.size() == (expected.shape[1], expected.shape[0])
        # What a model is sent shows the same picture to a reader that follows no tag.
        sent = Image.open(io.BytesIO(image.read_bytes()))
        if form != "TIFF" or "turned" in uri:
            assert alike(np.asarray(sent.convert("RGB")), expected)


def test_a_turned_jpeg_is_sent_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(STORED).save(tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0)
    image = Roots({"r": tmp_path}).image("r+turned:a.jpg")
    sent = Image.open(io.BytesIO(image.read_bytes()))
    assert (sent.format, sent.size, dict(sent.getexif())) == ("JPEG", (8, 16), {})
    assert np.abs(np.asarray(sent).astype(int) - turned(STORED, 6)).max() < 60


@pytest.mark.parametrize(
    ("form", "orientation", "is_turned", "is_own"),
    [
        ("PNG", 1, False, True),
        ("PNG", 6, False, True),
        ("PNG", 1, True, True),
        ("PNG", 6, True, False),
        ("TIFF", 1, False, True),
        ("TIFF", 6, True, True),  # as it was read before there was a choice
        ("TIFF", 6, False, False),
    ],
)
def test_a_picture_that_its_file_does_not_tell_has_a_digest_of_its_own(
    tmp_path: Path, form: str, orientation: int, is_turned: bool, is_own: bool
) -> None:
    data = encoded(form, orientation)
    (tmp_path / "a").write_bytes(data)
    uri = turned_uri("r:a") if is_turned else "r:a"
    digest = Roots({"r": tmp_path}).image(uri).sha256()
    assert len(digest) == 64
    assert (digest == hashlib.sha256(data).hexdigest()) == is_own


def test_uris() -> None:
    assert turned_uri("r:deep/a:b.png") == turned_uri("r+turned:deep/a:b.png") == "r+turned:deep/a:b.png"
    assert unturned_uri("r+turned:a.png") == unturned_uri("r:a.png") == "r:a.png"


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0II*\0", b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x63\0\0"])
def test_a_tag_that_cannot_be_read_turns_nothing(tmp_path: Path, exif: bytes) -> None:
    Image.fromarray(STORED).save(tmp_path / "a.png", exif=exif)
    image = Roots({"r": tmp_path}).image("r+turned:a.png")
    assert (image.array() == STORED).all()
    assert image.size() == (16, 8)
