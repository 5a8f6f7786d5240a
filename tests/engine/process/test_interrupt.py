"""Ctrl-C, SIGTERM, a reached budget and exit codes: real processes, real signals."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from engine_toys import StageOptions, ToyTeacher, arrays, read_log, toy_environment
from support.waiting import LONGEST, read_until, wait_until

import sgforge as sg

DRAINING = "finishing what is in flight; Ctrl-C again cancels it"

CONFIG = """\
dataset = "{data}"
[source]
use = "toy"
count = 200
[[step]]
segment = "toy"
log = "{log}"
[[step]]
complete = "{teacher}"
delay = {delay}
log = "{log}"
{more}
"""


def write_config(folder: Path, teacher: str = "toy-async", delay: float = 0.05, more: str = "workers = 4") -> Path:
    config = folder / "pipeline.toml"
    config.write_text(CONFIG.format(data=folder / "data", log=folder / "log", teacher=teacher, delay=delay, more=more))
    return config


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sgforge", "run", *arguments],
        env=toy_environment(folder / "site"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def last_json(text: str) -> dict:
    return json.loads(text.splitlines()[-1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_drains_and_prints_the_command_that_goes_on(tmp_path, number):
    let_go = tmp_path / "let-go"
    config = write_config(tmp_path, delay=0.0, more=f'workers = 4\nuntil = "{let_go}"')
    process = start(tmp_path, str(config), "--set", "step.complete.workers=3", "--limit", "150")
    wait_until(lambda: sum("Teacher" in line for line in read_log(tmp_path / "log")) >= 10, "ten answers")
    process.send_signal(number)
    errors = read_until(process, DRAINING)
    let_go.touch()
    errors += process.communicate(timeout=LONGEST)[1]
    assert process.returncode == 130, errors
    command = re.search(r"go on with: (.*)", errors)[1]
    expected = ["sgforge", "run", str(config), "--set", "step.complete.workers=3", "--limit", "150"]
    assert shlex.split(command) == expected

    # Whatever was in flight when the signal came is kept: the command goes on and repeats no call.
    output, errors = start(tmp_path, *shlex.split(command)[2:], "--json").communicate(timeout=LONGEST)
    found = last_json(output)
    assert found["exit_code"] == 0, errors
    assert found["steps"]["complete"]["reused"] >= 10
    assert found["steps"]["complete"]["reused"] + found["steps"]["complete"]["computed"] == 150
    calls = [line for line in read_log(tmp_path / "log") if "Teacher" in line]
    assert len(calls) == len(set(calls)) == 150


def test_ctrl_c_while_the_source_is_read_says_how_to_go_on(tmp_path):
    config = tmp_path / "pipeline.toml"
    source = '[source]\nuse = "toy"\ncount = 1000000\ndelay = 0.01\n'
    config.write_text(f'dataset = "{tmp_path / "data"}"\n{source}[[step]]\nsegment = "toy"\n')
    process = start(tmp_path, str(config))
    # Made first, then the source is read, for hours.
    wait_until((tmp_path / "data" / "sgforge.json").exists, "the beginning of the run")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=LONGEST)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1].endswith(f"go on with: sgforge run {config}"), errors


@pytest.mark.parametrize(("teacher", "more"), [("toy-async", "workers = 4"), ("toy", "")])
def test_a_second_ctrl_c_cancels_and_waits_for_no_call_or_batch(tmp_path, teacher, more):
    begins = tmp_path / "begins"
    config = write_config(tmp_path, teacher, delay=10_000.0, more=f'{more}\nbegins = "{begins}"')
    process = start(tmp_path, str(config))
    wait_until(lambda: bool(read_log(begins)), "a call in flight")
    process.send_signal(signal.SIGINT)
    read_until(process, DRAINING)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=LONGEST)
    assert process.returncode == 130
    assert "cancelled; what was committed is kept" in errors
    assert f"go on with: sgforge run {config}" in errors


def test_failed_items_end_with_exit_code_4_and_one_json_object(tmp_path):
    config = write_config(tmp_path, delay=0.0, more='fail = ["00007"]')
    output, errors = start(tmp_path, str(config), "--json").communicate(timeout=LONGEST)
    assert len(output.splitlines()) == 1
    found = last_json(output)
    assert found["exit_code"] == 4
    assert found["status"] == "failed-items"
    counts = {name: found["steps"]["complete"][name] for name in ("computed", "reused", "failed")}
    assert counts == {"computed": 199, "reused": 0, "failed": 1}
    assert "complete: 199 computed, 0 reused, 1 failed" in errors


def test_a_broken_step_is_exit_code_1_and_a_bad_config_2(tmp_path):
    config = write_config(tmp_path, more='setup_error = "no"')
    process = start(tmp_path, str(config))
    _, errors = process.communicate(timeout=LONGEST)
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith("sgforge: error: teacher 'toy-async' could not be set up")
    process = start(tmp_path, str(write_config(tmp_path, more="amuont = 3")))
    _, errors = process.communicate(timeout=LONGEST)
    assert process.returncode == 2
    assert "amuont" in errors


class Budget(sg.SgforgeError):
    stops_run = True
    exit_code = 3


class Refused(sg.SgforgeError):
    stops_run = True


class Paying(ToyTeacher):
    """Can afford so many calls."""

    def __init__(self, money: int, error: type[Exception] = Budget, **options):
        super().__init__(StageOptions(**options))
        self.money = money
        self.error = error

    async def complete(self, sample):
        self.money -= 1
        if self.money < 0:
            raise self.error("the budget of 5.00 USD is reached")
        return self._one(sample)


def run(folder: Path, teacher: ToyTeacher):
    pipeline = sg.Pipeline(sg.segment("toy"), sg.complete(teacher), sg.edit("toy"))
    return pipeline.run(sg.source("toy", count=50), folder, progress=False)


def test_a_reached_budget_drains_and_is_exit_code_3(toys, tmp_path):
    report = run(tmp_path / "data", Paying(20))
    assert (report.status, report.exit_code) == ("budget", 3)
    assert report.message == "the budget of 5.00 USD is reached"
    complete = report.step("complete")
    assert (complete.counts.computed, complete.counts.failed, complete.status) == (20, 0, "unfinished")
    report = run(tmp_path / "data", Paying(1000))
    assert report.exit_code == 0
    assert (report.step("complete").counts.computed, report.step("complete").counts.reused) == (30, 20)
    run(tmp_path / "fresh", Paying(1000))
    assert arrays(tmp_path / "data") == arrays(tmp_path / "fresh")


def test_any_other_error_that_ends_the_run_is_raised_and_what_was_paid_is_kept(toys, tmp_path):
    with pytest.raises(Refused):
        run(tmp_path / "data", Paying(20, Refused))
    assert run(tmp_path / "data", Paying(1000)).step("complete").counts.reused == 20


def test_a_stopped_first_run_leaves_something_to_look_at_and_a_later_one_moves_no_branch(toys, tmp_path):
    run(tmp_path / "data", Paying(20))
    assert len(sg.Dataset.open(tmp_path / "data")) == 50
    done = run(tmp_path / "data", Paying(1000)).snapshot
    stopped = run(tmp_path / "data", Paying(3, amount=9))
    assert stopped.status == "budget"
    assert sg.Dataset.open(tmp_path / "data").snapshot.id == done


def test_a_stop_while_sources_are_read_ends_soon_and_publishes_nothing(tmp_path):
    """The source says when it has begun, then takes longer than any test waits."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, time\n"
        "import sgforge as sg\n"
        "from engine_toys import ToyTeacher, sample\n"
        "class Slow:\n"
        "    def samples(self, roots, name):\n"
        "        for number in range(10**9):\n"
        "            if number == 300: print('reading', flush=True)\n"
        "            yield sample(f'{number:09}')\n"
        f"report = sg.Pipeline(sg.complete(ToyTeacher())).run(Slow(), {str(tmp_path / 'data')!r}, progress=False)\n"
        "print(report.status, report.snapshot, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], env=toy_environment(tmp_path / "site"), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "reading\n"
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=LONGEST)
    assert output == "interrupted None\n"
