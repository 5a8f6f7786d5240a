"""A run whose server is not there is stopped by hand before it gives up by itself."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

CONFIG = """
dataset = "data"
[source]
use = "scenes"
folder = "scenes"
count = 2
size = 64
[[step]]
complete = "svg"
model = "compat/absent"
[models."compat/absent"]
base_url = "http://127.0.0.1:1/v1"
"""


def test_ctrl_c_ends_calls_that_wait_for_another_try(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "sgforge", "run", "p.toml"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        while "complete: 2 to do" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        process.send_signal(signal.SIGINT)
        # Left alone, the run ends with exit code 1 once the server counts as absent.
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, said + rest
    assert "go on with: sgforge run p.toml" in rest
