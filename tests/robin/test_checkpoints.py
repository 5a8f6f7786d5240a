"""Loading and saving: public names, both vocabularies, and faults that are named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from robin.given import figures, masks, meta, robin, weights
from safetensors.torch import load_file, save_file

from sgforge.errors import StepError
from sgforge_robin import load_model, save_model
from sgforge_robin.model.checkpoint import load_language, load_tower
from sgforge_robin.model.robin import RobinModel


def answers(model: RobinModel) -> torch.Tensor:
    given = figures()
    with torch.no_grad():
        return model(given["in.images"], masks(), given["in.input_ids"], given["in.attention_mask"]).logits


def public_folder(folder: Path) -> Path:
    """A folder as the public checkpoint is: config.json of upstream's fields, weights under upstream's names."""
    config = {
        **meta()["config"],
        "model_type": "robin_qwen",
        "rope_scaling": None,
        "architectures": ["RobinQwenForCausalLM"],
        "mm_use_im_start_end": False,
        "image_aspect_ratio": "square",
        "sgforge": {"tokens": {"mask": 150, "pos": 151}},
    }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights(), folder / "model.safetensors")
    return folder


def test_a_public_folder_loads_and_what_is_saved_has_its_names(tmp_path: Path) -> None:
    model = load_model(public_folder(tmp_path / "public"))
    assert torch.equal(answers(model), answers(robin()))
    save_model(model, tmp_path / "saved")
    modes = {path.name: path.stat().st_mode for path in (tmp_path / "saved").iterdir()}
    assert modes.keys() == {"config.json", "model.safetensors"}
    assert len(set(modes.values())) == 1  # whoever may read one may read the other
    saved = load_file(tmp_path / "saved" / "model.safetensors")
    assert {name: value.shape for name, value in saved.items()} == {
        name: value.shape for name, value in weights().items()
    }
    assert all(torch.equal(saved[name], value) for name, value in weights().items())
    assert torch.equal(answers(load_model(str(tmp_path / "saved"))), answers(model))


def test_shards_and_pickled_weights(tmp_path: Path) -> None:
    folder = public_folder(tmp_path / "sharded")
    (folder / "model.safetensors").unlink()
    names = sorted(weights())
    halves = {"a.safetensors": names[:40], "b.safetensors": names[40:]}
    for file, part in halves.items():
        save_file({name: weights()[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in halves.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert torch.equal(answers(load_model(folder)), answers(robin()))
    index["weight_map"][names[0]] = "../b.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(StepError, match="outside its folder"):
        load_model(folder)
    (folder / "model.safetensors.index.json").unlink()
    torch.save(weights(), folder / "pytorch_model.bin")
    assert torch.equal(answers(load_model(folder)), answers(robin()))


def test_a_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    folder = public_folder(tmp_path / "evil")
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Path("x")}, folder / "pytorch_model.bin")
    with pytest.raises(StepError, match="refused: it holds more than weights"):
        load_model(folder)


def test_the_table_has_the_rows_of_the_checkpoint() -> None:
    state = {**weights(), "model.embed_tokens.weight": weights()["model.embed_tokens.weight"][:158]}
    short = load_model(state, config=meta())
    assert short.table.num_embeddings == 158
    assert answers(short).shape[-1] == 158
    tokens = {"mask": 999, "pos": 1000}  # outside the table: never looked up
    ids = figures()["in.input_ids"].clone()
    ids[ids == 150], ids[ids == 151] = 999, 1000
    model = load_model(state, config={**meta(), "tokens": tokens})
    given = figures()
    with torch.no_grad():
        found = model(given["in.images"], masks(), ids, given["in.attention_mask"]).logits
    assert torch.equal(found, answers(short))


def test_heads_that_are_not_used_may_be_missing_and_a_tied_head_there() -> None:
    state = {name: value for name, value in weights().items() if ".head." not in name}
    state["lm_head.weight"] = state["model.embed_tokens.weight"].clone()
    assert torch.equal(answers(load_model(state, config=meta())), answers(robin()))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("model.mm_projector.2.bias", None, r"missing: model.mm_projector.2.bias"),
        ("model.layers.1.mlp.down_proj.weight", None, r"missing: model.layers.1.mlp.down_proj.weight"),
        ("model.layers.2.mlp.down_proj.weight", torch.zeros(2), r"not known: model.layers.2.mlp.down_proj.weight"),
        ("mask_extractor.res2.bias", torch.zeros(5), r"mask_extractor.res2.bias \(5,\) instead of \(24,\)"),
        ("model.embed_tokens.weight", torch.zeros(160, 40), r"hidden_size 48, .* 40 channels: .* different language"),
        ("mask_extractor.feat_linear.weight", None, r"no mask_extractor.feat_linear.weight: it is no Robin"),
    ],
)
def test_faults_are_named(name: str, value: torch.Tensor | None, said: str) -> None:
    state = {**weights(), name: value}
    with pytest.raises(StepError, match=said):
        load_model({name: value for name, value in state.items() if value is not None}, config=meta())


def test_other_faults(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"need a config"):
        load_model(weights())
    with pytest.raises(StepError, match=r"dtype 'int8' must be"):
        robin(dtype="int8")
    with pytest.raises(StepError, match=r"holds no model.safetensors: .* interrupted"):
        load_model(tmp_path)
    folder = public_folder(tmp_path / "cut")
    short = {name: value for name, value in weights().items() if name != "model.mm_projector.2.bias"}
    save_file(short, folder / "model.safetensors")
    with pytest.raises(StepError, match=rf"the checkpoint {re.escape(str(folder))} does not fit its model \(missing: "):
        load_model(folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StepError, match=r"cannot be read as weights"):
        load_model(folder)
    config = {**meta()["config"], "model_type": "no-such-model"}
    with pytest.raises(StepError, match=r"transformers builds no language model"):
        load_model(weights(), config=config)


def test_an_interrupted_save_leaves_the_old_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = robin()
    save_model(model, tmp_path)

    def full(state: object, file: Path, metadata: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("sgforge_robin.model.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space"):
        save_model(model, tmp_path)
    assert torch.equal(answers(load_model(tmp_path)), answers(model))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_parts_of_other_checkpoints(tmp_path: Path) -> None:
    model = robin()
    prefix = "model.vision_tower.vision_tower."
    tower = {name.removeprefix(prefix): value + 1 for name, value in weights().items() if name.startswith(prefix)}
    torch.save({**tower, "logit_scale": torch.ones(())}, tmp_path / "open_clip_pytorch_model.bin")
    load_tower(model, tmp_path)
    stem = "model.vision_tower.vision_tower.visual.trunk.stem.0.bias"
    assert torch.equal(model.tower.trunk.stem[0].bias, weights()[stem] + 1)
    language = {
        name: value * 2
        for name, value in weights().items()
        if name.startswith(("model.layers", "model.norm", "model.embed"))
    }
    language["model.embed_tokens.weight"] = language["model.embed_tokens.weight"][:150]
    save_file(language, tmp_path / "model.safetensors")
    before = model.table.weight.detach().clone()
    load_language(model, tmp_path)
    assert torch.equal(model.table.weight[:150], before[:150] * 2)
    assert torch.equal(model.table.weight[150:], before[150:])
    del language["model.norm.weight"]
    save_file(language, tmp_path / "model.safetensors")
    with pytest.raises(StepError, match=r"of another model: missing model.norm.weight"):
        load_language(model, tmp_path)


def test_another_family_of_language_models() -> None:
    config = {**meta()["config"], "model_type": "llama", "attention_bias": False}
    state = {name: value for name, value in weights().items() if not name.endswith("_proj.bias")}
    model = load_model(state, config={"config": config, "tokens": meta()["tokens"]})
    assert type(model.language).__name__ == "LlamaForCausalLM"
    assert answers(model).isfinite().all()


def test_texts_that_do_not_fit_their_regions() -> None:
    model, given = robin(), figures()
    rows = [given["in.images"], masks(), given["in.input_ids"], given["in.attention_mask"]]
    with pytest.raises(StepError, match=r"row 1: 2 <mask> in its text, 0 regions"):
        model(rows[0], [rows[1][0], None, None], *rows[2:])
    with pytest.raises(StepError, match=r"row 0: 4 <mask> in its text, 3 regions"):
        model(rows[0], [rows[1][0][:3], rows[1][1], None], *rows[2:])
    with pytest.raises(StepError, match=r"2 images and masks of 3 for 3 rows"):
        model(rows[0][:2], *rows[1:])
    ids = rows[2].clone()
    ids[2, 3] = 160
    with pytest.raises(StepError, match=r"row 2: token 160 has no row in a table of 160"):
        model(rows[0], rows[1], ids, rows[3])
    ids[2, 1:4] = torch.tensor([-200, -200, 3])
    with pytest.raises(StepError, match=r"row 2: 2 images in one conversation"):
        model(rows[0], rows[1], ids, rows[3])
    ids = torch.tensor([[1, -200, 2, 150]])
    with pytest.raises(StepError, match=r"nothing follows its last <mask>"):
        model(rows[0][:1], [torch.ones(1, 9, 9)], ids)
    with pytest.raises(StepError, match=r"1 regions, but its text has no image"):
        model(rows[0][:1], [torch.ones(1, 9, 9)], torch.tensor([[1, 2]]))
    with pytest.raises(StepError, match=r"a <mask> before the image"):
        model(rows[0][:1], None, torch.tensor([[1, 150, 151, -200]]))


def test_text_without_an_image_is_text() -> None:
    model = robin()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        found = model(figures()["in.images"][:1], None, ids, labels=ids)
        alone = model.language(input_ids=ids, labels=ids)
    torch.testing.assert_close(found.logits, alone.logits)
    torch.testing.assert_close(found.loss, alone.loss)
