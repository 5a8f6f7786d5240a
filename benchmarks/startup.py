"""Start-up: `sgforge --help` against a bare `python -c pass`, the least of several interleaved rounds.

Prints one JSON line; the bar is a ratio of at most 12, no heavy module imported and no plugin loaded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

HEAVY = ("numpy", "zarr", "PIL", "rich", "aiohttp", "torch", "transformers", "openai", "anthropic", "skimage", "attrs")
BARE = [sys.executable, "-c", "pass"]
HELP = [sys.executable, "-m", "sgforge", "--help"]
IMPORT = [sys.executable, "-c", "import sgforge"]
LIST_MODULES = """
import sys
from sgforge.cli.main import main
main(["--help"])
print("\\n" + " ".join(sorted(sys.modules)))
"""


def measure(command: list[str]) -> float:
    """Seconds that one run of a command takes."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--small", action="store_true", help="three rounds")
    args = parser.parse_args()
    least = {"bare": float("inf"), "help": float("inf"), "import": float("inf")}
    for _ in range(3 if args.small else args.rounds):
        for name, command in (("bare", BARE), ("help", HELP), ("import", IMPORT)):
            least[name] = min(least[name], measure(command))
    listed = subprocess.run([sys.executable, "-c", LIST_MODULES], check=True, capture_output=True, text=True)
    modules = set(listed.stdout.splitlines()[-1].split())
    print(
        json.dumps(
            {
                "benchmark": "startup",
                "help_over_bare": round(least["help"] / least["bare"], 2),
                "import_over_bare": round(least["import"] / least["bare"], 2),
                "bare_ms": round(least["bare"] * 1e3, 1),
                "help_ms": round(least["help"] * 1e3, 1),
                "heavy_modules": sorted(modules.intersection(HEAVY)),
                "plugins_loaded": sorted(name for name in modules if name.startswith("sgforge_")),
                "bar": 12,
            }
        )
    )


if __name__ == "__main__":
    main()
