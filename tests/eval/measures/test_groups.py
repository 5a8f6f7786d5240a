"""Recall by where regions lie, how large they are and whether names were seen; predicates that entail another."""

from __future__ import annotations

import json

import numpy as np
import pytest
from eval.graphs import CUP, FAR, TABLE, line, region, relation, write

from sgforge.cli.main import main
from sgforge.errors import ConfigError
from sgforge_eval import score
from sgforge_eval.measures.lattice import ENTAILED, entailments

ON = [relation(0, "on", 1), relation(2, "near", 1)]


def test_recall_by_distance_and_size(tmp_path) -> None:
    # Sides 10; centres 8, 20 and 80 apart: 0.8, 2 and 8 mean sides. The last is of areas 100 and 4.
    boxes = [[0, 0, 10, 10], [8, 0, 18, 10], [20, 0, 30, 10], [84, 4, 86, 6]]
    regions = [region(name, box) for name, box in zip("abcd", boxes, strict=True)]
    rows = [relation(0, "on", 1), relation(0, "on", 2), relation(0, "on", 3), relation(3, "on", 0)]
    truth = write(tmp_path / "t", line("x", regions, rows))
    report = score(write(tmp_path / "p", line("x", regions, [rows[0], rows[2]])), truth, k=(20,))
    distance = {row["distance"]: row["R@20"] for row in report.tables["per_distance"]}
    assert distance == {"near: under 1": 1.0, "middle: 1 to 3": 0.0, "far: over 3": 0.5}
    size = {row["size"]: row["R@20"] for row in report.tables["per_size"]}
    assert size == {"alike: over 1/2": 0.5, "very different: under 1/10": 0.5}
    assert "per_seen" not in report.tables


def test_recall_of_names_seen_and_unseen(tmp_path, capsys) -> None:
    truth = write(tmp_path / "t", line("x", None, [*ON, relation(1, "by", 2), relation(2, "by", 0)]))
    seen = tmp_path / "seen.json"
    seen.write_text(json.dumps({"labels": ["cup", "table"], "predicates": ["on", "near", "never used"]}))
    shown = write(tmp_path / "p", line("x", None, [ON[0], relation(2, "by", 0)]))
    report = score(shown, truth, seen=seen, k=(20,))
    found = {row["seen"]: row["R@20"] for row in report.tables["per_seen"]}
    assert found == {"all names seen": 1.0, "a label unseen": 0.0, "both unseen": 0.5}
    assert main(["eval", str(shown), str(truth), "--seen", str(seen), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["per_seen"]["both unseen"]["R@50"] == 0.5
    seen.write_text('{"labels": []}')
    with pytest.raises(ConfigError, match="must be a JSON object"):
        score(shown, truth, seen=seen)


def test_what_is_said_more_closely_is_found(tmp_path, capsys) -> None:
    regions = [region("man", CUP), region("horse", TABLE), region("hat", FAR)]
    truth = write(tmp_path / "t", line("x", regions, [relation(0, "on", 1), relation(0, "wearing", 2)]))
    shown = write(tmp_path / "p", line("x", regions, [relation(0, "is riding", 1), relation(0, "has", 2)]))
    assert score(shown, truth).values["R@20"] == 0.0
    report = score(shown, truth, matching="entail")
    assert report.values["R@20"] == 0.5  # has does not say wearing
    assert report.values["P@20"] == 0.5
    assert report.values["phrR@20"] == 0.5
    assert score(truth, truth, matching="entail").values["R@20"] == 1.0
    assert main(["eval", str(shown), str(truth), "--match", "entail", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["values"]["ngR@50"] == 0.5
    for metric in ("predcls", "sgcls"):
        assert score(shown, truth, metric=metric, matching="entail").values["A@20"] == 0.5


def test_an_entailed_find_keeps_its_rank_and_counts_once(tmp_path) -> None:
    truth = write(tmp_path / "t", line("x", None, [relation(0, "on", 1), relation(0, "above", 1)]))
    said = [relation(0, "under", 1, score=0.9), relation(0, "on top of", 1, score=0.8)]
    shown = write(tmp_path / "p", line("x", None, said))
    values = score(shown, truth, matching="entail", convention="svg", k=(1, 2)).values
    assert (values["R@1"], values["R@2"]) == (0.0, 1.0)
    assert values["P@2"] == 0.5  # one triplet, right once


def test_the_lattice_is_closed_and_has_no_circle() -> None:
    edges = [edge for typed in ENTAILED.values() for edge in typed.items()]
    assert len({name for name, _ in edges}) == len(edges)  # every predicate is of one type
    names = sorted({*(name for name, _ in edges), *(name for _, general in edges for name in general)})
    pairs = {(int(one), int(other)) for one, other in entailments(names)}
    assert pairs
    for one, other in pairs:
        assert (other, one) not in pairs
        assert {third for second, third in pairs if second == other} <= {
            third for first, third in pairs if first == one
        }
    by_name = {(names[one], names[other]) for one, other in pairs}
    assert ("carrying", "touching") in by_name
    assert ("carrying", "near") in by_name
    assert ("on", "riding") not in by_name
    assert entailments(()).shape == (0, 2)
    assert entailments(("riding", "rides", "on")).tolist() == [[0, 2], [1, 2]]
    assert np.array_equal(entailments(("riding", "near")), np.zeros((0, 2)))
