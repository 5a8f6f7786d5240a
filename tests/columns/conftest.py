from __future__ import annotations

from engine_fixtures import tmp_path

__all__ = ["tmp_path"]
