from __future__ import annotations

from engine_fixtures import toys, toys_everywhere

__all__ = ["toys", "toys_everywhere"]
