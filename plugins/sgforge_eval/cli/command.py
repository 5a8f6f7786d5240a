"""`sgforge eval`: score predictions against ground truth, or compare two predictions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from sgforge.errors import ConfigError
from sgforge_eval.cli.answers import run_suite_of, run_task
from sgforge_eval.cli.graphs import run_comparison, run_cost, run_recall
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
  sgforge eval predictions.jsonl truth.jsonl --match judge --judge openai/gpt-6.2-sol --verdicts verdicts.jsonl
  sgforge eval predictions.jsonl truth.jsonl --match judge --verdicts verdicts.jsonl
  sgforge eval answers.jsonl vsr_test.jsonl --metric vsr
  sgforge eval boxes.jsonl "refs(unc).p" --metric refcoco --set instances=instances.json --set split=testA
  sgforge eval --compare old.jsonl new.jsonl vsr_test.jsonl --metric vsr
  sgforge eval --suite svg-table3 results/table3 --format markdown
  sgforge eval --ask openai/gpt-6.2-sol sugarcrepe.json --metric sugarcrepe --images val2017
  sgforge eval --ask openai/gpt-6.2-sol questions.json --metric vqa --set annotations=answers.json --graphs runs/svg
  sgforge eval --ask openai/gpt-6.2-sol questions.json --metric gqa --graphs given=vg.jsonl --graphs edited=runs/edit \
    --graphs completed=runs/svg --graphs both=runs/both

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
        "judge",
        "verdicts",
    ),
    *("encoder", "threshold", "per_predicate", "plot", "chart"),
)
_ASKING: Final = ("images", "graphs", "checkpoint", "output")
_PAYING: Final = ("responses", "budget", "base_url")


class EvalCommand:
    """Score predictions against ground truth."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments."""
        parser.epilog = _EPILOG
        for add in (_add_counting, _add_matching, _add_asking, _add_printing):
            add(parser)

    def run(self, args: argparse.Namespace) -> int:
        """Score, and print."""
        self._refuse_idle(args)
        if args.suite is not None:
            run_suite_of(args)
        elif args.chart == "cost":
            run_cost(args)
        elif args.metric not in MODES:
            run_task(args)
        elif args.compare:
            run_comparison(args)
        else:
            run_recall(args)
        return 0

    def _refuse_idle(self, args: argparse.Namespace) -> None:
        """Options that would change nothing are errors: a number must not look as if they had."""
        parser = argparse.ArgumentParser()
        self.configure(parser)
        is_task = args.metric not in MODES
        idle = [(name, f"not with {args.metric}") for name in (_RECALL if is_task else ("set", "ask"))]
        idle += [(name, "only with --ask") for name in _ASKING if not (is_task and args.ask)]
        idle += [(name, "only with --ask or --judge") for name in _PAYING if not (args.judge or (is_task and args.ask))]
        idle += [(name, "only with --match judge") for name in ("judge", "verdicts") if args.match != "judge"]
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


def _add_counting(parser: argparse.ArgumentParser) -> None:
    """What is scored, and how it is counted."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="PREDICTIONS GROUND_TRUTH")
    parser.add_argument("--metric", default="sgdet", help="sgdet, sgcls, predcls, or a task (default: sgdet)")
    parser.add_argument("--convention", default="sgforge", help="named way of counting (default: sgforge)")
    parser.add_argument("--k", default="20,50,100", help="cuts of the ranking (default: 20,50,100)")
    parser.add_argument("--localization", default="box", choices=("box", "mask"))
    parser.add_argument("--predicates", type=Path, metavar="FILE", help="vocabulary, one a line (default: the truth's)")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="closed set of region labels, one a line")
    parser.add_argument("--zero-shot", type=Path, metavar="FILE", help="triplets never trained on")
    parser.add_argument("--seen", type=Path, metavar="FILE", help="names seen in training, for recall of unseen ones")
    parser.add_argument("--detection", action="store_true", help="also AP of regions at IoU 0.5 to 0.95, per label")
    parser.add_argument("--in-order", action="store_true", help="rank predictions as listed, not by score")


def _add_matching(parser: argparse.ArgumentParser) -> None:
    """How predicted names are matched."""
    parser.add_argument(
        "--match",
        default="strict",
        choices=("strict", "exact", "lemma", "similarity", "entail", "judge"),
        help="how far a predicted name may be from the vocabulary (default: strict)",
    )
    parser.add_argument("--aliases", type=Path, metavar="FILE", help='JSON {"further name": "name"}')
    parser.add_argument("--encoder", default="minilm", help="minilm, or module:callable (default: minilm)")
    parser.add_argument("--threshold", type=float, help="least cosine of a match by similarity")
    parser.add_argument("--judge", metavar="MODEL", help="with --match judge: provider/model to ask for verdicts")
    parser.add_argument(
        "--verdicts", type=Path, metavar="FILE", help="with --match judge: what was said of names, kept and read"
    )


def _add_asking(parser: argparse.ArgumentParser) -> None:
    """Tasks: their options, and whom to ask."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of a task")
    parser.add_argument("--ask", metavar="MODEL", help="ask provider/model or student:NAME instead of a file")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="with --ask: where the task's images are")
    parser.add_argument(
        "--graphs",
        action="append",
        default=[],
        metavar="GRAPHS",
        help="with --ask: scene graphs in place of the images; several as NAME=GRAPHS are compared",
    )
    parser.add_argument(
        "--responses", type=Path, default=Path("responses.sqlite"), help="with --ask, --judge: paid answers"
    )
    parser.add_argument("--budget", type=float, metavar="USD", help="with --ask, --judge: the most all may cost")
    parser.add_argument("--base-url", metavar="URL", help="with --ask, --judge: another server than the vendor's")
    parser.add_argument("--checkpoint", type=Path, metavar="FOLDER", help="with --ask student:NAME: its weights")
    parser.add_argument("--output", type=Path, metavar="FILE", help="with --ask: where the answers go")


def _add_printing(parser: argparse.ArgumentParser) -> None:
    """What is compared and printed."""
    parser.add_argument("--bootstrap", type=int, metavar="N", help="resamples for intervals (--compare: 1000)")
    parser.add_argument("--compare", action="store_true", help="A B GROUND_TRUTH: paired difference of B and A")
    parser.add_argument("--per-predicate", action="store_true", help="also a table per predicate (--json always)")
    parser.add_argument("--suite", metavar="TABLE", help="score a folder of files as a row of svg-table2 to svg-table5")
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
