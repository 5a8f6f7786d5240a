"""What `sgforge import SOURCE FILE... DATASET` does: a run of that source alone, with its progress and counts."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Sequence

from sgforge.cli.export import options_given

__all__ = ["import_from_source"]


def import_from_source(args: argparse.Namespace, name: str, files: Sequence[str], dataset: str) -> int:
    """Read the files by the source of that name into the dataset, and say what was read and left out."""
    from sgforge.config import source_options
    from sgforge.engine.launch import run as run_pipeline
    from sgforge.pipeline import Pipeline, source
    from sgforge.plugins import load_plugins

    component = load_plugins().lookup("source", name)
    options = {**source_options(component, files, args.images), **options_given(args.options)}
    request = Pipeline().request(source(name, **options), dataset, limit=args.limit, branch=args.branch or "main")
    report = run_pipeline(request, progress=True, signals=(signal.SIGINT, signal.SIGTERM))
    if args.json:
        (step,) = report.steps
        counts = {**step.counts.as_json(), "reasons": dict(step.reasons), "notes": list(step.notes)}
        print(json.dumps({"snapshot": report.snapshot, "branch": report.branch, "source": name, "counts": counts}))
    elif report.steps:
        print(str(report))
    return report.exit_code
