"""Loading a processor for still images, also where the video part of it cannot be built."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer

__all__ = ["load_processor"]


def load_processor(name: str) -> Any:
    """The processor of a model; without torchvision, one that knows no videos, for these need it."""
    if find_spec("torchvision") is None:
        return _without_video(name) or _complete(name)
    return _complete(name)


def _complete(name: str) -> Any:
    return AutoProcessor.from_pretrained(name, trust_remote_code=False)  # type: ignore[no-untyped-call]


def _without_video(name: str) -> Any:
    """The model's processor class with its video part left empty; None if it has no such part."""
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    kind: Any = PROCESSOR_MAPPING.get(type(config), None)
    if kind is None or "video_processor" not in kind.get_attributes():
        return None
    check = kind.check_argument_for_proper_class

    def check_what_is_there(self: Any, argument_name: str, argument: Any) -> Any:
        return None if argument is None else check(self, argument_name, argument)

    still = type(f"Still{kind.__name__}", (kind,), {"check_argument_for_proper_class": check_what_is_there})
    tokenizer: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    pictures: Any = AutoImageProcessor.from_pretrained(name, trust_remote_code=False)  # type: ignore[no-untyped-call]
    return still(
        image_processor=pictures, tokenizer=tokenizer, video_processor=None, chat_template=tokenizer.chat_template
    )
