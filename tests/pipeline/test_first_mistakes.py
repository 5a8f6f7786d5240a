"""Calls as newcomers write them: each is taken, or answered with what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sgforge as sg
from sgforge.errors import SgforgeError
from sgforge.models import GatewaySettings, ModelSettings

GRAPH = sg.SceneGraph(9, 9, [sg.Region("a"), sg.Region("b")])


def run_with(*steps: sg.Step, models: Any = None) -> None:
    pipeline = sg.Pipeline(*(steps or (sg.complete("geometry"),)), models=models)
    pipeline.run(sg.source("scenes", folder="s"), "d", progress=False)


def complete(**engine: Any) -> sg.Pipeline:
    return sg.Pipeline(sg.complete("geometry", **engine))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> sg.Dataset:
    folder = tmp_path_factory.mktemp("mistakes")
    source = sg.source("scenes", folder=folder / "s", count=3, size=96, split="train")
    complete().run(source, folder / "d", progress=False)
    return sg.Dataset.open(folder / "d")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sg.complete("geometry", on="train"), 'on: must be a table such as {"split": "train"}'),
        (lambda: sg.complete("geometry", on=["train"]), "on: must be a table"),
        (lambda: sg.complete("geometry", on={"split": 3}), "split must be a name or a list of names"),
        (lambda: sg.complete("geometry", on={3: "x"}), "unknown key '3'"),
        (lambda: sg.complete("geometry", name=3), "the name of a step"),
        (lambda: sg.complete("geometry", weights=3), "must be the name of an earlier step, not 3"),
        (lambda: sg.Pipeline([sg.complete("geometry")]), "write Pipeline(*steps)"),
        (lambda: sg.Pipeline(sg.complete), "call it with a component's name"),
        (lambda: sg.Pipeline(sg.source("scenes")), "a source is given to run(source, dataset)"),
        (lambda: sg.Pipeline("complete"), "steps such as segment('sam'), not of 'complete'"),
        (lambda: sg.Pipeline(models="openai/gpt"), "models are settings by name"),
        (lambda: run_with(models={"gpt": {}}), 'models.gpt: must read "provider/model", such as'),
        (lambda: run_with(models={"gpt/": {}}), 'must read "provider/model"'),
        (lambda: run_with(models={3: {}}), 'must read "provider/model"'),
        (lambda: run_with(models={"a/b": {"max_in_fligth": 3}}), "did you mean 'max_in_flight'?"),
        (lambda: run_with(models={"a/b": 3}), "must be a table, not 3"),
        (lambda: GatewaySettings(budget_usd="3"), "budget_usd must be a number greater than 0, got '3'"),
        (lambda: GatewaySettings(budget_usd=True), "budget_usd must be a number greater than 0, got True"),
        (lambda: GatewaySettings(retry_failed="no"), "retry_failed must be true or false, got 'no'"),
        (lambda: ModelSettings(input_usd="3"), "input_usd must be a number of at least 0, got '3'"),
        (lambda: ModelSettings(base_url=3), "base_url must be a text, got 3"),
        (
            lambda: run_with(sg.complete("geometry", batch_sise=3)),
            "batch_sise: unknown key; did you mean 'batch_size'?",
        ),
        (lambda: run_with(sg.complete("geometry", worker=3)), "worker: unknown key; did you mean 'workers'?"),
        (lambda: sg.Pipeline(gateway={"budget_usd": 3}), "gateway must be a sgforge.models.GatewaySettings"),
        (lambda: sg.Pipeline.from_config("nope.toml"), "config nope.toml does not exist"),
        (lambda: sg.Pipeline.from_config(Path("nope.toml")), "config nope.toml does not exist"),
        (lambda: sg.Pipeline.from_config({"step": []}), "made from a config or the path of its file"),
        (lambda: complete().run(sg.source("scenes"), None), "the dataset must be a path, not None; it reads run("),
        (lambda: complete().run("runs/x", sg.source("scenes")), "the dataset must be a path|write sgforge.source("),
        (lambda: complete().run("data/photos", "d"), "write sgforge.source('folder', images='data/photos')"),
        (lambda: complete().run(Path("photos"), "d"), "write sgforge.source('folder', images='photos')"),
        (lambda: complete().run({"a": Path("a.jsonl")}, "d"), "write sgforge.source('jsonl', graphs='a.jsonl')"),
        (lambda: complete().run([sg.source("scenes")], "d"), "several go by names"),
        (
            lambda: complete().run(sg.complete("geometry"), "d"),
            "Step is no source, it has no method samples(); write sgforge.source(",
        ),
        (lambda: complete().run(sg.source("scenes"), "d", branch=3), "3 is no name of a branch"),
        (lambda: complete().run(sg.source("scenes"), "d", roots="s"), 'roots map names to folders, such as {"coco"'),
        (lambda: complete().run(sg.source("scenes"), "d", roots={"s": 3}), "root 's' must be a folder, not 3"),
        (lambda: complete().run(sg.source("scenes"), "d", roots={3: "s"}), "root name 3 must be"),
        (lambda: complete().run(sg.source("scenes"), "d", progress="yes"), "progress must be True, False, None or"),
        (lambda: complete().run(sg.source("scenes"), "d", responses=3), "the file of responses must be a path"),
        (lambda: sg.Dataset("runs/d"), "a dataset is opened with Dataset.open('runs/d')"),
        (lambda: sg.Dataset.open(3), "the path of a dataset must be a text or a Path, not 3"),
        (lambda: sg.Dataset.open("d", 3), "named by a text such as 'main', not by 3"),
        (lambda: sg.Roots({"s": "x"}).resolve(None), "a uri is a text, root:relative/path, not None"),
        (lambda: sg.SceneGraph([sg.Region()], []), "must be two ints, width and height in pixels; then come the rows"),
        (lambda: sg.SceneGraph(9, 9, sg.Region()), "expected a list, got"),
        (lambda: sg.SceneGraph(9, 9, [1]), "1 stands where a Region belongs"),
        (lambda: sg.SceneGraph(9, 9, [sg.Region()], [(0, "on", 1)]), "(0, 'on', 1) stands where a Relation belongs"),
        (lambda: sg.SceneGraph(9, 9, attributes="x"), "attributes of a graph are texts by name"),
        (
            lambda: sg.SceneGraph(9, 9, [sg.Region()], [sg.Relation(0, "on", 1)]),
            "object of relation 0 is 1, out of range",
        ),
        (lambda: sg.SceneGraph(9, 9, [sg.Region()], [sg.Relation(0, "on", 1)]), "the graph has 1 region"),
        (lambda: sg.SceneGraph(9, 9, [sg.Region(mask="x")]), "the mask of region 0 must be a Mask, not 'x'"),
        (lambda: sg.Region("a", attributes={"color": "red"}), "of which only the keys would be kept"),
        (lambda: GRAPH.box_of(99), "there is no region 99: the graph has 2 regions"),
        (lambda: GRAPH.box_of("x"), "there is no region 'x'"),
        (lambda: sg.Sample("a", graph=3), "the graph of a sample must be a SceneGraph, not 3"),
        (lambda: sg.Edit(relations=sg.Relation(0, "on", 1)), "expected a list, got"),
        (lambda: sg.Edit.drop(None), "an image is dropped for a reason"),
        (lambda: sg.apply_edit(sg.Sample("a", GRAPH), sg.Edit(), "x"), "such as sample.graph, not to"),
        (lambda: sg.apply_edit(GRAPH, [sg.Edit()], "x"), "an Edit is applied (several: Edit.sum), not"),
        (lambda: sg.Failure("low", detail=3), "a failure's detail is a text, not int"),
    ],
)
def test_a_mistake_is_answered_with_what_to_write(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(SgforgeError) as error:
        call()
    assert any(part in str(error.value) for part in words.split("|"))
    assert len(str(error.value)) < 250


def test_a_version_may_stand_behind_the_path(dataset: sg.Dataset, tmp_path: Path) -> None:
    assert sg.Dataset.open(f"{dataset.path}@main").snapshot.id == dataset.snapshot.id
    assert sg.Dataset.open(Path(f"{dataset.path}@main")).snapshot.id == dataset.snapshot.id
    with pytest.raises(SgforgeError, match="has no branch, tag or snapshot 'v9'"):
        sg.Dataset.open(f"{dataset.path}@v9")
    # An @ in the name of a folder that is there is part of the name.
    odd = tmp_path / "d@main"
    odd.symlink_to(dataset.path)
    assert sg.Dataset.open(odd).path == odd
    with pytest.raises(SgforgeError, match="does not exist"):
        sg.Dataset.open(f"{dataset.path}@main", "main")


@pytest.mark.parametrize("key", [0, -1, slice(3), None, ("a", "b")])
def test_images_go_by_their_ids(dataset: sg.Dataset, key: Any) -> None:
    with pytest.raises(SgforgeError, match=r"texts such as dataset\['scene-000000'\], not by .*for sample in dataset"):
        dataset[key]


def test_a_dataset_is_compared_with_a_dataset(dataset: sg.Dataset) -> None:
    with pytest.raises(
        SgforgeError, match=r"compared with a Dataset, such as Dataset\.open\(.*, 'v1'\), not with 'v1'"
    ):
        dataset.diff("v1")  # type: ignore[arg-type]
    with pytest.raises(SgforgeError, match="a column goes by its path"):
        dataset.column(3)  # type: ignore[arg-type]


def test_a_slip_in_the_name_of_a_step_is_told(dataset: sg.Dataset) -> None:
    with pytest.raises(SgforgeError, match="no step 'complet'; did you mean 'complete'"):
        dataset.filter(step="complet")
    assert len(dataset.filter(step="complete")) == len(dataset)
    assert len(dataset.filter(step="source")) == len(dataset)


def test_a_split_that_no_image_is_in_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = sg.source("scenes", folder=tmp_path / "s", count=2, size=96, split="train")
    complete(on={"split": "trian"}).run(source, tmp_path / "d", progress=True)
    assert "complete has nothing to do: no image is in split trian (there are 2 in train)" in capsys.readouterr().err


def test_a_config_file_becomes_a_pipeline(tmp_path: Path) -> None:
    config = tmp_path / "p.toml"
    config.write_text('dataset = "d"\n[source]\nuse = "scenes"\nfolder = "s"\n[[step]]\ncomplete = "geometry"\n')
    assert repr(sg.Pipeline.from_config(config)) == repr(sg.Pipeline.from_config(str(config))) == repr(complete())


def test_one_name_is_a_name_and_not_its_letters() -> None:
    assert sg.Selection(splits="train") == sg.Selection(splits=("train",))
    assert sg.Selection(sources=["a", "b"]).sources == ("a", "b")
    assert sg.Needs(modules="torch").modules == ("torch",)
