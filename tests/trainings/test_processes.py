"""A training in several processes: what each is told, and how all of them end when one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from engine_toys import PREDICATES, read_log, sample, split_of
from support.processes import is_running
from support.waiting import wait_until
from training_toys import training_environment

import sgforge as sg
from sgforge.engine.barriers.checkpoints import load_checkpoint
from sgforge.errors import StepError


def run(data: Path, *steps):
    return sg.Pipeline(*steps).run(sg.source("toy", count=20), data, progress=False)


def folder_of(data: Path) -> Path:
    (folder,) = (data / "steps").iterdir()
    return folder


def places(data: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((folder_of(data) / "out").glob("place-*.json"))]


def test_each_process_is_told_which_it_is_as_torchrun_tells_it(toys, tmp_path, monkeypatch):
    for name, value in {"RANK": "7", "WORLD_SIZE": "9", "TORCHELASTIC_USE_AGENT_STORE": "True"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    run(tmp_path / "data", sg.train("places", run={"processes": 3}))
    found = places(tmp_path / "data")
    assert [one["worker"] for one in found] == [[0, 3], [1, 3], [2, 3]]
    assert [one["devices"] for one in found] == [["cpu"]] * 3
    assert len({one["scratch"] for one in found}) == 3
    (port,) = {one["environment"]["MASTER_PORT"] for one in found}
    assert 0 < int(port) < 65536
    common = {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    common |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TORCHELASTIC_USE_AGENT_STORE": None}
    for rank, one in enumerate(found):
        assert one["environment"] == {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}


def test_one_process_is_told_the_same_and_keeps_its_threads(toys, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "7")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run(tmp_path / "data", sg.train("places"))
    (found,) = places(tmp_path / "data")
    environment = found["environment"]
    assert [environment[name] for name in ("RANK", "WORLD_SIZE", "OMP_NUM_THREADS")] == ["0", "1", None]
    assert environment["OMP_WAIT_POLICY"] == "ACTIVE"  # what somebody said stays


def test_each_process_has_a_log_and_nothing_else_is_left(toys, tmp_path):
    checkpoint = run(tmp_path / "data", sg.train("places", run={"processes": 2})).step("train").checkpoint
    folder = folder_of(tmp_path / "data")
    kept = ("checkpoint.json", "metrics.jsonl", "log.txt", "log-1.txt")
    assert {path.name for path in folder.iterdir()} == {"out", *kept, *(f"{name}.seal" for name in kept)}
    assert (folder / "log.txt").read_text() == "here is 0\n"
    assert (folder / "log-1.txt").read_text() == "here is 1\n"
    assert load_checkpoint(folder) == checkpoint


def test_how_a_training_runs_is_in_no_key(toys, tmp_path):
    first = run(tmp_path / "data", sg.train("places", run={"processes": 2, "grace_s": 3, "timeout_s": 900.0}))
    again = run(tmp_path / "data", sg.train("places"))
    assert again.step("train").counts.reused == 16
    assert again.step("train").checkpoint == first.step("train").checkpoint


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("end", "told"),
    [
        (
            "raise",
            r"rank {} of places failed to train: ValueError: the loss is nan .*; its log .*{} ends: .*ValueError",
        ),
        ("kill", r"rank {} of places was killed by SIGKILL \(out of memory\?\); its log .*{} ends: here is {}"),
        ("leave", r"rank {} of places ended with exit code 3; its log .*{} ends: here is {}"),
    ],
)
def test_one_that_dies_ends_the_others_and_is_told(toys, tmp_path, rank, end, told):
    log = tmp_path / "log"
    options = {"end": end, "rank": rank, "hold": str(tmp_path / "never"), "log": str(log)}
    with pytest.raises(StepError, match="step 'train': " + told.format(rank, ("log.txt", "log-1.txt")[rank], rank)):
        run(tmp_path / "data", sg.train("places", run={"processes": 2}, **options))
    started = [int(line.split()[-1]) for line in read_log(log) if line.startswith("rank")]
    assert not any(map(is_running, started))
    assert load_checkpoint(folder_of(tmp_path / "data")) is None


def test_a_rank_that_is_done_waits_for_no_other(toys, tmp_path):
    options = {"end": "leave", "rank": 5}
    report = run(tmp_path / "data", sg.train("places", run={"processes": 2}, **options))
    assert report.step("train").counts.computed == 16


CONFIG = """\
dataset = "{data}"
[source]
use = "toy"
count = 20
[[step]]
train = "{student}"
run = {{processes = {processes}}}
hold = "{hold}"
log = "{log}"
{more}
"""


class Started:
    """`sgforge run` in a process of its own, whose training waits for the file `gate`."""

    def __init__(self, folder: Path, student: str, processes: int = 2, more: str = "") -> None:
        self.log, self.gate, self.config = folder / "log", folder / "gate", folder / "pipeline.toml"
        self.environment = training_environment(folder / "site")
        settings = {"data": folder / "data", "student": student, "processes": processes, "more": more}
        self.config.write_text(CONFIG.format(**settings, hold=self.gate, log=self.log))
        self.process = self.start()

    def start(self) -> subprocess.Popen[str]:
        """Run it, or run it again."""
        command = [sys.executable, "-m", "sgforge", "run", str(self.config)]
        return subprocess.Popen(command, env=self.environment, stderr=subprocess.PIPE, text=True)

    def lines(self, beginning: str) -> list[str]:
        return [line for line in read_log(self.log) if line.startswith(beginning)]

    def processes(self, beginning: str) -> list[int]:
        return [int(line.split()[-1]) for line in self.lines(beginning)]


@pytest.mark.slow
def test_after_any_kill_nothing_lives_and_the_next_run_goes_on(needs_extra, tmp_path):
    needs_extra("robin")
    started = Started(tmp_path, "counting")
    for step, killed in enumerate((1, 0, "driver"), start=1):
        wait_until(lambda step=step: len(started.lines(f"step {step} ")) == 2, f"step {step} of both processes")
        ranks = [int(started.lines(f"step {step} rank {rank}")[0].split()[-1]) for rank in (0, 1)]
        os.kill(started.process.pid if killed == "driver" else ranks[killed], signal.SIGKILL)
        _, said = started.process.communicate()
        wait_until(lambda ranks=ranks: not any(map(is_running, ranks)), "the end of both processes")
        assert killed == "driver" or f"rank {killed} of counting was killed by SIGKILL" in said
        folder = folder_of(tmp_path / "data")
        assert load_checkpoint(folder) is None
        assert json.loads((folder / "out" / "state.json").read_text())[0] == step
        (tmp_path / f"gate-{step}").touch()
        if killed == "driver":
            # Another number of processes goes on from the same state.
            started.config.write_text(started.config.read_text().replace("processes = 2", "processes = 1"))
        started.process = started.start()
    _, said = started.process.communicate()
    assert started.process.returncode == 0, said
    # Nothing before the state that was saved was done again: steps 1, 2 and 3 were begun twice.
    assert [len(started.lines(f"step {step} ")) for step in range(6)] == [2, 4, 4, 3, 1, 1]
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    assert json.loads((checkpoint.path / "counts.json").read_text()) == trained_counts()


def trained_counts() -> list[int]:
    """How often each predicate stands in the images of split train."""
    samples = [sample(f"{index:05}") for index in range(20) if split_of(index) == "train"]
    words = [relation.predicate for one in samples for relation in one.graph.relations.values()]
    assert len(words) == 16
    return [words.count(predicate) for predicate in PREDICATES]


@pytest.mark.parametrize("killed", ["driver", 0, 1])
def test_what_a_rank_has_started_ends_with_all(tmp_path, killed):
    started = Started(tmp_path, "places", more='end = "helper"\nrank = 1')
    wait_until(lambda: len(started.lines("rank")) == 2 and len(started.lines("ready")) == 1, "both processes")
    ranks = started.processes("rank 0") + started.processes("rank 1")
    living = [*ranks, *started.processes("ready")]
    assert len(living) == 3
    assert all(map(is_running, living))
    os.kill(started.process.pid if killed == "driver" else ranks[killed], signal.SIGKILL)
    started.process.communicate()
    wait_until(lambda: not any(map(is_running, living)), "the end of all of them")


def test_ctrl_c_asks_all_of_them_to_save(tmp_path):
    started = Started(tmp_path, "places")
    wait_until(lambda: len(started.lines("ready")) == 1 and len(started.lines("rank")) == 2, "both processes")
    started.process.send_signal(signal.SIGINT)
    _, said = started.process.communicate()
    assert started.process.returncode == 130, said
    assert not any(map(is_running, started.processes("rank")))
    started.gate.touch()
    again = started.start()
    again.communicate()
    assert again.returncode == 0


def test_a_training_that_takes_too_long_is_stopped_and_goes_on_later(toys, tmp_path):
    gate = tmp_path / "gate"
    step = sg.train("places", hold=str(gate), run={"timeout_s": 0.5})
    with pytest.raises(
        StepError, match=r"step 'train': places was stopped after its timeout_s of 0.5 seconds; the next"
    ):
        run(tmp_path / "data", step)
    gate.touch()
    again = sg.train("places", hold=str(gate), run={"timeout_s": 900})
    assert run(tmp_path / "data", again).step("train").counts.computed == 16


def test_one_that_does_not_end_when_it_is_asked_to_is_made_to_after_its_grace(toys, tmp_path):
    log = tmp_path / "log"
    step = sg.train(
        "places",
        end="stubborn",
        hold=str(tmp_path / "never"),
        log=str(log),
        run={"processes": 2, "timeout_s": 3.0, "grace_s": 0.2},
    )
    with pytest.raises(StepError, match="was stopped after its timeout_s of 3 seconds"):
        run(tmp_path / "data", step)
    started = [int(line.split()[-1]) for line in read_log(log) if line.startswith("rank")]
    assert not any(map(is_running, started))


def test_one_that_is_done_may_abort_while_it_is_taken_apart(toys, tmp_path):
    report = run(tmp_path / "data", sg.train("places", end="abort later", rank=1, run={"processes": 2}))
    assert report.step("train").counts.computed == 16
