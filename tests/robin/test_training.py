"""Training that is cut and goes on, data that cannot be used, and losses that are none."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import torch
from robin.worlds import STAGE, example_of, maker, model, scenes, stream

from sgforge.errors import StepError
from sgforge.graph import Region, Sample, SceneGraph
from sgforge_robin.config import _TASKS, RobinOptions
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.pairs import PairVocabulary
from sgforge_robin.text.tasks import Task
from sgforge_robin.training.ahead import ahead
from sgforge_robin.training.loop import Life, StepReport, train
from sgforge_robin.training.session import _stage
from sgforge_robin.training.stages import STAGES, Stage
from sgforge_robin.training.stream import PackedStream, Position

SHORT = attrs.evolve(STAGE, capacity=1024, kept=0.7)


def run(
    folder: Path, samples: list[Sample], steps: int, stop_after: int | None = None, stage: Stage = SHORT
) -> tuple[RobinModel, list[float]]:
    robin, losses = model(), list[float]()

    def report(step: StepReport) -> None:
        losses.append(step.loss)

    life = Life(folder, "a plan", 2, report, lambda: len(losses) == stop_after)
    train(robin, stream(samples, stage), stage, steps, life)
    return robin, losses


@pytest.mark.parametrize("cuts", [(2,), pytest.param((1, 3, 4), marks=pytest.mark.slow)])
def test_a_training_that_is_cut_at_any_step_goes_on_to_the_bit(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    samples = scenes(tmp_path, 5)
    whole, losses = run(tmp_path / "whole", samples, 6)
    for cut in cuts:
        with pytest.raises(StepError, match=f"stop after step {cut} of 6"):
            run(tmp_path / f"{cut}", samples, 6, stop_after=cut)
        torch.rand(3)  # whatever other random numbers were drawn since
        resumed, rest = run(tmp_path / f"{cut}", samples, 6)
        assert rest == losses[cut:]
        assert all(torch.equal(one, two) for one, two in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_it_learns(tmp_path: Path) -> None:
    _, losses = run(tmp_path, scenes(tmp_path, 1), 40, stage=attrs.evolve(SHORT, tasks=(Task.RELATIONS,)))
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


def test_a_state_of_another_plan_is_refused(tmp_path: Path) -> None:
    samples = scenes(tmp_path, 3)
    with pytest.raises(StepError, match="stop after"):
        run(tmp_path / "out", samples, 4, stop_after=2)
    life = Life(tmp_path / "out", "another plan", 2, lambda step: None, lambda: False)
    with pytest.raises(StepError, match="other options or data"):
        train(model(), stream(samples, SHORT), SHORT, 4, life)
    (state,) = (tmp_path / "out").glob("state-*/state.safetensors")
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(StepError, match=r"cannot be read .*: delete .*state-00000002"):
        run(tmp_path / "out", samples, 4)


def test_only_what_a_stage_names_learns(tmp_path: Path) -> None:
    stage = attrs.evolve(STAGES["extractor"], tasks=SHORT.tasks, capacity=1024)
    before = model()
    after, _ = run(tmp_path, scenes(tmp_path, 2), 2, stage=stage)
    changed = {
        name.partition(".")[0]
        for (name, one), two in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(one, two)
    }
    assert changed == {"extractor"}


def test_every_epoch_shows_other_regions_in_another_order(tmp_path: Path) -> None:
    (sample,) = scenes(tmp_path, 1)
    first, again, other = (example_of(maker(SHORT), sample, epoch) for epoch in (0, 0, 1))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.prefix == again.prefix
    assert [one.ids for one in first.branches] == [one.ids for one in again.branches]
    assert first.masks is not None
    assert other.masks is not None
    assert first.masks.shape != other.masks.shape or not torch.equal(first.masks, other.masks)


def test_an_image_that_fails_in_mid_epoch_is_counted(tmp_path: Path) -> None:
    samples = scenes(tmp_path, 4)
    (tmp_path / "scenes" / str(samples[1].uri).partition(":")[2]).write_bytes(b"no image")
    packed = stream(samples, SHORT)
    steps = packed.steps(Position())
    shown = [example.image_id for _ in range(2) for row in next(steps)[0] for example in row]
    assert sorted(shown) == sorted(sample.image_id for sample in samples if sample is not samples[1])
    assert packed.unreadable == {"image-unreadable": 1}


def test_data_without_anything_to_learn(tmp_path: Path) -> None:
    (sample,) = scenes(tmp_path, 1)
    bare = [attrs.evolve(sample, graph=SceneGraph(64, 64, [Region(None, (1, 1, 9, 9))]))]
    with pytest.raises(StepError, match=r"none of the 1 selected images .*: 1 nothing-to-learn"):
        next(stream(bare, SHORT).steps(Position()))


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_loss_that_is_none_names_its_images(tmp_path: Path, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = scenes(tmp_path, 1)
    robin = model()
    with torch.no_grad():
        robin.table.weight.fill_(value)  # logits of nothing but zeros give a loss; of NaN none
    monkeypatch.setattr("torch.nn.functional.cross_entropy", lambda logits, aim, reduction: logits.sum() * value)
    life = Life(tmp_path / "out", "", 9, lambda step: None, lambda: False)
    with pytest.raises(StepError, match=rf"the loss is .* at the row of images {samples[0].image_id}"):
        train(robin, stream(samples, SHORT), SHORT, 2, life)


@pytest.mark.parametrize("spoken", [0.0, 0.3, 1.0])
def test_a_step_has_its_images_whether_they_ask_or_not(tmp_path: Path, spoken: float) -> None:
    samples = scenes(tmp_path, 16)
    vocabulary = PairVocabulary.of(("ball",), ("on", "left of"))
    quiet = attrs.evolve(maker(SHORT), vocabulary=vocabulary, spoken=spoken)
    steps = PackedStream(samples, quiet, 4, Counter()).steps(Position())
    taken = [[example.image_id for row in next(steps)[0] for example in row] for _ in range(4)]
    assert sorted(name for step in taken for name in step) == sorted(sample.image_id for sample in samples)
    assert max(map(len, taken)) <= 6


def test_branches_that_do_not_fit_are_left_out_and_counted(tmp_path: Path) -> None:
    (sample,) = scenes(tmp_path, 1)
    counts = Counter[str]()
    whole = example_of(maker(attrs.evolve(STAGE, capacity=9999), left=counts), sample)
    assert whole is not None
    assert counts["branches"] == 0
    room = whole.length + len(whole.branches[0].ids)
    cut = example_of(maker(attrs.evolve(STAGE, capacity=room), left=counts), sample)
    assert cut is not None
    assert cut.total <= room
    assert counts["branches"] == len(whole.branches) - 1
    assert example_of(maker(attrs.evolve(STAGE, capacity=10)), sample) is None


def test_a_position_is_where_the_stream_goes_on(tmp_path: Path) -> None:
    samples = scenes(tmp_path, 5)
    steps = stream(samples, SHORT).steps(Position())
    taken = [next(steps) for _ in range(8)]
    for place in range(7):
        rows, _ = next(PackedStream(samples, maker(SHORT), 2, Counter()).steps(taken[place][1]))
        expected = [[one.image_id for one in row] for row in taken[place + 1][0]]
        assert [[one.image_id for one in row] for row in rows] == expected


def test_out_of_memory_says_what_to_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(robin: RobinModel, row: object, attention: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("sgforge_robin.training.loss.packed_loss", full)
    life = Life(tmp_path / "out", "", 9, lambda step: None, lambda: False)
    with pytest.raises(StepError, match=r"out of memory at a row of \d+ positions: lower capacity, set checkpoint"):
        train(model(), stream(scenes(tmp_path, 1), SHORT), SHORT, 2, life)


def test_what_is_asked_can_be_chosen() -> None:
    assert {task.value for task in Task} == set(_TASKS)
    assert _stage(RobinOptions()).tasks == STAGE.tasks
    assert _stage(RobinOptions(tasks=("graph",))).tasks == (Task.GRAPH,)
    with pytest.raises(ValueError, match="there is no task 'grouding'; did you mean 'grounding'"):
        RobinOptions(tasks=("grouding",))


def test_reading_ahead_keeps_the_order_and_what_raises() -> None:
    def numbers() -> Iterator[int]:
        yield from range(5)
        raise StepError("the sixth")

    before = threading.active_count()
    reading_on = ahead(numbers())
    assert [next(reading_on) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(StepError, match="the sixth"):
        next(reading_on)
    assert list(ahead(iter(range(7)))) == list(range(7))
    made: list[int] = []
    reading = ahead(made.append(number) or number for number in range(100))  # type: ignore[func-returns-value]
    assert [next(reading) for _ in range(3)] == [0, 1, 2]
    reading.close()  # type: ignore[attr-defined]
    assert len(made) < 10  # one that is left makes no more
    assert threading.active_count() == before


def test_a_trained_model_is_not_compiled_for_every_question() -> None:
    robin, words = model(), torch.zeros(1, 3, 32)
    robin.compile_parts()
    torch.compiler.set_stance("fail_on_recompile")
    try:
        with pytest.raises(RuntimeError, match="recompil"):
            robin.language.base_model(inputs_embeds=words)
        robin.run_as_written()
        assert robin.language.base_model(inputs_embeds=words).last_hidden_state.shape == (1, 3, 32)
    finally:
        torch.compiler.set_stance("default")
