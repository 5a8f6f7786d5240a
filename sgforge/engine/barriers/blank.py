"""Blank pictures in the place of an evaluation's own: what a student still finds, it does not see."""

from __future__ import annotations

import io
from typing import Final

import attrs

from sgforge.errors import ImageError
from sgforge.file_refs import ImageRef
from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.made_files import MadeFiles

__all__ = ["BlankImages"]

_GREY: Final = (127, 127, 127)


@attrs.frozen(eq=False)
class BlankImages:
    """Grey pictures, one for every size, kept among the `files` of a dataset; `roots` open them."""

    files: MadeFiles
    roots: Roots
    _made: dict[tuple[int, int], ImageRef] = attrs.field(factory=dict, init=False)

    def in_place_of(self, sample: Sample) -> Sample:
        """The sample with a blank picture of the size of its own; as it is where that has none or cannot be read."""
        if sample.image is None:
            return sample
        try:
            size = (sample.graph.width, sample.graph.height) if sample.graph.width else sample.image.size()
        except ImageError:
            return sample  # who looks at it fails, as without us
        blank = self._of(size)
        return attrs.evolve(sample, uri=blank.uri, sha256=blank.sha256, image=self.roots.image(blank.uri))

    def _of(self, size: tuple[int, int]) -> ImageRef:
        from PIL import Image

        if size not in self._made:
            stream = io.BytesIO()
            Image.new("RGB", size, _GREY).save(stream, "PNG")
            kept = self.files.put(stream.getvalue(), ".png")
            assert isinstance(kept, ImageRef)
            self._made[size] = kept
        return self._made[size]
