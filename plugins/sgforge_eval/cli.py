"""`sgforge eval`: score predictions against ground truth, or compare two predictions."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sgforge.errors import ConfigError
from sgforge.stages import Report
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted
from sgforge_eval.config import MODES

__all__ = ["EvalCommand"]

_EPILOG = """\
predictions and truth are graph JSONL files, datasets (folder@ref), or public files as SOURCE:FILE,FILE@split; for the
other tasks predictions are JSONL lines {"id": question id, ...} and the truth is the task's public file; --set names
its further files and options.

examples:
  sgforge eval predictions.jsonl truth.jsonl
  sgforge eval runs/svg@main truth.jsonl --metric predcls --convention sgb --k 20,50,100 --per-predicate
  sgforge eval predictions.jsonl psg:psg.json@test
  sgforge eval predictions.jsonl vg150:VG-SGG-with-attri.h5,VG-SGG-dicts-with-attri.json,image_data.json@test
  sgforge eval --compare old.jsonl new.jsonl truth.jsonl --json
  sgforge eval answers.jsonl vsr_test.jsonl --metric vsr
  sgforge eval boxes.jsonl "refs(unc).p" --metric refcoco --set instances=instances.json --set split=testA
  sgforge eval --compare old.jsonl new.jsonl vsr_test.jsonl --metric vsr
  sgforge eval --suite svg-table3 results/table3 --format markdown
  sgforge eval --ask openai/gpt-6.2-sol sugarcrepe.json --metric sugarcrepe --images val2017
  sgforge eval --ask openai/gpt-6.2-sol questions.json --metric vqa --set annotations=answers.json --graphs runs/svg

exit codes: 0 done, 1 failed, 2 usage or config"""


_RECALL: Final = (
    *(
        "convention",
        "k",
        "localization",
        "predicates",
        "labels",
        "zero_shot",
        "seen",
        "in_order",
        "detection",
        "match",
        "aliases",
    ),
    *("encoder", "threshold", "per_predicate", "plot", "chart"),
)
_PLACES: Final = ("per_distance", "per_size", "per_seen")
_ASKING: Final = ("images", "graphs", "responses", "budget", "base_url", "checkpoint", "output")


class EvalCommand:
    """Score predictions against ground truth."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments."""
        parser.epilog = _EPILOG
        parser.add_argument("files", nargs="+", metavar="FILE", help="PREDICTIONS GROUND_TRUTH")
        parser.add_argument("--metric", default="sgdet", help="sgdet, sgcls, predcls, or a task (default: sgdet)")
        parser.add_argument("--convention", default="sgforge", help="named way of counting (default: sgforge)")
        parser.add_argument("--k", default="20,50,100", help="cuts of the ranking (default: 20,50,100)")
        parser.add_argument("--localization", default="box", choices=("box", "mask"))
        parser.add_argument(
            "--predicates", type=Path, metavar="FILE", help="vocabulary, one a line (default: the truth's)"
        )
        parser.add_argument("--labels", type=Path, metavar="FILE", help="closed set of region labels, one a line")
        parser.add_argument("--zero-shot", type=Path, metavar="FILE", help="triplets never trained on")
        parser.add_argument(
            "--seen", type=Path, metavar="FILE", help="names seen in training, for recall of unseen ones"
        )
        parser.add_argument("--detection", action="store_true", help="also AP of regions at IoU 0.5 to 0.95, per label")
        parser.add_argument("--in-order", action="store_true", help="rank predictions as listed, not by score")
        parser.add_argument(
            "--match",
            default="strict",
            choices=("strict", "exact", "lemma", "similarity", "entail"),
            help="how far a predicted name may be from the vocabulary (default: strict)",
        )
        parser.add_argument("--aliases", type=Path, metavar="FILE", help='JSON {"further name": "name"}')
        parser.add_argument("--encoder", default="minilm", help="minilm, or module:callable (default: minilm)")
        parser.add_argument("--threshold", type=float, help="least cosine of a match by similarity")
        parser.add_argument("--bootstrap", type=int, metavar="N", help="resamples for intervals (--compare: 1000)")
        parser.add_argument("--compare", action="store_true", help="A B GROUND_TRUTH: paired difference of B and A")
        parser.add_argument("--per-predicate", action="store_true", help="also a table per predicate (--json always)")
        parser.add_argument(
            "--suite", metavar="TABLE", help="score a folder of files as a row of svg-table2 to svg-table5"
        )
        parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of a task")
        parser.add_argument("--ask", metavar="MODEL", help="ask provider/model or student:NAME instead of a file")
        parser.add_argument("--images", type=Path, metavar="FOLDER", help="with --ask: where the task's images are")
        parser.add_argument("--graphs", metavar="GRAPHS", help="with --ask: scene graphs in place of the images")
        parser.add_argument("--responses", type=Path, default=Path("responses.sqlite"), help="with --ask: paid answers")
        parser.add_argument("--budget", type=float, metavar="USD", help="with --ask: the most all answers may cost")
        parser.add_argument("--base-url", metavar="URL", help="with --ask: another server than the vendor's")
        parser.add_argument("--checkpoint", type=Path, metavar="FOLDER", help="with --ask student:NAME: its weights")
        parser.add_argument("--output", type=Path, metavar="FILE", help="with --ask: where the answers are written")
        parser.add_argument("--format", default="terminal", choices=("terminal", "markdown", "csv"))
        parser.add_argument("--plot", type=Path, metavar="FILE", help="a chart as .svg or .png")
        parser.add_argument(
            "--chart",
            default="predicates",
            choices=("predicates", "curve", "reliability", "cost"),
            help="with --plot: recall per predicate, recall over K, how right scores are, or of a JSON list of "
            '{"name", "cost", "recall"} recall over cost (default: predicates)',
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def run(self, args: argparse.Namespace) -> int:
        """Score, and print."""
        self._refuse_idle(args)
        if args.suite is not None:
            _run_suite(args)
        elif args.chart == "cost":
            _run_cost(args)
        elif args.metric not in MODES:
            _run_task(args)
        elif args.compare:
            _run_comparison(args)
        else:
            _run_recall(args)
        return 0

    def _refuse_idle(self, args: argparse.Namespace) -> None:
        """Options that would change nothing are errors: a number must not look as if they had."""
        parser = argparse.ArgumentParser()
        self.configure(parser)
        is_task = args.metric not in MODES
        idle = [(name, f"not with {args.metric}") for name in (_RECALL if is_task else ("set", "ask"))]
        idle += [(name, "only with --ask") for name in _ASKING if not (is_task and args.ask)]
        idle += [("plot", "not with --compare")] if args.compare else []
        idle += [("chart", "only with --plot")] if args.plot is None and args.chart != "cost" else []
        idle += [("format", "not with --json")] if args.json else []
        is_near = args.match == "similarity" or args.suite is not None
        idle += [("encoder", "only with --match similarity or --suite")] if not is_near else []
        idle += (
            [(name, "not with --suite") for name in (*_RECALL, "metric", "compare") if name != "encoder"]
            if args.suite is not None
            else []
        )
        for name, when in idle:
            if getattr(args, name) != parser.get_default(name):
                raise ConfigError(f"--{name.replace('_', '-')} works {when}: leave it out")


def _paths(args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    if len(args.files) != len(names):
        raise ConfigError(f"expected {' '.join(names)}, got {counted(len(args.files), 'file')}: {' '.join(args.files)}")
    return list(args.files)


def _cuts(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--k {text!r} must be whole numbers with commas, such as 20,50,100") from None


def _run_recall(args: argparse.Namespace) -> None:
    from sgforge_eval.evaluate import evaluate_graphs
    from sgforge_eval.measures.bootstrap import checked_draws
    from sgforge_eval.plots.canvas import check_plot
    from sgforge_eval.report import recall_report

    draws = checked_draws(args.bootstrap or 0)
    if args.plot is not None:
        check_plot(args.plot)
    predictions, truth = _paths(args, ("PREDICTIONS", "GROUND_TRUTH"))
    settings = _settings(args)
    outcome = evaluate_graphs(predictions, truth, settings, _vocabulary(args, settings, truth))
    report = recall_report(outcome, draws=draws)
    if args.plot is not None:
        _plot(args, outcome, report)
    details = ("per_category", *(("per_predicate",) if args.per_predicate else ()), *_PLACES, "per_class", "interval")
    _print_report(args, report, args.localization, details)


def _plot(args: argparse.Namespace, outcome: Any, report: Report) -> None:
    from sgforge_eval.measures.average_precision import reliability
    from sgforge_eval.measures.recall import recall_curves
    from sgforge_eval.plots.charts import Bin, Curve, plot_curves, plot_recall, plot_reliability

    about = f"{report.metric}, convention {report.convention}"
    if args.chart == "predicates":
        plot_recall(report, args.plot)
    elif args.chart == "curve":
        found = recall_curves(outcome.scorer.table(), outcome.measure)
        if not found:
            raise ConfigError(f"convention {report.convention} cuts nothing at K, so there is no curve")
        curves = [
            Curve(name, tuple(range(1, len(values) + 1)), tuple(values.tolist())) for name, values in found.items()
        ]
        plot_curves(f"{about}: recall over K", curves, args.plot)
    else:
        rows = reliability(outcome.scorer.triplets).tolist()
        plot_reliability(
            f"{about}: listed triplets", [Bin(score, right, int(n)) for score, right, n in rows], args.plot
        )


def _run_cost(args: argparse.Namespace) -> None:
    from sgforge_eval.plots.canvas import check_plot
    from sgforge_eval.plots.charts import Point, plot_cost

    (path,) = _paths(args, ("POINTS",))
    if args.plot is None:
        raise ConfigError("--chart cost draws a file: give --plot FILE")
    check_plot(args.plot)
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        points = [Point(str(row["name"]), 0.0 + row["cost"], 0.0 + row["recall"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f'{path} must be a JSON list of {{"name": text, "cost": dollars, "recall": fraction}}'
        ) from None
    plot_cost("recall against cost", points, args.plot)


def _settings(args: argparse.Namespace) -> Any:
    from sgforge_eval.evaluate import Settings
    from sgforge_eval.vocabulary_files import read_names

    return Settings(
        metric=args.metric,
        convention=args.convention,
        k=_cuts(args.k),
        localization=args.localization,
        predicates=None if args.predicates is None else read_names(args.predicates, "predicates"),
        labels=None if args.labels is None else read_names(args.labels, "labels"),
        zero_shot=args.zero_shot,
        in_order=args.in_order,
        detection=args.detection,
        entail=args.match == "entail",
        seen=args.seen,
    )


def _vocabulary(args: argparse.Namespace, settings: Any, truth: str) -> Any:
    from sgforge.labels import encoder_named
    from sgforge_eval.evaluate import Vocabulary
    from sgforge_eval.vocabulary_files import read_aliases

    if args.match in ("strict", "entail"):
        if args.aliases is not None or args.threshold is not None:
            raise ConfigError("--aliases needs --match exact, lemma or similarity; --threshold needs similarity")
        return None
    return Vocabulary.mapped(
        settings,
        truth,
        matching=args.match,
        aliases=None if args.aliases is None else read_aliases(args.aliases),
        encoder=encoder_named(args.encoder) if args.match == "similarity" else None,
        threshold=args.threshold,
    )


def _run_comparison(args: argparse.Namespace) -> None:
    from sgforge.tables import render
    from sgforge_eval.compare import compare, comparison_json, comparison_tables

    first, second, truth = _paths(args, ("A", "B", "GROUND_TRUTH"))
    settings = _settings(args)
    draws = 1000 if args.bootstrap is None else args.bootstrap
    if draws < 1:
        raise ConfigError("--compare needs at least one resample: leave out --bootstrap, or give more than 0")
    words = _vocabulary(args, settings, truth)
    comparison = compare(first, second, truth, settings, draws=draws, vocabulary=words)
    if args.json:
        _print_json(comparison_json(comparison, args.metric, args.localization))
        return
    print(render(comparison_tables(comparison), args.format))
    _print_notes(args, comparison.notes)


def _run_suite(args: argparse.Namespace) -> None:
    from sgforge_eval.measures.bootstrap import checked_draws
    from sgforge_eval.suites import run_suite

    (folder,) = _paths(args, ("FOLDER",))
    draws = checked_draws(1000 if args.bootstrap is None else args.bootstrap)
    report = run_suite(args.suite, Path(folder), draws=draws, encoder="" if args.encoder == "none" else args.encoder)
    _print_report(args, report, "none", ("interval",))


def _run_task(args: argparse.Namespace) -> None:
    from sgforge_eval.measures.bootstrap import checked_draws
    from sgforge_eval.tasks.units import with_intervals

    if args.compare:
        _compare_answers(args)
        return
    draws = checked_draws(args.bootstrap or 0)
    task, answers = _task_and_answers(args)
    report = task.evaluate(answers)
    if draws:
        report = with_intervals(report, answers, draws)
    _print_report(args, report, "none", tuple(report.tables))


def _compare_answers(args: argparse.Namespace) -> None:
    from sgforge.tables import Table, render
    from sgforge_eval.tasks import task_named
    from sgforge_eval.tasks.base import Predictions
    from sgforge_eval.tasks.options import task_options
    from sgforge_eval.tasks.units import compare_answers

    first, second, questions = _paths(args, ("A", "B", "GROUND_TRUTH"))
    kind = task_named(args.metric, also=MODES)
    task = kind(task_options(kind.options, args.metric, Path(questions), args.set))
    draws = 1000 if args.bootstrap is None else args.bootstrap
    if draws < 1:
        raise ConfigError("--compare needs at least one resample: leave out --bootstrap, or give more than 0")
    rows, reports = compare_answers(task, Predictions.read(Path(first)), Predictions.read(Path(second)), draws)
    if args.json:
        found = {
            row.metric: {
                "a": row.first,
                "b": row.second,
                "difference": row.second - row.first,
                "low": row.low,
                "high": row.high,
            }
            for row in rows
        }
        _print_json({"metric": args.metric, "convention": reports["A"].convention, "draws": draws, "values": found})
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
    _print_notes(args, [f"{side}: {note}" for side, report in reports.items() for note in report.notes])


def _task_and_answers(args: argparse.Namespace) -> tuple[Any, Any]:
    from sgforge_eval.tasks import task_named
    from sgforge_eval.tasks.base import Predictions
    from sgforge_eval.tasks.options import task_options

    kind = task_named(args.metric, also=MODES)
    names = ("GROUND_TRUTH",) if args.ask else ("PREDICTIONS", "GROUND_TRUTH")
    *predictions, truth = _paths(args, names)
    task = kind(task_options(kind.options, args.metric, Path(truth), args.set))
    if args.ask:
        from sgforge_eval.tasks.ask import Asking, ask_task

        asking = Asking(
            model=args.ask,
            images=args.images,
            graphs=args.graphs,
            checkpoint=args.checkpoint,
            responses=args.responses,
            budget_usd=args.budget,
            base_url=args.base_url,
        )
        answers = ask_task(task, asking, args.output)
    else:
        answers = Predictions.read(Path(predictions[0]))
    return task, answers


def _print_report(args: argparse.Namespace, report: Report, localization: str, details: Sequence[str]) -> None:
    from sgforge.tables import render, report_remarks, report_tables
    from sgforge_eval.report import report_json

    if args.json:
        _print_json(report_json(report, localization))
        return
    print(render(report_tables(report, details=details), args.format))
    _print_notes(args, report_remarks(report, "image or question", "images or questions"))


def _print_notes(args: argparse.Namespace, notes: Sequence[str]) -> None:
    # CSV goes to a program: what is for people must not stand between its rows.
    stream = sys.stderr if args.format == "csv" else sys.stdout
    for note in notes:
        print(visible(note), file=stream)


def _print_json(value: Mapping[str, Any]) -> None:
    print(json.dumps(value, allow_nan=False))
