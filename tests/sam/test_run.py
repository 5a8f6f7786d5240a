"""From a folder of photos to a dataset: `sgforge init --segment sam`, a run, and what its figures say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import skimage.data
from PIL import Image
from sam.tiny import saved_sam
from support.environment import ROOT
from support.waiting import LONGEST

from sgforge.cli.main import main
from sgforge.dataset import Dataset
from sgforge.masks import areas

PHOTOS = ("astronaut.png", "coffee.png", "chelsea.png")
QUICK = "points_per_side = 4\npred_iou = 0.6\nstability = 0.0\nbox_nms = 0.97\n"


def photos(folder: Path, number: int) -> None:
    """Some photos of skimage, cut differently and made small."""
    folder.mkdir()
    for place in range(number):
        image = Image.open(Path(skimage.data.__file__).parent / PHOTOS[place % len(PHOTOS)]).convert("RGB")
        shift = 15 * place
        image.crop((shift, 0, image.width, image.height - shift)).resize((96, 64)).save(folder / f"{place}.png")


def test_a_folder_of_photos_in_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos", 10)
    weights = saved_sam(tmp_path)
    assert main(["init", "--images", "photos", "--segment", "sam", "--checkpoint", str(weights)]) == 0
    config = tmp_path / "pipeline.toml"
    head, _, _ = config.read_text().partition("[[step]]                               # trains a student")
    config.write_text(
        head.replace("# points_per_side = 32\n", QUICK).replace("max_regions = 99", "max_regions = 6\nmin_area = 20")
    )
    assert main(["check", "pipeline.toml"]) == 0
    assert main(["run", "pipeline.toml"]) == 0
    dataset = Dataset.open(tmp_path / "runs" / "first")
    graphs = [sample.graph for sample in dataset]
    assert len(graphs) == 10
    for graph in graphs:
        regions = list(graph.regions.values())
        assert 0 < len(regions) <= 6
        assert {region.source for region in graph.all.regions} == {"sam:default"}
        assert min(areas([region.mask for region in regions if region.mask is not None])) >= 20
        assert {region.reason for region in graph.all.regions} <= {None, "too-small", "duplicate", "beyond-limit"}
    assert sum(len(graph.relations) for graph in graphs) > 10
    capsys.readouterr()
    assert main(["stats", "runs/first"]) == 0
    told = capsys.readouterr().out
    beyond = sum(row.reason == "beyond-limit" for graph in graphs for row in graph.all.regions)
    assert beyond
    assert f"beyond-limit {beyond}" in told
    assert "rejected by   segment-2" in told


def test_a_missing_checkpoint_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos", 1)
    assert main(["init", "--images", "photos", "--segment", "sam", "--checkpoint", "no.pth"]) == 0
    assert main(["run", "pipeline.toml"]) != 0
    assert "no.pth" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "first" / "snapshots").exists() or not list(
        (tmp_path / "runs" / "first" / "snapshots").iterdir()
    )


def test_equal_weights_elsewhere_give_the_same_answers_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key holds the contents of the weights, not their place, and no batch size."""
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos", 2)
    config = 'dataset = "d"\n[source]\nuse = "folder"\nimages = "photos"\n[[step]]\nsegment = "sam"\n' + QUICK
    weights = saved_sam(tmp_path)
    (tmp_path / "a.toml").write_text(config + f'checkpoint = "{weights.name}"\n')
    assert main(["run", "a.toml", "--json"]) == 0
    assert '"computed":2' in capsys.readouterr().out.replace(" ", "")
    moved = weights.rename(tmp_path / "other.pth")
    (tmp_path / "a.toml").write_text(config + f'checkpoint = "{moved.name}"\npoints_per_batch = 3\n')
    assert main(["run", "a.toml", "--json"]) == 0
    assert '"computed":0' in capsys.readouterr().out.replace(" ", "")
    saved_sam(tmp_path, seed=1).rename(moved)
    assert main(["run", "a.toml", "--json"]) == 0
    assert '"computed":2' in capsys.readouterr().out.replace(" ", "")


def test_the_device_benchmark_runs_on_a_cpu() -> None:
    """At a tiny size; its figures mean nothing there."""
    script = ROOT / "benchmarks" / "gpu" / "segment.py"
    command = [sys.executable, script, "--device", "cpu", "--size", "tiny", "--batches", "1", "2", "--repeats", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=True)
    found = json.loads(done.stdout)
    assert [one["batch"] for one in found["encoding"]] == [1, 2]
    assert min(one["images_s"] for one in found["encoding"]) > 0
    assert found["points"] == 16
