"""The same rewards in other trainers, and rows of data for them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from grpo import tiny_llava
from grpo.graphs import said, sample, worth
from support.extras import needs_extra

from sgforge.errors import ConfigError, StepError
from sgforge.jsonl import dump_sample, parse_line
from sgforge.testing import ExporterContract, tiny_samples
from sgforge.testing.contracts.data import publish_samples
from sgforge_grpo.config import RowsOptions
from sgforge_grpo.trainers import rows
from sgforge_grpo.trainers.texts import TextReward, completion_text
from sgforge_grpo.trainers.verifiers import load_environment, reward_functions

TRUTH = sample([("cup", (10, 10, 30, 50)), ("table", (0, 40, 100, 100))], [(0, "on", 1)])
OTHER = sample([("cup", (10, 10, 30, 50)), ("table", (0, 40, 100, 100))], [(1, "under", 0)], "b")
GOOD = said([("cup.1", (100, 100, 300, 500)), ("table.2", (0, 400, 1000, 1000))], [("cup.1", "on", "table.2")])
LINES = [dump_sample(one).decode() for one in (TRUTH, OTHER, TRUTH)]


class TestSwift(ExporterContract):
    component = "ms-swift"


class TestVerifiers(ExporterContract):
    component = "verifiers"


class TestTrl(ExporterContract):
    component = "trl"


def test_texts_are_worth_what_the_reward_says():
    reward = TextReward("hard")
    forms = [GOOD, [{"role": "assistant", "content": GOOD}], {"content": [{"type": "text", "text": "no graph"}]}]
    assert reward(forms, LINES, image=None) == [worth("hard", TRUTH, GOOD), worth("hard", OTHER, GOOD), 0.0]
    assert reward.malformed == pytest.approx(1 / 3)
    assert completion_text(None) == ""
    with pytest.raises(ConfigError, match='no column "solution"'):
        reward([GOOD])


@pytest.mark.parametrize("kind", ["SwiftExporter", "VerifiersExporter", "TrlExporter"])
def test_rows_hold_question_picture_and_truth(tmp_path, kind):
    (tmp_path / "images").mkdir()
    samples = tiny_samples(tmp_path / "images")
    snapshot = publish_samples(tmp_path / "data", samples)
    exporter = getattr(rows, kind)(RowsOptions(images=tmp_path / "images"))
    counts = exporter.export(snapshot, tmp_path / "rows.jsonl")
    found = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    by_id = {one.image_id: one for one in samples}
    assert len(found) == counts["images"] == sum(bool(one.graph.relations) for one in samples) > 0
    for row in found:
        truth = parse_line(json.loads(row["info"])["solution"] if "info" in row else row["solution"], "row")
        assert set(truth.graph.triplets()) == set(by_id[truth.image_id].graph.triplets())
        text = json.dumps(row)
        assert "Describe this picture as a scene graph" in text
        assert Path(by_id[truth.image_id].uri.partition(":")[2]).name in text


SWIFT = """
import sys, types
class ORM:
    def __init__(self, args=None, **kwargs): self.args = args
place = types.ModuleType("swift.rewards"); place.ORM, place.orms = ORM, {}
sys.modules["swift"] = types.ModuleType("swift"); sys.modules["swift.rewards"] = place
import runpy, json
runpy.run_path(sys.argv[1])
made = place.orms["sgforge_hard"](args=None)
totals = made(json.loads(sys.argv[2]), solution=json.loads(sys.argv[3]), images=[None] * 3)
print(json.dumps([sorted(place.orms), totals]))
"""


def test_the_plugin_file_of_ms_swift_registers_every_reward():
    """Loaded by its path, as ms-swift loads it, with a table of the shape of ms-swift's, which needs no package."""
    from sgforge_grpo.trainers import swift

    texts, lines = json.dumps([GOOD, GOOD, "x"]), json.dumps(LINES)
    done = subprocess.run(
        [sys.executable, "-c", SWIFT, swift.__file__, texts, lines], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names, totals = json.loads(done.stdout)
    assert {"sgforge_hard", "sgforge_f1", "sgforge_hard_relax"} <= set(names)
    assert totals == [6.0, worth("hard", OTHER, GOOD), 0.0]


def test_functions_for_a_rubric_of_verifiers():
    reward, malformed = reward_functions("f1", similarity="exact")

    async def score(text: str) -> tuple[float, float]:
        call = {"completion": [{"role": "assistant", "content": text}], "info": json.dumps({"solution": LINES[0]})}
        return await reward(**call, prompt=[], state={}), await malformed(**call)

    assert asyncio.run(score(GOOD)) == (1.0, 0.0)
    assert asyncio.run(score("nothing")) == (0.0, 1.0)
    assert reward.__name__ == "sgforge_f1"


@pytest.mark.slow
def test_an_environment_of_verifiers_scores_answers(tmp_path):
    needs_extra("verifiers")
    rows = tmp_path / "rows.jsonl"
    row = {"prompt": [{"role": "user", "content": "Give the graph."}], "info": json.dumps({"solution": LINES[0]})}
    rows.write_text(json.dumps(row) + "\n")
    environment = load_environment(rows, reward="f1", similarity="exact")

    def state(text: str) -> dict[str, object]:
        return {**row, "completion": [{"role": "assistant", "content": text}], "trajectory": [], "timing": {}}

    states = [state(GOOD), state("nothing")]
    asyncio.run(environment.rubric.score_group(states))
    assert [one["reward"] for one in states] == [1.0, 0.0]
    assert [one["metrics"]["malformed"] for one in states] == [0.0, 1.0]


def test_without_verifiers_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "verifiers", None)
    with pytest.raises(ConfigError, match=r"pip install 'sgforge\[verifiers\]'"):
        load_environment(tmp_path / "rows.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_trl_learns_from_them_on_a_tiny_llava(tmp_path, beta):
    needs_extra("trl")
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from trl import GRPOConfig, GRPOTrainer

    from sgforge_grpo.trainers import trl

    base = tiny_llava.build(tmp_path / "base")
    (tmp_path / "images").mkdir()
    snapshot = publish_samples(tmp_path / "data", tiny_samples(tmp_path / "images"))
    rows.TrlExporter(RowsOptions(images=tmp_path / "images")).export(snapshot, tmp_path / "rows.jsonl")
    processor = AutoProcessor.from_pretrained(base)
    model = trl.in_folder(AutoModelForImageTextToText.from_pretrained(base), processor, tmp_path / "start")
    before = {name: value.detach().clone() for name, value in model.named_parameters()}

    def letters(completions, **columns):
        # Random weights say no graph: something must differ within a group.
        return [float(len(set(completion_text(one))) % 7) for one in completions]

    graded = trl.reward_for("hard")
    settings = GRPOConfig(
        output_dir=str(tmp_path / "out"), max_steps=2, num_generations=4, per_device_train_batch_size=4, beta=beta,
        max_completion_length=12, learning_rate=1e-2, use_cpu=True, bf16=False, report_to=[], logging_steps=1,
        gradient_checkpointing=False, save_strategy="no",
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=model, reward_funcs=[graded, letters], args=settings, train_dataset=trl.rows(tmp_path / "rows.jsonl"),
        processing_class=processor,
    )  # fmt: skip
    check = trl.check_pixels(trainer)
    trainer.train()
    assert check.sampling > 0
    assert check.learning > 0
    log = [row for row in trainer.state.log_history if "reward" in row]
    assert all(row["rewards/sgforge_hard/mean"] == 0.0 for row in log)
    assert any("malformed" in key and row[key] == 1.0 for row in log for key in row)
    changed = [name for name, value in trainer.model.named_parameters() if not value.equal(before[name])]
    assert any("vision" in name for name in changed)
    assert any("language" in name for name in changed)


def test_a_loss_that_sees_no_picture_stops_trl():
    needs_extra("grpo")
    import torch

    from sgforge_grpo.trainers.trl import PixelCheck

    tower = torch.nn.Linear(2, 2)
    check = PixelCheck(tower, None)
    with torch.no_grad():
        tower(torch.zeros(1, 2))
    with pytest.raises(StepError, match="1 times while sampling and never while learning"):
        check.check(1)
    tower(torch.zeros(1, 2))
    check.check(2)
