"""Checkpoints: folders of safetensors with the public names, read with every name and shape checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sgforge.durable import share_as_usual, write_text
from sgforge.errors import StepError
from sgforge_robin.model.lora import merged
from sgforge_robin.model.names import HEAD, TRUNK, VISUAL, module_name, public_name
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.shape import RobinShape

__all__ = ["build", "load_language", "load_model", "load_tower", "read_weights", "save_model"]

WEIGHTS: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_TOWER_FILE: Final = "open_clip_pytorch_model.bin"
_HEAD_NAME: Final = "lm_head.weight"
_TABLE_NAME: Final = "model.embed_tokens.weight"
_NAMED: Final = 8


def load_model(
    source: str | Path | Mapping[str, Tensor],
    config: RobinShape | Mapping[str, Any] | str | Path | None = None,
    dtype: str = "float32",
    parity: bool = False,
) -> RobinModel:
    """A Robin in evaluation mode, from a checkpoint's folder or from weights by their public names.

    `config`: a config.json or its contents; None takes the folder's, or the sizes of Qwen2.5-3B for bare weights of
    the released widths. `dtype`: "float32", "bfloat16" or "float16", one for all of it. `parity` reproduces the
    released code where the default differs: masks stretched though the image was padded, masks resized without
    antialiasing, the extractor in float32. Missing, extra and wrong-shaped weights are a `StepError` that names them.
    """
    folder = None if isinstance(source, Mapping) else Path(source)
    state = dict(source) if isinstance(source, Mapping) else read_weights(Path(source))
    shape = config if isinstance(config, RobinShape) else RobinShape.read(state, _config(config, folder))
    if folder is not None and (folder / "tokenizer.json").is_file():
        shape = _told(shape, folder)
    model = build(shape, dtype, parity)
    fill(model, state, "the checkpoint" if folder is None else f"the checkpoint {folder}")
    return model.eval()


def build(shape: RobinShape, dtype: str = "float32", parity: bool = False) -> RobinModel:
    """A Robin with random weights."""
    kind = getattr(torch, dtype, None)
    if kind not in (torch.float32, torch.bfloat16, torch.float16):
        raise StepError(f"dtype {dtype!r} must be float32, bfloat16 or float16")
    return RobinModel(shape, parity, kind)


def fill(model: RobinModel, state: Mapping[str, Tensor], weights: str = "the checkpoint") -> None:
    """Load weights by their public names; all that is wrong with them is one `StepError` about `weights`."""
    expected = {public_name(name): value for name, value in model.state_dict().items()}
    given = _with_head(model, state)
    unused = (HEAD, f"{TRUNK}head.")
    missing = [name for name in expected if name not in given and not name.startswith(unused)]
    extra = [name for name in given if name not in expected and not name.startswith(unused)]
    shapes = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in given and given[name].shape != value.shape
    ]
    faults = [("missing", missing), ("not known", extra), ("of another shape", shapes)]
    if any(names for _, names in faults):
        said = "; ".join(f"{what}: {_listed(names)}" for what, names in faults if names)
        raise StepError(f"{weights} does not fit its model ({said}): are config and weights of one model?")
    model.load_state_dict({module_name(name): value for name, value in given.items() if name in expected}, strict=False)


def save_model(model: RobinModel, folder: Path) -> None:
    """Write weights and config.json under the public names; a tied head is left out, as in the public checkpoint.

    Adapters are merged into their layers. Each file is whole or not there: it is written under another name first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {public_name(name): value.detach().cpu().contiguous() for name, value in merged(model).items()}
    if _is_tied(model):
        state.pop(_HEAD_NAME, None)
    aside = folder / f".{WEIGHTS}.tmp"
    try:
        save_file(state, aside, metadata={"format": "pt"})
        share_as_usual(aside)
        aside.replace(folder / WEIGHTS)
    finally:
        aside.unlink(missing_ok=True)
    write_text(folder / "config.json", json.dumps(model.shape.as_config(), indent=1, sort_keys=True))


def load_tower(model: RobinModel, path: Path) -> None:
    """Fill the vision tower from LAION's CLIP weights: keys `visual.*`, others passed over."""
    file = path / _TOWER_FILE if path.is_dir() else path
    state = _read_file(file)
    renamed = {VISUAL + name.removeprefix("visual."): value for name, value in state.items() if "visual." in name[:7]}
    _fill_part(model, renamed, VISUAL, file)


def load_language(model: RobinModel, folder: Path) -> None:
    """Fill the language model from its own checkpoint; rows that its table has and ours has not are a `StepError`.

    Ours may have more (those of added tokens): these keep their random values.
    """
    state = read_weights(folder)
    own = model.language.state_dict()
    for name in (_TABLE_NAME, _HEAD_NAME):
        if name in state and name in own and len(state[name]) < len(own[name]):
            state[name] = torch.cat([state[name].to(own[name].dtype), own[name][len(state[name]) :].cpu()])
    _fill_part(model, state, "", folder)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder: model.safetensors, its shards, or pytorch_model.bin read as weights only."""
    if folder.is_file():
        return _read_file(folder)
    index = folder / _INDEX
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        if any(Path(name).name != name for name in names):
            raise StepError(f"{index} names files outside its folder: refused")
        merged: dict[str, Tensor] = {}
        for name in names:
            merged.update(_read_file(folder / name))
        return merged
    for name in (WEIGHTS, "pytorch_model.bin"):
        if (folder / name).is_file():
            return _read_file(folder / name)
    raise StepError(f"{folder} holds no {WEIGHTS}: it is no checkpoint, or its saving was interrupted")


def _fill_part(model: RobinModel, state: Mapping[str, Tensor], prefix: str, where: Path) -> None:
    """Fill the weights whose public name begins with `prefix` and that are no others' part."""
    part = {VISUAL: "tower.", "": "language."}[prefix]
    own = {public_name(name): value for name, value in model.state_dict().items() if name.startswith(part)}
    given = dict(state) if prefix else _with_head(model, state)
    missing = [name for name in own if name not in given]
    wrong = [name for name, value in own.items() if name in given and given[name].shape != value.shape]
    if missing or wrong:
        raise StepError(f"{where} is of another model: missing {_listed(missing)}; other shapes {_listed(wrong)}")
    model.load_state_dict({module_name(name): given[name] for name in own}, strict=False)


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        raise StepError(f"{path} cannot be read as weights ({error}); was its saving interrupted?") from error
    except Exception as error:  # what a file that is more than weights raises has no class of its own
        raise StepError(f"{path} is refused: it holds more than weights ({type(error).__name__})") from error
    if not isinstance(loaded, dict):
        raise StepError(f"{path} holds no weights by name")
    return {name: value for name, value in loaded.items() if isinstance(value, Tensor)}


def _config(config: Mapping[str, Any] | str | Path | None, folder: Path | None) -> Mapping[str, Any] | None:
    if isinstance(config, Mapping):
        return config
    path = Path(config) if config is not None else None if folder is None else folder / "config.json"
    if path is None:
        return None
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StepError(f"{path} cannot be read as a config: {error}") from error
    if not isinstance(found, dict):
        raise StepError(f"{path} is no config: it must be an object")
    return found


def _told(shape: RobinShape, folder: Path) -> RobinShape:
    """The shape with what its tokenizer says."""
    if shape.tokens is not None and shape.names is None:
        return shape
    from sgforge_robin.tokens import load_tokenizer

    tokenizer = load_tokenizer(folder)
    tokens = shape.tokens or tokenizer.special
    return attrs.evolve(shape, tokens=tokens, names=None if shape.names is None else tokenizer.names)


def _with_head(model: RobinModel, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights, the language model's head with them where it is tied to the table."""
    tied = {_HEAD_NAME: state[_TABLE_NAME]} if _is_tied(model) and _TABLE_NAME in state else {}
    return {**tied, **state}


def _is_tied(model: RobinModel) -> bool:
    return bool(model.language.config.tie_word_embeddings)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or "none") + more
