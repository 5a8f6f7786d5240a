"""From a folder of photos to a dataset: `sgforge init --segment sam`, a run, and what its figures say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import skimage.data
from PIL import Image
from sam.tiny import FEW, picture, saved_sam, semantic_options
from support.environment import ROOT
from support.waiting import LONGEST

import sgforge as sg
from sgforge.cli.main import main
from sgforge.dataset import Dataset
from sgforge.edits import Edit
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.masks import areas
from sgforge.stages import Part, Resources, Shared
from sgforge_sam.config import SamOptions, SelectOptions
from sgforge_sam.sam import SamSegmenter
from sgforge_sam.select_regions import RegionSelector

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


ANNOTATED = ((4, 4, 40, 40), (10, 30, 90, 60), (0, 0, 95, 63), (60, 5, 70, 12))


def annotated(folder: Path) -> sg.SourceStep:
    """Two photos with boxes that somebody drew, some of which the tiny models confirm."""
    photos(folder / "photos", 2)
    lines = [
        {
            "image_id": f"{number}",
            "width": 96,
            "height": 64,
            "uri": f"photos:{number}.png",
            "regions": [{"label": "thing", "box": list(box)} for box in ANNOTATED],
        }
        for number in range(2)
    ]
    (folder / "graphs.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return sg.source("jsonl", graphs=str(folder / "graphs.jsonl"))


def test_nested_segmenters_confirm_what_those_in_steps_do(tmp_path: Path) -> None:
    """The paper's rule, with the generated masks stored by two steps before it, and not stored by `by`."""
    source = annotated(tmp_path)
    sam = {"checkpoint": str(saved_sam(tmp_path)), **FEW}
    semantic = semantic_options(tmp_path)
    rule = {"generated": "drop", "duplicates": 1.0, "confirm_iou": 0.2}
    by = [sg.use("sam", **sam), sg.use("semantic-sam", **semantic)]
    flat = (sg.segment("sam", **sam), sg.segment("semantic-sam", **semantic), sg.segment("select-regions", **rule))
    found = []
    for name, steps in (("flat", flat), ("nested", (sg.segment("select-regions", by=by, **rule),))):
        roots = {"photos": tmp_path / "photos"}
        report = sg.Pipeline(*steps).run(source, tmp_path / name, roots=roots, progress=False)
        assert report.status == "done"
        dataset = Dataset.open(tmp_path / name)
        rows = [sample.graph.all.regions for sample in dataset]
        found.append([[(one.status, one.reason, one.degree) for one in regions[:4]] for regions in rows])
        assert {len(regions) for regions in rows} == {4} if name == "nested" else min(map(len, rows)) > 4
        if name == "flat":
            stability = dataset.column("region/sam.stability")
            assert len(stability.values) == sum(len(regions) - 4 for regions in rows)
            assert 0.0 <= stability.values.min() <= stability.values.max() <= 1.0
    assert found[0] == found[1]
    assert {status for regions in found[0] for status, _, _ in regions} == {"kept", "rejected"}


def test_regions_of_nested_segmenters_that_stay_have_their_stability(tmp_path: Path) -> None:
    source = annotated(tmp_path)
    by = [sg.use("sam", checkpoint=str(saved_sam(tmp_path)), **{**FEW, "box_nms": 0.97, "points_per_side": 4})]
    step = sg.segment("select-regions", by=by, confirm=False, max_regions=6, duplicates=1.0)
    roots = {"photos": tmp_path / "photos"}
    report = sg.Pipeline(step).run(source, tmp_path / "d", roots=roots, progress=False)
    assert report.steps[-1].counts.faults["beyond-limit"] > 0
    for sample in Dataset.open(tmp_path / "d"):
        made = [index for index, row in enumerate(sample.graph.all.regions) if row.made_by == "segment"]
        assert made
        assert sorted(sample.region_values["sam.stability"]) == made
        assert len(sample.graph.regions) == 6


def test_the_region_step_of_the_recipe_runs_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commented step of stage1.toml, with tiny weights for the published ones, on the scenes of that file."""
    text = (ROOT / "examples" / "svg" / "stage1.toml").read_text()
    shown = re.search(r"(?:#   .*\n)+", text.partition("in place of this step:\n")[2])
    assert shown is not None
    step = shown[0].replace("#   ", "")
    tiny = {"sam_vit_h_4b8939.pth": {"checkpoint": str(saved_sam(tmp_path)), **FEW}}
    tiny["swinl_only_sam_many2many.pth"] = semantic_options(tmp_path)
    for name, options in tiny.items():
        assert f'checkpoint = "{name}"' in step
        given = ", ".join(f"{key} = {json.dumps(value)}" for key, value in options.items())
        step = step.replace(f'checkpoint = "{name}"', given)
    source = 'dataset = "d"\n[source]\nuse = "scenes"\nfolder = "scenes"\ncount = 3\n'
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.toml").write_text(source + step)
    assert main(["run", "p.toml"]) == 0
    for sample in Dataset.open(tmp_path / "d"):
        assert {row.made_by for row in sample.graph.all.regions} == {None}
        for row in sample.graph.all.regions:
            kept, degree = row.status == "kept", row.degree
            assert degree is not None
            assert (kept, row.reason) == ((True, None) if degree > 0.5 else (False, "unconfirmed"))


def test_the_device_benchmark_runs_on_a_cpu() -> None:
    """At a tiny size; its figures mean nothing there."""
    script = ROOT / "benchmarks" / "gpu" / "segment.py"
    command = [sys.executable, script, "--device", "cpu", "--size", "tiny", "--batches", "1", "2", "--repeats", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=True)
    found = json.loads(done.stdout)
    assert [one["batch"] for one in found["encoding"]] == [1, 2]
    assert min(one["images_s"] for one in found["encoding"]) > 0
    assert found["points"] == 16


def test_nested_segmenters_of_equal_weights_encode_an_image_once(tmp_path: Path) -> None:
    Image.fromarray(picture(60, 80)).save(tmp_path / "a.png")
    given = Sample("a", SceneGraph(80, 60), image=Roots({"r": tmp_path}).image("r:a.png"))
    weights = saved_sam(tmp_path)
    resources = Resources(shared=Shared())
    segmenters = [
        SamSegmenter(SamOptions(checkpoint=weights, presets=(preset,), **FEW)) for preset in ("whole", "part")
    ]
    for one in segmenters:
        one.setup(resources)
    selector = RegionSelector(SelectOptions(confirm=False))
    held = tuple(Part(f"sam-{place}", 1.0, resources, one) for place, one in enumerate(segmenters))
    selector.setup(Resources(parts={"by": held}))
    (edit,) = selector.segment([given])
    assert isinstance(edit, Edit)
    assert {region.source for region in edit.regions} <= {"sam:whole", "sam:part"}
    assert edit.regions
    assert segmenters[0].encoder is segmenters[1].encoder
    assert segmenters[0].encoder.encoded == 1
