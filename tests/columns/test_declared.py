"""Declared columns: names, types, who may declare them, and what their values may be."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import sgforge as sg
from sgforge.columns.declared import CORE_COLUMNS, Column, cell_of, fitted, value_of
from sgforge.edits import Value
from sgforge.errors import GraphError
from sgforge.graph import Caption, NumberArray, Question, Span
from sgforge.plugins import Owner, Registry


class Plugin:
    """A plugin with one captioner that declares these columns."""

    def __init__(self, name: str, *columns: object) -> None:
        self.name = name
        self.columns = columns

    @sg.hookimpl
    def sgforge_register_captioners(self, register):
        register(self.name, "tests.columns.toys:Captioner", columns=self.columns)


def problems(registry: Registry, name: str, plugin: str, *columns: object) -> str:
    return "; ".join(registry.add(Plugin(name, *columns), Owner(plugin)).problems)


def test_a_column_is_named_after_its_plugin():
    registry = Registry()
    assert problems(registry, "one", "clip", Column("region", "clip.embedding", "f2", (768,))) == ""
    assert "clip.embedding" in problems(registry, "two", "dino", Column("region", "clip.embedding", "f2", (768,)))
    assert "dino.caption" in problems(registry, "three", "dino", Column("image", "caption"))
    assert "Column(target" in problems(registry, "four", "dino", "caption")


def test_one_name_has_one_type_and_an_error_names_both():
    registry = Registry()
    assert problems(registry, "one", "clip", Column("region", "clip.embedding", "f2", (768,))) == ""
    assert problems(registry, "two", "clip", Column("region", "clip.embedding", "f2", (768,))) == ""
    assert problems(registry, "other", "clip", Column("image", "clip.embedding", "f4", (8,))) == ""
    told = problems(registry, "three", "clip", Column("region", "clip.embedding", "f4", (768,)))
    assert "captioner 'three'" in told
    assert "captioner 'one'" in told
    assert "f2 768" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ("graph", "a.b"),
        ("image", "a.b.c"),
        ("image", "A.b"),
        ("image", "a/b"),
        ("image", "../b"),
        ("image", "a.b", "f3"),
        ("image", "a.b", "f4", (0,)),
        ("image", "a.b", "text", (2,)),
    ],
)
def test_a_column_that_cannot_be_is_refused(arguments):
    with pytest.raises(sg.SgforgeError):
        Column(*arguments)


@pytest.mark.parametrize(
    ("kind", "shape", "given", "wanted"),
    [
        ("u1", (), 200, 200),
        ("u1", (2,), np.array([1, 2], np.int64), [1, 2]),
        ("f4", (2,), [1, 2], [1.0, 2.0]),
        ("f2", (1,), [0.1], [float(np.float16(0.1))]),
        ("i8", (), -(2**63), -(2**63)),
    ],
)
def test_numbers_are_taken_as_their_column_says(kind, shape, given, wanted):
    column = Column("image", "a.b", kind, shape)
    value = fitted(sg.Value("image", None, "a.b", given), column).value
    assert isinstance(value, NumberArray)
    assert value.array().tolist() == wanted
    assert np.asarray(value).dtype == np.dtype(kind)
    assert value_of(cell_of(value, column), column) == value


@pytest.mark.parametrize(
    ("kind", "given"),
    [("u1", 256), ("u1", -1), ("i4", 1.5), ("f2", 1e6), ("f4", float("nan")), ("f4", "1"), ("f4", None), ("f8", 1j)],
)
def test_numbers_that_a_column_cannot_hold_are_refused(kind, given):
    with pytest.raises(sg.SgforgeError, match=r"a\.b"):
        fitted(sg.Value("image", None, "a.b", given), Column("image", "a.b", kind))


@pytest.mark.parametrize("given", [None, "a text alone", float("nan"), {1, 2}, {"a": object()}, "\ud800"])
def test_what_is_no_json_is_refused(given):
    with pytest.raises(sg.SgforgeError):
        fitted(sg.Value("image", None, "a.b", given), Column("image", "a.b", "json"))


@pytest.mark.parametrize("given", [None, 3, b"bytes", ["a"], Caption("a")])
def test_what_is_no_text_is_refused(given):
    with pytest.raises(sg.SgforgeError, match="takes a text"):
        fitted(sg.Value("image", None, "a.b", given), Column("image", "a.b"))


def test_arrays_of_more_than_four_kilobytes_lie_in_files():
    assert not Column("region", "a.b", "f4", (1024,)).is_filed
    assert Column("region", "a.b", "f4", (1025,)).is_filed
    with pytest.raises(sg.SgforgeError, match=r"files\.put"):
        fitted(sg.Value("region", 0, "a.b", np.zeros(1025)), Column("region", "a.b", "f4", (1025,)))


def test_captions_and_questions_are_their_json_again():
    caption = Caption("a dög", [Span(0, 1, 4), Span(2, 5, 0)])
    assert caption.to_json() == {"text": "a dög", "spans": [[0, 1, 4], [2, 5, 0]]}
    assert Caption.from_json(caption.to_json()) == caption
    question = Question("entity", "Is there a dog?", "yes", ("yes", "no"), (4,), (0,))
    assert Question.from_json(question.to_json()) == question
    assert Question("entity", "Why?").to_json() == {"kind": "entity", "text": "Why?"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Caption(""),
        lambda: Caption("a", [Span(0, 2, 0)]),
        lambda: Span(2, 2, 0),
        lambda: Question("", "b"),
        lambda: Question("a", "b", references=[-1]),
        lambda: Caption.from_json({"text": "a", "words": 3}),
        lambda: Caption.from_json({"text": "a", "spans": [[0, 1]]}),
        lambda: Question.from_json({"kind": "a", "text": "b", "choices": "yes"}),
    ],
)
def test_captions_and_questions_that_cannot_be_are_refused(make):
    with pytest.raises(sg.SgforgeError):
        make()


class _Words(str):
    """A text of a plugin's own kind."""


@pytest.mark.parametrize(
    ("caption", "is_plain"),
    [
        (Caption("a cat on a mat", [Span(2, 5, 0)]), True),
        (Caption(_Words("a cat")), False),
        (Caption("a cät", [Span(2, 5, 0)]), False),
        (Caption("a cat", [Span(2, 5, 10**9)]), False),
    ],
)
def test_a_caption_is_taken_as_its_json_would_be_read(caption, is_plain):
    column = Column("image", "caption", "json")
    taken = fitted(Value("image", None, "caption", caption), CORE_COLUMNS["image", "caption"]).value
    assert taken == value_of(cell_of(caption, column), column) == caption
    assert type(taken.text) is str
    assert (taken is caption) == is_plain


@pytest.mark.parametrize("caption", [Caption("half of a pair: \ud800"), Caption("a" * 2**20)])
def test_a_caption_that_no_cell_can_hold_is_refused(caption):
    with pytest.raises(GraphError, match="image column 'caption'"):
        fitted(Value("image", None, "caption", caption), CORE_COLUMNS["image", "caption"])


def test_a_column_is_declared_without_numpy():
    code = "import sys; from sgforge import Column; Column('image', 'a.b', 'f4', (3,)); print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
