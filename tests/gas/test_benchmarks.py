"""Questions of benchmarks from files that a user has; the files here are written by hand in their layouts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sgforge.errors import ConfigError
from sgforge_gas.questions.benchmarks import read_benchmark


def test_tifa(tmp_path: Path) -> None:
    rows = [
        {"id": "c1", "caption": "a red dog", "question": "is there a dog?", "choices": ["yes", "no"], "answer": "yes",
         "element_type": "animal"},
        {"id": "c1", "caption": "a red dog", "question": "what colour?", "choices": ["red", "blue"], "answer": "red"},
        {"id": "c2", "caption": "a cat", "question": "is there a cat?", "choices": ["yes", "no"], "answer": "yes"},
    ]  # fmt: skip
    (tmp_path / "t.json").write_text(json.dumps(rows))
    first, second = read_benchmark(tmp_path / "t.json", "tifa")
    assert first.values["caption"].text == "a red dog"
    assert [(one.kind, one.answer, one.choices) for one in first.values["questions"]] == [
        ("animal", "yes", ("yes", "no")),
        ("question", "red", ("red", "blue")),
    ]
    assert second.image_id == "c2"


def test_dpg(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(
        "item_id,text,proposition_id,dependency,category_broad,question_natural_language\n"
        'p1,"A dog, red.",1,0,entity,Is there a dog?\n'
        'p1,"A dog, red.",2,1,attribute,Is the dog red?\n'
    )
    (found,) = read_benchmark(tmp_path / "d.csv", "dpg")
    assert found.values["caption"].text == "A dog, red."
    assert [one.dependencies for one in found.values["questions"]] == [(), (0,)]


def test_geneval2(tmp_path: Path) -> None:
    line = {"prompt": "two dogs", "vqa_list": [["How many dogs are there?", "2"]]}
    (tmp_path / "g.jsonl").write_text(json.dumps(line) + "\n")
    (found,) = read_benchmark(tmp_path / "g.jsonl", "geneval2")
    assert [(one.text, one.answer) for one in found.values["questions"]] == [("How many dogs are there?", "2")]


def test_corebench(tmp_path: Path) -> None:
    rows = {
        "C-MI-001": {
            "Main Class": "Composition",
            "Prompt": "A red dog beside a cat.",
            "Checklist": [
                {"question": "Is there a dog?", "tags": ["instance"]},
                {"question": "Is the dog red?", "tags": ["attribute", "colour"]},
                {"question": "Is there a cat?", "tags": []},
            ],
        }
    }
    (tmp_path / "C-MI.json").write_text(json.dumps(rows))
    (found,) = read_benchmark(tmp_path / "C-MI.json", "corebench")
    assert (found.image_id, found.values["caption"].text) == ("C-MI-001", "A red dog beside a cat.")
    assert [(one.kind, one.text, one.answer) for one in found.values["questions"]] == [
        ("instance", "Is there a dog?", "yes"),
        ("attribute+colour", "Is the dog red?", "yes"),
        ("question", "Is there a cat?", "yes"),
    ]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("tifa", "{"),
        ("tifa", "[{}]"),
        ("dpg", "a,b\n1,2\n"),
        ("geneval2", "{}"),
        ("other", ""),
        ("corebench", "[]"),
        ("corebench", '{"a": {"Prompt": "x"}}'),
        ("corebench", '{"a": {"Prompt": "x", "Checklist": [3]}}'),
        ("geneval2", '{"prompt": "x", "vqa_list": [["q"]]}'),
        ("tifa", "[3]"),
        ("corebench", "[" * 9999),
    ],
)
def test_a_file_that_is_none_is_refused(form: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text(text)
    with pytest.raises(ConfigError):
        list(read_benchmark(tmp_path / "f", form))
