"""What stands behind a model's name is part of the keys of the steps that ask it: another server, other weights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import attrs
import engine_toys
import pytest
from engine_toys import ToyTeacher

import sgforge as sg
from sgforge import digests
from sgforge.digests import file_sha256, folder_sha256
from sgforge.engine.forecast.forecast import forecast
from sgforge.engine.reporting.report import StepCounts
from sgforge.errors import ConfigError
from sgforge.graph import Relation
from sgforge.models import ChatRequest, Message, ModelError, TextPart
from sgforge.plugins import Registry
from sgforge.stages import Failure, Needs
from sgforge.testing import IsolatedPlugins
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider


@attrs.frozen
class AskingOptions:
    model: str = "compat/usual"


class AskingTeacher(ToyTeacher):
    """Asks the model, and writes down what it answers."""

    def __init__(self, options: AskingOptions):
        super().__init__()

    async def complete(self, sample):
        request = ChatRequest(
            messages=(Message("user", (TextPart(f"{sample.image_id}?"),)),), max_tokens=1, choices=("yes", "no")
        )
        try:
            response = await self.resources.model.complete(request)
        except ModelError as error:
            return Failure(error.reason, str(error))
        return sg.Edit.add(Relation(2, response.text or "nothing", 1))


class Plugin:
    @sg.hookimpl
    def sgforge_register_teachers(self, register):
        register("asking", AskingTeacher, config=AskingOptions, needs=Needs(model=True, deterministic=False))


@pytest.fixture
def registry() -> Iterator[Registry]:
    import sgforge_openai
    import sgforge_transformers

    with IsolatedPlugins(engine_toys.this_plugin(), Plugin(), sgforge_openai, sgforge_transformers) as found:
        yield found


SOURCE = sg.source("toy", count=3)


def pipeline(model: str | None = None, **settings: object) -> sg.Pipeline:
    options = {} if model is None else {"model": model}
    models = {model or "compat/usual": settings} if settings else {}
    return sg.Pipeline(sg.segment("toy"), sg.complete("asking", **options), models=models)


def counts(made: sg.Pipeline, dataset: Path, registry: Registry) -> StepCounts:
    """What a run computes and reuses; its plan says the same before it."""
    request = made.request(SOURCE, dataset)
    told = {step.step.name: step for step in forecast(request.resolve(registry), dataset, request.roots).steps}
    found = made.run(SOURCE, dataset, progress=False).step("complete").counts
    assert (told["complete"].to_compute, told["complete"].reused) == (found.computed, found.reused)
    return found


@pytest.mark.parametrize("model", ["compat/any", None])
def test_another_server_under_the_same_model_name_is_asked_anew(registry, tmp_path, model):
    data = tmp_path / "data"
    with (
        FakeProvider(lambda _: FakeAnswer("seen by one")) as one,
        FakeProvider(lambda _: FakeAnswer("seen by two")) as two,
    ):
        first, second = pipeline(model, base_url=one.openai_url), pipeline(model, base_url=two.openai_url)
        assert counts(first, data, registry).computed == 3
        assert counts(first, data, registry).reused == 3
        assert counts(second, data, registry).computed == 3
        predicates = sg.Dataset.open(data).snapshot.vocabulary("predicate")
        assert "seen by two" in predicates
        assert "seen by one" not in predicates
        # Back again: nothing is asked, and what the first server said stands again.
        assert counts(first, data, registry).reused == 3
        assert (one.ledger.answered, two.ledger.answered) == (3, 3)
        assert "seen by one" in sg.Dataset.open(data).snapshot.vocabulary("predicate")


def test_what_changes_no_answer_is_in_no_key(registry, tmp_path):
    with FakeProvider(lambda _: FakeAnswer("seen")) as server:
        assert counts(pipeline(base_url=server.openai_url), tmp_path / "data", registry).computed == 3
        slower = pipeline(
            base_url=server.openai_url + "/", max_in_flight=2, timeout_s=30.0, input_usd=1.0, output_usd=1.0
        )
        assert counts(slower, tmp_path / "data", registry).reused == 3


def test_pictures_of_another_size_are_asked_about_anew(registry, tmp_path):
    data = tmp_path / "data"
    with FakeProvider(lambda _: FakeAnswer("seen")) as server:
        assert counts(pipeline(base_url=server.openai_url), data, registry).computed == 3
        for limit in ({"max_image_side": 512}, {"max_image_side": 256}, {"max_image_bytes": 512}):
            step = pipeline(base_url=server.openai_url, **limit)
            assert counts(step, data, registry).computed == 3
            assert counts(step, data, registry).reused == 3


def test_what_is_known_is_known_without_the_server_and_its_key(registry, tmp_path, monkeypatch):
    data = tmp_path / "data"
    monkeypatch.setenv("THE_KEY", "secret-key")
    with FakeProvider(lambda _: FakeAnswer("seen")) as server:
        made = pipeline(base_url=server.openai_url, api_key_env="THE_KEY")
        made.run(SOURCE, data, progress=False)
    request = made.request(SOURCE, data)
    found = forecast(request.resolve(registry), data, request.roots)
    assert [(step.to_compute, step.reused) for step in found.steps] == [(0, 3), (0, 3)]


def test_new_weights_under_the_same_name_are_asked_anew(registry, tmp_path, needs_extra):
    needs_extra("transformers")
    from models import tiny_vlm

    data, weights = tmp_path / "data", tmp_path / "weights"
    tiny_vlm.build(weights, seed=1)
    made = pipeline(f"hf/{weights}")
    assert counts(made, data, registry).computed == 3
    assert counts(made, data, registry).reused == 3
    shutil.rmtree(weights)
    tiny_vlm.build(weights, seed=2)
    assert counts(made, data, registry).computed == 3


def test_weights_that_cannot_be_read_are_told(registry, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").symlink_to("/proc/self/mem")
    request = pipeline(f"hf/{weights}").request(SOURCE, tmp_path / "data")
    with pytest.raises(ConfigError, match="cannot be identified"):
        forecast(request.resolve(registry), tmp_path / "data", request.roots)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file whose content is hashed from now on."""
    done: list[Path] = []
    read = digests._read

    def noted(path: Path) -> bytes:
        done.append(path)
        return read(path)

    monkeypatch.setattr(digests, "_read", noted)
    return done


def test_a_file_is_read_once_while_it_stays_as_it_is(tmp_path, reads):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    os.utime(file, (1_000_000, 1_000_000))
    assert [file_sha256(file) for _ in range(3)] == [file_sha256(file)] * 3
    assert reads == [file]
    before = folder_sha256(tmp_path)
    assert reads == [file]
    file.write_bytes(b"two")
    os.utime(file, (2_000_000, 2_000_000))
    assert folder_sha256(tmp_path) != before
    assert reads == [file, file]


def test_a_file_that_changed_just_now_is_always_read(tmp_path, reads):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    os.utime(file, (4_000_000_000, 4_000_000_000))  # in the future: as new as can be, whatever the clock says
    for _ in range(2):
        file_sha256(file)
    assert reads == [file, file]
