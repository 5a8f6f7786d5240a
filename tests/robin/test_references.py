"""Names of regions in ids, by hand; the reference layer: where it adds what, in checkpoints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robin.worlds import SMALLEST, example_of, maker, referring, scenes, tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers

from sgforge.errors import StepError
from sgforge_robin import load_model, save_model
from sgforge_robin.encoding import prefix_ids
from sgforge_robin.model.naming import NameIds
from sgforge_robin.model.references import ReferenceLayer, add_references, numbers_of
from sgforge_robin.model.shape import IMAGE_ID
from sgforge_robin.model.splice import RegionTokens
from sgforge_robin.text.tasks import opening
from sgforge_robin.tokens import RobinTokenizer
from sgforge_robin.training.loss import packed_loss

WORD, ONE, TWO, TWELVE, NOUGHT, BREAK, END, OTHER, STOP, BOX, BOX_END, MASK, POS = range(10, 23)
NAMES = NameIds(
    words=frozenset({WORD}),
    digits={ONE: "1", TWO: "2", TWELVE: "12", NOUGHT: "0"},
    breaks=frozenset({BREAK}),
    stops=frozenset({STOP}),
    box=(BOX, BOX_END),
    end=END,
)


@pytest.mark.parametrize(
    ("ids", "focus", "topic", "following"),
    [
        ([WORD, ONE, OTHER], [0, 1, 1], [0, 1, 1], [0, -2, -2]),
        ([WORD, ONE, TWO, OTHER, TWO], [0, 1, 12, 12, 12], [0, 1, 12, 12, 12], [0, -2, -1, -1, -1]),
        ([WORD, TWELVE, NOUGHT], [0, 12, 120], [0, 12, 120], [0, -1, -1]),
        ([WORD, NOUGHT, ONE], [0, 0, 0], [0, 0, 0], [0, 0, 0]),
        ([ONE, WORD, OTHER, ONE], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]),
        # While the next name is only begun the line is still about the last one; what follows it skips the topic.
        (
            [WORD, TWO, OTHER, WORD, ONE, WORD, TWELVE],
            [0, 2, 2, 2, 1, 1, 12],
            [0, 2, 2, 2, 2, 2, 2],
            [0, -1, -1, 1, -3, 3, -13],
        ),
        ([WORD, ONE, WORD, ONE, TWO], [0, 1, 1, 1, 12], [0, 1, 1, 1, 1], [0, -2, 2, -2, -13]),
        ([WORD, ONE, OTHER, WORD, TWO, WORD], [0, 1, 1, 1, 2, 2], [0, 1, 1, 1, 1, 1], [0, -2, -2, 2, -3, 3]),
        ([WORD, ONE, BREAK, OTHER, WORD, TWO], [0, 1, 0, 0, 0, 2], [0, 1, 0, 0, 0, 2], [0, -2, 0, 0, 0, -1]),
        # A question's line goes on in the answer's: end of turn, break, role, break.
        (
            [WORD, ONE, END, BREAK, OTHER, BREAK, WORD, TWO, BREAK, OTHER],
            [0, 1, 1, 1, 1, 1, 1, 2, 0, 0],
            [0, 1, 1, 1, 1, 1, 1, 1, 0, 0],
            [0, -2, -2, -2, -2, -2, 2, 3, 0, 0],
        ),
        # A list tells all along what follows; the answer to a question about two regions, and other lines, do not.
        (
            [WORD, TWO, END, BREAK, BREAK, WORD, ONE, OTHER, STOP, WORD, TWELVE, END, OTHER],
            [0, 2, 2, 2, 2, 2, 1, 1, 1, 1, 12, 12, 12],
            [0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2],
            [0, -1, -1, -1, -1, 1, 3, 3, 3, 3, 13, -13, -13],
        ),
        (
            [WORD, TWO, WORD, ONE, END, BREAK, BREAK, OTHER, BREAK, WORD, ONE, WORD],
            [0, 2, 2, 1, 1, 1, 1, 1, 0, 0, 1, 1],
            [0, 2, 2, 2, 2, 2, 2, 2, 0, 0, 1, 1],
            [0, -1, 1, -3, -3, -3, -3, -3, 0, 0, -2, 2],
        ),
        ([], [], [], []),
    ],
)
def test_what_a_text_is_about_by_hand(ids: list[int], focus: list[int], topic: list[int], following: list[int]) -> None:
    found = NAMES.along(ids)
    assert [one.focus for one in found] == focus
    assert [one.topic for one in found] == topic
    assert [one.following for one in found] == [abs(number) for number in following]  # negative where not told
    assert numbers_of(found) == [list(parts) for parts in zip(focus, topic, following, strict=True)]
    assert not any(one.focus for one in NameIds().along(ids))


def test_what_a_tree_is_about() -> None:
    #                 0     1    2    3      4     5     6
    found = NAMES.down([WORD, ONE, TWO, OTHER, TWO, WORD, TWO], [-1, 0, 1, 1, 0, 3, 5])
    assert numbers_of(found) == [[0, 0, 0], [1, 1, -2], [12, 12, -1], [1, 1, -2], [2, 2, -1], [1, 1, 2], [2, 1, -3]]


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([WORD, ONE, MASK, POS, OTHER, TWO, STOP, WORD, TWO, MASK, POS, ONE, STOP, OTHER], [[OTHER, TWO], [ONE]]),
        ([WORD, ONE, MASK, POS, BOX, ONE, STOP, TWO, BOX_END, OTHER, STOP, OTHER], [[OTHER]]),
        ([WORD, ONE, MASK, POS, WORD, TWO, MASK, POS, BREAK, OTHER], [[], []]),
        ([MASK, POS], [[]]),
        ([WORD, ONE, OTHER], []),
    ],
)
def test_what_a_prefix_says_of_its_regions(ids: list[int], said: list[list[int]]) -> None:
    assert NAMES.introduced(ids, MASK) == said


@pytest.mark.parametrize("own", [tokenizer(), RobinTokenizer.trained(["region1 dining table, cup. 12,34" * 9], 600)])
def test_what_an_opening_says_of_its_regions(own: RobinTokenizer) -> None:
    boxes = ["<|box_start|>(1,2),(30,40)<|box_end|>", "", "<|box_start|>(7,8),(9,9)<|box_end|>"]
    ids = prefix_ids(own, opening(boxes, ["dining table", "", "cup"]))
    said = own.names.introduced(ids, own.special.mask)
    assert [own.text(part).strip() for part in said] == ["dining table", "", "cup"]


LEARNT = RobinTokenizer.trained(["region1 region12 region23 region99 on, 14 things" for _ in range(9)], 600)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([" ", ", ", "\n", ": ", ")"]),
            st.sampled_from(["region7", "region12", "region99", "region100", "on", "14", "region", "region0", "7"]),
        ).map("".join),
        max_size=12,
    ).map("".join),
    st.sampled_from([tokenizer(), LEARNT]),
)
def test_what_ids_are_about_is_what_the_text_is_about(text: str, own: RobinTokenizer) -> None:
    """Against an expression on the text: whatever the tokenizer joins, numbers in one token or several."""
    ids = own.ids(text)
    for place, found in enumerate(own.names.along(ids)):
        read = own.text(ids[: place + 1])
        line = read[read.rfind("\n") + 1 :]
        named = [int(number) for number in re.findall(r"region([1-9][0-9]*)", line)]
        topic, focus = (named[0], named[-1]) if named else (0, 0)
        assert (found.topic, found.focus) == (topic, focus), read
        listed = (number for number in range(1, 200) if number != topic and (focus == topic or number > focus))
        assert found.following == (next(listed) if named else 0), read
        assert found.is_awaited == line.endswith("region"), read


def test_a_tokenizer_that_joins_names_otherwise_is_refused() -> None:
    own = Tokenizer(models.WordLevel({"<mask>": 0, "<pos>": 1, "<|im_start|>": 2, "<|im_end|>": 3, "?": 4}, "?"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(StepError, match="does not write region1 as a word and its digits: leave out reference_layer"):
        _ = RobinTokenizer(own).names


@torch.no_grad()
def test_the_layer_by_hand() -> None:
    torch.manual_seed(0)
    layer = ReferenceLayer(4)
    for value in layer.parameters():
        value.normal_()
    mask, pos = torch.randn(3, 4), torch.randn(3, 4)
    said = torch.cat([torch.randn(1, 4), torch.zeros(2, 4)])
    rows = layer(RegionTokens(mask, pos), said)
    assert rows.shape == (4, 5, 4)
    assert not rows[:, 0].any()
    assert not rows[[0, 1, 3], 4].any()
    assert torch.equal(rows[2, 4], layer.last)
    for place in range(3):
        told = ((layer.look, mask), (layer.place, pos), (layer.name, said))
        parts = [value for part, of in told for value in part(of)[place].tolist()]
        assert any(parts[8:]) == (place == 0)
        for part, weights in enumerate((layer.focus.weight, layer.topic.weight, layer.following.weight)):
            seen = [sum(w * v for w, v in zip(row, parts, strict=True)) / 12**0.5 for row in weights.tolist()]
            numbers = layer.numbers[part, place]
            if part == 2:  # of all that may still be named
                numbers = numbers + sum(layer.numbers[3, later] for later in range(place, 3))
            expected = [a + b for a, b in zip(seen, numbers.tolist(), strict=True)]
            assert rows[part, place + 1].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert torch.equal(rows[3, place + 1], -layer.numbers[3, place])
    many = layer(RegionTokens(torch.randn(120, 4), torch.randn(120, 4)), torch.zeros(120, 4))  # more than have a number
    assert many.shape == (4, 122, 4)


@torch.no_grad()
@pytest.mark.parametrize(
    ("numbers", "added"),
    [
        ((0, 0, 0), {}),
        ((1, 1, -2), {(0, 1), (1, 1)}),
        ((1, 1, 2), {(0, 1), (1, 1), (2, 2)}),
        ((1, 3, 2), {(0, 1), (1, 3), (2, 2), (3, 3)}),  # 3 is about to come, and is who the line is about
        ((3, 1, -4), {(0, 3), (1, 1), (2, 4)}),  # none follows
        ((3, 1, 4), {(0, 3), (1, 1), (2, 4)}),
        ((2, 3, -4), {(0, 2), (1, 3), (2, 4)}),
        ((5, 2, 6), {(1, 2), (2, 4)}),  # there are three
        ((2, 99, -3), {(0, 2)}),
        ((1, 99, 2), {(0, 1), (2, 2)}),
    ],
)
def test_what_is_added_by_hand(numbers: tuple[int, int, int], added: set[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    rows, embeds = torch.randn(4, 5, 4), torch.randn(1, 1, 4)
    rows[:, 0] = 0.0
    rows[[0, 1, 3], 4] = 0.0
    found = add_references(embeds, torch.tensor([[numbers]]), rows)[0, 0] - embeds[0, 0]
    torch.testing.assert_close(found, sum((rows[place] for place in added), torch.zeros(4)))


@torch.no_grad()
def test_a_row_is_told_where_it_is_about_a_region_and_nowhere_else(tmp_path: Path) -> None:
    (sample,) = scenes(tmp_path, 1)
    example, own = example_of(maker(), sample), referring()
    assert example is not None
    assert example.masks is not None
    ids = torch.tensor([[*example.prefix, *example.branches[0].ids]])
    told = own.spliced(example.pixels[None], [example.masks], ids).embeds[0]
    layer, own.reference_layer = own.reference_layer, None
    plain = own.spliced(example.pixels[None], [example.masks], ids).embeds[0]
    own.reference_layer = layer
    text, count = ids[0].tolist(), len(example.masks)
    behind = text.index(IMAGE_ID)
    about = [one.focus for one in tokenizer().names.along(text)]
    assert not any(about[: behind + 1])
    focus = [*[0] * (behind + SMALLEST.image_tokens), *about[behind + 1 :]]
    moved = set((told - plain).abs().sum(dim=1).nonzero()[:, 0].tolist())
    assert moved == {place for place, number in enumerate(focus) if number}
    assert set(focus) == set(range(count + 1))


@torch.no_grad()
def test_a_checkpoint_that_has_it_brings_it(tmp_path: Path) -> None:
    own = referring()
    save_model(own, tmp_path / "own")
    tokenizer().save(tmp_path / "own")
    again = load_model(tmp_path / "own")
    assert again.shape.names == tokenizer().names
    for name, value in own.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


@torch.no_grad()
def test_one_that_no_tokenizer_told_how_names_are_written_says_so(tmp_path: Path) -> None:
    (sample,) = scenes(tmp_path, 1)
    example = example_of(maker(), sample)
    assert example is not None
    save_model(referring(), tmp_path)
    bare = load_model(tmp_path)
    with pytest.raises(StepError, match="no tokenizer has said"):
        packed_loss(bare, [example])
