"""Charts as SVG and PNG: what is drawn where, and that shades are told apart in grey."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from eval.graphs import line, relation, write
from PIL import Image

from sgforge.cli.main import main
from sgforge_eval.plots.canvas import SHADES, Canvas
from sgforge_eval.plots.charts import Bin, Curve, Point, plot_cost, plot_curves, plot_reliability

SVG = "{http://www.w3.org/2000/svg}"
ON = [relation(0, "on", 1, score=0.9), relation(2, "near", 1, score=0.4)]


def _texts(path: Path) -> set[str | None]:
    return {item.text for item in ElementTree.parse(path).getroot().iter(f"{SVG}text")}


@pytest.fixture
def files(tmp_path) -> tuple[str, str]:
    truth = write(tmp_path / "truth.jsonl", *(line(name, None, ON) for name in "abcd"))
    said = write(tmp_path / "said.jsonl", *(line(name, None, ON[: 1 + (name > "b")]) for name in "abcd"))
    return str(said), str(truth)


@pytest.mark.parametrize("chart", ["predicates", "curve", "reliability"])
@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_every_chart_of_an_evaluation(files, tmp_path, chart, suffix) -> None:
    path = tmp_path / f"chart.{suffix}"
    assert main(["eval", *files, "--plot", str(path), "--chart", chart]) == 0
    if suffix == "svg":
        assert ElementTree.parse(path).getroot().tag == f"{SVG}svg"
        wanted = {"predicates": "near", "curve": "recall", "reliability": "score"}[chart]
        assert wanted in _texts(path)
    else:
        assert (np.asarray(Image.open(path)) < 200).any()


def test_a_curve_goes_through_its_values(tmp_path) -> None:
    plot_curves(
        "t",
        [Curve("R@K", (1, 5, 10), (0.0, 0.5, 1.0)), Curve("ngR@K", (1, 5, 10), (0.2, 0.6, 1.0))],
        tmp_path / "c.svg",
    )
    lines = [item.get("points", "") for item in ElementTree.parse(tmp_path / "c.svg").getroot().iter(f"{SVG}polyline")]
    curves = [[tuple(map(float, pair.split(","))) for pair in text.split()] for text in lines if text.count(" ") == 2]
    own = curves[-2]
    assert own[0][1] > own[1][1] > own[2][1]  # upwards on the page
    assert own[1][1] == pytest.approx((own[0][1] + own[2][1]) / 2, abs=0.02)
    assert own[1][0] - own[0][0] == pytest.approx((own[2][0] - own[0][0]) * 4 / 9, abs=0.02)


def test_reliability_is_what_scores_promise_and_keep(files, tmp_path) -> None:
    # on (0.9): right in all four images; near (0.4): right in the two that list it.
    assert main(["eval", *files, "--plot", str(tmp_path / "r.svg"), "--chart", "reliability"]) == 0
    assert {"4", "2"} <= _texts(tmp_path / "r.svg")
    plot_reliability("t", [Bin(0.25, 0.25, 3)], tmp_path / "one.svg")
    plot_reliability("t", [], tmp_path / "none.png")


def test_cost_against_recall(tmp_path, capsys) -> None:
    points = [
        {"name": "a", "cost": 1.0, "recall": 0.3},
        {"name": "b", "cost": 4.0, "recall": 0.2},
        {"name": "c", "cost": 9, "recall": 0.5},
    ]
    (tmp_path / "points.json").write_text(json.dumps(points))
    assert main(["eval", str(tmp_path / "points.json"), "--chart", "cost", "--plot", str(tmp_path / "c.svg")]) == 0
    root = ElementTree.parse(tmp_path / "c.svg").getroot()
    assert {"a", "b", "c", "US dollars"} <= _texts(tmp_path / "c.svg")
    front = next(item for item in root.iter(f"{SVG}polyline") if item.get("stroke-dasharray"))
    assert len(front.get("points", "").split()) == 2  # b costs more than a and finds less
    plot_cost("t", [Point("free", 0.0, 0.5)], tmp_path / "free.png")
    for wrong in ("[]x", '{"a": 1}', '[{"name": "a", "cost": "1", "recall": 0.1}]'):
        (tmp_path / "wrong.json").write_text(wrong)
        assert main(["eval", str(tmp_path / "wrong.json"), "--chart", "cost", "--plot", str(tmp_path / "c.svg")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["eval", str(tmp_path / "points.json"), "--chart", "cost"]) == 2


def test_shades_are_told_apart_in_grey() -> None:
    greys = [Image.new("RGB", (1, 1), shade).convert("L").getpixel((0, 0)) for shade in SHADES[:3]]
    assert all(abs(one - other) >= 50 for place, one in enumerate(greys) for other in greys[:place])


def test_both_forms_draw_the_same_places(tmp_path) -> None:
    canvas = Canvas(60, 40)
    canvas.rectangle(10, 5, 20, 10, "#000000")
    canvas.marker(45, 30, "square", "#000000", 4)
    canvas.line([(2, 38), (58, 38)], "#000000", 1, (10, 10))
    canvas.write(tmp_path / "c.png")
    pixels = np.asarray(Image.open(tmp_path / "c.png").convert("L"))
    assert pixels.shape == (80, 120)
    assert pixels[20, 40] == pixels[60, 90] == 0
    assert pixels[20, 10] == pixels[70, 60] == 255
    assert pixels[76, [10, 34]].tolist() == [0, 255]  # drawn from 2 to 12, empty to 22
    root = ElementTree.fromstring(canvas.svg())
    (found,) = (item for item in root.iter(f"{SVG}rect") if item.get("fill") == "#000000")
    assert [float(found.get(key, "")) for key in ("x", "y", "width", "height")] == [10, 5, 20, 10]


def test_names_cannot_break_the_drawing(tmp_path) -> None:
    truth = str(write(tmp_path / "t", line("a", None, [relation(0, '<on> & "near"', 1)])))
    assert main(["eval", truth, truth, "--plot", str(tmp_path / "c.svg")]) == 0
    assert '<on> & "near"' in _texts(tmp_path / "c.svg")


def test_names_of_points_that_lie_close_do_not_cover_each_other(tmp_path) -> None:
    points = [Point("robin", 0.3, 0.29), Point("qwen", 1.2, 0.28), Point("llava", 0.6, 0.285)]
    plot_cost("cost", [*points, Point("far", 12.0, 0.3)], tmp_path / "c.svg")
    text = (tmp_path / "c.svg").read_text()
    heights = [float(re.search(rf'y="([\d.]+)"[^>]*>{point.name}<', text).group(1)) for point in points]
    for place, height in enumerate(heights):
        assert all(abs(height - other) >= 10 for other in heights[:place])
