"""Student `vlm` on tiny models of two families: contracts, prompts, what is learnt, what is never said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from grpo import tiny_llava
from models import tiny_vlm
from support.extras import needs_extra

needs_extra("grpo")

import torch  # noqa: E402

from sgforge.errors import StepError  # noqa: E402
from sgforge.graph import Region, Relation, Sample, SceneGraph  # noqa: E402
from sgforge.stages import Failure, Resources, Selection  # noqa: E402
from sgforge.testing import PolicyContract, StudentContract, tiny_samples  # noqa: E402
from sgforge.testing.contracts.data import publish_samples  # noqa: E402
from sgforge_grpo.config import VlmOptions  # noqa: E402
from sgforge_grpo.reading.answer import Frame  # noqa: E402
from sgforge_grpo.vlm.asking import Sampling, answer_logits, ask, logprobs_of, sampled  # noqa: E402
from sgforge_grpo.vlm.loading import Vlm  # noqa: E402
from sgforge_grpo.vlm.policy import VlmPolicy  # noqa: E402
from sgforge_grpo.vlm.prompts import answer_text, question_of, read_relations  # noqa: E402
from sgforge_grpo.vlm.student import VlmStudent  # noqa: E402

torch.set_num_threads(1)

BASES: dict[str, Path] = {}
FEW = {"steps": 2, "batch": 2, "rate": 1e-2, "max_tokens": 8}


@pytest.fixture(autouse=True, scope="module")
def _bases(tmp_path_factory):
    for name, build in (("llava", tiny_llava.build), ("qwen", tiny_vlm.build)):
        BASES[name] = build(tmp_path_factory.mktemp(name))
    return BASES


class _Tiny:
    family = "llava"
    further: dict[str, Any] = {}

    def options_in(self, folder: Path):
        return {"base": str(BASES[self.family]), **FEW, **self.further}

    def resources(self, folder: Path):
        (sample, *_) = tiny_samples(folder)
        return attrs.evolve(super().resources(folder), roots=roots_of(sample, folder))


class TestStudent(_Tiny, StudentContract):
    component = "vlm"


class TestGraphStudent(_Tiny, StudentContract):
    component = "vlm"
    further = {"task": "graph", "regions": "marks"}


class TestQwenPolicy(_Tiny, PolicyContract):
    component = "vlm"
    family = "qwen"
    further = {"top_p": 0.9}

    @pytest.mark.slow
    def test_two_ranks_are_one_model(self, tmp_path: Path) -> None:
        super().test_two_ranks_are_one_model(tmp_path)


def vlm_of(family: str, **options: Any) -> tuple[Vlm, VlmOptions]:
    made = VlmOptions(base=str(BASES[family]), **{"max_tokens": 10, **options})
    return Vlm.load(made, None, "cpu", "float32"), made


def an_image(folder: Path) -> Sample:
    return next(one for one in tiny_samples(folder) if len(one.graph.relations) and len(one.graph.regions) > 1)


@pytest.mark.parametrize("family", ["llava", "qwen"])
def test_the_answer_alone_is_learnt(tmp_path, family):
    """The logits of an answer are those that the whole text has at its places, and the loss is their cross-entropy."""
    vlm, options = vlm_of(family)
    prompt = ask(vlm, an_image(tmp_path), options)
    ids = [*vlm.processor.tokenizer("{ab}")["input_ids"], vlm.end]
    found, _ = logprobs_of(vlm, answer_logits(vlm, prompt, [ids, ids[:2]])[0], ids, None)
    inputs = dict(prompt.inputs)
    tail = torch.tensor([ids])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], tail], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    labels = inputs["input_ids"].clone()
    labels[:, : prompt.length] = -100
    for name in ("mm_token_type_ids", "token_type_ids"):
        if name in inputs:
            inputs[name] = torch.cat([inputs[name], torch.zeros_like(tail)], 1)
    expected = vlm.model(**inputs, labels=labels).loss
    assert -found.mean().item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("family", ["llava", "qwen"])
def test_what_stands_for_a_picture_is_never_said(tmp_path, family):
    vlm, options = vlm_of(family)
    picture = getattr(vlm.model.config, "image_token_id", None) or vlm.model.config.image_token_index
    assert picture in vlm.silent
    assert vlm.end not in vlm.silent
    head = vlm.model.get_output_embeddings()
    with torch.no_grad():  # the token of a picture becomes the likeliest of all
        head.bias = torch.nn.Parameter(torch.zeros(head.weight.shape[0]))
        head.bias[picture] = 1e4
    prompt = ask(vlm, an_image(tmp_path), options)
    drawn = sampled(vlm, prompt, 6, 1, Sampling(limit=10, temperature=1.0, top_p=1.0))
    assert not {picture} & {token for ids in drawn for token in ids}
    values, _ = logprobs_of(
        vlm, answer_logits(vlm, prompt, drawn)[0], drawn[0], Sampling(limit=10, temperature=1.0, top_p=1.0)
    )
    assert torch.isfinite(values).all()


def test_within_top_p_probabilities_are_renormalised():
    vlm, _ = vlm_of("llava")
    logits = torch.full((1, 300), -50.0)
    logits[0, [10, 11, 12]] = torch.log(torch.tensor([0.6, 0.3, 0.1]))
    for drawn, expected in ((10, 0.6 / 0.9), (11, 0.3 / 0.9)):
        values, (left,) = logprobs_of(vlm, logits, [drawn], Sampling(limit=1, temperature=1.0, top_p=0.8))
        assert sorted(left.tolist()) == [10, 11]
        assert values.exp().item() == pytest.approx(expected, rel=1e-5)
    # A temperature of 1/2 squares the odds: 0.36, 0.09, 0.01.
    values, _ = logprobs_of(vlm, logits, [11], Sampling(limit=1, temperature=0.5, top_p=1.0))
    assert values.exp().item() == pytest.approx(0.09 / 0.46, rel=1e-5)


GRAPH = SceneGraph(
    200,
    100,
    [Region("cup", (20, 10, 60, 50)), Region("table", (0, 40, 200, 100))],
    [Relation(0, "on", 1), Relation(1, "under", 0)],
)


def test_questions_and_answers_in_every_form(tmp_path):
    frame = Frame(width=200, height=100, scale=(1000.0, 1000.0))
    told = question_of(Sample("a", GRAPH), VlmOptions(), frame)
    assert "cup.1 [100, 100, 300, 500]\ntable.2 [0, 400, 1000, 1000]" in told.text
    marked = question_of(Sample("a", GRAPH), VlmOptions(regions="marks"), frame)
    assert "cup.1\ntable.2\nThe marks in the picture" in marked.text
    (tmp_path / "words").write_text("on\nunder\n")
    closed = question_of(Sample("a", GRAPH), VlmOptions(task="graph", predicates=tmp_path / "words"), frame)
    assert "Use only these predicates: on, under." in closed.text
    relations = [
        {"subject": "cup.1", "predicate": "on", "object": "table.2"},
        {"subject": "table.2", "predicate": "under", "object": "cup.1"},
    ]
    assert json.loads(answer_text(Sample("a", GRAPH), told, VlmOptions())) == {"relationships": relations}
    whole = json.loads(answer_text(Sample("a", GRAPH), closed, VlmOptions(task="graph")))
    assert whole["objects"] == [
        {"id": "cup.1", "bbox": [100, 100, 300, 500]},
        {"id": "table.2", "bbox": [0, 400, 1000, 1000]},
    ]
    assert whole["relationships"] == relations


@pytest.mark.parametrize("task", ["relations", "graph"])
def test_the_truth_read_back_is_the_truth(task):
    from sgforge_grpo.vlm.prompts import read_graph

    options = VlmOptions(task=task)
    question = question_of(Sample("a", GRAPH), options, Frame(width=200, height=100, scale=(1000.0, 1000.0)))
    text = answer_text(Sample("a", GRAPH), question, options)
    if task == "relations":
        rows, faults = read_relations(text, question)
    else:
        graph, faults = read_graph(text, question)
        rows = list(graph.all.relations)
        assert [(one.label, one.box) for one in graph.all.regions] == [
            (one.label, one.box) for one in GRAPH.all.regions
        ]
    assert [(row.subject, row.predicate, row.object) for row in rows] == [(0, "on", 1), (1, "under", 0)]
    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)
    assert faults == []


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"subject": "cup.9", "predicate": "on", "object": "table.2"}, "unknown-id"),
        ({"subject": "cup.٣", "predicate": "on", "object": "table.2"}, "unknown-id"),
        ({"subject": 1, "predicate": "on", "object": "table.2"}, "unknown-id"),
        ({"subject": "cup.1", "predicate": "on", "object": "cup.1"}, "self-relation"),
        ({"subject": "cup.1", "predicate": "", "object": "table.2"}, "no-predicate"),
        (["cup.1", "on", "table.2"], "no-relation"),
    ],
)
def test_what_cannot_be_read_is_left_out_alone(row, fault):
    question = question_of(Sample("a", GRAPH), VlmOptions(), Frame(width=200, height=100))
    good = {"subject": "cup.1", "predicate": "on", "object": "table.2"}
    rows, faults = read_relations(json.dumps({"relationships": [row, good, good]}), question)
    assert [(one.subject, one.predicate, one.object) for one in rows] == [(0, "on", 1)]
    assert faults == [fault, "duplicate-relation"]


def test_boxes_are_in_the_unit_of_the_family(tmp_path):
    sample = an_image(tmp_path)
    units = {}
    for family in ("llava", "qwen"):
        vlm, options = vlm_of(family)
        units[family] = (vlm.unit, ask(vlm, sample, options).question.frame.scale)
    grid = vlm.processor.image_processor(images=[sample.image.array()], return_tensors="pt")["image_grid_thw"][
        0
    ].tolist()
    assert units == {"llava": ("unit", (1.0, 1.0)), "qwen": ("processed", (grid[2] * 14.0, grid[1] * 14.0))}
    assert vlm_of("llava", boxes="pixels")[0].unit == "pixels"


def test_it_learns_by_heart_and_says_what_it_learnt(tmp_path):
    sample = an_image(tmp_path)
    kept = list(sample.graph.relations.values())[:1]
    rows = sample.graph.all
    sample = attrs.evolve(sample, graph=SceneGraph(sample.graph.width, sample.graph.height, rows.regions, kept))
    snapshot = publish_samples(tmp_path / "data", [sample])
    out = tmp_path / "out"
    out.mkdir()
    options = VlmOptions(base=str(BASES["llava"]), steps=100, batch=1, rate=1e-2, max_tokens=120)
    told: list[float] = []
    roots = Resources(roots=getattr(sample.image, "roots", None), reporter=lambda name, value, step: told.append(value))
    student = VlmStudent(options)
    resources = attrs.evolve(roots, roots=roots_of(sample, tmp_path))
    checkpoint = student.train(snapshot.path, Selection(), out, resources)
    assert np.mean(told[-5:]) < 0.1 < told[0]
    student.setup(Resources(checkpoint=checkpoint))
    bare = attrs.evolve(sample, graph=SceneGraph(sample.graph.width, sample.graph.height, rows.regions))
    (edit,) = student.generate([bare])
    assert [(row.subject, row.predicate, row.object) for row in edit.relations] == [
        (row.subject, row.predicate, row.object) for row in kept
    ]
    (ranking,) = student.rank([bare])
    assert ranking.scores.max() > 0


def roots_of(sample: Sample, folder: Path):
    from sgforge.images import Roots

    name = (sample.uri or "").partition(":")[0]
    return Roots({name: folder})


def test_a_refiner_takes_it(tmp_path):
    """GRPO of a tiny model end to end: a reward of form, two steps, a checkpoint that the student loads."""
    from grpo.reward_toys import WordReward

    from sgforge.stages import Checkpoint, Part
    from sgforge_grpo.config import GrpoOptions
    from sgforge_grpo.refining.refiners import GrpoRefiner

    class Letters(WordReward):
        def _one(self, outcome):
            from sgforge.stages import Credit

            text = outcome.text or ""
            return Credit(sum(letter.isascii() for letter in text) / max(1, len(text)))

    (tmp_path / "images").mkdir()
    samples = tiny_samples(tmp_path / "images")
    snapshot = publish_samples(tmp_path / "data", samples)
    student = VlmStudent(VlmOptions(base=str(BASES["qwen"]), max_tokens=8, task="graph"))
    told: dict[str, list[float]] = {}
    resources = Resources(
        student=student,
        roots=roots_of(samples[0], tmp_path / "images"),
        reporter=lambda name, value, step: told.setdefault(name, []).append(value),
        parts={"rewards": (Part("letters", 1.0, Resources(), Letters()),)},
    )
    refiner = GrpoRefiner(GrpoOptions(rewards=("word",), steps=2, batch=2, group=3, rate=1e-3, beta=0.04))
    refiner.setup(resources)
    out = tmp_path / "out"
    out.mkdir()
    checkpoint = refiner.refine(snapshot.path, Selection(), out, resources)
    assert isinstance(checkpoint, Checkpoint)
    assert max(told["mismatch"]) < 1e-5
    assert told["gradient_norm"][0] > 0
    student.setup(Resources(checkpoint=checkpoint))
    assert len(student.generate(samples)) == len(samples)


def test_a_reference_shares_what_does_not_learn(tmp_path):
    policy = VlmPolicy.of(VlmOptions(base=str(BASES["llava"]), max_tokens=4, task="graph"), Resources(), None)
    model = policy.vlm.model
    for name, value in model.named_parameters():
        value.requires_grad_("q_proj" in name)
    reference = policy.reference()
    own, other = (dict(one.vlm.model.named_parameters()) for one in (policy, reference))
    learns = set(policy.state_dict())
    assert learns
    assert {name for name in own if own[name].data_ptr() != other[name].data_ptr()} == learns
    rollouts = policy.rollouts([an_image(tmp_path)], group=1, seed=0)
    before = reference.logprobs(rollouts)[0]
    with torch.no_grad():
        for value in policy.parameters():
            value.add_(0.5)
    assert torch.equal(reference.logprobs(rollouts)[0], before)
    assert not torch.equal(policy.logprobs(rollouts)[0], before)


def test_no_model_and_no_picture_are_told(tmp_path):
    with pytest.raises(StepError, match="vlm has no model: say base"):
        Vlm.load(VlmOptions(), None, "cpu", "float32")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StepError, match="vlm cannot load"):
        Vlm.load(VlmOptions(base=str(tmp_path / "empty")), None, "cpu", "float32")
    student = VlmStudent(VlmOptions(base=str(BASES["llava"]), max_tokens=4))
    student.setup(Resources())
    (answer,) = student.generate([Sample("a", GRAPH)])
    assert isinstance(answer, Failure)
    assert answer.reason == "no-image"


def test_lora_without_peft_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(StepError, match="lora needs peft; install it with: pip install peft"):
        VlmPolicy.of(VlmOptions(base=str(BASES["llava"]), lora=4), Resources(), None)
