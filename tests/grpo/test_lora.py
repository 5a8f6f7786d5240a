"""Refiners of a model with adapters: these learn and nothing else, and what comes out is a model without any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.extras import needs_extra

needs_extra("robin")
needs_extra("grpo")

import torch  # noqa: E402
from grpo import tiny_llava  # noqa: E402
from models import tiny_vlm  # noqa: E402
from robin.worlds import SMALLEST, scenes, tokenizer  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from sgforge.graph import Sample  # noqa: E402
from sgforge.images import Roots  # noqa: E402
from sgforge.stages import Checkpoint, Credit, Failure, Outcome, Part, Resources, Selection  # noqa: E402
from sgforge.testing.contracts.data import publish_samples  # noqa: E402
from sgforge_grpo.config import GrpoOptions, RaftOptions, VlmOptions  # noqa: E402
from sgforge_grpo.refining.refiners import GrpoRefiner, RaftRefiner  # noqa: E402
from sgforge_grpo.vlm.loading import Vlm, matrices  # noqa: E402
from sgforge_grpo.vlm.student import VlmStudent  # noqa: E402
from sgforge_robin.config import RobinOptions  # noqa: E402
from sgforge_robin.learnt import Known, TrainedRobin  # noqa: E402
from sgforge_robin.model.checkpoint import build  # noqa: E402
from sgforge_robin.model.shape import PairShape  # noqa: E402
from sgforge_robin.student import RobinStudent  # noqa: E402

RANK = 2
KINDS: Mapping[str, Any] = {"grpo": (GrpoRefiner, GrpoOptions), "raft": (RaftRefiner, RaftOptions)}
ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Letters:
    """The share of an answer's signs that are letters: of random answers hardly two are worth the same."""

    range = (0.0, 1.0)

    def score(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[list[Credit]]:
        return [[Credit(self._share(one.text or "")) for one in group] for group in outcomes]

    def _share(self, text: str) -> float:
        return sum(map(str.isalpha, text)) / max(1, len(text))


Told = dict[str, list[float]]


def refined(folder: Path, kind: str, student: Any, start: Checkpoint | None) -> tuple[Checkpoint, Told]:
    """What a refiner makes of a student in three steps on two scenes, and the figures it told."""
    told: Told = {}
    snapshot = publish_samples(folder / "data", scenes(folder, 2))
    out = folder / "out"
    out.mkdir()
    return refine(folder, snapshot.path, out, kind, student, start, told), told


def refine(
    folder: Path, data: Path, out: Path, kind: str, student: Any, start: Checkpoint | None, told: Told, cut: int = -1
) -> Checkpoint:
    """Refine into `out`, or go on there; `cut`: the step in whose midst it ends, as if killed."""

    def report(name: str, value: float, step: int) -> None:
        if name == "loss" and step == cut:
            raise KeyboardInterrupt
        told.setdefault(name, []).append(value)

    resources = Resources(
        checkpoint=start,
        student=student,
        roots=Roots({"scenes": folder / "scenes"}),
        reporter=report,
        parts={"rewards": (Part("letters", 1.0, Resources(), Letters()),)},
    )
    make, options = KINDS[kind]
    refiner = make(options(rewards=("letters",), steps=3, batch=2, group=4, rate=1e-2, save_every=1))
    refiner.setup(resources)
    found: Checkpoint = refiner.refine(data, Selection(), out, resources)
    return found


def changes(before: Path, after: Path) -> dict[str, torch.Tensor]:
    """By what weights differ; both files have the same."""
    old, new = (load_file(path / "model.safetensors") for path in (before, after))
    assert old.keys() == new.keys()
    return {name: new[name] - old[name] for name in old if not torch.equal(old[name], new[name])}


def ranks(found: Mapping[str, torch.Tensor]) -> set[int]:
    """The ranks of changes of matrices; what rounding to float32 leaves does not count."""
    sizes = [torch.linalg.svdvals(change.double()) for change in found.values()]
    return {int((one > 1e-4 * one[0]).sum()) for one in sizes}


def adapted(layers: str, count: int) -> set[str]:
    """The matrices of so many layers of a language model."""
    return {
        f"{layers}.{place}.{'mlp' if part in ADAPTED[4:] else 'self_attn'}.{part}.weight"
        for place in range(count)
        for part in ADAPTED
    }


def untrained_robin(folder: Path) -> Checkpoint:
    torch.manual_seed(0)
    own = tokenizer()
    model = build(SMALLEST.shape(len(own), own.special, PairShape(1, 1))).eval()
    known = Known(labels=("ball",), predicates=("on",), side=SMALLEST.side, box_text=False)
    TrainedRobin(model, own, known).save(folder)
    return Checkpoint.of(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_of_a_robin_learn_and_nothing_else_of_its_language_model(tmp_path, kind):
    start = untrained_robin(tmp_path / "before")
    student = RobinStudent(RobinOptions(max_tokens=9, lora=RANK, stage="language"))
    checkpoint, told = refined(tmp_path, kind, student, start)
    found = changes(start.path, checkpoint.path)
    # Beside the adapters learns what the stage says: neither the tower nor the table of the language model.
    beside = {name for name in found if name.startswith(("mask_extractor.", "model.mm_projector."))}
    assert found.keys() - beside == adapted("model.layers", 2)
    assert ranks({name: found[name] for name in found.keys() - beside}) <= {1, RANK}
    assert max(told["mismatch"]) < 1e-5

    plain = RobinStudent(RobinOptions(max_tokens=9))
    plain.setup(Resources(checkpoint=checkpoint))
    answers = plain.generate(scenes(tmp_path, 2))
    assert len(answers) == 2
    assert not any(isinstance(one, Failure) for one in answers)


FAMILIES = [(tiny_llava, "language_model.model.layers"), (tiny_vlm, "model.layers")]


@pytest.mark.parametrize(("family", "layers"), FAMILIES)
def test_adapters_lie_in_the_language_model(tmp_path, family, layers):
    base = family.build(tmp_path / "base")
    vlm = Vlm.load(VlmOptions(base=str(base)), None, "cpu", "float32")
    found = matrices(vlm.model)
    # In memory the modules are called otherwise than the weights on disk, but for what stands behind the layers.
    ends = {name.removesuffix(".weight").removeprefix(layers) for name in adapted(layers, 2)}
    assert {name.partition(".layers")[2] for name in found} == ends
    assert all("language_model" in name for name in found)
    assert len(found) == len(ends)


@pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("family", "layers"), [(tiny_llava, "language_model.model.layers"), (tiny_vlm, "model.layers")]
)
def test_adapters_of_a_vision_language_model_learn_and_nothing_else(tmp_path, kind, family, layers):
    base = family.build(tmp_path / "base")
    options = VlmOptions(base=str(base), max_tokens=8, task="graph", lora=RANK)
    checkpoint, told = refined(tmp_path, kind, VlmStudent(options), None)
    found = changes(base, checkpoint.path)
    # Not the tower of pictures, whose layers have the same names.
    assert found.keys() == adapted(layers, 2)
    assert ranks(found) <= {1, RANK}
    assert max(told["mismatch"]) < 1e-5

    plain = VlmStudent(VlmOptions(max_tokens=8, task="graph"))
    plain.setup(Resources(checkpoint=checkpoint))
    assert len(plain.generate(scenes(tmp_path, 2))) == 2


@pytest.mark.parametrize("student", ["robin", "vlm"])
def test_a_refinement_of_adapters_that_was_cut_goes_on_to_the_bit(tmp_path, student):
    if student == "vlm" and find_spec("peft") is None:
        pytest.skip("peft is not installed")
    data = publish_samples(tmp_path / "data", scenes(tmp_path, 2)).path
    base = tiny_llava.build(tmp_path / "base") if student == "vlm" else None
    start = None if base else untrained_robin(tmp_path / "before")

    def make() -> Any:
        if base:
            return VlmStudent(VlmOptions(base=str(base), max_tokens=8, task="graph", lora=RANK))
        return RobinStudent(RobinOptions(max_tokens=9, lora=RANK, stage="language"))

    told: dict[str, Told] = {"whole": {}, "cut": {}}
    for name in told:
        (tmp_path / name).mkdir()
    whole = refine(tmp_path, data, tmp_path / "whole", "grpo", make(), start, told["whole"])
    with pytest.raises(KeyboardInterrupt):
        refine(tmp_path, data, tmp_path / "cut", "grpo", make(), start, told["cut"], cut=1)
    first = len(told["cut"]["loss"])
    assert 0 < first < 3
    again = refine(tmp_path, data, tmp_path / "cut", "grpo", make(), start, told["cut"])
    assert told["cut"]["loss"] == told["whole"]["loss"]
    assert len(set(told["whole"]["loss"])) == 3
    assert not changes(whole.path, again.path)
