"""Images without regions: an answer read by hand, and the mode as a component."""

from __future__ import annotations

import math
from pathlib import Path

import attrs
import pytest
import torch
from robin.worlds import SMALLEST, scenes, tokenizer

from sgforge import Checkpoint, Edit, Failure, Ranking, Resources, SceneGraph
from sgforge.images import Roots
from sgforge.stages import check_role
from sgforge_robin.config import RobinOptions
from sgforge_robin.decoding.decode import Said
from sgforge_robin.decoding.spoken import spoken_lines, spoken_triplets
from sgforge_robin.detection import _read
from sgforge_robin.learnt import Known, TrainedRobin
from sgforge_robin.model.checkpoint import build
from sgforge_robin.student import RobinStudent

TOKENS = tokenizer()
TEXT = """Objects:
region1: table <|box_start|>(0,500),(1000,1000)<|box_end|>
region2: cup in red, small <|box_start|>(100,250),(200,500)<|box_end|>
region3: fly

Relations:
region2: region1 on, region3 under
region1: region2 below"""


@pytest.fixture(scope="module")
def robin() -> TrainedRobin:
    torch.manual_seed(0)
    return TrainedRobin(build(SMALLEST.shape(len(TOKENS), TOKENS.special)).eval(), TOKENS, Known(side=SMALLEST.side))


def said(text: str) -> Said:
    """An answer whose tokens are all of probability 1/2."""
    ids = TOKENS.ids(text)
    return Said(ids, [math.log(0.5)] * (len(ids) + 1), True)


def test_an_answer_is_read_by_its_numbers(robin: TrainedRobin, tmp_path: Path) -> None:
    sample = attrs.evolve(scenes(tmp_path, 1)[0], graph=SceneGraph(200, 100))
    found, _ = _read(robin, sample, said(TEXT))
    assert [(one.label, one.box, one.attributes) for one in found.regions] == [
        ("table", (0, 50, 200, 100), ()),
        ("cup", (20, 25, 40, 50), ("red", "small")),
    ]
    assert set(found.relations) == {(1, "on", 0), (0, "below", 1)}
    assert found.faults == {"no-box": 1, "unknown-region": 1}
    below = TOKENS.ids(" below")
    assert found.relations[0, "below", 1] == pytest.approx(0.5 ** (len(below) + 1))
    assert all(0 < (one.score or 0) < 0.5 for one in found.regions)


def test_every_relation_has_the_probability_of_its_words() -> None:
    found = spoken_triplets(TOKENS, said(TEXT))
    expected = {(2, "on", 1): " on", (2, "under", 3): " under", (1, "below", 2): " below"}
    assert found == {triplet: pytest.approx(0.5 ** (len(TOKENS.ids(word)) + 1)) for triplet, word in expected.items()}
    assert set(spoken_lines(TOKENS, said(TEXT))) == {1, 2, 3}
    assert spoken_triplets(TOKENS, said("region1: region2 on")) == {}  # no relations were begun


def test_the_mode(robin: TrainedRobin, tmp_path: Path) -> None:
    robin.save(tmp_path / "robin")
    student = RobinStudent(
        RobinOptions(mode="detect", max_tokens=4, temperature=1.0, predicates=tmp_path / "words.txt")
    )
    (tmp_path / "words.txt").write_text("on\n")
    student.setup(Resources(checkpoint=Checkpoint.of(tmp_path / "robin")))
    given, other = scenes(tmp_path, 2)
    bare = attrs.evolve(other, graph=SceneGraph(64, 64))
    lost = attrs.evolve(bare, image=Roots({"scenes": tmp_path}).image("scenes:gone.png"))
    answers = student.generate([given, bare, lost])
    assert isinstance(answers[0], Edit)
    assert not answers[0].regions  # it has some, and keeps them
    assert isinstance(answers[1], Edit)
    assert check_role("generate", answers[1], bare.graph) is None
    assert isinstance(answers[2], Failure)
    assert answers[2].reason == "image-missing"
    (ranking,) = student.rank([bare])
    assert isinstance(ranking, Ranking)


def test_what_is_found_is_added(robin: TrainedRobin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    robin.save(tmp_path / "robin")
    student = RobinStudent(RobinOptions(mode="detect"))
    student.setup(Resources(checkpoint=Checkpoint.of(tmp_path / "robin")))
    monkeypatch.setattr("sgforge_robin.detection.decode", lambda model, prefixes, asks, sampling: [said(TEXT)])
    sample = attrs.evolve(scenes(tmp_path, 1)[0], graph=SceneGraph(200, 100))
    (edit,) = student.generate([sample])
    assert isinstance(edit, Edit)
    assert check_role("generate", edit, sample.graph) is None
    assert [region.label for region in edit.regions] == ["table", "cup"]
    assert {one.triplet for one in edit.relations} == {(1, "on", 0), (0, "below", 1)}
    assert edit.faults == {"no-box": 1, "unknown-region": 1}
