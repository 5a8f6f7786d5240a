"""The student as a component: what it leaves, what it says, and what it makes of images that are hard."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from robin.worlds import scenes

from sgforge import Checkpoint, Edit, Failure, Ranking, Region, Resources, SceneGraph, Selection, apply_edit
from sgforge.engine.executors.answering import StopRunError, answer_batch
from sgforge.errors import StepError
from sgforge.images import Roots
from sgforge.stages import check_role
from sgforge.testing.contracts.data import publish_samples
from sgforge_eval.tasks.ask import Prompt, open_student
from sgforge_robin.config import RobinOptions
from sgforge_robin.questions import _answer
from sgforge_robin.student import RobinStudent

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Checkpoint]:
    folder = tmp_path_factory.mktemp("robin")
    snapshot = publish_samples(folder, [attrs.evolve(sample, split="train") for sample in scenes(folder, 24)])
    student = RobinStudent(RobinOptions(steps=4, images=2))
    (folder / "out").mkdir()
    resources = Resources(roots=Roots({"scenes": folder / "scenes"}))
    return folder, student.train(snapshot.path, Selection(), folder / "out", resources)


def student(trained: tuple[Path, Checkpoint], **options: Any) -> RobinStudent:
    made = RobinStudent(RobinOptions(max_tokens=24, **options))
    made.setup(Resources(checkpoint=trained[1]))
    return made


def test_a_training_leaves_a_checkpoint_with_its_figures(trained: tuple[Path, Checkpoint]) -> None:
    folder, checkpoint = trained
    names = sorted(path.name for path in checkpoint.path.iterdir())
    assert names == ["config.json", "model.safetensors", "robin.json", "tokenizer.json", "training.json"]
    assert {"steps", "loss", "packing_efficiency", "temperature", "calibration_error"} <= set(checkpoint.metrics)
    assert checkpoint.metrics["images"] == 23  # one is kept aside
    assert folder / "out" == checkpoint.path


def test_relations_within_limits_and_none_twice(trained: tuple[Path, Checkpoint]) -> None:
    samples = scenes(trained[0], 3, 100)
    made = student(trained, relations_per_subject=2)
    for sample, edit in zip(samples, made.generate(samples), strict=True):
        assert isinstance(edit, Edit)
        assert check_role("generate", edit, sample.graph) is None
        subjects = [relation.subject for relation in edit.relations]
        assert max((subjects.count(one) for one in subjects), default=0) <= 2
        assert all(0 <= (relation.score or 0) <= 1 for relation in edit.relations)
        assert not {one.triplet for one in edit.relations} & {one.triplet for one in sample.graph.all.relations}
        assert set(edit.faults) <= {"truncated", "duplicate-relation", "no-label", "no-relation"}
        assert not ("no-relation" in edit.faults and edit.relations)
        again = apply_edit(sample.graph, edit, "generate")
        (nothing,) = made.generate([attrs.evolve(sample, graph=again.graph)])
        assert isinstance(nothing, Edit)
        assert not {one.triplet for one in nothing.relations} & {one.triplet for one in edit.relations}


def test_images_of_which_nothing_is_said_are_counted(trained: tuple[Path, Checkpoint]) -> None:
    """One token is too short for a relation; where there is one region there is nothing to say."""
    (sample,) = scenes(trained[0], 1, 100)
    alone = attrs.evolve(sample, graph=SceneGraph(64, 64, sample.graph.all.regions[:1]))
    made = RobinStudent(RobinOptions(max_tokens=1))
    made.setup(Resources(checkpoint=trained[1]))
    silent, lonely = made.generate([sample, alone])
    assert isinstance(silent, Edit)
    assert isinstance(lonely, Edit)
    assert (len(silent.relations), silent.faults["no-relation"]) == (0, 1)
    assert "no-relation" not in lonely.faults
    (told,) = RobinStudent.notes({"no-relation": 2})
    assert told == "no relation was said of 2 images; a Robin that has learnt little says few"


def test_answers_do_not_depend_on_the_batch(trained: tuple[Path, Checkpoint]) -> None:
    samples = scenes(trained[0], 3, 100)
    made = student(trained, temperature=1.0)
    together = made.generate(samples)
    alone = [made.generate([sample])[0] for sample in samples[::-1]][::-1]
    for one, two in zip(together, alone, strict=True):
        assert isinstance(one, Edit)
        assert isinstance(two, Edit)
        assert [item.triplet for item in one.relations] == [item.triplet for item in two.relations]
        np.testing.assert_allclose(
            [item.score or 0 for item in one.relations], [item.score or 0 for item in two.relations], atol=1e-5
        )


def test_ranks_every_pair_of_the_regions_shown(trained: tuple[Path, Checkpoint]) -> None:
    (sample,) = scenes(trained[0], 1, 100)
    (ranking,) = student(trained).rank([sample])
    assert isinstance(ranking, Ranking)
    count = len(sample.graph.regions)
    assert len(ranking.pairs) == count * (count - 1)
    assert (ranking.scores.sum(axis=1) <= 1 + 1e-5).all()
    assert [region.label for region in ranking.regions] == [one.label for one in sample.graph.regions.values()]
    (few,) = student(trained, max_pairs=2 * count).rank([sample])
    assert isinstance(few, Ranking)
    assert len(few.pairs) == 2 * count


def test_regions_without_labels_get_some(trained: tuple[Path, Checkpoint]) -> None:
    (sample,) = scenes(trained[0], 1, 100)
    bare = [attrs.evolve(region, label=None) for region in sample.graph.all.regions]
    hidden = attrs.evolve(sample, graph=SceneGraph(64, 64, bare))
    (ranking,) = student(trained).rank([hidden])
    assert isinstance(ranking, Ranking)
    assert all(region.label for region in ranking.regions)
    assert [region.box for region in ranking.regions] == [region.box for region in bare]
    (edit,) = student(trained).generate([hidden])
    assert isinstance(edit, Edit)
    labelled = {item.index for item in edit.sets if item.field == "label"}
    assert len(labelled) + edit.faults.get("no-label", 0) == len(bare)


def test_a_closed_vocabulary_of_ones_own(trained: tuple[Path, Checkpoint], tmp_path: Path) -> None:
    (tmp_path / "predicates.txt").write_text("on\n\nstanding beside\n")
    (sample,) = scenes(trained[0], 1, 100)
    (ranking,) = student(trained, predicates=tmp_path / "predicates.txt").rank([sample])
    assert isinstance(ranking, Ranking)
    assert ranking.predicates == ("on", "standing beside")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(StepError, match="holds no line"):
        student(trained, predicates=tmp_path / "empty.txt")


def test_a_checkpoint_without_a_vocabulary_ends_the_run_that_ranks(
    trained: tuple[Path, Checkpoint], tmp_path: Path
) -> None:
    """As the released one is: no image of it can be ranked, so that the first is the last."""
    folder = tmp_path / "released"
    shutil.copytree(trained[1].path, folder)
    (folder / "robin.json").unlink()
    (sample,) = scenes(trained[0], 1, 100)
    made = student((trained[0], Checkpoint.of(folder)))
    with pytest.raises(StopRunError, match=r"no closed vocabulary to rank \(no robin.json\): say predicates = FILE"):
        answer_batch(made.rank, [sample, sample], lambda answer: answer, Resources())


def test_hard_images(trained: tuple[Path, Checkpoint], tmp_path: Path) -> None:
    (sample,) = scenes(trained[0], 1, 100)
    boxes = [(float(x), float(y), x + 3.0, y + 3.0) for x in range(0, 60, 3) for y in range(0, 60, 4)]
    crowd = attrs.evolve(sample, graph=SceneGraph(64, 64, [Region("dot", box) for box in boxes]))
    assert len(boxes) == 300
    whole = attrs.evolve(
        sample, graph=SceneGraph(64, 64, [Region("all", (0, 0, 64, 64)), Region("dot", (3.2, 3.2, 3.4, 3.4))])
    )
    none = attrs.evolve(sample, graph=SceneGraph(64, 64))
    lost = attrs.evolve(sample, image=Roots({"scenes": tmp_path}).image("scenes:gone.png"))
    without = attrs.evolve(sample, image=None)
    made = student(trained)
    found = made.generate([whole, none, lost, without])
    assert isinstance(found[0], Edit)
    assert found[1] == Edit()
    assert isinstance(found[2], Failure)
    assert (found[2].reason, found[3].reason) == ("image-missing", "image-missing")
    (ranked,) = student(trained, max_pairs=99).rank([crowd])
    assert isinstance(ranked, Ranking)
    assert len(ranked.regions) == 300
    assert len(set(ranked.pairs[:, 0].tolist())) == 99  # that many are shown
    assert isinstance(made.rank([none])[0], Ranking)
    (told,) = student(trained, mode="full-graph").generate([crowd])
    assert isinstance(told, Edit)
    assert told.faults["region-not-shown"] == 201
    assert RobinStudent.notes(told.faults)[0] == "201 regions not shown: of an image the largest 99 are"
    assert "region-not-shown" not in found[0].faults
    assert RobinStudent.notes({}) == []


def test_the_whole_graph_at_once(trained: tuple[Path, Checkpoint]) -> None:
    samples = scenes(trained[0], 2, 100)
    for sample, edit in zip(samples, student(trained, mode="full-graph").generate(samples), strict=True):
        assert isinstance(edit, Edit)
        assert check_role("generate", edit, sample.graph) is None


def test_free_questions_about_pictures(trained: tuple[Path, Checkpoint], tmp_path: Path) -> None:
    (sample,) = scenes(trained[0], 1, 100)
    gone = Roots({"scenes": tmp_path}).image("scenes:gone.png")
    prompts = [Prompt("What is <mask> there?", sample.image), Prompt("And here?", gone), Prompt("Blind?")]
    found = student(trained).answer(prompts)
    assert isinstance(found[0], str)
    assert isinstance(found[1], Failure)
    assert isinstance(found[2], Failure)
    assert (found[1].reason, found[2].reason) == ("image-missing", "image-missing")
    assert _answer("Objects:\nregion1: cup\n\nAnswer: two cups") == "two cups"
    assert _answer(" red") == "red"


def test_the_lmms_adapter_finds_it(trained: tuple[Path, Checkpoint]) -> None:
    (sample,) = scenes(trained[0], 1, 100)
    (said,) = open_student("robin", trained[1].path, "cpu").answer([Prompt("What is it?", sample.image)])
    assert isinstance(said, str)


def test_no_relations_no_training(tmp_path: Path) -> None:
    samples = scenes(tmp_path, 3)
    bare = [attrs.evolve(one, split="train", graph=SceneGraph(64, 64, one.graph.all.regions)) for one in samples]
    snapshot = publish_samples(tmp_path, bare)
    with pytest.raises(StepError, match="3 selected images hold no kept relation"):
        RobinStudent(RobinOptions(steps=2)).train(snapshot.path, Selection(), tmp_path, Resources())


def test_weights_are_missing(tmp_path: Path) -> None:
    made = RobinStudent(RobinOptions())
    made.setup(Resources())
    with pytest.raises(StepError, match="robin has no weights"):
        made.rank(scenes(tmp_path, 1))
    snapshot = publish_samples(tmp_path, [attrs.evolve(one, split="train") for one in scenes(tmp_path, 2)])
    big = RobinStudent(RobinOptions(preset="3b"))
    with pytest.raises(StepError, match="preset '3b' needs a language model: say language = FOLDER"):
        big.train(snapshot.path, Selection(), tmp_path, Resources())


CHILD = """
import os
import signal
import sys
from pathlib import Path
import torch
from sgforge import Resources, Selection
from sgforge.images import Roots
from sgforge_robin.config import RobinOptions
from sgforge_robin.student import RobinStudent
torch.set_num_threads(1)
snapshot, out, scenes = (Path(text) for text in sys.argv[1:4])
out.mkdir(exist_ok=True)

def reporter(metric, value, step):
    if step == int(sys.argv[4]):  # its own state is not written yet
        os.kill(os.getpid(), signal.SIGKILL)

resources = Resources(roots=Roots({"scenes": scenes}), reporter=reporter)
RobinStudent(RobinOptions(steps=5, images=1, save_every=1)).train(snapshot, Selection(), out, resources)
"""


OPTIONS = RobinOptions(steps=5, images=1, save_every=1)


def test_killed_before_a_step_is_kept_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    snapshot = publish_samples(tmp_path, [attrs.evolve(one, split="train") for one in scenes(tmp_path, 6)])
    out = tmp_path / "cut"
    command = [sys.executable, "-c", CHILD, str(snapshot.path), str(out), str(tmp_path / "scenes"), "3"]
    child = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert child.returncode == -signal.SIGKILL
    assert [path.name for path in out.glob("state-*")] == ["state-00000002"]
    found = []
    for folder in (out, tmp_path / "whole"):
        folder.mkdir(exist_ok=True)
        resources = Resources(roots=Roots({"scenes": tmp_path / "scenes"}))
        found.append(RobinStudent(OPTIONS).train(snapshot.path, Selection(), folder, resources).sha256)
    assert found[0] == found[1]
