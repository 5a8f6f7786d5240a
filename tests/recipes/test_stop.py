"""A run whose server is not there is stopped by hand before it gives up by itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.waiting import LONGEST

from sgforge.cli.main import main
from sgforge.testing.fake_provider import FakeProvider, FakeSettings

CONFIG = """
dataset = "data"
[source]
use = "scenes"
folder = "scenes"
count = 2
size = 96
[[step]]
complete = "svg"
model = "compat/absent"
[models."compat/absent"]
base_url = "http://127.0.0.1:1/v1"
"""


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """What a run says on its stderr, up to the line with these words."""
    assert process.stderr is not None
    said = ""
    while words not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def test_ctrl_c_ends_calls_that_wait_for_another_try(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "sgforge", "run", "p.toml"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said = read_until(process, "complete: 2 to do")
        process.send_signal(signal.SIGINT)
        # Left alone, the run ends with exit code 1 once the server counts as absent.
        _, rest = process.communicate(timeout=LONGEST)
    assert process.returncode == 130, said + rest
    assert "go on with: sgforge run p.toml" in rest


def test_a_second_ctrl_c_cancels_and_says_what_is_left_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeProvider(settings=FakeSettings(shares={"hang": 1.0})) as fake:
        # Two calls hang; the first Ctrl-C waits for them.
        (tmp_path / "p.toml").write_text(CONFIG.replace("http://127.0.0.1:1/v1", fake.openai_url))
        command = [sys.executable, "-m", "sgforge", "run", "p.toml", "--limit", "2"]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            while fake.ledger.received < 2 and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            said = read_until(process, "Ctrl-C again cancels it")
            process.send_signal(signal.SIGINT)
            _, rest = process.communicate(timeout=LONGEST)
    assert process.returncode == 130, said + rest
    assert "sgforge: cancelled; what was committed is kept" in rest
    assert "go on with: sgforge run p.toml --limit 2" in rest
    assert "Traceback" not in said + rest
    monkeypatch.chdir(tmp_path)
    with FakeProvider() as fake:
        (tmp_path / "p.toml").write_text(CONFIG.replace("http://127.0.0.1:1/v1", fake.openai_url))
        assert main(["run", "p.toml", "--limit", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["steps"]["complete"]["failed"] == 0
    assert report["spent"]["compat/absent"]["calls"] == 4
    assert report["spent"]["compat/absent"]["lost"] == 2
    assert report["spent"]["compat/absent"]["unpriced"] == 4


def test_the_end_of_a_run_tells_what_was_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with FakeProvider() as fake:
        prices = f'base_url = "{fake.openai_url}"\ninput_usd = 1.0\noutput_usd = 2.0\nimage_tokens = 500'
        (tmp_path / "p.toml").write_text(CONFIG.replace('base_url = "http://127.0.0.1:1/v1"', prices))
        assert main(["run", "p.toml"]) == 0
        billed = fake.ledger.billed_usd(1.0, 2.0)
    assert f", ${billed:.4f} in all runs so far\n" in capsys.readouterr().out
    assert main(["run", "p.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["spent"]["compat/absent"]["usd"] == pytest.approx(billed)
