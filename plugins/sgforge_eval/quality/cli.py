"""`sgforge quality`: the data-quality report; `sgforge stats --quality` prints the same."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sgforge.text.safe_text import visible

__all__ = ["QualityCommand"]


class QualityCommand:
    """Report the quality of a dataset's graphs."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments."""
        parser.epilog = "example:\n  sgforge quality runs/svg@main --labelled judged.jsonl"
        parser.add_argument("dataset", help="a dataset (folder or folder@ref) or a graph JSONL file")
        parser.add_argument(
            "--labelled",
            type=Path,
            metavar="FILE",
            help='JSONL {"image_id", "relation", "correct"}: precision with its interval',
        )
        parser.add_argument("--top", type=int, default=20, help="rows shown of each table (default: 20)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def run(self, args: argparse.Namespace) -> int:
        """Print the report of `args.dataset`."""
        import attrs

        from sgforge.tables import render, report_tables
        from sgforge_eval.quality import quality, read_judgements

        labelled = getattr(args, "labelled", None)
        report = quality(args.dataset, read_judgements(labelled) if labelled is not None else ())
        if args.json:
            tables = {name: list(rows) for name, rows in report.tables.items()}
            images = {"used": report.images_used, "skipped": dict(report.images_skipped)}
            value = {"images": images, "values": dict(report.values), **tables, "notes": report.notes}
            print(json.dumps(value, allow_nan=False))
            return 0
        top = getattr(args, "top", 20)
        shown = {name: rows[:top] for name, rows in report.tables.items()}
        tables_text = report_tables(attrs.evolve(report, tables=shown), details=shown)
        print(render(tables_text, "terminal"))
        skipped = (f"skipped: {count} x image {reason}" for reason, count in report.images_skipped.items())
        for note in (*skipped, *report.notes):
            print(visible(note))
        return 0
