"""What all segmenters with an encoder share: weights in common, pixels of samples, one encoding for a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from sgforge.graph import Sample
from sgforge.stages import Answer, Failure, Resources, pixels_of
from sgforge_sam.features import Encoder
from sgforge_sam.frames import Pixels

__all__ = ["EncodedSegmenter"]


class EncodedSegmenter(ABC):
    """A segmenter whose encoder sees all images of a batch together, and serves whatever is asked of them then."""

    def __init__(self) -> None:
        self._encoder: Encoder | None = None

    @abstractmethod
    def load(self, resources: Resources) -> Encoder:
        """The encoder, loaded or shared."""

    @abstractmethod
    def edit(self, encoder: Encoder, sample: Sample, pixels: Pixels) -> Answer:
        """What it has to say of one image."""

    @property
    def encoder(self) -> Encoder:
        """The encoder at work."""
        assert self._encoder is not None, "setup() comes first"
        return self._encoder

    def setup(self, resources: Resources) -> None:
        """Loads the weights, or shares those that another step of this process has loaded."""
        self._encoder = self.load(resources)

    def close(self) -> None:
        """Lets go of the weights; the last one that holds them frees the model."""
        self._encoder = None

    def segment(self, samples: Sequence[Sample], /) -> list[Answer]:
        """An edit for each image; one that is missing, broken or of another size than its graph is a `Failure`."""
        pixels = [pixels_of(sample) for sample in samples]
        self.encoder.batch([one for one in pixels if not isinstance(one, Failure)])
        return [
            one if isinstance(one, Failure) else self.edit(self.encoder, sample, one)
            for sample, one in zip(samples, pixels, strict=True)
        ]
