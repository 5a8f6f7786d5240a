"""`sgforge import SOURCE`, `sgforge init --coco` and `sgforge eval` over public files: one rule which file is what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sgforge.cli.main import main
from sgforge.config import load_config, source_options
from sgforge.dataset import Dataset
from sgforge.errors import ConfigError
from sgforge.plugins import load_plugins

COCO: dict[str, Any] = {
    "images": [{"id": number, "file_name": f"{number}.png", "width": 40, "height": 30} for number in (1, 2)],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [2, 3, 10, 5]},
        {"id": 2, "image_id": 9, "category_id": 3, "bbox": [2, 3, 10, 5]},
    ],
    "categories": [{"id": 3, "name": "dog"}],
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "img").mkdir()
    for number in (1, 2):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(tmp_path / "img" / f"{number}.png")
    (tmp_path / "instances.json").write_text(json.dumps(COCO))
    return tmp_path


def test_a_source_is_imported_counted_and_not_read_twice(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["import", "coco", "instances.json", "d", "--images", "img", "--set", "split=train", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["source"], told["branch"], told["counts"]["computed"]) == ("coco", "main", 2)
    assert any("unknown-image" in note for note in told["counts"]["notes"])
    found = {one.image_id: (one.split, len(one.graph.all.regions)) for one in Dataset.open("d")}
    assert found == {"1": ("train", 1), "2": ("train", 0)}
    assert main(words) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["snapshot"], again["counts"]["computed"], again["counts"]["reused"]) == (told["snapshot"], 0, 2)


def test_main_is_not_moved_away_from_what_a_run_made(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'dataset = "d"\n[source]\nuse = "coco"\nannotations = "instances.json"\n[[step]]\ncomplete = "geometry"\n'
    Path("p.toml").write_text(text)
    assert main(["run", "p.toml"]) == 0
    made = Dataset.open("d").snapshot.id
    capsys.readouterr()
    words = ["import", "coco", "instances.json", "d", "--images", "img"]
    assert main(words) == 1
    assert "--branch" in capsys.readouterr().err
    assert main([*words, "--branch", "given"]) == 0
    assert Dataset.open("d").snapshot.id == made
    assert Dataset.open("d").branches()["given"] != made


def test_files_go_to_options_by_their_names_or_in_order() -> None:
    registry = load_plugins()

    def options(name: str, *files: str, images: str | None = None) -> dict[str, Any]:
        return source_options(registry.lookup("source", name), files, images)

    assert options("vg", "a/image_data.json", "x/scene_graphs.json.gz", images="VG") == {
        "image_data": "a/image_data.json",
        "scene_graphs": "x/scene_graphs.json.gz",
        "images": "VG",
    }
    assert options("refcoco", "instances.json", "refs(unc).p") == {"instances": "instances.json", "refs": "refs(unc).p"}
    assert options("vg150", "VG-SGG.h5", "dicts.json", "image_data.json") == {
        "image_data": "image_data.json",
        "annotations": "VG-SGG.h5",
        "dictionary": "dicts.json",
    }
    assert options("open-images", "boxes=b.csv", "vrd.csv") == {"boxes": "b.csv", "relationships": "vrd.csv"}
    assert options("ade20k", "ADE") == {"folder": "ADE"}
    assert options("folder", "photos") == {"images": "photos"} or options("folder", "photos") == {"graphs": "photos"}
    with pytest.raises(ConfigError, match=r"takes no further file c\.json"):
        options("gqa", "a.json", "c.json")
    with pytest.raises(ConfigError, match="takes no folder of images"):
        options("ade20k", "ADE", images="x")


def test_a_wrong_word_is_told_with_the_near_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "cocoo", "instances.json", "d"]) == 2
    assert "coco" in capsys.readouterr().err
    assert main(["import", "coco", "d", "--images", "img"]) == 2
    assert "sgforge import SOURCE FILE... DATASET" in capsys.readouterr().err
    assert not Path("d").exists()


@pytest.mark.parametrize(
    ("flag", "name"), [("--coco", "instances.json"), ("--psg", "psg.json"), ("--vg", "objects.json")]
)
def test_init_for_a_data_set_passes_the_check(here: Path, flag: str, name: str) -> None:
    if flag == "--psg":
        entry = {
            "image_id": "1",
            "file_name": "1.png",
            "width": 40,
            "height": 30,
            "annotations": [],
            "segments_info": [],
        }
        lists = {"thing_classes": ["dog"], "stuff_classes": [], "predicate_classes": ["on"]}
        entry["annotations"] = [{"bbox": [1, 2, 9, 9], "category_id": 0}, {"bbox": [9, 2, 30, 9], "category_id": 0}]
        (here / name).write_text(json.dumps({"data": [entry], **lists}))
    if flag == "--vg":
        rows = [{"object_id": at, "x": 9 * at, "y": 2, "w": 8, "h": 9, "names": ["dog"]} for at in range(2)]
        (here / name).write_text(json.dumps([{"image_id": 1, "objects": rows}]))
    assert main(["init", "p.toml", flag, name, "--images", "img", "--dataset", "d"]) == 0
    source = load_config("p.toml").sources["source"]
    assert source.component == flag[2:]
    assert source.options["images"] == "img"
    assert main(["check", "p.toml"]) == 0


def test_init_says_which_files_are_not_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "p.toml", "--vg", "objects.json", "gone.json", "--images", "nowhere"]) == 0
    told = capsys.readouterr().out
    assert "there is no folder nowhere yet" in told
    assert "there is no file gone.json yet: put it there, or change it in p.toml" in told
    (here / "objects.json").write_text("[]")
    assert main(["init", "p.toml", "--vg", "objects.json", "--images", "img", "--force"]) == 0
    assert "there is no" not in capsys.readouterr().out
