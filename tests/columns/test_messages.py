"""Values and files of a component that works in another process: what arrives is what would be here."""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sgforge.columns.declared import Column
from sgforge.edits import Edit
from sgforge.engine.executors.answering import Outcome
from sgforge.engine.executors.file_messages import DistantFiles
from sgforge.engine.executors.model_messages import answer_question
from sgforge.engine.executors.sample_messages import pack_outcomes, pack_samples, unpack_outcomes, unpack_samples
from sgforge.errors import ImageError
from sgforge.file_refs import FileRef, ImageRef
from sgforge.graph import Caption, NumberArray, Region, Sample, SceneGraph
from sgforge.made_files import MadeFiles
from sgforge.stages import Failure
from tests.columns import pictures


def test_values_of_samples_arrive():
    ref = FileRef("ab" * 32, 9)
    given = Sample(
        "a",
        SceneGraph(0, 0, [Region("a"), Region("b")]),
        values={"caption": Caption("two"), "toy.text": "x"},
        region_values={"toy.byte": {1: NumberArray("u1", (), b"\x07")}, "toy.map": {0: ref}},
    )
    assert unpack_samples(pack_samples([given]), None) == [given]


def test_values_of_answers_arrive_as_their_columns_take_them():
    sample = Sample("a", SceneGraph(0, 0, [Region("a")]))
    half = Column("region", "toy.half", "f2", (2,))
    good = Edit.value("region", 0, "toy.half", np.array([0.1, 2.0])) + Edit.value(
        "image", None, "caption", Caption("x")
    )
    bad = Edit.value("region", 0, "toy.half", [1, 2, 3])
    outcomes = unpack_outcomes(pack_outcomes([sample, sample], [Outcome(good), Outcome(bad)], {half.key: half}))
    number, caption = outcomes[0].answer.values
    assert number.value == NumberArray("f2", (2,), np.array([0.1, 2.0], np.float16).tobytes())
    assert (number.kind, number.shape) == ("f2", (2,))
    assert caption.value == Caption("x")
    assert isinstance(outcomes[1].answer, Failure)
    assert "shape" in outcomes[1].answer.detail


def test_files_are_kept_by_the_driver_and_its_errors_are_raised_where_they_were_made(tmp_path):
    files = MadeFiles(tmp_path / "files")
    data = pictures.picture(1, 100)
    with ThreadPoolExecutor(1) as driver:
        far = DistantFiles(lambda question: driver.submit(asyncio.run, answer_question([], question, files)))
        made = far.put(data, ".png")
        assert made == ImageRef(made.uri, hashlib.sha256(data).hexdigest(), pictures.SIDE, pictures.SIDE)
        assert files.path_of(made.uri).read_bytes() == data
        assert far.put(b"map", ".f4") == FileRef(hashlib.sha256(b"map").hexdigest(), 3)
        with pytest.raises(ImageError, match="decoded"):
            far.put(data[:50], ".png")
