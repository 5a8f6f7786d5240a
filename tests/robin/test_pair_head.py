"""The pair head: features by hand, its loss, its place in a checkpoint, and that it learns to compare."""

from __future__ import annotations

import math
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from robin.worlds import SMALLEST as SIZE
from robin.worlds import STAGE, example_of, maker, scenes, tokenizer

from sgforge import Checkpoint, Ranking, Resources, Selection
from sgforge.errors import StepError
from sgforge.images import Roots
from sgforge.testing.contracts.data import publish_samples
from sgforge_robin import load_model, save_model
from sgforge_robin.config import RobinOptions
from sgforge_robin.learnt import Known
from sgforge_robin.model.checkpoint import build
from sgforge_robin.model.pair_head import PairHead, box_pair_features
from sgforge_robin.model.shape import PairShape
from sgforge_robin.pairs import PairVocabulary
from sgforge_robin.student import RobinStudent
from sgforge_robin.training.forward import See
from sgforge_robin.training.loss import packed_loss


def test_how_two_boxes_lie_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0.0, 0.2, 0.4], [0.1, 0.2, 0.5, 0.4]])
    (row,) = box_pair_features(boxes, torch.tensor([[0, 1]]))
    plain = (torch.sign(row) * (row.abs().exp() - 1)).tolist()
    expected = [
        *(0.2, 0.1),  # from centre to centre
        *(0.2 / 0.2, 0.1 / 0.2),  # in the smaller sides
        *(-0.1, -0.2),  # they overlap by 0.1 and 0.2
        *(-0.1 / 0.2, -0.2 / 0.2),
        *(0.3 / 0.2, 0.0),  # right edges, lower edges
        *(math.log(0.2 / 0.4), math.log(0.4 / 0.2)),
        *(0.02 / 0.08, 0.02 / 0.08, 0.02 / 0.14),  # shared in each, and of both
    ]
    assert plain == pytest.approx(expected, abs=1e-4)


def test_the_loss_by_hand() -> None:
    head = PairHead(PairShape(2, 3), 8)
    logits = torch.tensor([[0.0, 2.0, -1.0], [0.0, 0.0, 0.0]])
    truth = torch.tensor([[False, True, False], [True, False, False]])
    one = math.log(2) + math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))
    assert float(head.loss(logits, truth)) == pytest.approx((one + 3 * math.log(2)) / 2, rel=1e-6)
    with pytest.raises(StepError, match="not finite"):
        head.loss(torch.full((1, 3), float("nan")), truth[:1])


def test_it_learns_to_compare() -> None:
    """Which of 6 kinds each region is stands in its token; whether two are of a kind is asked of unseen couples."""
    torch.manual_seed(0)
    kinds, head = torch.randn(6, 16), PairHead(PairShape(1, 1), 16)
    optimizer = torch.optim.AdamW(head.parameters(), 3e-3)
    pairs = torch.tensor([(a, b) for a in range(20) for b in range(20) if a != b])
    boxes, labels = torch.tensor([[0.1, 0.1, 0.5, 0.5]]).repeat(20, 1), torch.zeros(20, dtype=torch.long)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        kind = torch.randint(6, (20,))
        tokens = kinds[kind] + 0.05 * torch.randn(20, 16)
        return head((tokens, tokens), boxes, labels, pairs)[:, 0], kind[pairs[:, 0]] == kind[pairs[:, 1]]

    for _ in range(120):
        logits, same = batch()
        optimizer.zero_grad()
        head.loss(logits[:, None], same[:, None]).backward()
        optimizer.step()
    logits, same = batch()
    assert float(((logits > 0) == same).float().mean()) > 0.97


def test_what_an_image_teaches(tmp_path: Path) -> None:
    (sample,) = scenes(tmp_path, 1)
    graph = sample.graph
    vocabulary = PairVocabulary.of(("ball",), ("on", "left of"))
    indices = list(graph.regions)[::-1]
    truth = vocabulary.truth(sample, indices)
    assert truth is not None
    said = {one.triplet for one in graph.relations.values()}
    for (a, b), row in zip(truth.pairs.tolist(), truth.truth.tolist(), strict=True):
        assert row == [(indices[a], name, indices[b]) in said for name in ("on", "left of")]
    assert truth.boxes[0].tolist() == pytest.approx([side / 64 for side in graph.regions[indices[0]].box or ()])
    expected = [0 if graph.regions[index].label == "ball" else 1 for index in indices]
    assert truth.labels.tolist() == expected
    assert vocabulary.truth(sample, indices[:1]) is None


def test_it_learns_with_labels_and_without(tmp_path: Path) -> None:
    (sample,) = scenes(tmp_path, 1)
    predicates = sorted({one.predicate for one in sample.graph.relations.values()})
    labels = sorted({region.label or "" for region in sample.graph.regions.values()})
    own = tokenizer()
    robin = build(SIZE.shape(len(own), own.special, PairShape(len(labels), len(predicates))))
    made = attrs.evolve(maker(), vocabulary=PairVocabulary.of(labels, predicates), spoken=0.0)
    example = example_of(made, sample)
    assert example is not None
    assert example.pairs is not None
    hidden = attrs.evolve(example.pairs, labels=torch.full_like(example.pairs.labels, len(labels)))
    with torch.no_grad():
        bare = packed_loss(robin, [attrs.evolve(example, pairs=hidden)]).pairs
        robin.pair_head.label.weight[: len(labels)] += 1.0  # type: ignore[union-attr]
        seen = See(robin, [example])
        assert seen.regions[0] is not None
        head, pairs = robin.pair_head, example.pairs
        assert head is not None
        tokens = (seen.regions[0].mask, seen.regions[0].pos)
        shown = head.loss(head(tokens, pairs.boxes, pairs.labels, pairs.pairs), pairs.truth)
        assert float(packed_loss(robin, [example]).pairs) == pytest.approx(float(shown + bare) / 2, rel=1e-5)
        assert abs(float(shown - bare)) > 1e-3


def test_beside_the_decoder_each_has_its_own_loss(tmp_path: Path) -> None:
    (sample,) = scenes(tmp_path, 1)
    predicates = sorted({one.predicate for one in sample.graph.relations.values()})
    vocabulary = PairVocabulary.of((), predicates)
    own = tokenizer()
    torch.manual_seed(0)
    robin = build(SIZE.shape(len(own), own.special, PairShape(0, len(predicates))))
    both = example_of(attrs.evolve(maker(), vocabulary=vocabulary), sample)
    alone = example_of(attrs.evolve(maker(), vocabulary=vocabulary, spoken=0.0), sample)
    assert both is not None
    assert alone is not None
    assert (alone.branches, alone.total) == ((), 0)
    together = packed_loss(robin, [both, attrs.evolve(alone, image_id="other")])
    apart = [packed_loss(robin, [one]) for one in (attrs.evolve(both, pairs=None), alone)]
    assert together.count == apart[0].count
    assert together.images == 2
    torch.testing.assert_close(together.total, apart[0].total)
    torch.testing.assert_close(together.pairs, 2 * apart[1].pairs)  # both show the same regions
    apart[1].pairs.backward()
    assert robin.table.weight.grad is None
    assert robin.tower.trunk.stem[0].weight.grad is not None


def test_it_is_saved_beside_the_public_weights(tmp_path: Path) -> None:
    own = tokenizer()
    robin = build(SIZE.shape(len(own), own.special, PairShape(4, 5)))
    save_model(robin, tmp_path)
    again = load_model(tmp_path)
    assert again.shape.pair == PairShape(4, 5)
    assert again.pair_head is not None
    assert torch.equal(again.pair_head.label.weight, robin.pair_head.label.weight if robin.pair_head else None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Checkpoint]:
    folder = tmp_path_factory.mktemp("pairs")
    samples = [attrs.evolve(sample, split="train") for sample in scenes(folder, 6)]
    snapshot = publish_samples(folder, samples)
    (folder / "out").mkdir()
    options = RobinOptions(steps=2, images=2, pair_head=True, spoken=0.5)
    resources = Resources(roots=Roots({"scenes": folder / "scenes"}))
    return folder, RobinStudent(options).train(snapshot.path, Selection(), folder / "out", resources)


def test_a_student_ranks_by_it(trained: tuple[Path, Checkpoint], tmp_path: Path) -> None:
    (sample,) = scenes(trained[0], 1, 50)
    student = RobinStudent(RobinOptions(ranker="pair-head"))
    student.setup(Resources(checkpoint=trained[1]))
    (ranking,) = student.rank([sample])
    assert isinstance(ranking, Ranking)
    count = len(sample.graph.regions)
    assert ranking.scores.shape == (count * (count - 1), len(ranking.predicates))
    assert np.unique(ranking.scores).size > 1
    (tmp_path / "words.txt").write_text("on\n")
    with pytest.raises(StepError, match="ranks the vocabulary of its training"):
        RobinStudent(RobinOptions(ranker="pair-head", predicates=tmp_path / "words.txt")).setup(
            Resources(checkpoint=trained[1])
        )


def test_one_that_learns_no_words_claims_none(trained: tuple[Path, Checkpoint], tmp_path: Path) -> None:
    (snapshot,) = (trained[0] / "dataset" / "snapshots").iterdir()
    options = RobinOptions(steps=1, images=2, pair_head=True, spoken=0.0)
    resources = Resources(roots=Roots({"scenes": trained[0] / "scenes"}))
    checkpoint = RobinStudent(options).train(snapshot, Selection(), tmp_path, resources)
    assert Known.read(checkpoint.path).tasks == ()
    assert Known.read(trained[1].path).knows_pairs


def test_no_pair_head_is_said(tmp_path: Path, trained: tuple[Path, Checkpoint]) -> None:
    student = RobinStudent(RobinOptions(ranker="pair-head"))
    student.setup(Resources(checkpoint=trained[1]))
    assert student._robin is not None
    student._robin.model.pair_head = None
    with pytest.raises(StepError, match='no pair head: train with pair_head = true, or say ranker = "language"'):
        student.rank(scenes(tmp_path, 1))
    released = attrs.evolve(student._robin.known, predicates=())  # one that brings no vocabulary either
    student._robin = attrs.evolve(student._robin, known=released)
    with pytest.raises(StepError, match="no pair head"):
        student.rank(scenes(tmp_path, 1))
    assert STAGE.rates["pair_head"] > 0
