from __future__ import annotations

from engine_fixtures import tmp_path, toys, toys_everywhere

__all__ = ["tmp_path", "toys", "toys_everywhere"]
