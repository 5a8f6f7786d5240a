"""Decoding against the library's own, trees against one answer at a time, grammars against the parser."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robin.worlds import example_of, maker, model, referring, scenes, tokenizer

from sgforge_robin.decoding.decode import Ask, Sampling, _drawn, decode
from sgforge_robin.decoding.grammar import RelationsGrammar, Spellings
from sgforge_robin.decoding.prefix import encode_prefix, see, see_regions
from sgforge_robin.decoding.tree import AnswerTree, score_answers
from sgforge_robin.encoding import Example, ask_ids
from sgforge_robin.model.attention import Prefix, SharedPrefixes
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.text import parse_relations

TOKENS = tokenizer()
QUESTIONS = ["How does region1 relate to the other regions?", "What is region2?", "From region1 to region2?"]
SPELLINGS = Spellings(TOKENS, len(TOKENS))
SAMPLING = Sampling(TOKENS.end, limit=12, banned=TOKENS.unspeakable)


def stirred(made: RobinModel) -> RobinModel:
    with torch.no_grad():
        for value in made.parameters():
            value.mul_(3)  # so that answers differ
    return made.eval()


@pytest.fixture(scope="module", params=[model, referring])
def given_model(request: pytest.FixtureRequest) -> RobinModel:
    return stirred(request.param())


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    made = [example_of(maker(), sample) for sample in scenes(tmp_path_factory.mktemp("scenes"), 2)]
    return [one for one in made if one is not None]


def prefixes(made: RobinModel, shown: list[Example]) -> list[Prefix]:
    found = []
    for one in shown:
        features = see(made, one.pixels)
        regions = see_regions(made, features, one.masks)
        found.append(encode_prefix(made, features, regions, one.prefix, one.image_id))
    return found


def asks(order: list[tuple[int, int]]) -> list[Ask]:
    return [Ask(prefix, ask_ids(TOKENS, QUESTIONS[place]), f"{prefix}/{place}") for prefix, place in order]


ALL = [(0, 0), (1, 0), (0, 1), (1, 2), (0, 2), (1, 1)]


@torch.no_grad()
def test_answers_over_shared_prefixes_are_those_of_whole_prompts(shown: list[Example]) -> None:
    given, given_model = asks(ALL), stirred(model())
    found = decode(given_model, prefixes(given_model, shown), given, SAMPLING)
    for ask, said in zip(given, found, strict=True):
        example = shown[ask.prefix]
        ids = torch.tensor([[*example.prefix, *ask.ids]])
        whole = given_model.spliced(example.pixels[None], [example.masks], ids)
        expected = given_model.language.generate(
            inputs_embeds=whole.embeds, attention_mask=whole.attention_mask, do_sample=False, max_new_tokens=12,
            eos_token_id=TOKENS.end, pad_token_id=0, suppress_tokens=list(TOKENS.unspeakable),
            return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
        ids_said = [token for token in expected.sequences[0].tolist() if token != TOKENS.end]
        assert said.ids == ids_said
        logits = torch.stack(expected.logits)[:, 0].index_fill(1, torch.tensor(TOKENS.unspeakable), -torch.inf)
        own = logits.log_softmax(-1).gather(1, expected.sequences[0][:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(said.logprobs), own, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_answers_are_the_likeliest_of_the_model_read_whole(given_model: RobinModel, shown: list[Example]) -> None:
    """Without any cache, each answer with all that is before it as one text; under a grammar it names regions."""
    grammar, encoded = RelationsGrammar(SPELLINGS, 1, 3), prefixes(given_model, shown)
    named = [attrs.evolve(one, grammar=grammar) for one in asks(ALL)]
    given = [*asks(ALL), *named, *named]
    found = decode(given_model, encoded, given[: len(ALL)], SAMPLING)
    for seed in (1, 2):  # "none" is an answer too
        found += decode(given_model, encoded, named, attrs.evolve(SAMPLING, temperature=1.0, seed=seed))
    for ask, said in zip(given, found, strict=True):
        example, answer = shown[ask.prefix], [*said.ids, *([TOKENS.end] if said.ended else [])]
        ids = torch.tensor([[*example.prefix, *ask.ids, *answer]])
        logits = given_model(example.pixels[None], [example.masks], ids).logits[0, -len(answer) - 1 : -1]
        own = logits.index_fill(1, torch.tensor(TOKENS.unspeakable), -torch.inf).log_softmax(-1)
        expected = own.gather(1, torch.tensor(answer)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(said.logprobs), expected, atol=1e-4, rtol=1e-4)
        assert (own.argmax(dim=1).tolist() == answer) or ask.grammar
    assert sum("region" in TOKENS.text(said.ids) for said in found[len(ALL) :]) > 1


def test_answers_depend_on_neither_batch_nor_order(given_model: RobinModel, shown: list[Example]) -> None:
    sampling = attrs.evolve(SAMPLING, temperature=1.0, top_p=0.9, seed=5)
    encoded = prefixes(given_model, shown)
    together = decode(given_model, encoded, asks(ALL), sampling)
    turned = decode(given_model, encoded, asks(ALL[::-1]), sampling)[::-1]
    alone = [decode(given_model, encoded, asks([one]), sampling)[0] for one in ALL]
    assert [said.ids for said in together] == [said.ids for said in turned] == [said.ids for said in alone]
    other = decode(given_model, encoded, asks(ALL), attrs.evolve(sampling, seed=6))
    assert [said.ids for said in other] != [said.ids for said in together]
    assert not {token for said in together for token in said.ids} & set(TOKENS.unspeakable)


def test_the_keys_of_a_prefix_are_held_once(given_model: RobinModel, shown: list[Example]) -> None:
    encoded = prefixes(given_model, shown)
    seen = []
    original = SharedPrefixes.__init__

    def watching(self: SharedPrefixes, given: list[Prefix], starts: list[int]) -> None:
        seen.extend(id(prefix) for prefix in given)
        original(self, given, starts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SharedPrefixes, "__init__", watching)
        decode(given_model, encoded, asks(ALL), SAMPLING)
    assert set(seen) == {id(prefix) for prefix in encoded}


def test_a_tree_scores_every_answer_as_alone(given_model: RobinModel, shown: list[Example]) -> None:
    (prefix, _), example = prefixes(given_model, shown), shown[0]
    answers = [[*TOKENS.ids(text), TOKENS.end] for text in ("on", "on top", "left of", "region2 by", "region1")]
    questions = [ask_ids(TOKENS, text) for text in QUESTIONS]
    found = score_answers(given_model, prefix, questions, AnswerTree.of(answers))
    assert found.shape == (3, 5)
    for row, question in enumerate(questions):
        for column, answer in enumerate(answers):
            ids = torch.tensor([[*example.prefix, *question, *answer]])
            with torch.no_grad():
                logits = given_model(example.pixels[None], [example.masks], ids).logits[0]
            own = logits[-len(answer) - 1 : -1].log_softmax(-1).gather(1, torch.tensor(answer)[:, None])
            assert found[row, column] == pytest.approx(float(own.sum()), abs=1e-3)
    assert np.exp(found).sum(axis=1).max() <= 1 + 1e-6


@settings(max_examples=200)
@given(st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=1, max_size=8))
def test_a_tree_holds_every_answer(answers: list[list[int]]) -> None:
    ended = [[*answer, 9] for answer in answers]
    tree = AnswerTree.of(ended)
    for answer, leaf in zip(ended, tree.leaf.tolist(), strict=True):
        found, node = [], leaf
        while node >= 0:
            found.append(int(tree.token[node]))
            node = int(tree.parent[node])
        assert found[::-1] == answer
    assert len(set(zip(tree.token.tolist(), tree.parent.tolist(), strict=True))) == len(tree.token)


@settings(max_examples=150)
@given(st.integers(0, 2**31), st.integers(2, 12))
def test_whatever_is_said_under_the_grammar_is_read_whole(seed: int, regions: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    subject = seed % regions + 1
    grammar = RelationsGrammar(SPELLINGS, subject, regions)
    state, ids = grammar.start(), []
    for step in range(60):
        allowed = grammar.allowed(state)
        assert allowed.any(), "a dead end"
        if step > 20 and allowed[TOKENS.end]:
            break
        token = int(torch.multinomial(allowed.float(), 1, generator=generator))
        if token == TOKENS.end:
            break
        ids.append(token)
        state = grammar.after(state, token)
    else:
        return  # cut off: the parser is told so
    text = TOKENS.text(ids)
    if text == "none":
        return
    found = parse_relations(text, subject, regions)
    assert set(found.dropped) <= {"duplicate-relation"}
    assert found.relations
    assert text.count(", region") + 1 == len(found.relations) + found.dropped.get("duplicate-relation", 0)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("none", True),
        ("region2 on", True),
        ("region2 on, region3 next to it", True),
        ("region1 on", False),  # itself
        ("region4 on", False),  # not shown
        ("region2", False),
        ("region2 ", False),
        ("region2 on,", False),
        ("region2 on, none", False),
        ("region2 on, near", False),
        ("region2 on region3", False),
        ("none, region2 on", False),
        ("region2 <pos>", False),
    ],
)
def test_what_the_grammar_takes(text: str, good: bool) -> None:
    grammar = RelationsGrammar(SPELLINGS, 1, 3)
    state = grammar.start()
    for token in TOKENS.ids(text):
        if not grammar.allowed(state)[token]:
            assert not good
            return
        state = grammar.after(state, token)
    assert bool(grammar.allowed(state)[TOKENS.end]) == good


def test_an_untrained_model_under_the_grammar_is_read(given_model: RobinModel, shown: list[Example]) -> None:
    count = len(shown[0].masks) if shown[0].masks is not None else 0
    given = [
        Ask(0, ask_ids(TOKENS, f"How does region{one} relate to the other regions?"), str(one),
            RelationsGrammar(SPELLINGS, one, count))
        for one in range(1, count + 1)
    ]  # fmt: skip
    encoded = prefixes(given_model, shown)
    sampling = attrs.evolve(SAMPLING, temperature=1.0, limit=40)
    for number, said in enumerate(decode(given_model, encoded, given, sampling), start=1):
        found = parse_relations(TOKENS.text(said.ids), number, count, truncated=not said.ended)
        assert set(found.dropped) <= {"truncated", "duplicate-relation"} or TOKENS.text(said.ids) == "none"


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [
        (1.0, {0.0: 1, 0.49: 1, 0.51: 2, 0.79: 2, 0.81: 4, 1 - 1e-12: 4}),
        (0.8, {0.0: 1, 0.62: 1, 0.63: 2, 0.99: 2}),  # of the two likeliest, 5/8 and 3/8
        (0.5, {0.0: 1, 0.99: 1}),
    ],
)
def test_where_a_draw_falls_by_hand(top_p: float, expected: dict[float, int]) -> None:
    shares = torch.tensor([[0.0, 0.5, 0.3, 0.0, 0.2, 0.0]]).repeat(len(expected), 1)
    assert _drawn(shares, top_p, torch.tensor(list(expected), dtype=torch.float64)).tolist() == list(expected.values())


def test_what_has_no_share_is_never_drawn_among_many() -> None:
    torch.manual_seed(0)
    shares = (torch.randn(50, 100_000) * 5).softmax(dim=1)
    shares[:, ::2] = 0.0
    for share in (0.0, 0.5, 1 - 2**-53):
        found = _drawn(shares, 1.0, torch.full((50,), share, dtype=torch.float64))
        assert (shares.gather(1, found[:, None]) > 0).all()


@pytest.mark.slow
def test_answers_come_as_often_as_they_are_likely(given_model: RobinModel, shown: list[Example]) -> None:
    """First ids of many draws against the probabilities that the model gives."""
    encoded = prefixes(given_model, shown)[:1]
    question = ask_ids(TOKENS, QUESTIONS[0])
    sampling = attrs.evolve(SAMPLING, limit=1, temperature=1.0)
    found = decode(given_model, encoded, [Ask(0, question, str(one)) for one in range(2000)], sampling)
    counts: dict[tuple[int, ...], list[float]] = {}
    for one in found:
        counts.setdefault(tuple(one.ids), []).append(math.exp(one.logprobs[0]))
    for likely in counts.values():
        if likely[0] > 0.02:  # four deviations of a share of 2,000
            assert abs(len(likely) / 2000 - likely[0]) < 4 * (likely[0] * (1 - likely[0]) / 2000) ** 0.5
    assert any(0.02 < likely[0] < 0.98 for likely in counts.values())
