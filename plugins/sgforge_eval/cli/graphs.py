"""`sgforge eval` over scene graphs: recall, comparisons, charts, and names matched by a judge."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from sgforge.errors import ConfigError
from sgforge.stages import Report
from sgforge_eval.cli.printing import given_files, print_json, print_notes, print_report

__all__ = ["run_comparison", "run_cost", "run_recall"]

_PLACES: Final = ("per_distance", "per_size", "per_seen")


def _cuts(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--k {text!r} must be whole numbers with commas, such as 20,50,100") from None


def run_recall(args: argparse.Namespace) -> None:
    """Predicted graphs against true ones: tables, notes, a chart."""
    from sgforge_eval.evaluate import evaluate_graphs
    from sgforge_eval.measures.bootstrap import checked_draws
    from sgforge_eval.plots.canvas import check_plot
    from sgforge_eval.report import recall_report

    draws = checked_draws(args.bootstrap or 0)
    if args.plot is not None:
        check_plot(args.plot)
    predictions, truth = given_files(args, ("PREDICTIONS", "GROUND_TRUTH"))
    settings = _settings(args)
    outcome = evaluate_graphs(predictions, truth, settings, _vocabulary(args, settings, truth, [predictions]))
    report = recall_report(outcome, draws=draws)
    if args.plot is not None:
        _plot(args, outcome, report)
    details = ("per_category", *(("per_predicate",) if args.per_predicate else ()), *_PLACES, "per_class", "interval")
    print_report(args, report, args.localization, details)


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


def run_cost(args: argparse.Namespace) -> None:
    """A chart of recall over what it cost, from a JSON list of points."""
    from sgforge_eval.plots.canvas import check_plot
    from sgforge_eval.plots.charts import Point, plot_cost

    (path,) = given_files(args, ("POINTS",))
    if args.plot is None:
        raise ConfigError("--chart cost draws a file: give --plot FILE")
    check_plot(args.plot)
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        points = [Point(str(row["name"]), 0.0 + row["cost"], 0.0 + row["recall"]) for row in rows]
        known = all(math.isfinite(one.cost) and one.cost >= 0 and 0 <= one.recall <= 1 for one in points)
    except (OSError, ValueError, KeyError, TypeError):
        points, known = [], False
    if not points or not known:
        raise ConfigError(
            f'{path} must be a JSON list of {{"name": text, "cost": dollars, "recall": fraction}}, at least one'
        )
    plot_cost("recall against cost", points, args.plot)


def _settings(args: argparse.Namespace) -> Any:
    from sgforge.labels.name_files import read_names
    from sgforge_eval.evaluate import Settings

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


def _vocabulary(args: argparse.Namespace, settings: Any, truth: str, predictions: Sequence[str]) -> Any:
    from sgforge.labels import encoder_named
    from sgforge_eval.evaluate import Vocabulary
    from sgforge_eval.vocabulary_files import read_aliases

    if args.match in ("strict", "entail"):
        if args.aliases is not None or args.threshold is not None:
            raise ConfigError("--aliases needs --match exact, lemma or similarity; --threshold needs similarity")
        return None
    aliases = None if args.aliases is None else read_aliases(args.aliases)
    if args.match == "judge":
        return _judged(args, settings, truth, predictions, aliases)
    return Vocabulary.mapped(
        settings,
        truth,
        matching=args.match,
        aliases=aliases,
        encoder=encoder_named(args.encoder) if args.match == "similarity" else None,
        threshold=args.threshold,
    )


def _judged(
    args: argparse.Namespace, settings: Any, truth: str, predictions: Sequence[str], aliases: Mapping[str, str] | None
) -> Any:
    """Names matched by the verdicts of a file; with --judge those that it lacks are asked for and kept there."""
    from sgforge_eval.evaluate import Vocabulary
    from sgforge_eval.tasks.ask import Asking
    from sgforge_eval.tasks.judging import judge_names
    from sgforge_eval.vocabulary_files import Verdict, read_verdicts, vocabulary_digest, write_verdicts

    if args.verdicts is None:
        raise ConfigError("--match judge keeps what was said of names: give --verdicts FILE, and --judge MODEL to ask")
    kept = read_verdicts(args.verdicts)
    if not kept and args.judge is None:
        raise ConfigError(f"verdicts file {args.verdicts} holds no verdict: name a model to ask with --judge")
    words = Vocabulary.mapped(settings, truth, matching="exact", aliases=aliases, verdicts=kept)
    if args.judge is None:
        return words
    asking = Asking(model=args.judge, responses=args.responses, budget_usd=args.budget, base_url=args.base_url)
    fresh = []
    lacking = [words.unjudged(path) for path in predictions]
    for kind, vocabulary in (("labels", words.labels.names), ("predicates", words.predicates.names)):
        names = sorted({name for found in lacking for name in found[kind]})
        said = judge_names(names, vocabulary, kind, asking)
        among = vocabulary_digest(vocabulary)
        fresh += [
            Verdict(kind=kind, name=name, means=means, among=among, judge=args.judge) for name, means in said.items()
        ]
    write_verdicts(args.verdicts, (*kept, *fresh))
    known = attrs.evolve(settings, labels=words.labels.names, predicates=words.predicates.names)
    return Vocabulary.mapped(known, truth, matching="exact", aliases=aliases, verdicts=(*kept, *fresh))


def run_comparison(args: argparse.Namespace) -> None:
    """Two predictions of the same images against one truth."""
    from sgforge.tables import render
    from sgforge_eval.compare import compare, comparison_json, comparison_tables

    first, second, truth = given_files(args, ("A", "B", "GROUND_TRUTH"))
    settings = _settings(args)
    draws = 1000 if args.bootstrap is None else args.bootstrap
    if draws < 1:
        raise ConfigError("--compare needs at least one resample: leave out --bootstrap, or give more than 0")
    words = _vocabulary(args, settings, truth, [first, second])
    comparison = compare(first, second, truth, settings, draws=draws, vocabulary=words)
    if args.json:
        print_json(comparison_json(comparison, args.metric, args.localization))
        return
    print(render(comparison_tables(comparison), args.format))
    print_notes(args, comparison.notes)
