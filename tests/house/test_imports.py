"""How many arrows run between the parts of a room: with rooms, one need not know all of its neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest
from house.imports import arrows, circle

ROOT = Path(__file__).parents[2]
ROOMS = {
    "sgforge.engine": (ROOT / "sgforge/engine", 101),
    "sgforge.models": (ROOT / "sgforge/models", 99),
    "sgforge.dataset": (ROOT / "sgforge/dataset", 65),
    "sgforge_eval": (ROOT / "plugins/sgforge_eval", 117),
}
"""The crowded rooms, each with its number when all of its modules lay side by side."""
MOST_TOGETHER = 191


def test_the_rooms_have_at_most_half_of_the_arrows_they_had_when_they_were_flat():
    counts = {package: len(arrows(room, package)) for package, (room, _) in ROOMS.items()}
    assert sum(counts.values()) <= MOST_TOGETHER, counts
    for package, (_, before) in ROOMS.items():
        assert counts[package] <= before, counts


@pytest.mark.parametrize("package", ROOMS)
def test_no_part_of_a_room_imports_another_in_a_circle(package):
    # The face of a package hands on names of what lies in it: no arrow of it leads anywhere.
    pairs = {pair for pair in arrows(ROOMS[package][0], package) if "" not in pair}
    assert circle(pairs) == []


def test_arrows_are_counted_by_sub_room(tmp_path):
    room = tmp_path / "room"
    (room / "inner").mkdir(parents=True)
    (room / "__init__.py").write_text("from room.a import x\n")
    (room / "a.py").write_text("import os\nfrom room.inner.b import y\nfrom room.inner import c\n")
    (room / "inner/__init__.py").write_text("")
    (room / "inner/b.py").write_text("from room.inner.c import z\n\n\ndef f():\n    from room import a\n")
    (room / "inner/c.py").write_text("")
    assert arrows(room, "room") == {("", "a"), ("a", "inner"), ("inner", "a")}
    assert circle(arrows(room, "room")) == ["a", "inner", "a"]
    assert circle({("a", "b"), ("b", "c"), ("a", "c")}) == []
