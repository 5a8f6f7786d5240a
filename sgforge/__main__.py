"""`python -m sgforge` is the command `sgforge`."""

from __future__ import annotations

from sgforge.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
