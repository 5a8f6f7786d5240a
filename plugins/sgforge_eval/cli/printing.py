"""What `sgforge eval` prints, and the files it is given."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sgforge.errors import ConfigError
from sgforge.stages import Report
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

__all__ = ["given_files", "print_json", "print_notes", "print_report"]


def given_files(args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """The files of the command line, which must be as many as `names`; else a `ConfigError` that names them."""
    if len(args.files) != len(names):
        raise ConfigError(f"expected {' '.join(names)}, got {counted(len(args.files), 'file')}: {' '.join(args.files)}")
    return list(args.files)


def print_report(args: argparse.Namespace, report: Report, localization: str, details: Sequence[str]) -> None:
    """A report as tables with its remarks, or with --json as one object; `details` are the tables to show."""
    from sgforge.tables import render, report_remarks, report_tables
    from sgforge_eval.report import report_json

    if args.json:
        print_json(report_json(report, localization))
        return
    print(render(report_tables(report, details=details), args.format))
    print_notes(args, report_remarks(report, "image or question", "images or questions"))


def print_notes(args: argparse.Namespace, notes: Sequence[str]) -> None:
    """Remarks for people, under the tables."""
    # CSV goes to a program: what is for people must not stand between its rows.
    stream = sys.stderr if args.format == "csv" else sys.stdout
    for note in notes:
        print(visible(note), file=stream)


def print_json(value: Mapping[str, Any]) -> None:
    """One object, on one line."""
    print(json.dumps(value, allow_nan=False))
