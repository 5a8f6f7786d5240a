"""A fresh virtual environment with the built wheel in it, made without a network."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import attrs

from support.waiting import LONGEST

ROOT = Path(__file__).parents[2]
ANNOTATIONS = ROOT / "tests" / "data" / "annotations"
"""Public annotation files; their README says whose."""


@attrs.frozen
class Environment:
    """A virtual environment: its own sgforge, the third-party packages of the one that runs the tests."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(self, *command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command with this environment first on the path; its output is in the failure."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=self.variables(**variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
        assert done.returncode == 0, f"{command} failed with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def variables(self, **more: str) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SGFORGE_", "PIP_"))
        }
        path = f"{self.folder / 'bin'}{os.pathsep}{kept.get('PATH', '')}"
        # "0" is how pip spells this one: the build tools are taken from the environment, nothing is downloaded.
        quiet = {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        return {**kept, **quiet, "PATH": path, "VIRTUAL_ENV": str(self.folder), **more}


def build_wheel(folder: Path) -> Path:
    """The wheel of this source tree."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = folder.glob("sgforge-*.whl")
    return wheel


def make_environment(folder: Path, wheel: Path) -> Environment:
    """A new environment with the wheel installed.

    Third-party packages come from the running environment by a path file. Path files inside it are not followed, so
    its own editable sgforge is not visible.
    """
    venv.create(folder, with_pip=False)
    environment = Environment(folder)
    [site_packages] = folder.glob("lib/python*/site-packages")
    (site_packages / "third_party.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    environment.run(environment.python, "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=folder)
    return environment
