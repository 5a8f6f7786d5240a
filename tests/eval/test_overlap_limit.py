"""The limit of overlap: what 0.5 exactly counts for in each convention, with boxes worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eval.graphs import line, region, relation, write

from sgforge.cli.main import main

# A cup of 10 by 10 pixels, found with its full width and so much of its height; the table is found as it is. Where a
# pixel more is counted on each side, 9 stands for 10 pixels and 4 for 5 of them.
PLAIN = {"below": 4.99, "half": 5.0, "above": 5.01}
ONE_MORE = {"below": 3.99, "half": 4.0, "above": 4.01}
REACHED = {"below": 0.0, "half": 1.0, "above": 1.0}
EXCEEDED = {"below": 0.0, "half": 0.0, "above": 1.0}


@pytest.mark.parametrize("at", ["below", "half", "above"])
@pytest.mark.parametrize(
    ("convention", "side", "heights", "expected"),
    [
        ("sgforge", 10, PLAIN, REACHED),
        ("openpsg", 10, PLAIN, REACHED),
        ("asmv2", 10, PLAIN, REACHED),
        ("svg", 10, PLAIN, EXCEEDED),
        ("sgb", 9, ONE_MORE, REACHED),
    ],
)
def test_an_overlap_of_exactly_a_half(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    convention: str,
    side: int,
    heights: dict[str, float],
    expected: dict[str, float],
    at: str,
) -> None:
    table, on = region("table", [0, 40, 60, 60]), [relation(0, "on", 1, score=1.0)]
    truth = write(tmp_path / "truth.jsonl", line("a", [region("cup", [0, 0, side, side]), table], on))
    said = write(tmp_path / "said.jsonl", line("a", [region("cup", [0, 0, side, heights[at]]), table], on))
    assert main(["eval", str(said), str(truth), "--convention", convention, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)["values"]
    found = {value for name, value in values.items() if name.partition("@")[0] in ("R", "recall")}
    assert found == {expected[at]}, values
