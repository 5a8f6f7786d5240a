"""`sgforge stats DATASET[@ref]`: counts, densities, categories, verdicts by step and reason.

`--quality` prints the report of the command `quality`, which a plugin registers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from sgforge.cli.terminal import json_text
from sgforge.dataset import Dataset
from sgforge.dataset.folder import split_ref
from sgforge.dataset.queries.statistics import Effect, Stats
from sgforge.errors import ConfigError
from sgforge.plugins import load_plugins
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

_EXAMPLES = """\
examples:
  sgforge stats runs/first             branch main
  sgforge stats runs/first@round-1     a tagged version
  sgforge stats runs/first --quality   density, long tail, contradictions, agreement, duplicates
  sgforge stats runs/first --json      for machines"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET[@ref]", help="a dataset's folder, and a branch, tag or snapshot id")
    parser.add_argument("--quality", action="store_true", help="report the quality of the graphs instead")
    parser.add_argument("--labelled", type=Path, metavar="FILE", help="with --quality: relations that people judged")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the counts, or the quality report."""
    if args.quality:
        code: int = load_plugins().lookup("command", "quality").build().run(args)
        return code
    if args.labelled is not None:
        raise ConfigError("--labelled needs --quality")
    path, ref = split_ref(args.dataset)
    stats = Dataset.open(path, ref).stats()
    print(json_text(attrs.asdict(stats)) if args.json else "\n".join(_lines(stats)))
    return 0


def _lines(stats: Stats) -> Iterator[str]:
    yield f"images        {stats.images}{_marks('failed', stats.failed)}{_marks('dropped', stats.dropped)}"
    yield (
        f"regions       {stats.regions} kept, {stats.regions_rejected} rejected; {stats.regions_per_image:.1f} an image"
    )
    yield (
        f"              {counted(stats.labels, 'label')}, {stats.regions_with_mask} with a mask, "
        f"{stats.regions_with_description} with a description"
    )
    yield (
        f"relations     {stats.relations} kept, {stats.relations_rejected} rejected; "
        f"{stats.relations_per_image:.1f} an image, {stats.relations_per_region:.2f} a region"
    )
    yield (
        f"              {counted(stats.predicates, 'predicate')}, {stats.predicates_per_region:.2f} a subject; "
        f"{100 * stats.density:.2f} % of all region pairs"
    )
    shares = [f"{name} {_percent(count, stats.relations)}" for name, count in stats.categories.items() if count]
    yield f"categories    {', '.join(shares) or 'none'}"
    for table in ("region", "relation"):
        for step, count in stats.made_by[table].items():
            yield f"made by       {visible(step)}: {counted(count, table)}"
        for step, reasons in stats.verdicts[table].items():
            listed = ", ".join(f"{visible(reason)} {count}" for reason, count in reasons.items())
            yield f"rejected by   {visible(step)}: {listed} ({table}s)"
    for table, columns in stats.values.items():
        yield f"values        {', '.join(f'{visible(name)} {count}' for name, count in columns.items())} ({table}s)"
    for effect in stats.filters:
        yield from _effect_lines(effect)


def _effect_lines(effect: Effect) -> Iterator[str]:
    """A small table: the figures before a judging step and after it."""
    before, after = effect.before, effect.after
    yield f"filter        {visible(effect.step):<24}{'before':>10}{'after':>10}"
    yield f"              {'relations':<24}{before.relations:>10}{after.relations:>10}"
    for words, old, new in (
        ("regions an image", before.regions_per_image, after.regions_per_image),
        ("relations an image", before.relations_per_image, after.relations_per_image),
        ("relations a region", before.relations_per_region, after.relations_per_region),
        ("predicates a subject", before.predicates_per_region, after.predicates_per_region),
    ):
        yield f"              {words:<24}{old:>10.2f}{new:>10.2f}"
    for name, share in before.categories.items():
        if share or after.categories[name]:
            yield f"              {name:<24}{100 * share:>8.1f} %{100 * after.categories[name]:>8.1f} %"


def _marks(what: str, reasons: Mapping[str, int]) -> str:
    listed = ", ".join(f"{visible(reason)} {count}" for reason, count in reasons.items())
    return f"; {what}: {listed}" if listed else ""


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else "-"
