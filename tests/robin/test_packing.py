"""Packed rows against the same examples one by one, and rows against a bound by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robin.worlds import STAGE, example_of, maker, model, referring, scenes

from sgforge.errors import StepError
from sgforge_robin.encoding import Branch, Example
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.shape import IGNORED
from sgforge_robin.training import forward
from sgforge_robin.training.forward import Attention, See, learnt_states
from sgforge_robin.training.loss import packed_loss
from sgforge_robin.training.packing import lay_out, pack


def examples(folder: Path, count: int = 3) -> list[Example]:
    made = [example_of(maker(), sample) for sample in scenes(folder, count)]
    assert all(made)
    return [attrs.evolve(one, branches=one.branches[:6]) for one in made if one is not None]


@settings(max_examples=200)
@given(st.lists(st.integers(1, 50), max_size=30))
def test_rows_hold_every_item_once_and_no_more_than_they_can(lengths: list[int]) -> None:
    rows = pack(lengths, 50)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= 50 for row in rows)
    # No two rows could be one: more than half of all room is used.
    assert sum(lengths) * 2 > 50 * (len(rows) - 1)


def test_an_item_longer_than_a_row() -> None:
    with pytest.raises(ValueError, match="51 positions in rows of 50"):
        pack([3, 51], 50)


def test_who_may_look_at_whom() -> None:
    blank = torch.zeros(3, 1, 1)
    one = Example("a", blank, None, [1, 2], 2, (Branch([3], [3]), Branch([4, 5], [4, 5])))
    two = Example("b", blank, None, [6], 1, (Branch([7], [7]),))
    layout = lay_out([one, two])
    assert layout.position.tolist() == [0, 1, 2, 2, 3, 0, 1]
    assert layout.allowed()[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],  # the first branch: its prefix and itself
        [1, 1, 0, 1, 0, 0, 0],  # the second does not see the first
        [1, 1, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 0],  # another document
        [0, 0, 0, 0, 0, 1, 1],
    ]


@given(st.lists(st.tuples(st.integers(1, 5), st.lists(st.integers(1, 4), max_size=3)), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_spans_say_what_the_mask_says(shapes: list[tuple[int, list[int]]]) -> None:
    blank = torch.zeros(3, 1, 1)
    row = [
        Example(f"{place}", blank, None, [1] * length, length, tuple(Branch([1] * size, [1] * size) for size in sizes))
        for place, (length, sizes) in enumerate(shapes)
    ]
    whole = lay_out(row)
    layout = whole.padded(len(whole.position) + 3)
    start, cut, begin = (values[:, None] for values in layout.spans())
    key = torch.arange(len(layout.position))[None]
    seen = (((key >= start) & (key < cut)) | (key >= begin)) & (key <= key.T)
    expected = torch.eye(len(layout.position), dtype=torch.bool)
    expected[:-3, :-3] = whole.allowed()[0, 0]
    assert torch.equal(seen, expected)


@pytest.mark.parametrize("make", [model, referring])
@pytest.mark.parametrize("attention", ["documents", "mask"])
def test_packed_is_separate_in_loss_and_gradients(
    tmp_path: Path, attention: Attention, make: Callable[[], RobinModel]
) -> None:
    given = examples(tmp_path)
    packed, apart = make().train(), make().train()
    summed = packed_loss(packed, given, attention)
    summed.total.backward()
    total, count = 0.0, 0
    for example in given:
        for branch in example.branches:  # each branch behind its own copy of the prefix
            alone = packed_loss(apart, [attrs.evolve(example, branches=(branch,))], "mask")
            alone.total.backward()
            total, count = total + float(alone.total.detach()), count + alone.count
    assert count == summed.count
    assert float(summed.total.detach()) == pytest.approx(total, rel=1e-5)
    for (name, one), two in zip(packed.named_parameters(), apart.parameters(), strict=True):
        if one.grad is None:
            assert two.grad is None, name
        else:
            torch.testing.assert_close(
                one.grad, two.grad, atol=1e-4, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
            )


def test_activations_that_are_computed_again_give_the_same_gradients(tmp_path: Path) -> None:
    given = examples(tmp_path, 2)
    kept, again = model().train(), model().train()
    again.recompute_activations()
    for one in (kept, again):
        packed_loss(one, given).total.backward()
    for one, two in zip(kept.parameters(), again.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None)
        assert one.grad is None or torch.equal(one.grad, two.grad)


@pytest.mark.parametrize("make", [model, referring])
@pytest.mark.parametrize("attention", ["documents", "mask"])
def test_packed_is_the_plain_model(tmp_path: Path, attention: Attention, make: Callable[[], RobinModel]) -> None:
    """One example with one branch, through the model's own forward: no mask of ours, no gathered positions."""
    (example,) = examples(tmp_path, 1)
    robin = make()
    alone = attrs.evolve(example, branches=example.branches[:1])
    (branch,) = alone.branches
    ids = torch.tensor([alone.prefix + branch.ids])
    labels = torch.tensor([[IGNORED] * len(alone.prefix) + branch.labels])
    out = robin(alone.pixels[None], [alone.masks], ids, labels=labels)
    summed = packed_loss(robin, [alone], attention)
    assert out.loss is not None
    assert float(summed.total.detach()) / summed.count == pytest.approx(float(out.loss.detach()), rel=1e-5)


@torch.no_grad()
def test_attending_in_blocks_of_the_mask_is_attending_under_it(tmp_path: Path) -> None:
    given, robin = examples(tmp_path), model()
    seen = See(robin, given)
    found = [learnt_states(robin, given, range(len(given)), seen, kind) for kind in ("mask", "flex")]
    assert found[0] is not None
    assert found[1] is not None
    assert torch.equal(found[0].aims, found[1].aims)
    torch.testing.assert_close(found[0].hidden, found[1].hidden, atol=1e-5, rtol=1e-5)


def test_logits_in_pieces_give_the_same_loss_and_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = examples(tmp_path, 2)
    whole, parts = model().train(), model().train()
    one = packed_loss(whole, given)
    one.total.backward()
    monkeypatch.setattr(forward, "_LOGITS", 7 * whole.table.num_embeddings)
    assert one.count > 14
    two = packed_loss(parts, given)
    two.total.backward()
    torch.testing.assert_close(one.total, two.total)
    for (name, here), there in zip(whole.named_parameters(), parts.parameters(), strict=True):
        assert (here.grad is None) == (there.grad is None), name
        if here.grad is not None and there.grad is not None:
            torch.testing.assert_close(here.grad, there.grad, atol=1e-5, rtol=1e-4)


def test_a_row_without_anything_to_learn_is_refused(tmp_path: Path) -> None:
    (example,) = examples(tmp_path, 1)
    empty = attrs.evolve(example, image_id="x7", branches=(Branch([1, 2], [IGNORED] * 2),))
    with pytest.raises(StepError, match=r"nothing to learn in the packed row of images x7"):
        packed_loss(model(), [empty])


def test_a_conversation_whose_regions_do_not_fit(tmp_path: Path) -> None:
    (example,) = examples(tmp_path, 1)
    assert example.masks is not None
    with pytest.raises(StepError, match=rf"image {example.image_id}: \d+ <mask> in its text, 1 regions"):
        packed_loss(model(), [attrs.evolve(example, masks=example.masks[:1])])


def test_rows_are_full(tmp_path: Path) -> None:
    del tmp_path
    lengths = [60 + 37 * (place % 23) for place in range(400)]  # a prefix and 0 to 22 branches
    rows = pack(lengths, 2048)
    assert sum(lengths) / (2048 * len(rows)) >= 0.95
    assert STAGE.capacity == 2048
