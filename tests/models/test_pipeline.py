"""The gateway in whole runs: one line swaps the provider, a kill costs little, batches through the command line."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest
from models import tiny_vlm
from models.support import KEYS

import sgforge as sg
from sgforge.cli.main import main
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest, FakeSettings

IN_FLIGHT = 8
CONFIG = """
dataset = "{data}"
[source]
use = "scenes"
count = 6
size = 96
folder = "{data}-scenes"
[models."openai/m"]
base_url = "{openai}"
max_in_flight = 8
[models."compat/m"]
base_url = "{openai}"
[models."anthropic/m"]
base_url = "{anthropic}"
[[step]]
filter = "vqa"
model = "openai/m"
"""


def write_config(folder: Path, fake: FakeProvider) -> Path:
    path = folder / "pipeline.toml"
    path.write_text(CONFIG.format(data=folder / "data", openai=fake.openai_url, anthropic=fake.anthropic_url))
    return path


def sgforge(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command here; a process of its own for each would spend minutes on importing SDKs."""
    capsys.readouterr()
    code = main(list(arguments))
    captured = capsys.readouterr()
    assert code == 0, captured.err + captured.out
    return captured.out


def judged(data: Path) -> int:
    """Relations that the last step judged."""
    return sum(
        relation.judged_by is not None for sample in sg.Dataset.open(data) for relation in sample.graph.all.relations
    )


def yes(request: FakeRequest) -> FakeAnswer:
    """What a judge says: alone "yes" or "no" by chance, in a list yes to every question."""
    from sgforge.testing.fake_provider.instances import answer_by_schema

    numbers = re.findall(r'"question":(\d+)', request.text)
    if request.schema is None or not numbers:
        return answer_by_schema(request)
    return FakeAnswer(json.dumps({"answers": [{"question": int(number), "answer": "yes"} for number in numbers]}))


def test_one_line_swaps_the_provider(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same pipeline file; only `model` of the step changes, on the command line here."""
    with FakeProvider(yes) as fake:
        config = write_config(tmp_path, fake)
        weights = tiny_vlm.build(tmp_path / "vlm")
        seen = {}
        for model in ("openai/m", "compat/m", "anthropic/m", f"hf/{weights}"):
            data = tmp_path / model.partition("/")[0]
            told = sgforge(
                *(
                    capsys,
                    "run",
                    str(config),
                    "--json",
                    "--set",
                    f"dataset={data}",
                    "--set",
                    f"step.filter.model={model}",
                    "--set",
                    "step.filter.least_mass=0.0",  # random weights lean on no word at all
                ),
            )
            (step,) = (step for name, step in json.loads(told)["steps"].items() if name != "source")
            assert (step["computed"], step["failed"]) == (6, 0), step
            seen[model] = Counter(entry.path for entry in fake.ledger.entries)
            assert judged(data) > 0
    assert seen["openai/m"].keys() == {"/v1/chat/completions"}
    assert seen["anthropic/m"]["/v1/messages"] > 0
    assert seen[f"hf/{weights}"] == seen["anthropic/m"]  # nothing left this process
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or not any(key.encode() in path.read_bytes() for key in KEYS.values()), path


@pytest.mark.parametrize("model", ["openai/m", "anthropic/m"])
def test_batches_from_the_command_line(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Submit, and exit; look, and exit; collect, and exit; then a run that buys nothing."""
    with FakeProvider(yes, FakeSettings(batch_expire_share=0.3, seed=2)) as fake:
        config = str(write_config(tmp_path, fake))
        swap = ("--set", f"step.filter.model={model}")
        for _ in range(12):
            submitted = json.loads(sgforge(capsys, "batch", "submit", config, *swap, "--json").splitlines()[-1])
            if not submitted:
                break
            assert json.loads(sgforge(capsys, "batch", "status", config, *swap, "--json"))[-1]["state"] == "submitted"
            sgforge(capsys, "batch", "collect", config, *swap)
        assert "no open batches" in sgforge(capsys, "batch", "collect", config, *swap)
        steps = json.loads(sgforge(capsys, "run", config, *swap, "--json"))["steps"]
    assert [step["failed"] for step in steps.values()] == [0] * len(steps)
    assert {entry.path for entry in fake.ledger.entries} == {"batch"}
    assert not fake.ledger.repeated
    assert judged(tmp_path / "data") > 0


@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_a_kill_repeats_at_most_what_was_in_flight(tmp_path: Path, kills: int) -> None:
    script = textwrap.dedent(
        f"""
        import sys
        import sgforge as sg
        from sgforge.models import ModelSettings

        settings = ModelSettings(base_url=sys.argv[2], max_in_flight={IN_FLIGHT})
        pipeline = sg.Pipeline(sg.complete("svg", model="compat/m"), models={{"compat/m": settings}})
        print("ready", flush=True)
        source = sg.source("scenes", count=40, size=96, folder=sys.argv[3])  # drawn once
        print(pipeline.run(source, sys.argv[1], progress=False).status)
        """
    )

    def start(data: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, str(data), fake.openai_url, str(tmp_path / "scenes")]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return child

    chance = random.Random(7)
    with FakeProvider(settings=FakeSettings(latency_s=0.03)) as fake:
        whole = start(tmp_path / "whole")
        assert whole.communicate()[0] == "done\n"
        undisturbed = [sample.graph.all for sample in sg.Dataset.open(tmp_path / "whole")]
        for number in range(kills):
            before, aim = len(fake.ledger.entries), chance.randrange(1, 36)
            child = start(tmp_path / f"{number}")
            while len(fake.ledger.entries) < before + aim and child.poll() is None:
                time.sleep(0.002)
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert start(tmp_path / f"{number}").communicate()[0] == "done\n"
            asked = Counter(entry.question for entry in fake.ledger.entries[before:])
            assert len(asked) == 40
            assert sum(asked.values()) - 40 <= IN_FLIGHT
            assert [sample.graph.all for sample in sg.Dataset.open(tmp_path / f"{number}")] == undisturbed
