"""Uris: what they resolve to, and that none leads out of its root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge import Roots
from sgforge.errors import ConfigError, ImageError


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    (tmp_path / "inside" / "deep").mkdir(parents=True)
    (tmp_path / "inside" / "a.png").write_bytes(b"inside")
    (tmp_path / "secret.png").write_bytes(b"secret")
    return Roots({"data": tmp_path / "inside"})


def test_a_uri_names_a_file_below_its_root(roots: Roots, tmp_path: Path) -> None:
    assert roots.resolve("data:a.png") == tmp_path / "inside" / "a.png"
    assert roots.resolve("data:deep/none.png") == tmp_path / "inside" / "deep" / "none.png"
    assert roots.resolve("data:deep/./x.png") == tmp_path / "inside" / "deep" / "x.png"
    assert roots.resolve("data:odd:name.png") == tmp_path / "inside" / "odd:name.png"
    assert roots.resolve("data:deep/../a.png") == tmp_path / "inside" / "a.png"
    assert roots.resolve("data:../inside/a.png") == tmp_path / "inside" / "a.png"
    assert roots.resolve("data:deep\\a.png") == tmp_path / "inside" / "deep\\a.png"
    assert roots.resolve("data+turned:deep/none.png") == tmp_path / "inside" / "deep" / "none.png"


def test_what_is_not_there_is_not_said_to_leave_its_root(roots: Roots) -> None:
    for name in ("deep/../none.png", "deep\\none.png"):
        with pytest.raises(ImageError, match="No such file") as caught:
            roots.image(f"data:{name}").read_bytes()
        assert caught.value.code == "image-missing"


def test_a_folder_above_that_is_a_link_is_followed_as_the_system_does(roots: Roots, tmp_path: Path) -> None:
    """deep/up is a link to the folder outside, so that deep/up/../x is beside that folder, not in deep."""
    (tmp_path / "other" / "sub").mkdir(parents=True)
    (tmp_path / "inside" / "deep" / "up").symlink_to(tmp_path / "other" / "sub")
    with pytest.raises(ImageError, match="leaves its root"):
        roots.resolve("data:deep/up/../x.png")


@pytest.mark.parametrize(
    "uri",
    [
        "data:../secret.png",
        "data:deep/../../secret.png",
        "data:..",
        "data:/etc/passwd",
        "data://etc/passwd",
        "data:a.png\0.jpg",
        "data:..\\secret.png",
        "data:deep\\..\\..\\secret.png",
    ],
)
def test_ways_out_are_refused(roots: Roots, uri: str) -> None:
    with pytest.raises(ImageError, match="leaves its root"):
        roots.resolve(uri)


@pytest.mark.parametrize("uri", ["a.png", "", "/etc/passwd"])
def test_no_root(roots: Roots, uri: str) -> None:
    with pytest.raises(ImageError, match="has no root"):
        roots.resolve(uri)


def test_unknown_root_names_the_known_ones(roots: Roots) -> None:
    with pytest.raises(ImageError, match=r"no root 'coco' \(known: data\).*--root coco=FOLDER"):
        roots.resolve("coco:a.png")


def test_a_link_out_of_the_root_is_refused(roots: Roots, tmp_path: Path) -> None:
    (tmp_path / "inside" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "inside" / "up").symlink_to(tmp_path)
    for uri in ("data:link.png", "data:up/secret.png"):
        with pytest.raises(ImageError, match="through a link"):
            roots.resolve(uri)


def test_a_link_within_the_root_is_followed(roots: Roots, tmp_path: Path) -> None:
    (tmp_path / "inside" / "deep" / "link.png").symlink_to(tmp_path / "inside" / "a.png")
    assert roots.resolve("data:deep/link.png") == tmp_path / "inside" / "a.png"


def test_a_root_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert Roots({"data": tmp_path / "root"}).resolve("data:a.png") == tmp_path / "real" / "a.png"


def test_a_neighbour_whose_name_begins_alike_is_outside(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data-private").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "data-private")
    with pytest.raises(ImageError, match="through a link"):
        Roots({"data": tmp_path / "data"}).resolve("data:link/a.png")


def test_a_loop_of_links(roots: Roots, tmp_path: Path) -> None:
    (tmp_path / "inside" / "loop").symlink_to(tmp_path / "inside" / "loop")
    with pytest.raises(ImageError):
        roots.image("data:loop/a.png").read_bytes()


@pytest.mark.parametrize("name", ["\ud800.png", "x" * 5000 + ".png"])
def test_names_that_no_file_can_have(roots: Roots, name: str) -> None:
    with pytest.raises(ImageError):
        roots.image(f"data:{name}").read_bytes()


parts = st.lists(st.sampled_from(["..", ".", "a", "deep", "", "\\", "\0", "link", "~", "%2e%2e", "…"]), max_size=6)


@given(parts, st.sampled_from(["", "/", "//", "./", "../"]))
def test_whatever_resolves_is_inside(path_parts: list[str], prefix: str) -> None:
    folder = Path(os.path.realpath(os.curdir))
    try:
        path = Roots({"data": folder}).resolve("data:" + prefix + "/".join(path_parts))
    except ImageError:
        return
    assert os.path.commonpath([os.path.realpath(path), folder]) == str(folder)


@pytest.mark.parametrize("name", ["", "a:b", "a/b", ".", "..", "-x", "a b", "é"])
def test_root_names(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="root name"):
        Roots({name: tmp_path})


def test_one_name_for_two_folders(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    roots = Roots({"data": tmp_path})
    roots.add("data", tmp_path / "b" / "..")
    with pytest.raises(ConfigError, match="cannot also be"):
        roots.add("data", tmp_path / "b")


def test_locate(roots: Roots, tmp_path: Path) -> None:
    assert roots.locate("data:deep", "seed") == ("data:deep", tmp_path / "inside" / "deep")
    assert roots.locate(str(tmp_path), "seed") == ("seed:", tmp_path)
    assert roots.locate(str(tmp_path / "inside" / "a.png"), "file") == ("file:a.png", tmp_path / "inside" / "a.png")
    assert roots.names() == ["data", "file", "seed"]
    with pytest.raises(ConfigError, match="no root 'cocoa'"):
        roots.locate("cocoa:x", "seed")
    with pytest.raises(ConfigError, match=r"'seed'.*leaves its root"):
        roots.locate("data:../secret.png", "seed")
