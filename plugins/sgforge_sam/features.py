"""Features of images, made once: kept in memory up to a limit, and on disk where a folder is named."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from sgforge.durable import whole_file
from sgforge_sam.frames import Pixels
from sgforge_sam.protocol import Features, PromptedModel, in_halves

__all__ = ["DEFAULT_BYTES", "Encoder"]

DEFAULT_BYTES: Final = 512 * 1024 * 1024


class Encoder:
    """A model with the features it made lately, by the content of the image; for use by several threads.

    `max_bytes`: how much is kept in memory, the last used longest, and always those of the last image. `folder`: where
    they are kept as well, under `name`, which must stand for weights and dtype. `encoded` counts the images that went
    through the encoder.
    """

    def __init__(
        self, model: PromptedModel, max_bytes: int = DEFAULT_BYTES, folder: Path | None = None, name: str = ""
    ) -> None:
        self.model = model
        self.encoded = 0
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[bytes, Features] = OrderedDict()
        self._folder = folder
        self._name = name
        self._lock = threading.RLock()

    def features(self, pixels: Pixels) -> Features:
        """The features of (H, W, 3) uint8 RGB pixels."""
        return self.batch([pixels])[0]

    def batch(self, images: Sequence[Pixels]) -> list[Features]:
        """The features of several images; those that are not known go through the encoder together."""
        with self._lock:
            keys = [self._key(pixels) for pixels in images]
            found: dict[bytes, Features] = {}
            new: dict[bytes, Pixels] = {}
            for key, pixels in zip(keys, images, strict=True):
                known = self._kept.get(key) or self._read(key, pixels)
                if known is None:
                    new[key] = pixels
                else:
                    found[key] = known
            for key, features in zip(new, in_halves(self.model.encode, list(new.values())), strict=True):
                self.encoded += 1
                self._write(key, features)
                found[key] = features
            for key in keys:
                self._keep(key, found[key])
            return [found[key] for key in keys]

    def _keep(self, key: bytes, features: Features) -> None:
        if key not in self._kept:
            self._kept[key] = features
            self._bytes += features.nbytes
        self._kept.move_to_end(key)
        while self._bytes > self._max_bytes and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes

    def _key(self, pixels: Pixels) -> bytes:
        digest = hashlib.blake2b(f"{self._name}\0{pixels.shape}".encode(), digest_size=20)
        digest.update(np.ascontiguousarray(pixels))
        return digest.digest()

    def _path(self, key: bytes) -> Path | None:
        return None if self._folder is None else self._folder / f"{key.hex()}.safetensors"

    def _read(self, key: bytes, pixels: Pixels) -> Features | None:
        """What the folder has; a damaged file is as good as none."""
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors = load_file(path)
        except (SafetensorError, OSError):
            return None
        device = self.model.device
        ordered = [tensors[name].to(device) for name in sorted(tensors)]
        return Features(tuple(ordered), self.model.placed(pixels))

    def _write(self, key: bytes, features: Features) -> None:
        path = self._path(key)
        if path is None:
            return
        from safetensors.torch import save

        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {f"{place:02}": tensor.contiguous().cpu() for place, tensor in enumerate(features.tensors)}
        with whole_file(path) as stream:
            stream.write(save(tensors))
