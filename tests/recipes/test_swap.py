"""One word of a config swaps the model: OpenAI's SDK, Anthropic's SDK, or a model in process."""

from __future__ import annotations

from pathlib import Path

import pytest
from models.tiny_vlm import build

from sgforge.cli.main import main
from sgforge.dataset import Dataset
from sgforge.testing.fake_provider import FakeProvider, FakeSettings

CONFIG = """
dataset = "runs/{name}"
[source]
use = "scenes"
folder = "scenes"
count = 3
size = 96
[[step]]
{verb} = "{component}"
model = "{model}"
{options}
[models."{model}"]
{settings}
"""


@pytest.mark.parametrize("vendor", ["openai/gpt-4o", "anthropic/claude-sonnet-4-5"])
def test_a_teacher_from_another_vendor_is_one_word(
    vendor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-a-test")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret-of-a-test")
    with FakeProvider(settings=FakeSettings(latency_s=0.0)) as fake:
        url = fake.openai_url if vendor.startswith("openai/") else fake.anthropic_url
        settings = f'base_url = "{url}"\ninput_usd = 1.0\noutput_usd = 1.0'
        text = CONFIG.format(
            name="t", verb="complete", component="svg", model=vendor, options="subjects = 2", settings=settings
        )
        Path("p.toml").write_text(text)
        assert main(["run", "p.toml"]) == 0
        assert fake.ledger.answered == 3
    dataset = Dataset.open("runs/t")
    assert any(row.made_by == "complete" for sample in dataset for row in sample.graph.all.relations)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"sk-secret-of-a-test" not in path.read_bytes(), path


def test_a_judge_in_process_gives_probabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    build(tmp_path / "tiny")
    model = f"hf/{tmp_path / 'tiny'}"
    # A model of random weights says neither yes nor no: what little they have is taken as it is.
    options = 'max_tokens = 2\nspatial = "always"\nmax_side = 64\nleast_mass = 0.0'
    text = CONFIG.format(name="t", verb="filter", component="vqa", model=model, options=options, settings="")
    Path("p.toml").write_text(text)
    assert main(["run", "p.toml"]) == 0
    judged = [
        row for sample in Dataset.open("runs/t") for row in sample.graph.all.relations if row.judged_by == "filter"
    ]
    assert judged
    assert all(row.degree is not None and 0.0 < row.degree < 1.0 for row in judged)
    assert all((row.status == "kept") == (row.degree >= 0.5) for row in judged if row.degree is not None)
