"""The command line as a process: errors in one line, exit codes, pipes and signals."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.distributions import Distributions
from support.waiting import LONGEST

import sgforge
from sgforge.cli.main import COMMANDS, main

SGFORGE = [sys.executable, "-m", "sgforge"]
RAISING = """
import sgforge
@sgforge.hookimpl
def sgforge_register_commands(register):
    register("acme-try", "THIS_MODULE:Command")

class Command:
    '''Try something.'''
    def configure(self, parser):
        parser.add_argument("what")
    def run(self, args):
        import time
        if args.what == "interrupt": raise KeyboardInterrupt
        if args.what == "bug": return 1 / 0
        if args.what == "disk": raise OSError(28, "No space left on device", "/data/x")
        if args.what == "escape": raise sgforge.SgforgeError("label \\x1b[31mred\\x07 is odd")
        if args.what == "exit": raise SystemExit("no more")
        if args.what == "print":
            for number in range(100000): print(number)
        if args.what == "sleep":
            print("ready", flush=True); time.sleep(60)
        return int(args.what) if args.what.isdigit() else 0
"""


@pytest.fixture
def acme(tmp_path, monkeypatch):
    distributions = Distributions(tmp_path, monkeypatch)
    distributions.add("acme-commands", "1", "acme", RAISING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield distributions
    distributions.forget()


def run(*arguments, **options):
    return subprocess.run(
        [*SGFORGE, *arguments], capture_output=True, text=True, check=False, timeout=LONGEST, **options
    )


def test_every_command_of_the_table_exists_and_explains_itself(capsys):
    for name, entry in COMMANDS.items():
        assert importlib.util.find_spec(entry.module), f"{name}: there is no module {entry.module}"
        assert main([name, "--help"]) == 0
        told = capsys.readouterr().out
        assert told.startswith(f"usage: sgforge {name}")
        assert "examples:" in told, f"{name} --help shows no examples"


def test_every_command_module_is_in_the_table():
    folder = Path(sgforge.__file__).parent / "cli"
    listed = {entry.module.rpartition(".")[2] for entry in COMMANDS.values()}
    for path in folder.glob("*.py"):
        if "\ndef run(args" in path.read_text():
            assert path.stem in listed, f"{path.name} is a command that nobody can call"


def test_help_lists_all_commands_and_examples():
    done = run("--help")
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert "examples:" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_no_command_shows_the_help_and_is_a_usage_error():
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "commands" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["runn"], "there is no command 'runn'; did you mean 'run'?"),
        (["--verbos"], "unknown option '--verbos'"),
        (["check"], "the following arguments are required: CONFIG; see sgforge check --help"),
        (["check", "--what"], "see sgforge check --help"),
        (["check", "there-is-none.toml"], "config there-is-none.toml does not exist"),
        (["plugins", "geometri"], "did you mean 'geometry'?"),
    ],
)
def test_usage_errors_are_one_line(arguments, expected):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("sgforge: error: ")
    assert expected in line


def test_version():
    assert run("--version").stdout == f"sgforge {sgforge.__version__}\n"


@pytest.mark.usefixtures("acme")
class TestPluginCommand:
    def test_it_is_found_and_its_exit_code_kept(self):
        assert run("acme-try", "4").returncode == 4
        assert run("acme-try", "--help").stdout.startswith("usage: sgforge acme-try")

    def test_its_name_is_offered(self):
        assert "did you mean 'acme-try'?" in run("acme-tyr").stderr

    def test_a_bug_is_one_line_and_debug_shows_where(self):
        done = run("acme-try", "bug")
        assert done.returncode == 1
        assert done.stderr.startswith("sgforge: error: ZeroDivisionError: division by zero (this is a bug")
        assert "Traceback" not in done.stderr
        for arguments in (["--debug", "acme-try", "bug"], ["acme-try", "bug", "--debug"]):
            assert "Traceback" in run(*arguments).stderr

    def test_a_full_disk_names_the_file(self):
        done = run("acme-try", "disk")
        assert (done.returncode, done.stderr) == (1, "sgforge: error: /data/x: No space left on device\n")

    def test_a_command_may_leave_with_a_message(self):
        done = run("acme-try", "exit")
        assert (done.returncode, done.stderr) == (1, "sgforge: error: no more\n")

    def test_terminal_escapes_in_messages_are_shown_not_sent(self):
        assert run("acme-try", "escape").stderr == "sgforge: error: label \\x1b[31mred\\x07 is odd\n"

    def test_a_closed_pipe_is_no_error(self):
        command = f"{' '.join(SGFORGE)} acme-try print | head -1"
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, timeout=LONGEST)
        assert (done.stdout, done.stderr) == ("0\n", "")

    def test_ctrl_c_is_one_line(self):
        with subprocess.Popen([*SGFORGE, "acme-try", "sleep"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            assert child.stdout.readline() == b"ready\n"
            child.send_signal(signal.SIGINT)
            _, errors = child.communicate(timeout=LONGEST)
        assert (child.returncode, errors) == (130, b"sgforge: error: interrupted\n")


def test_a_full_standard_output_is_an_error():
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run([*SGFORGE, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left" in done.stderr


def test_main_can_be_called_from_python(capsys):
    assert main(["--version"]) == 0
    assert main(["plugins", "spatial-rules"]) == 0
    assert "filter spatial-rules" in capsys.readouterr().out
