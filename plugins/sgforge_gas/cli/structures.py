"""`sgforge gas structures`: how many structures there are."""

from __future__ import annotations

import argparse

from sgforge.cli.terminal import json_text
from sgforge.errors import ConfigError
from sgforge.tables import Table, render
from sgforge_gas.cli.arguments import add_bounds, whole
from sgforge_gas.structures import Constraints, Span, table
from sgforge_gas.structures.cores import Kind

__all__ = ["configure", "run"]

_MOST = 18
_EXAMPLES = """\
examples:
  sgforge gas structures --complexity 12
  sgforge gas structures --complexity 12 --components 1 --max-degree 3 --json
  sgforge gas structures --complexity 8 --cycles"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--complexity", metavar="N", type=whole, required=True, help="objects + relations + attributes")
    add_bounds(parser, without=("complexity",))
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the counts by objects, relations and attributes."""
    kind = Kind(args.cycles, args.parallel)
    if not 1 <= args.complexity <= _MOST:
        raise ConfigError(f"--complexity {args.complexity}: structures are counted from complexity 1 to {_MOST}")
    constraints = Constraints(
        complexity=Span(args.complexity, args.complexity),
        max_degree=args.max_degree,
        **{
            name: Span.of(getattr(args, name), f"--{name}")
            for name in ("objects", "relations", "attributes", "components", "average_degree")
        },
    )
    constraints.sizes(kind)  # names the bounds that nothing can keep
    counts = table(kind).counts(args.complexity, constraints)
    rows = [{"objects": n, "relations": r, "attributes": a, "structures": count} for (n, r, a), count in counts.items()]
    total = sum(counts.values())
    if args.json:
        print(json_text({"complexity": args.complexity, "structures": total, "counts": rows}))
        return 0
    noun = "structure" if total == 1 else "structures"
    print(f"{total:,} {noun} of complexity {args.complexity}")
    columns = ("objects", "relations", "attributes", "structures")
    print(render([Table("structures", columns, tuple(tuple(row.values()) for row in rows))], "terminal"))
    return 0
