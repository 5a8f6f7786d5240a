"""`sgforge run CONFIG`: run a pipeline; what is done already is not done again."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
from typing import TYPE_CHECKING, Any

from sgforge.cli.preview import add_preview, show_preview
from sgforge.cli.requests import add_config_arguments, add_retry, add_yes, build_request
from sgforge.cli.spent import as_json, ledger_of, lines

if TYPE_CHECKING:
    from sgforge.engine.reporting.report import RunReport

_EXAMPLES = """\
examples:
  sgforge run pipeline.toml
  sgforge run pipeline.toml --preview 5                       look at prompts, answers and edits of five images first
  sgforge run pipeline.toml --limit 20                        at most 20 images of each source
  sgforge run pipeline.toml --set step.complete.model=anthropic/claude-sonnet-5-5
  sgforge run pipeline.toml --root coco=/data/coco --json

Ctrl-C finishes what is in flight and prints the command that goes on; a second Ctrl-C cancels.
exit codes: 0 done, 1 failed, 2 usage or config, 3 budget reached, 4 finished with failed images, 130 interrupted"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add_config_arguments(
        parser, _EXAMPLES, of_limit="; a branch with more images is not moved, unless --branch names it"
    )
    parser.add_argument("--branch", metavar="NAME", help="the branch to move at the end (default: the config's)")
    add_retry(parser)
    parser.add_argument(
        "--reread",
        action="store_true",
        help="read stored bodies of answers that were of no use once more, without a call",
    )
    add_yes(parser)
    add_preview(parser)
    parser.add_argument(
        "--verify-files",
        action="store_true",
        help="read all files of the sources, though size and time of change say that they are as they were",
    )


def run(args: argparse.Namespace) -> int:
    """Run the pipeline and say what it made."""
    from sgforge.engine.launch import run as run_pipeline
    from sgforge.engine.reporting.report import EXIT_CODES
    from sgforge.text.safe_text import visible

    request = build_request(args)
    if args.preview is not None or args.preview_to is not None:
        return show_preview(request, args)
    try:
        report = run_pipeline(request, progress=True, signals=(signal.SIGINT, signal.SIGTERM))
    except KeyboardInterrupt:  # the second: the first is answered with a report
        _say_how_to_go_on("cancelled; what was committed is kept, a call under way may have been paid for", args)
        return EXIT_CODES["interrupted"]
    ledger = ledger_of(request.responses or request.dataset / "responses.sqlite")
    if args.json:
        print(json.dumps({**_as_json(report), "spent": as_json(ledger)}))
    elif report.steps:  # none if it was stopped while the sources were read
        print("\n".join([str(report), *lines(ledger)]))
    if report.status in ("interrupted", "budget"):
        why = visible(report.message) if report.status == "budget" else "stopped; everything finished is kept"
        _say_how_to_go_on(why, args)
    return report.exit_code


def _say_how_to_go_on(why: str, args: argparse.Namespace) -> None:
    words = ["sgforge", "run", args.config]
    for flag, values in (("--set", args.overrides), ("--root", args.roots)):
        words += [word for value in values for word in (flag, value)]
    words += [] if args.limit is None else ["--limit", str(args.limit)]
    words += [] if args.branch is None else ["--branch", args.branch]
    words += [] if args.executor is None else ["--executor", args.executor]
    words += ["--retry-failed"] if args.retry_failed else []
    words += ["--reread"] if args.reread else []
    words += ["--yes"] if args.yes else []
    words += ["--verify-files"] if args.verify_files else []
    print(f"sgforge: {why}; go on with: {shlex.join(words)}", file=sys.stderr)


def _as_json(report: RunReport) -> dict[str, Any]:
    return {
        "run": report.run_id,
        "status": report.status,
        "exit_code": report.exit_code,
        "dataset": str(report.dataset),
        "branch": report.branch,
        "snapshot": report.snapshot,
        "seconds": round(report.seconds, 3),
        "message": report.message,
        "failures": [
            {"step": one.step, "image": one.image_id, "reason": one.reason, "detail": one.detail}
            for one in report.failures
        ],
        "steps": {
            step.name: {
                **step.counts.as_json(),
                "reasons": dict(step.reasons),
                "notes": list(step.notes),
                "status": step.status,
                "snapshot": step.snapshot,
                **({"values": dict(step.report.values)} if step.report is not None else {}),
                **({"checkpoint": step.checkpoint.sha256} if step.checkpoint is not None else {}),
            }
            for step in report.steps
        },
    }
