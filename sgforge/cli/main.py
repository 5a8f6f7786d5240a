"""`sgforge`: finds the command and runs it; turns every error into one line and an exit code.

Nothing is imported here but what `sgforge --help` needs: a command's module is imported when it is typed, plugins are
loaded when the typed name is none of ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from sgforge.errors import ConfigError, SgforgeError
from sgforge.text.console import name_any_file, print_in_any_encoding

if TYPE_CHECKING:
    import argparse

__all__ = ["COMMANDS", "CommandEntry", "main"]


class CommandEntry(NamedTuple):
    """One built-in command: the module that has it, and its line in the help."""

    module: str
    help: str


class _Command(Protocol):
    """What a command's module, or an instance of a plugin's command class, offers."""

    def configure(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


COMMANDS: Final[dict[str, CommandEntry]] = {
    "init": CommandEntry("sgforge.cli.init", "write a commented example config"),
    "plugins": CommandEntry("sgforge.cli.plugins", "list plugins, or show one component's options"),
    "check": CommandEntry("sgforge.cli.check", "check a config and what it needs, and show its plan"),
    "plan": CommandEntry("sgforge.cli.plan", "show what a run would compute, call and cost"),
    "run": CommandEntry("sgforge.cli.run", "run a pipeline; what is done already is not done again"),
    "import": CommandEntry("sgforge.cli.import_", "import graph JSONL into a dataset"),
    "export": CommandEntry("sgforge.cli.export", "export a dataset in a public format"),
    "show": CommandEntry("sgforge.cli.show", "show a dataset or one of its images"),
    "log": CommandEntry("sgforge.cli.log", "list the snapshots that led to a version"),
    "diff": CommandEntry("sgforge.cli.diff", "show what changed between two versions"),
    "tag": CommandEntry("sgforge.cli.tag", "name a version, or list the names"),
    "untag": CommandEntry("sgforge.cli.untag", "take a tag away"),
    "branch": CommandEntry("sgforge.cli.branch", "list the branches, or take one away"),
    "edits": CommandEntry("sgforge.cli.edits", "say which lines of edits still fit a dataset"),
    "stats": CommandEntry("sgforge.cli.stats", "count what a dataset holds"),
    "publish": CommandEntry("sgforge.cli.publish", "seal what an unfinished step has so far"),
    "verify": CommandEntry("sgforge.cli.verify", "check every byte of a dataset"),
    "copy": CommandEntry("sgforge.cli.copy", "make a sound copy of a dataset or one of its versions"),
    "gc": CommandEntry("sgforge.cli.gc", "remove versions and files that nothing needs any more"),
    "repair": CommandEntry("sgforge.cli.repair", "mend a damaged dataset; nothing is deleted"),
    "upgrade": CommandEntry("sgforge.cli.upgrade", "bring a dataset to the newest schema"),
    "batch": CommandEntry("sgforge.cli.batch", "submit and collect a provider's batch jobs"),
    "ledger": CommandEntry("sgforge.cli.ledger", "show what answers have cost, and calls that were lost"),
    "eval": CommandEntry("sgforge.cli.eval", "score predictions against ground truth"),
}

_EXAMPLES: Final = """\
examples:
  sgforge init pipeline.toml              write a config to start from
  sgforge check pipeline.toml             see whether it can run, and what it would do
  sgforge run pipeline.toml --limit 20    try it on 20 images
  sgforge show runs/first                 look at the dataset it made

exit codes: 0 done, 1 failed, 2 usage or config, 3 budget reached, 4 finished with failed items"""

_INTERRUPTED: Final = 128 + 2  # what a shell reports for a process that SIGINT ended
_PIPE_CLOSED: Final = 128 + 13


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (of the process by default); returns the exit code."""
    if argv is None:
        name_any_file()
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    print_in_any_encoding()
    if debug:
        _log_all()
    try:
        code = _dispatch(arguments)
        if sys.stdout is not None:  # it is where the caller closed it
            sys.stdout.flush()
        return code
    except SystemExit as stop:  # argparse after it printed a help, or a command that leaves early
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        _fail(str(stop.code), debug)
        return 1
    except KeyboardInterrupt:
        _fail("interrupted", debug)
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter's own flush at exit must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except SgforgeError as error:
        _fail(str(error), debug)
        return error.exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        _fail(f"{where}{error.strerror or error}", debug)
        return 1
    except Exception as error:
        from sgforge.text.blame import words_of

        _fail(
            f"{type(error).__name__}: {words_of(error)} (this is a bug in sgforge or a plugin; --debug shows where)",
            debug,
        )
        return 1


def _dispatch(arguments: list[str]) -> int:
    for position, argument in enumerate(arguments):
        if not argument.startswith("-"):
            return _run_command(argument, arguments[:position], arguments[position + 1 :])
        if argument in ("-h", "--help"):
            print(_help_text())
            return 0
        if argument == "--version":
            from sgforge import __version__

            print(f"sgforge {__version__}")
            return 0
        if argument != "--debug":
            raise ConfigError(f"unknown option {argument!r}; see sgforge --help")
    print(_help_text(), file=sys.stderr)
    return 2


def _run_command(name: str, before: list[str], after: list[str]) -> int:
    import argparse

    from sgforge.cli.parser import CommandParser

    command, help_line = _find_command(name)
    parser = CommandParser(
        prog=f"sgforge {name}",
        description=help_line[:1].upper() + help_line[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.configure(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error, and of each failed image")
    return command.run(parser.parse_args([*before, *after]))


def _find_command(name: str) -> tuple[_Command, str]:
    entry = COMMANDS.get(name)
    command: Any
    if entry is not None:
        import importlib

        command = importlib.import_module(entry.module)
        return command, entry.help
    from sgforge.plugins import load_plugins

    component = load_plugins().lookup("command", name, also=COMMANDS)
    command = component.build()
    return command, (command.__doc__ or f"a command of {component.owner}").strip().splitlines()[0].rstrip(".")


def _help_text() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {entry.help}" for name, entry in COMMANDS.items()]
    return "\n".join(
        (
            "usage: sgforge [--debug] COMMAND ...    (sgforge COMMAND --help tells more; --version; -h, --help)",
            "",
            "Make dense scene-graph data with foundation models, and train on it.",
            "",
            "commands (plugins add more, `sgforge plugins` lists them):",
            *lines,
            "",
            _EXAMPLES,
        )
    )


def _log_all() -> None:
    """Let the log of sgforge, which has the traceback of every failed image, go to stderr."""
    import logging

    logging.basicConfig(format="%(name)s: %(message)s")
    logging.getLogger("sgforge").setLevel(logging.DEBUG)


def _fail(text: str, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    from sgforge.text.safe_text import visible

    message = visible(text, keep="\n")  # labels and file names end up in messages
    print(f"sgforge: error: {message}", file=sys.stderr)
