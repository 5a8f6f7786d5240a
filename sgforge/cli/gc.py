"""`sgforge gc DATASET`: remove versions, step folders and made files that nothing needs any more."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sgforge.cli.terminal import json_text, sized
from sgforge.dataset import DatasetWriter
from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.maintenance.gc import KEEP_DAYS, GcPlan, collect, plan_gc
from sgforge.dataset.maintenance.step_folders import StepFolder
from sgforge.errors import ConfigError
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

_EXAMPLES = """\
Kept is every version that a branch or tag leads to, with all that it came from, and what is younger than --keep-days;
also what a reader has open, what unpublished answers were made from, and what an unfinished training reads. Step
folders and made files stay as long as something kept names them. Paid answers of models are never touched.

examples:
  sgforge gc runs/first --dry-run                show what would go
  sgforge gc runs/first                          show it, ask, remove it
  sgforge gc runs/first --keep-days 0 --yes      keep what has a name, and nothing for its age alone
  sgforge gc runs/first --checkpoints            trained weights that nothing kept uses go too"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET", help="a dataset's folder")
    parser.add_argument(
        "--keep-days", type=float, default=KEEP_DAYS, metavar="N", help=f"what is younger stays (default {KEEP_DAYS:g})"
    )
    parser.add_argument(
        "--checkpoints", action="store_true", help="trained weights, and unfinished trainings, may go too"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would go, remove nothing")
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    parser.add_argument("--json", action="store_true", help="print JSON; it does not ask")


def run(args: argparse.Namespace) -> int:
    """Show what would go, ask, and remove it."""
    how: dict[str, Any] = {"keep_days": args.keep_days, "checkpoints": args.checkpoints}
    asks = not (args.yes or args.dry_run)
    DatasetFolder.open(args.dataset)
    if asks and (args.json or not (sys.stdin.isatty() and sys.stderr.isatty())):
        raise ConfigError("nothing was removed: without a terminal to ask in, say --yes, or --dry-run to look at it")
    shown = plan_gc(args.dataset, **how)
    if not args.json:
        print("\n".join(_lines(shown, args.checkpoints)), flush=True)
    if args.dry_run or (asks and (shown.is_empty or not _is_wanted())):
        _tell(args, shown, None)
        return 0
    with DatasetWriter.open(args.dataset) as writer:
        # Once more, now that nobody else writes: what was not shown, or has got a name meanwhile, stays.
        done = collect(writer, plan_gc(args.dataset, **how).within(shown))
    _tell(args, shown, done)
    return 0


def _is_wanted() -> bool:
    sys.stderr.write("sgforge: remove these for good? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _tell(args: argparse.Namespace, shown: GcPlan, done: GcPlan | None) -> None:
    if args.json:
        print(json_text(_as_json(shown if done is None else done, is_removed=done is not None)))
    elif done is None:
        print("nothing was removed")
    else:
        if len(done.versions) < len(shown.versions):
            print(f"{counted(len(shown.versions) - len(done.versions), 'version')} stayed: in use, or named by now")
        print(f"removed {_what(done)}; {_freed(shown, done)}")


def _freed(shown: GcPlan, done: GcPlan) -> str:
    return f"{sized(done.bytes)} freed" if done.versions == shown.versions else f"at most {sized(done.bytes)} freed"


def _what(plan: GcPlan) -> str:
    counts = (("version", plan.versions), ("step folder", plan.folders), ("made file", plan.files))
    return ", ".join(counted(len(some), name) for name, some in counts)


def _lines(plan: GcPlan, checkpoints: bool) -> Iterator[str]:
    for version in plan.versions:
        name = visible(version.step) or "damaged"
        yield f"version {version.snapshot_id[:12]}  {name}  {_age(version.created)}"
    yield from map(_folder_line, plan.folders)
    kept = ", ".join(f"{count} by {why}" for why, count in plan.kept.items()) or "none"
    yield f"unused: {_what(plan)}, {sized(plan.bytes)}; versions kept: {kept}"
    if plan.held:
        yield f"{counted(len(plan.held), 'training')}, {sized(plan.held_bytes)}, that nothing kept uses stay:"
        yield from (f"  {_folder_line(folder)}" for folder in plan.held)
        yield "  --checkpoints lets them go too"
    yield from (f"note: {visible(note)}" for note in plan.notes)


def _folder_line(folder: StepFolder) -> str:
    name = visible(", ".join(folder.steps))
    return f"{folder.kind} {folder.fingerprint[:12]}  {name}  {sized(folder.bytes)}  {_age(folder.changed)}"


def _age(moment: datetime) -> str:
    days = (datetime.now(UTC) - moment).total_seconds() / 86400
    return f"{counted(int(days), 'day')} old"


def _as_json(plan: GcPlan, *, is_removed: bool) -> dict[str, Any]:
    return {
        "removed": is_removed,
        "versions": [
            {"snapshot": each.snapshot_id, "step": each.step, "created": each.created.isoformat(timespec="seconds")}
            for each in plan.versions
        ],
        "folders": [_folder_json(folder) for folder in plan.folders],
        "files": [path.name for path in plan.files],
        "bytes": plan.bytes,
        "kept": plan.kept,
        "held": [_folder_json(folder) for folder in plan.held],
        "notes": plan.notes,
    }


def _folder_json(folder: StepFolder) -> dict[str, Any]:
    return {
        "folder": folder.fingerprint,
        "kind": folder.kind,
        "steps": folder.steps,
        "bytes": folder.bytes,
        "changed": folder.changed.isoformat(timespec="seconds"),
    }
