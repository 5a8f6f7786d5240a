"""`sgforge eval` over the papers' other tasks and their tables: answers scored, compared, asked for."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from sgforge.errors import ConfigError
from sgforge_eval.cli.printing import given_files, print_json, print_notes, print_report
from sgforge_eval.config import MODES

__all__ = ["run_suite_of", "run_task"]


def run_suite_of(args: argparse.Namespace) -> None:
    """The row of a table of the paper, from a folder of its files."""
    from sgforge_eval.measures.bootstrap import checked_draws
    from sgforge_eval.suites import run_suite

    (folder,) = given_files(args, ("FOLDER",))
    draws = checked_draws(1000 if args.bootstrap is None else args.bootstrap)
    report = run_suite(args.suite, Path(folder), draws=draws, encoder="" if args.encoder == "none" else args.encoder)
    print_report(args, report, "none", ("interval",))


def run_task(args: argparse.Namespace) -> None:
    """Answers to the questions of a task: scored, compared, or asked for first."""
    from sgforge_eval.measures.bootstrap import checked_draws
    from sgforge_eval.tasks.base import scored
    from sgforge_eval.tasks.units import with_intervals

    if args.compare:
        _compare_answers(args)
        return
    if len(args.graphs) > 1:
        _run_study(args)
        return
    draws = checked_draws(args.bootstrap or 0)
    task, answers = _task_and_answers(args)
    report = scored(task, answers, Path(args.files[-1]))
    if draws:
        report = with_intervals(report, answers, draws)
    print_report(args, report, "none", tuple(report.tables))


def _compare_answers(args: argparse.Namespace) -> None:
    from sgforge.tables import Table, render
    from sgforge_eval.tasks import task_named
    from sgforge_eval.tasks.base import read_predictions
    from sgforge_eval.tasks.options import task_options
    from sgforge_eval.tasks.units import compare_answers

    first, second, questions = given_files(args, ("A", "B", "GROUND_TRUTH"))
    kind = task_named(args.metric, also=MODES)
    task = kind(task_options(kind.options, args.metric, Path(questions), args.set))
    draws = 1000 if args.bootstrap is None else args.bootstrap
    if draws < 1:
        raise ConfigError("--compare needs at least one resample: leave out --bootstrap, or give more than 0")
    rows, reports = compare_answers(
        task, read_predictions(task, Path(first)), read_predictions(task, Path(second)), draws
    )
    if args.json:
        found = {
            row.metric: {
                "a": row.first,
                "b": row.second,
                "difference": row.second - row.first,
                "low": None if math.isnan(row.low) else row.low,
                "high": None if math.isnan(row.high) else row.high,
            }
            for row in rows
        }
        print_json({"metric": args.metric, "convention": reports["A"].convention, "draws": draws, "values": found})
        return
    title = f"B - A, 95 % interval of {draws} paired resamples"
    columns = ("metric", "A", "B", "B - A", "low", "high", "")
    body = tuple(
        (
            row.metric,
            row.first,
            row.second,
            row.second - row.first,
            row.low,
            row.high,
            "*" if row.low > 0 or row.high < 0 else "",
        )
        for row in rows
    )
    print(render([Table(title, columns, body, convention=reports["A"].convention)], args.format))
    print_notes(args, [f"{side}: {note}" for side, report in reports.items() for note in report.notes])


def _task_and_answers(args: argparse.Namespace) -> tuple[Any, Any]:
    from sgforge_eval.tasks import task_named
    from sgforge_eval.tasks.base import read_predictions
    from sgforge_eval.tasks.options import task_options

    kind = task_named(args.metric, also=MODES)
    names = ("GROUND_TRUTH",) if args.ask else ("PREDICTIONS", "GROUND_TRUTH")
    *predictions, truth = given_files(args, names)
    task = kind(task_options(kind.options, args.metric, Path(truth), args.set))
    if args.ask:
        from sgforge_eval.tasks.ask import ask_task

        answers = ask_task(task, _asking(args, args.graphs[0] if args.graphs else None), args.output)
    else:
        answers = read_predictions(task, Path(predictions[0]))
    return task, answers


def _asking(args: argparse.Namespace, graphs: str | None = None) -> Any:
    from sgforge_eval.tasks.ask import Asking

    return Asking(
        model=args.ask,
        images=args.images,
        graphs=graphs,
        checkpoint=args.checkpoint,
        responses=args.responses,
        budget_usd=args.budget,
        base_url=args.base_url,
    )


def _run_study(args: argparse.Namespace) -> None:
    """One model over several sets of graphs."""
    from sgforge_eval.measures.bootstrap import checked_draws
    from sgforge_eval.tasks import task_named
    from sgforge_eval.tasks.options import task_options
    from sgforge_eval.tasks.study import ask_study

    (questions,) = given_files(args, ("GROUND_TRUTH",))
    graphs = {}
    for text in args.graphs:
        name, sign, path = text.partition("=")
        if not (sign and path and name.replace("-", "").replace("_", "").isalnum()) or name in graphs:
            raise ConfigError(
                f"--graphs {text!r}: several sets are named, each by another NAME=GRAPHS (letters, digits)"
            )
        graphs[name] = path
    if args.images is not None:
        raise ConfigError("--images shows pictures to a model that reads graphs instead: leave it out")
    kind = task_named(args.metric, also=MODES)
    task = kind(task_options(kind.options, args.metric, Path(questions), args.set))
    draws = checked_draws(1000 if args.bootstrap is None else args.bootstrap)
    report = ask_study(task, _asking(args), graphs, output=args.output, draws=draws)
    print_report(args, report, "none", tuple(report.tables))
