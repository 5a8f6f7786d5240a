"""`sgforge eval` over psg.json, VG150 and Open Images: the published evaluators' numbers, with one command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from eval.batches import reference_numbers, reference_scenes
from PIL import Image

import sgforge as sg
from sgforge.cli.main import main
from sgforge.graph import Region, Relation
from sgforge.jsonl import write_jsonl
from sgforge.plugins import load_plugins
from sgforge.testing.contracts.data import publish_samples

SIDE = 1024


def samples(kind: str) -> list[sg.Sample]:
    """The images of the fixture: their truth, or the best predicate of each pair of its objects."""
    made = []
    for number, scene in enumerate(reference_scenes("predcls")):
        regions = [Region(f"c{label}", box) for label, box in zip(scene.true_labels, scene.true_boxes, strict=True)]
        if kind == "truth":
            rows = [Relation(s, f"p{p}", o) for s, o, p in scene.truth]
        else:
            ranked = zip(scene.pairs, scene.table, strict=True)
            best = [(pair, int(np.argmax(scores)), max(scores)) for pair, scores in ranked]
            rows = [Relation(s, f"p{p}", o, score=score) for (s, o), p, score in best]
        made.append(sg.Sample(f"i{number:03d}", sg.SceneGraph(SIDE, SIDE, regions, rows), split="test"))
    return made


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The truth in a public form, exported once."""
    folder = tmp_path_factory.mktemp("public")
    snapshot = publish_samples(folder, samples("truth"))
    write_jsonl(samples("said"), folder / "said.jsonl")
    (folder / "img").mkdir()
    for number in range(len(snapshot)):
        Image.new("L", (SIDE, SIDE)).save(folder / "img" / f"i{number:03d}.png")

    def export(name: str) -> Path:
        if name and not (folder / name).exists():
            component = load_plugins().lookup("exporter", name)
            component.build(component.config()).export(snapshot, folder / name)
        return folder

    return export


@pytest.mark.parametrize(
    ("form", "truth"),
    [
        ("psg", "psg:psg/psg.json@test"),
        ("vg150", "vg150:vg150/VG-SGG-with-attri.h5,vg150/VG-SGG-dicts-with-attri.json,vg150/image_data.json@test"),
        (
            "open-images",
            "open-images:open-images/annotations-vrd.csv,boxes=open-images/annotations-bbox.csv,"
            "classes=open-images/class-descriptions.csv,images=img",
        ),
    ],
)
def test_the_numbers_of_the_published_evaluator(
    exported: Callable[[str], Path],
    form: str,
    truth: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    needs_extra: Callable[[str], None],
) -> None:
    if form == "vg150":
        needs_extra("formats")
    monkeypatch.chdir(exported(form))
    assert main(["eval", "said.jsonl", truth, "--metric", "predcls", "--convention", "sgb", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)["values"]
    official = reference_numbers()["predcls"]["scene_graph_benchmark"]
    for cut in (20, 50, 100):
        assert values[f"R@{cut}"] == pytest.approx(official["R"][str(cut)], abs=1e-9)


def test_another_split_has_no_images_and_what_cannot_be_read_is_counted(
    exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(exported("psg"))
    content = json.loads(Path("psg/psg.json").read_text())
    content["data"][0]["relations"].append([0, 10_000, 0])
    Path("spoilt.json").write_text(json.dumps(content))
    assert main(["eval", "said.jsonl", "psg:spoilt.json", "--metric", "predcls", "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)["counted"]
    assert [number for name, number in counted.items() if "unknown-object" in name] == [1]
    assert main(["eval", "said.jsonl", "nothing:psg.json"]) == 2
    assert main(["eval", "said.jsonl", "psg:no.json"]) == 2
