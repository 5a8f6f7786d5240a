"""A vision-language model of a folder or hub id, with its processor, made ready to be sampled from and learnt."""

from __future__ import annotations

import copy
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import attrs
import torch
from torch import Tensor

from sgforge.durable import share_as_usual
from sgforge.errors import StepError
from sgforge_grpo.config import Unit, VlmOptions

__all__ = ["FAMILIES", "Vlm", "matrices"]

FAMILIES: Final[dict[str, Unit]] = {
    "qwen2_vl": "thousand",
    "qwen2_5_vl": "processed",
    "qwen3_vl": "thousand",
    "qwen3_vl_moe": "thousand",
    "qwen3_5": "thousand",
    "molmo2": "thousand",
    "llava": "unit",
    "llava_next": "unit",
    "llava_onevision": "unit",
}
"""What boxes are written in by families of models, by `model_type`; of others thousandths."""
_LORA: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@attrs.frozen(eq=False)
class Vlm:
    """A model that can be asked: `unit` is what its boxes are in, `silent` the token ids that it may never say."""

    model: Any
    processor: Any
    unit: Unit
    silent: tuple[int, ...]
    end: int
    adapted: bool = False

    @classmethod
    def load(cls, options: VlmOptions, folder: Path | None, device: str, dtype: str) -> Self:
        """Weights in safetensors form alone, no code of the repository; `folder`: trained weights, else the base's."""
        from transformers import AutoModelForImageTextToText

        name = options.base if folder is None else str(folder)
        if name is None:
            raise StepError(
                "vlm has no model: say base = a folder or hub id that AutoModelForImageTextToText loads, or checkpoint"
            )
        try:
            processor = _processor(name)
            model: Any = AutoModelForImageTextToText.from_pretrained(
                name, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            first = str(error).strip().partition("\n")[0]
            raise StepError(f"vlm cannot load {name!r}: {first}") from error
        kind = str(model.config.model_type)
        unit = FAMILIES.get(kind, "thousand") if options.boxes == "auto" else options.boxes
        tokenizer = processor.tokenizer
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        _drop_nothing(model)
        return cls(
            model=model.to(device).eval(),
            processor=processor,
            unit=unit,
            silent=_silent(model.config, tokenizer),
            end=int(tokenizer.eos_token_id),
        )

    def with_adapters(self, rank: int) -> Self:
        """The model with LoRA on its language model's matrices (Hu et al. 2022), of which alone it then learns."""
        try:
            from peft import LoraConfig, get_peft_model
        except ImportError:
            raise StepError("lora needs peft; install it with: pip install peft") from None
        config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=matrices(self.model))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adapted = get_peft_model(self.model, config)
        return attrs.evolve(self, model=adapted, adapted=True)

    def save(self, folder: Path) -> None:
        """Model and processor, as `from_pretrained` reads them; adapters are merged into a copy."""
        model = copy.deepcopy(self.model).merge_and_unload() if self.adapted else self.model
        model.save_pretrained(folder, safe_serialization=True)
        for path in folder.glob("*.safetensors"):
            share_as_usual(path)
        self.processor.save_pretrained(folder)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        found: Tensor = next(self.model.parameters())
        return found.device


def matrices(model: Any) -> list[str]:
    """Names of the language model's linear layers: of those that most families have, else of all.

    Towers of pictures have layers of the same names, so that whole names are needed.
    """
    own = set(map(id, model.get_decoder().modules()))
    found = [name for name, one in model.named_modules() if id(one) in own and isinstance(one, torch.nn.Linear)]
    return [name for name in found if name.rpartition(".")[2] in _LORA] or found


def _processor(name: str) -> Any:
    """The processor; where torchvision is missing, without the part for videos, which needs it."""
    from transformers import AutoProcessor

    if find_spec("torchvision") is None:
        found = _still(name)
        if found is not None:
            return found
    return AutoProcessor.from_pretrained(name, trust_remote_code=False)  # type: ignore[no-untyped-call]


def _still(name: str) -> Any:
    from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    kind: Any = PROCESSOR_MAPPING.get(type(config), None)
    if kind is None or "video_processor" not in kind.get_attributes():
        return None
    check = kind.check_argument_for_proper_class

    def check_what_is_there(self: Any, argument_name: str, argument: Any) -> Any:
        return None if argument is None else check(self, argument_name, argument)

    def without_video(self: Any, folder: Any, **further: Any) -> Any:
        self.image_processor.save_pretrained(folder)
        return self.tokenizer.save_pretrained(folder)

    members = {"check_argument_for_proper_class": check_what_is_there, "save_pretrained": without_video}
    still = type(f"Still{kind.__name__}", (kind,), members)
    tokenizer: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    pictures: Any = AutoImageProcessor.from_pretrained(name, trust_remote_code=False)  # type: ignore[no-untyped-call]
    return still(
        image_processor=pictures, tokenizer=tokenizer, video_processor=None, chat_template=tokenizer.chat_template
    )


def _silent(config: Any, tokenizer: Any) -> tuple[int, ...]:
    """Ids that stand for pictures and videos, and all special ones but the end: no answer has them."""
    named = (name for name in vars(config) if name.endswith(("image_token_id", "image_token_index", "video_token_id")))
    pictures = {value for name in (*named, "image_token_id", "image_token_index", "video_token_id",
                                   "vision_start_token_id", "vision_end_token_id")
                if isinstance(value := getattr(config, name, None), int)}  # fmt: skip
    special = set(tokenizer.all_special_ids)
    return tuple(sorted((pictures | special) - {tokenizer.eos_token_id}))


def _drop_nothing(model: Any) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
