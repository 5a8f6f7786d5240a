"""Vocabulary files: zero-shot numbers, and the real ones of VG150 and PSG."""

from __future__ import annotations

import numpy as np
import pytest
from eval.graphs import line, region, relation, write
from support.environment import ANNOTATIONS

from sgforge.cli.main import main
from sgforge.errors import ConfigError
from sgforge.labels.name_files import read_names
from sgforge_eval.intake.batch import Codebook
from sgforge_eval.vocabulary_files import read_triplets


def test_zero_shot_numbers_need_their_vocabularies(tmp_path) -> None:
    np.save(tmp_path / "z.npy", np.array([[1, 2, 1]]))
    with pytest.raises(ConfigError, match="give the labels and predicates"):
        read_triplets(tmp_path / "z.npy", Codebook(), Codebook())
    labels, predicates = Codebook(["a", "b"], closed=True), Codebook(["on"], closed=True)
    assert read_triplets(tmp_path / "z.npy", labels, predicates).triplets == (("a", "on", "b"),)
    np.save(tmp_path / "z.npy", np.array([[1, 3, 1]]))
    with pytest.raises(ConfigError, match="outside of 2 labels"):
        read_triplets(tmp_path / "z.npy", labels, predicates)
    np.save(tmp_path / "z.npy", np.array([{"x": 1}], object), allow_pickle=True)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_triplets(tmp_path / "z.npy", labels, predicates)


def test_the_real_vg150_files(tmp_path, capsys) -> None:
    dicts, zero = ANNOTATIONS / "VG-SGG-dicts-with-attri.json", ANNOTATIONS / "vg150_zeroshot_triplet.npy"
    names, verbs = read_names(dicts, "labels"), read_names(dicts, "predicates")
    assert (len(names), len(verbs)) == (150, 50)
    triplets = read_triplets(zero, Codebook(names, closed=True), Codebook(verbs, closed=True)).triplets
    assert len(triplets) == 5971
    subject, predicate, target = triplets[0]
    regions = [region(subject, [0, 0, 9, 9]), region(target, [20, 0, 30, 9])]
    path = str(write(tmp_path / "g", line("a", regions, [relation(0, predicate, 1)])))
    options = ["--labels", str(dicts), "--predicates", str(dicts), "--zero-shot", str(zero), "--convention", "sgb"]
    assert main(["eval", path, path, *options, "--json"]) == 0
    output = capsys.readouterr().out
    assert '"zR@20": 1.0' in output
    assert '"mR@20": 0.02' in output  # one predicate of 50


def test_the_real_psg_file() -> None:
    path = ANNOTATIONS / "psg_categories.json"
    assert len(read_names(path, "labels")) == 133
    assert read_names(path, "predicates")[:2] == ("over", "in front of")
