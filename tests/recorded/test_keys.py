"""Keys stay what they were: what was computed and paid by an earlier version is known to this one.

tests/data/recorded/README.md says what was recorded, and when a line of it may change.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from recorded.table import identities, row_of
from support.environment import ROOT
from support.waiting import wait_until

from sgforge.cli.main import main
from sgforge.dataset import Dataset
from sgforge.graph import SceneGraph
from sgforge.plugins import Registry, load_plugins
from sgforge.testing.fake_provider import FakeProvider

DATA: Final = ROOT / "tests" / "data" / "recorded"
PORT: Final = 18731
"""Where the models were when the dataset was recorded: a server's address is part of its models' keys."""
RECORDED: Final = json.loads((DATA / "fingerprints.json").read_text(encoding="utf-8"))
AS_THEN: Final = [word for step in ("svg", "vqa", "sg-edit") for word in ("--set", f"step.{step}.prompts=2")]
"""What was recorded was asked in the words of revision 2: whoever keeps them keeps the answers."""
IMAGES: Final = 20
JOURNALLED: Final = 6
"""Images of the last step of unfinished.toml that were answered when it was stopped."""
REUSED: Final = {
    **{"source": 20, "segment": 20, "geometry": 14, "svg": 14, "rules": 20, "vqa": 14, "train": 11, "generate": 6},
    **{"consistency": 6, "sg-edit": 6, "predcls": 4, "sgdet": 4},
}
"""Images of each step: 14 with relations, of which 11 are trained on, 6 without; 4 of the 20 are held out."""
MEASURED_ANEW: Final = {"predcls": 4, "sgdet": 4}
"""Evaluators of revision 2: mean recall divides by the predicates of the truth alone. Nobody is asked for it."""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_plugins()


@pytest.mark.parametrize("step", RECORDED["steps"])
def test_the_fingerprint_of_a_component_at_default_options_stays(step: str, registry: Registry) -> None:
    before, now = RECORDED["steps"][step], row_of(registry, step)
    assert now["identity"] == before["identity"]
    assert now["fingerprint"] == before["fingerprint"]
    # A default that changes is in no fingerprint: it is the revision that must tell.
    kept = {name: value for name, value in json.loads(json.dumps(now["options"])).items() if name in before["options"]}
    assert kept == before["options"]


@pytest.mark.parametrize("provider", RECORDED["models"])
def test_what_names_a_model_stays(
    provider: str, registry: Registry, tmp_path: Path, needs_extra: Callable[[str], None]
) -> None:
    extra = registry.lookup("model", provider).needs.extra
    if extra is not None:
        needs_extra(extra)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_bytes(b"{}")
    found = dict(identities(registry, provider, tmp_path))
    assert found == RECORDED["models"][provider]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what was recorded, and the folder that its configs are run in."""
    with tarfile.open(DATA / "dataset.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def server() -> Iterator[FakeProvider]:
    """The models at their address; where another run of these tests is there, it is waited for."""
    opened: list[FakeProvider] = []

    def is_open() -> bool:
        server = FakeProvider(port=PORT)
        try:
            opened.append(server.__enter__())
        except OSError:
            return False
        return True

    wait_until(is_open, f"port {PORT} was free")
    yield opened[0]
    opened[0].__exit__(None, None, None)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, tuple[int, int]]:
    """`sgforge run`; by step how many images were computed and reused."""
    assert main(["run", "--json", *arguments, *AS_THEN]) == 0
    steps = json.loads(capsys.readouterr().out.splitlines()[-1])["steps"]
    return {step: (counts["computed"], counts["reused"]) for step, counts in steps.items()}


def what_again_did(graph: SceneGraph) -> dict[str, list[Any]]:
    """The relations that the step `again` added and removed, and which regions are described."""
    relations = graph.all.relations
    return {
        "added": [
            [row.subject, row.predicate, row.object, row.category] for row in relations if row.made_by == "again"
        ],
        "removed": [number for number, row in enumerate(relations) if row.judged_by == "again"],
        "described": [number for number, row in enumerate(graph.all.regions) if row.descriptions],
    }


def test_answers_of_an_earlier_revision_are_not_bought_anew_unasked(
    folder: Path, server: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal and without --yes a run stops before the first call; a plan says the same."""
    line = "svg: revision 2 -> 3: 14 answers will be bought anew"
    assert main(["plan", "--json", "pipeline.toml"]) == 0
    assert any(note.startswith(line) for note in json.loads(capsys.readouterr().out)["notes"])
    assert main(["run", "--json", "pipeline.toml"]) == 2
    told = capsys.readouterr().err
    assert line in told
    assert "vqa: revision 2 -> 3: 14 answers will be bought anew" in told
    assert "--yes buys them; prompts = 2 in the step keeps" in told
    assert server.ledger.received == 0
    # Agreed to, they are bought; and then nothing is left to ask about.
    assert main(["run", "--json", "pipeline.toml", "--yes"]) in (0, 4)
    assert server.ledger.received > 0
    bought = server.ledger.received
    assert main(["run", "--json", "pipeline.toml"]) in (0, 4)
    assert server.ledger.received == bought
    # A first run buys nothing anew and is not asked.
    assert main(["run", "--json", "pipeline.toml", "--set", 'dataset="first"']) in (0, 4)


@pytest.mark.parametrize("step", ["complete svg", "edit svg", "filter vqa"])
def test_an_earlier_revision_has_the_fingerprint_it_had(step: str, registry: Registry) -> None:
    """`prompts = 2` is revision 2, also where what was its default is given in full."""
    before = json.loads((DATA / "earlier.json").read_text(encoding="utf-8"))[step]
    assert row_of(registry, step, prompts=2)["fingerprint"] == before
    if step != "filter vqa":
        assert row_of(registry, step, prompts=2, max_tokens=4096)["fingerprint"] == before
        assert row_of(registry, step, prompts=2, max_tokens=2048)["fingerprint"] != before
    assert row_of(registry, step)["fingerprint"] != before


def test_a_run_over_a_recorded_dataset_computes_nothing_and_asks_nobody(
    folder: Path, server: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, "pipeline.toml")
    assert {step: computed for step, (computed, _) in found.items() if computed} == MEASURED_ANEW
    assert {step: reused for step, (_, reused) in found.items()} == REUSED | dict.fromkeys(MEASURED_ANEW, 0)
    assert server.ledger.received == 0
    again = run(capsys, "pipeline.toml")
    assert again == {step: (0, count) for step, count in REUSED.items()}


def test_recorded_answers_that_were_never_published_are_read(
    folder: Path, server: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, "unfinished.toml", "--set", "step.again.prompts=2")
    assert found.pop("again") == (IMAGES - JOURNALLED, JOURNALLED)
    assert {step: reused for step, (_, reused) in found.items()} == REUSED | dict.fromkeys(MEASURED_ANEW, 0)
    assert server.ledger.received == IMAGES - JOURNALLED
    published = Dataset.open(folder / "dataset")
    before = json.loads((DATA / "journalled.json").read_text(encoding="utf-8"))
    assert {image_id: what_again_did(published[image_id].graph) for image_id in before} == before


def test_paid_answers_are_found_by_the_keys_of_their_requests(
    folder: Path, server: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into a new dataset every step is done again, and every answer of a model is in the recorded file."""
    new = ("--set", 'dataset="new"', "--set", 'responses="dataset/responses.sqlite"')
    found = run(capsys, "pipeline.toml", *new)
    assert {step: computed for step, (computed, _) in found.items()} == REUSED
    assert server.ledger.received == 0
