"""The table `run` of a step, in TOML and in Python: what it takes, where it may stand, how faults are told."""

from __future__ import annotations

import pytest
from engine_toys import ToyStudent
from training_toys import PlaceStudent

import sgforge as sg
from sgforge.config import parse_config
from sgforge.engine.planning import resolve as resolving
from sgforge.errors import ConfigError, PreflightError
from sgforge.stages import Needs, Resources, Worker
from sgforge.steps import RunSettings

CONFIG = """\
dataset = "data"
[source]
use = "toy"
[[step]]
{step} = "{name}"
run = {run}
"""


def read(toys, run: str, step: str = "train", name: str = "places"):
    config = parse_config(CONFIG.format(step=step, name=name, run=run), name="p.toml")
    return resolving.resolve(toys, config.steps, config.sources, faults=config.faults, places=config.places)


def test_both_languages_give_the_same(toys):
    found = read(toys, "{processes = 4, grace_s = 60, timeout_s = 3600.5}").step("train").run
    assert found == RunSettings(processes=4, grace_s=60.0, timeout_s=3600.5)
    assert sg.train("places", run={"processes": 4, "grace_s": 60, "timeout_s": 3600.5}).run == found
    assert sg.train("places", run=found).run == found
    assert read(toys, "{}").step("train").run == RunSettings(processes=1, grace_s=10.0, timeout_s=None)


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("{processes = 0}", "p.toml:6: step[0].run.processes: processes must be a whole number from 1, not 0"),
        ("{processes = 1.5}", "p.toml:6: step[0].run.processes: must be a whole number, not 1.5"),
        ("{grace_s = 0}", "p.toml:6: step[0].run.grace_s: grace_s must be a number of seconds above 0, not 0.0"),
        (
            "{timeout_s = -1}",
            "p.toml:6: step[0].run.timeout_s: timeout_s must be a number of seconds above 0, not -1.0",
        ),
        (
            "{timeout_s = inf}",
            "p.toml:6: step[0].run.timeout_s: timeout_s must be a number of seconds above 0, not inf",
        ),
        ("{gpus = 2}", "p.toml:6: step[0].run.gpus: unknown key; "),
        ("2", "p.toml:6: step[0].run: must be a table, not 2"),
    ],
)
def test_faults_of_a_file_have_their_line_and_path(toys, run, told):
    with pytest.raises(ConfigError) as raised:
        read(toys, run)
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ({"processes": 0}, "run: processes must be a whole number from 1, not 0"),
        ({"processes": True}, "run: processes must be a whole number from 1, not True"),
        ({"timeout_s": float("nan")}, "run: timeout_s must be a number of seconds above 0, not nan"),
        ({"gpus": 2}, "run: unknown key 'gpus'; it takes processes, grace_s, timeout_s"),
        (2, 'run: must be a table such as {"processes": 2}, not 2'),
    ],
)
def test_faults_in_python_are_told_where_they_are_made(run, told):
    with pytest.raises(ConfigError) as raised:
        sg.train("places", run=run)
    assert str(raised.value) == told


def test_steps_that_do_not_train_have_no_use_for_it(toys):
    with pytest.raises(ConfigError, match=r"p.toml:6: step\[0\].run: belongs to steps that train: train, refine"):
        read(toys, "{processes = 2}", step="complete", name="toy")


def test_an_instance_trains_in_this_process(toys):
    pipeline = sg.Pipeline(sg.train(ToyStudent(), run={"timeout_s": 5}))
    with pytest.raises(ConfigError, match=r"step 'train'\.run: an instance trains in this process: name a component"):
        pipeline.request(sg.source("toy"), "data").resolve(toys)


def test_more_processes_than_gpus_are_refused_before_any_work(toys, monkeypatch):
    # This machine may have none: what is asked of torch is answered for it.
    monkeypatch.setattr(resolving, "devices_for", lambda needs: ("cuda:0", "cuda:1"))
    assert read(toys, "{processes = 2}").step("train").run.processes == 2
    with pytest.raises(PreflightError, match=r"step\[0\].run.processes: 3 processes need as many GPUs, .* has 2"):
        read(toys, "{processes = 3}")


def test_devices_are_shared_by_worker_and_by_process():
    eight = Resources(devices=tuple(f"cuda:{number}" for number in range(8)))
    assert eight.of_process(0, 1).devices == eight.devices
    assert eight.of_process(1, 3).devices == ("cuda:1", "cuda:4", "cuda:7")
    assert eight.of_process(1, 3).worker == Worker(1, 3)
    assert [eight.of_worker(rank, 10).devices for rank in (0, 7, 8)] == [("cuda:0",), ("cuda:7",), ("cuda:0",)]
    assert Resources().of_process(1, 2).devices == ("cpu",)
    assert eight.of_process(1, 3).device == "cuda:1"


def test_a_component_that_uses_no_gpu_computes_on_the_cpu():
    assert resolving.devices_for(Needs()) == ("cpu",)


def test_each_worker_of_an_item_step_gets_a_device_and_a_number(toys, tmp_path):
    seen = []

    class Noting(PlaceStudent):
        def setup(self, resources):
            seen.append((resources.devices, resources.worker))

    sg.Pipeline(sg.complete(as_teacher(Noting()))).run(sg.source("toy"), tmp_path / "data", progress=False)
    assert seen == [(("cpu",), Worker(0, 1))]


def as_teacher(student):
    student.complete = student.generate
    student.counts = [1, 0, 0, 0]
    return student
