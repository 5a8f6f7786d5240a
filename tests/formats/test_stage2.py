"""examples/svg/stage2.toml over small data sets in the layouts of ADE20K, PSG and Visual Genome."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image
from support.environment import ROOT
from support.waiting import LONGEST

import sgforge as sg
from sgforge.dataset import Dataset
from sgforge.graph import Sample
from sgforge.jsonl import write_jsonl
from sgforge.plugins import load_plugins
from sgforge.testing.contracts.data import publish_samples
from sgforge.testing.fake_provider import FakeProvider, FakeSettings
from sgforge.testing.scenes import scene_samples

STAND_IN = "http://127.0.0.1:8800/v1"


def made(folder: Path, count: int, seed: int, prefix: str) -> list[Sample]:
    """Scenes whose ids begin with a prefix, so that no two data sets share one."""
    folder.mkdir(parents=True)
    samples = scene_samples(folder, count, seed, size=128, uri="x:")
    return [sg.Sample(f"{prefix}{one.image_id}", one.graph, one.uri, split="train") for one in samples]


def export(name: str, samples: list[Sample], folder: Path, output: Path) -> None:
    component = load_plugins().lookup("exporter", name)
    folder.mkdir(parents=True)
    exporter = component.build(component.config() if component.config else None)
    exporter.export(publish_samples(folder, samples), output)


def write_data(folder: Path) -> None:
    """The three data sets, six images each, and what stage 1 made."""
    (folder / "runs").mkdir()
    write_jsonl(made(folder / "seed", 12, 0, "s"), folder / "runs" / "svg-relations.jsonl")
    psg = made(folder / "psg" / "coco", 6, 100, "p")
    export("psg", psg, folder / "p", folder / "psg" / "made")
    (folder / "psg" / "made" / "psg.json").rename(folder / "psg" / "psg.json")
    (folder / "psg" / "made" / "panoptic").rename(folder / "psg" / "panoptic")
    for png in (folder / "psg" / "panoptic").iterdir():
        png.rename(folder / "psg" / "coco" / png.name)
    vg = made(folder / "vg" / "images", 6, 200, "v")
    export("vg", vg, folder / "v", folder / "vg" / "made")
    for name in ("scene_graphs.json", "image_data.json"):
        (folder / "vg" / "made" / name).rename(folder / "vg" / name)
    for one in vg:
        picture = folder / "vg" / "images" / (one.uri or "").partition(":")[2]
        Image.open(picture).save(picture.with_name(f"{one.image_id}.jpg"))
    for one in made(folder / "ade" / "pictures", 6, 300, "a"):
        boxes = [(index, region.label, one.graph.box_of(index)) for index, region in one.graph.regions.items()]
        objects = [
            {"id": index, "name": label, "polygon": {"x": [x0, x1, x1, x0], "y": [y0, y0, y1, y1]}}
            for index, label, (x0, y0, x1, y1) in boxes
        ]
        said = {"imsize": [128, 128, 3], "filename": (one.uri or "").partition(":")[2], "object": objects}
        path = folder / "ade" / "pictures" / f"{one.image_id}.json"
        path.write_text(json.dumps({"annotation": said}))


def test_three_data_sets_are_labelled_edited_and_learnt_from(tmp_path: Path) -> None:
    write_data(tmp_path)
    text = (ROOT / "examples" / "svg" / "stage2.toml").read_text()
    assert STAND_IN in text
    with FakeProvider(settings=FakeSettings(latency_s=0.0)) as fake:
        (tmp_path / "stage2.toml").write_text(text.replace(STAND_IN, fake.openai_url))
        command = [sys.executable, "-m", "sgforge", "run", "stage2.toml", "--json"]
        command += [word for root in ("ade", "psg", "vg") for word in ("--root", f"{root}={root}")]
        command += ["--root", "seeds=seed"]
        done = subprocess.run(
            command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, timeout=LONGEST, check=False
        )
        assert done.returncode == 0, done.stderr
        steps = json.loads(done.stdout.splitlines()[-1])["steps"]
        assert (steps["source"]["computed"], steps["generate"]["computed"], steps["edit"]["computed"]) == (30, 18, 18)
        assert fake.ledger.answered > 0
    samples = list(Dataset.open(tmp_path / "runs" / "svg-stage2"))
    by_source = {name: [one for one in samples if one.source == name] for name in ("relations", "ade", "psg", "vg")}
    assert {name: len(found) for name, found in by_source.items()} == {"relations": 12, "ade": 6, "psg": 6, "vg": 6}
    assert all(one.made_by is None for sample in by_source["relations"] for one in sample.graph.all.relations)
    makers = {one.made_by for sample in by_source["ade"] for one in sample.graph.all.relations}
    assert makers & {"generate", "edit"}
