"""Train and refine: child processes, how they may end, what is kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from engine_toys import StudentOptions, ToyRefiner, ToyStudent, arrays, read_log, toy_environment
from support.processes import is_running
from support.waiting import LONGEST, wait_until

import sgforge as sg
from sgforge.engine.barriers.checkpoints import load_checkpoint
from sgforge.errors import PreflightError, StepError
from sgforge.plugins import Owner, Registry
from sgforge.stages import Checkpoint, Needs


def run(folder: Path, *steps, **settings):
    return sg.Pipeline(*steps).run(
        settings.pop("source", sg.source("toy", count=20)), folder, progress=False, **settings
    )


def folders(data: Path) -> list[Path]:
    return sorted(path for path in (data / "steps").iterdir() if path.is_dir())


def test_a_named_student_trains_in_a_process_of_its_own(toys_everywhere, tmp_path):
    log = tmp_path / "log"
    report = run(tmp_path / "data", sg.train("toy", log=str(log)))
    assert int(read_log(log)[0].split()[1]) != os.getpid()
    # 16 of the 20 images are in split train, each with one relation.
    assert report.step("train").checkpoint.metrics == {"relations": 16.0}
    assert report.step("train").counts.computed == 16


def test_an_instance_trains_in_this_process(toys, tmp_path):
    log = tmp_path / "log"
    run(tmp_path / "data", sg.train(ToyStudent(StudentOptions(log=str(log)))))
    assert int(read_log(log)[0].split()[1]) == os.getpid()


def test_the_checkpoint_says_what_is_in_its_folder(toys_everywhere, tmp_path):
    report = run(tmp_path / "data", sg.train("toy"))
    checkpoint = report.step("train").checkpoint
    assert Checkpoint.of(checkpoint.path).sha256 == checkpoint.sha256
    (folder,) = folders(tmp_path / "data")
    assert load_checkpoint(folder) == checkpoint
    stored = (folder / "checkpoint.json").read_text()
    assert str(tmp_path) not in stored


def test_a_training_in_a_process_of_its_own_can_open_the_images(toys_everywhere, tmp_path):
    (tmp_path / "photos").mkdir()
    run(tmp_path / "data", sg.train("toy"), roots=sg.Roots({"photos": tmp_path / "photos"}))
    (folder,) = folders(tmp_path / "data")
    assert json.loads((folder / "out" / "roots.json").read_text()) == {
        "photos": str(tmp_path / "photos"),
        "files": str(tmp_path / "data" / "files"),  # of pictures that steps have made
    }
    files = {"checkpoint.json", "log.txt"}
    assert {path.name for path in folder.iterdir()} == {"out", *files, *(f"{name}.seal" for name in files)}


@pytest.mark.parametrize("path", ["../../..", "/", "out/../../x"])
def test_a_checkpoint_that_leads_out_of_its_folder_is_refused(tmp_path, path):
    (tmp_path / "x").mkdir()
    (tmp_path / "step").mkdir()
    (tmp_path / "step" / "checkpoint.json").write_text(json.dumps({"path": path, "sha256": "0" * 64, "metrics": {}}))
    with pytest.raises(StepError, match="leads out of its folder"):
        load_checkpoint(tmp_path / "step")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"path": 3, "sha256": "", "metrics": {}}'])
def test_a_damaged_description_of_a_checkpoint_is_an_error(tmp_path, text):
    (tmp_path / "checkpoint.json").write_text(text)
    with pytest.raises(StepError, match="describes no checkpoint"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("end", "match"),
    [
        ("crash", "toy failed to train: ValueError: the loss is nan"),
        ("exit", "toy failed to train: SystemExit: 7"),
        ("kill", r"toy was killed by SIGKILL \(out of memory\?\)"),
    ],
)
def test_a_training_that_ends_badly_fails_its_step_and_keeps_the_data(toys_everywhere, tmp_path, end, match):
    run(tmp_path / "data", sg.complete("toy"))
    before = arrays(tmp_path / "data")
    with pytest.raises(StepError, match=match):
        run(tmp_path / "data", sg.complete("toy"), sg.train("toy", end=end), sg.generate("toy"))
    assert arrays(tmp_path / "data") == before
    (folder,) = folders(tmp_path / "data")
    assert load_checkpoint(folder) is None


def test_an_instance_that_raises_is_told_the_same_way(toys, tmp_path):
    with pytest.raises(StepError, match="step 'train': ToyStudent failed to train: ValueError: the loss is nan"):
        run(tmp_path / "data", sg.train(ToyStudent(StudentOptions(end="crash"))))


class Odd(ToyStudent):
    def __init__(self, way):
        super().__init__()
        self.way = way

    def train(self, snapshot_path, selection, out_dir, resources):
        return self.way(out_dir)


def outside(out_dir: Path) -> Checkpoint:
    folder = out_dir.parent.parent / "elsewhere"
    folder.mkdir()
    (folder / "weights").write_text("x")
    return Checkpoint.of(folder)


def too_early(out_dir: Path) -> Checkpoint:
    (out_dir / "weights").write_text("x")
    checkpoint = Checkpoint.of(out_dir)
    (out_dir / "more").write_text("y")
    return checkpoint


@pytest.mark.parametrize(
    ("way", "match"),
    [
        (lambda out_dir: out_dir, "answered PosixPath, not a Checkpoint"),
        (outside, "left its checkpoint outside its folder"),
        (Checkpoint.of, "is empty: the training wrote nothing there"),
        (too_early, "is not that of the files in .*: make it with Checkpoint.of when they are all written"),
    ],
)
def test_a_training_that_breaks_its_contract_fails(toys, tmp_path, way, match):
    with pytest.raises(StepError, match=match):
        run(tmp_path / "data", sg.train(Odd(way)))


def change(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b":", b";"))


@pytest.mark.parametrize("damage", [change, Path.unlink, lambda file: (file.parent / "more").write_text("x")])
def test_a_damaged_checkpoint_is_an_error_and_never_used(toys, tmp_path, damage):
    steps = (sg.train(ToyStudent()), sg.generate("toy"))
    expected = run(tmp_path / "data", *steps).step("train").checkpoint
    (folder,) = folders(tmp_path / "data")
    damage(expected.path / "counts.json")
    with pytest.raises(StepError, match=f"{expected.path} is damaged: .* delete {folder} to train again"):
        run(tmp_path / "data", *steps)
    shutil.rmtree(folder)
    report = run(tmp_path / "data", *steps)
    assert report.step("train").checkpoint.sha256 == expected.sha256
    assert report.step("generate").counts.reused == 20


def test_without_an_image_to_train_on_nothing_begins(toys, tmp_path):
    with pytest.raises(PreflightError, match=r"step 'train' has no images to train on: .* split train"):
        run(tmp_path / "data", sg.complete("toy"), sg.train("toy"), source=sg.source("toy", start=4, count=1))


def test_refine_gets_the_student_s_checkpoint_and_gives_the_next_weights(toys_everywhere, tmp_path):
    report = run(tmp_path / "data", sg.train("toy"), sg.refine(ToyRefiner()), sg.generate("toy"))
    trained, refined = (report.step(name).checkpoint for name in ("train", "refine"))
    before = json.loads((trained.path / "counts.json").read_text())
    assert json.loads((refined.path / "counts.json").read_text()) == {key: value + 1 for key, value in before.items()}
    again = run(tmp_path / "data", sg.train("toy"), sg.refine(ToyRefiner()), sg.generate("toy"))
    assert [step.counts.computed for step in again.steps] == [0, 0, 0, 0]


def test_an_option_that_only_answers_depend_on_trains_nothing_again(toys_everywhere, tmp_path):
    def steps(score: float, **options):
        return sg.train("toy", score=score, **options), sg.evaluate("toy"), sg.generate("toy", score=score)

    first = run(tmp_path / "data", *steps(0.5))
    again = run(tmp_path / "data", *steps(0.25))
    assert [step.counts.computed for step in first.steps] == [20, 16, 4, 20]
    # The same weights are evaluated, and asked, in another way: nothing of what was answered before counts.
    assert [step.counts.computed for step in again.steps] == [0, 0, 4, 20]
    assert again.step("train").checkpoint == first.step("train").checkpoint
    assert {row.score for one in sg.Dataset.open(tmp_path / "data") for row in one.graph.all.relations} == {0.25, None}
    other = run(tmp_path / "data", *steps(0.25, delay=0.01))
    assert [step.counts.computed for step in other.steps][:2] == [0, 16]


def test_an_option_that_is_none_cannot_be_answered_by():
    class Plugin:
        @sg.hookimpl
        def sgforge_register_students(self, register):
            register("odd", ToyStudent, config=StudentOptions, needs=Needs(answering=("score", "scroe")))

    report = Registry().add(Plugin(), Owner("odd"))
    assert "its needs say that it answers by option 'scroe', and it has no such option" in report.problems[0]


def test_generate_takes_the_weights_that_an_option_names(toys, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "counts.json").write_text('{"holding": 3, "on": 1}')
    run(tmp_path / "data", sg.generate("toy", checkpoint=weights))
    relation = sg.Dataset.open(tmp_path / "data")["00000"].graph.all.relations[-1]
    assert (relation.predicate, relation.made_by) == ("holding", "generate")


def test_self_distillation_trains_on_the_seed_and_labels_the_new_images(toys_everywhere, tmp_path):
    sources = {
        "seed": sg.source("toy", count=20, relations=2),
        "new": sg.source("toy", start=100, count=10, relations=0),
    }
    report = run(
        tmp_path / "data",
        sg.complete("toy", on={"source": "seed"}),
        sg.train("toy", on={"source": "seed"}),
        sg.generate("toy", on={"source": "new"}),
        sg.train("toy"),
        source=sources,
    )
    images = {step.name: step.counts.computed for step in report.steps}
    # `on` with a source alone keeps the split of a training: 16 of 20 seeds, and 8 of 10 new ones.
    assert images == {"source": 30, "complete": 20, "train": 16, "generate": 10, "train-2": 24}
    assert report.step("train-2").checkpoint.metrics["relations"] > report.step("train").checkpoint.metrics["relations"]


CONFIG = """\
dataset = "{data}"
[source]
use = "toy"
count = 20
[[step]]
train = "toy"
delay = {delay}
log = "{log}"
"""


def test_no_file_holds_what_a_training_was_told_not_even_when_the_run_is_killed(tmp_path):
    log, config = tmp_path / "log-of-MARK", tmp_path / "pipeline.toml"
    environment = toy_environment(tmp_path / "site")
    config.write_text(CONFIG.format(data=tmp_path / "data", delay=10_000.0, log=log))
    process = subprocess.Popen(
        [sys.executable, "-m", "sgforge", "run", str(config)], env=environment, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: bool(read_log(log)), "the beginning of the training")
    (folder,) = folders(tmp_path / "data")
    told = [path for path in folder.rglob("*") if path.is_file() and b"MARK" in path.read_bytes()]
    process.send_signal(signal.SIGKILL)
    process.wait()
    child = int(read_log(log)[0].split()[1])
    wait_until(lambda: not is_running(child), "the end of the training")
    assert told == []
    assert not {"job.json", "answer.json"} & {path.name for path in folder.iterdir()}


def test_orders_of_an_older_run_are_removed_and_not_followed(toys_everywhere, tmp_path):
    run(tmp_path / "data", sg.train("toy"))
    (folder,) = folders(tmp_path / "data")
    (folder / "checkpoint.json").unlink()
    (folder / "job.json").write_text('{"secret": "MARK"}')
    (folder / "answer.json").write_text(json.dumps({"path": "/", "sha256": "0" * 64, "metrics": {}}))
    (folder / "scratch").mkdir()
    (folder / "scratch" / "half").write_text("MARK")
    checkpoint = run(tmp_path / "data", sg.train("toy")).step("train").checkpoint
    assert checkpoint == load_checkpoint(folder)
    files = {"checkpoint.json", "log.txt"}
    assert {path.name for path in folder.iterdir()} == {"out", *files, *(f"{name}.seal" for name in files)}


def test_orders_larger_than_a_pipe_arrive_whole(toys_everywhere, tmp_path):
    """A pipe holds 64 kB; the names of these roots alone are longer."""
    (tmp_path / "photos").mkdir()
    roots = {f"{'r' * 200}{number}": tmp_path / "photos" for number in range(1000)}
    run(tmp_path / "data", sg.train("toy"), roots=sg.Roots(roots))
    (folder,) = folders(tmp_path / "data")
    assert json.loads((folder / "out" / "roots.json").read_text()).keys() == {*roots, "files"}


def test_a_training_whose_orders_are_cut_short_does_nothing(tmp_path):
    child = [sys.executable, "-m", "sgforge.engine.executors.training.child"]
    ended = subprocess.run(child, input=b'{"answer": "x", ', env=toy_environment(tmp_path / "site"), check=False)
    assert ended.returncode == 1


def test_a_training_ends_with_the_run_that_was_killed_and_goes_on_in_the_next(tmp_path):
    log, config = tmp_path / "log", tmp_path / "pipeline.toml"
    environment = toy_environment(tmp_path / "site")
    config.write_text(CONFIG.format(data=tmp_path / "data", delay=10_000.0, log=log))
    command = [sys.executable, "-m", "sgforge", "run", str(config)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    wait_until(lambda: bool(read_log(log)), "the beginning of the training")
    child = int(read_log(log)[0].split()[1])
    wait_until(lambda: list((tmp_path / "data").glob("steps/*/out/state.txt")), "its first state")
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not is_running(child), "the end of the training")
    (folder,) = folders(tmp_path / "data")
    assert load_checkpoint(folder) is None
    assert (folder / "out" / "state.txt").exists()


def test_ctrl_c_stops_a_training_and_says_how_to_go_on(tmp_path):
    log, config = tmp_path / "log", tmp_path / "pipeline.toml"
    environment = toy_environment(tmp_path / "site")
    config.write_text(CONFIG.format(data=tmp_path / "data", delay=10_000.0, log=log))
    command = [sys.executable, "-m", "sgforge", "run", str(config)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: bool(read_log(log)), "the beginning of the training")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=LONGEST)
    assert process.returncode == 130
    assert f"go on with: sgforge run {config}" in errors
    assert not is_running(int(read_log(log)[0].split()[1]))


def test_what_a_training_started_ends_with_it_when_the_run_is_killed(tmp_path):
    log, config = tmp_path / "log", tmp_path / "pipeline.toml"
    environment = toy_environment(tmp_path / "site")
    text = CONFIG.format(data=tmp_path / "data", delay=10_000.0, log=log)
    config.write_text(text.replace('train = "toy"', 'train = "toy"\nend = "helper"'))
    process = subprocess.Popen(
        [sys.executable, "-m", "sgforge", "run", str(config)], env=environment, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: len(read_log(log)) > 1, "the helper of the training")
    process.send_signal(signal.SIGKILL)
    process.wait()
    started = [int(line.split()[1]) for line in read_log(log)]
    assert len(started) == 2
    wait_until(lambda: not any(map(is_running, started)), "the end of both")
