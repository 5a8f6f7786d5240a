"""From a checkpoint to an encoder at work: which loader, which device and dtype, which features are kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path

import torch

from sgforge.digests import file_sha256, folder_sha256
from sgforge.stages import Resources
from sgforge_sam.architecture import build_sam
from sgforge_sam.config import Dtype, SamOptions, SamTextOptions, SemanticSamOptions
from sgforge_sam.family import load_family
from sgforge_sam.features import Encoder
from sgforge_sam.original import OriginalSam
from sgforge_sam.protocol import PromptedModel
from sgforge_sam.tensors import read_tensors

__all__ = ["content_of", "dtype_of", "load_sam", "sam_encoder", "shared_encoder"]


def dtype_of(name: Dtype, device: torch.device) -> torch.dtype:
    """The dtype of that name; "auto" is bfloat16 on CUDA and float32 elsewhere."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    found: torch.dtype = getattr(torch, name)
    return found


def load_sam(checkpoint: Path | str, device: torch.device, dtype: torch.dtype) -> PromptedModel:
    """A file is segment-anything's, a folder or hub id transformers'."""
    if isinstance(checkpoint, str) or checkpoint.is_dir():
        return load_family(checkpoint, device, dtype)
    sam = build_sam(read_tensors(checkpoint), checkpoint)
    return OriginalSam(sam.to(device), dtype=dtype)


def sam_encoder(options: SamOptions | SamTextOptions, resources: Resources) -> Encoder:
    """The encoder that `sam` steps with these weights share in this process."""
    return shared_encoder(options, resources, load_sam, "sam")


def shared_encoder(
    options: SamOptions | SamTextOptions | SemanticSamOptions,
    resources: Resources,
    load: Callable[[Path | str, torch.device, torch.dtype], PromptedModel],
    kind: Hashable,
    made_as: str = "",
) -> Encoder:
    """An encoder shared by all of one `kind` that name weights of the same content, device and dtype.

    `made_as`: what features depend on beside these, as kept features must tell theirs apart.
    """
    checkpoint, folder = options.checkpoint, options.feature_folder
    device = torch.device(resources.device)
    dtype = dtype_of(options.dtype, device)

    def loaded() -> Encoder:
        name = "" if folder is None else f"{content_of(checkpoint)}:{dtype}{made_as}"
        return Encoder(load(checkpoint, device, dtype), options.feature_memory_mb * 1024 * 1024, folder, name)

    return resources.shared.get((content_of(checkpoint), kind, device, dtype, folder), loaded)


def content_of(checkpoint: Path | str) -> str:
    """The sha256 of a file or folder; a hub's id, and a path where nothing lies, as they are."""
    if isinstance(checkpoint, str) or not checkpoint.exists():
        return str(checkpoint)
    return folder_sha256(checkpoint) if checkpoint.is_dir() else file_sha256(checkpoint).hex()
