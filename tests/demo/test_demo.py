"""The demo as people run it: once, again, and from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.extras import needs_extra
from support.waiting import LONGEST

needs_extra("superpixels")  # the demo's photos come with scikit-image

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "demo"
PHOTOS = ("astronaut", "camera", "chelsea", "coffee", "rocket")


def run(folder: Path, *command: str | Path) -> str:
    environment = {**os.environ, "PYTHONUTF8": "1"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkout")


@pytest.fixture(scope="module")
def first(folder: Path) -> str:
    """What the first run printed."""
    return run(folder, sys.executable, DEMO / "run.py")


def rows(text: str) -> dict[str, list[str]]:
    """The rows of the table of steps."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("step"))
    return {line.split()[0]: line.split()[1:] for line in lines[start + 1 : start + 11]}


def test_first_run(first: str) -> None:
    table = rows(first)
    assert list(table) == [
        *("source", "segment", "complete", "filter", "first", "generate", "edit", "second", "before", "after"),
    ]
    computed = {step: int(row[1]) for step, row in table.items()}
    assert computed["source"] == computed["segment"] == 205
    assert computed["complete"] == computed["filter"] == computed["first"] == 14
    assert computed["generate"] == computed["edit"] == 150
    assert computed["second"] == 164
    assert computed["before"] == computed["after"] == 41
    assert all(row[2] == row[3] == "0" for row in table.values()), "nothing reused, nothing failed"
    relations = [int(table[step][5].replace(",", "")) for step in ("source", "complete", "generate", "edit")]
    assert relations == sorted(set(relations)), "each of these steps adds relations"
    assert "after the first round" in first
    assert "after the second round" in first
    assert first.count("sgforge ") >= 3, "three commands to try next"


def test_pictures(first: str, folder: Path) -> None:
    import numpy as np
    import skimage.data
    from PIL import Image

    for name in PHOTOS:
        with Image.open(folder / "demo" / "pictures" / f"{name}.png") as picture:
            photo = getattr(skimage.data, name)()
            assert picture.size == (2 * photo.shape[1], 2 * photo.shape[0])
            plain = picture.resize((photo.shape[1], photo.shape[0]))
        difference = np.abs(np.asarray(plain, np.int16)[..., 0] - photo.reshape(*photo.shape[:2], -1)[..., 0])
        assert (difference > 30).mean() > 0.02, "something is drawn on it"


def test_second_run_computes_nothing_and_says_so(first: str, folder: Path) -> None:
    second = run(folder, sys.executable, DEMO / "run.py")
    assert "nothing had to be computed again" in second
    assert all(row[1] == "0" for row in rows(second).values())
    table = second.splitlines()
    figures = [line for line in first.splitlines() if line.startswith("after the ")]
    assert all(line in table for line in figures)


def test_the_command_line_takes_it_from_there(first: str, folder: Path) -> None:
    """The config alone, run by `sgforge run`, finds all of it done; with another option only what follows is redone."""
    sgforge = Path(sys.executable).with_name("sgforge")
    steps = json.loads(run(folder, sgforge, "run", DEMO / "demo.toml", "--json").splitlines()[-1])["steps"]
    assert {name: step["computed"] for name, step in steps.items()} == dict.fromkeys(rows(first), 0)
    stricter = run(folder, sgforge, "run", DEMO / "demo.toml", "--set", "step.generate.min_score=0.3", "--json")
    computed = {name: step["computed"] for name, step in json.loads(stricter.splitlines()[-1])["steps"].items()}
    assert [name for name, count in computed.items() if count] == ["generate", "edit", "second", "after"]


def test_photos_are_annotated_within_their_frames() -> None:
    """Every outline covers pixels, every relation names two regions of its photo, sizes are those of the files."""
    import skimage.data

    sys.path.insert(0, str(DEMO))
    try:
        from photos import graph_of  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(DEMO))
    listed = tomllib.loads((DEMO / "photos.toml").read_text(encoding="utf-8"))["photo"]
    assert [Path(photo["file"]).stem for photo in listed] == list(PHOTOS)
    for photo in listed:
        graph = graph_of(photo)
        shape = getattr(skimage.data, Path(photo["file"]).stem)().shape
        assert (graph.height, graph.width) == shape[:2]
        assert len(graph.regions) >= 6
        assert len(graph.relations) >= 10
        for region in graph.regions.values():
            assert region.mask is not None
            assert region.box is not None
            assert 0 <= region.box[0] < region.box[2] <= graph.width
            assert 0 <= region.box[1] < region.box[3] <= graph.height
