"""GraphColumns: many images with their regions and relations, column-wise."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import attrs
import numpy as np

from sgforge.columns.building import SampleTables, views_of
from sgforge.columns.check import Fault, find_faults
from sgforge.columns.rows import regions_from, relations_from
from sgforge.columns.schema import ImageColumns, RegionColumns, RelationColumns, Vocabularies
from sgforge.columns.words import Remap, id_columns, merged, sorted_words, used_words
from sgforge.errors import GraphError
from sgforge.graph import Sample, SceneGraph
from sgforge.statekey import KEY_BYTES

if TYPE_CHECKING:
    from sgforge.images import Roots

__all__ = ["GraphColumns"]

_AT_ONCE: Final = 256
"""Images made into objects at once."""


@attrs.frozen(eq=False, slots=False)
class GraphColumns:
    """N images with M regions and R relations in all; CSR by image, in the order given.

    Build it `from_samples`, or from tables; `check()` says what breaks the rules of `sgforge.graph`. Methods that
    return columns share arrays with these where they can: treat every array as read-only.
    """

    image: ImageColumns
    region: RegionColumns
    relation: RelationColumns
    vocabularies: Vocabularies = attrs.field(factory=Vocabularies)

    @classmethod
    def from_samples(cls, samples: Iterable[Sample]) -> GraphColumns:
        """The columns of these samples; keys are zero. A text that is no valid Unicode is a `GraphError`."""
        tables = SampleTables()
        for sample in samples:
            tables.add(sample)
        return cls(*tables.tables())

    @classmethod
    def empty(cls) -> GraphColumns:
        """No image at all."""
        return cls(ImageColumns.blank(0), RegionColumns.blank(0), RelationColumns.blank(0))

    @classmethod
    def concat(cls, parts: Sequence[GraphColumns]) -> GraphColumns:
        """The images of all parts, in order, over one merged set of vocabularies."""
        if not parts:
            return cls.empty()
        if len(parts) == 1:
            return parts[0]
        words = merged([part.vocabularies for part in parts])
        aligned = [part.over(words) for part in parts]
        return cls(
            ImageColumns.concat([part.image for part in aligned]),
            RegionColumns.concat([part.region for part in aligned]),
            RelationColumns.concat([part.relation for part in aligned]),
            words,
        )

    def __len__(self) -> int:
        return len(self.image.width)

    def gather(self, images: Sequence[int] | np.ndarray) -> GraphColumns:
        """The images of these row numbers, in this order; repeats are allowed."""
        rows = np.asarray(images, np.int64)
        if len(rows) == len(self) and np.array_equal(rows, np.arange(len(self))):
            return self
        image = self.image
        return GraphColumns(
            image.take(rows),
            self.region.take(image.region_rows(rows)),
            self.relation.take(image.relation_rows(rows)),
            self.vocabularies,
        )

    def one(self, image: int) -> GraphColumns:
        """One image, without copying."""
        return self.between(image, image + 1)

    def between(self, start: int, stop: int) -> GraphColumns:
        """The images of rows start to stop, without copying."""
        regions, relations = self.image.region_offsets, self.image.relation_offsets
        return GraphColumns(
            self.image.slice(start, stop),
            self.region.slice(int(regions[start]), int(regions[stop])),
            self.relation.slice(int(relations[start]), int(relations[stop])),
            self.vocabularies,
        )

    def sorted_by_id(self) -> GraphColumns:
        """The images in the order of the UTF-8 bytes of their ids; an id that occurs twice is a `GraphError`."""
        ids = self.image.id.byte_rows()
        order = sorted(range(len(ids)), key=ids.__getitem__)
        for first, second in pairwise(order):
            if ids[first] == ids[second]:
                raise GraphError(f"image id {ids[first].decode()!r} occurs twice (images {first} and {second})")
        return self.gather(np.asarray(order, np.int64))

    def over(self, vocabularies: Vocabularies) -> GraphColumns:
        """The same images with ids that point into `vocabularies`, which must hold every text in use."""
        if vocabularies == self.vocabularies:
            return self
        remap = Remap(self.vocabularies, vocabularies)
        tables = remap.table(self.image), remap.table(self.region), remap.table(self.relation)
        return GraphColumns(*tables, vocabularies)

    def compact(self) -> GraphColumns:
        """The same images over vocabularies sorted by UTF-8 bytes, without unused texts."""
        return self.over(sorted_words([self.used()]))

    def used(self) -> Vocabularies:
        """The texts that some row uses."""
        ids = (pair for table in (self.image, self.region, self.relation) for pair in id_columns(table))
        return used_words(self.vocabularies, ids).new

    def with_keys(self, keys: np.ndarray) -> GraphColumns:
        """The same images with other state keys, (N, KEY_BYTES) uint8."""
        return attrs.evolve(self, image=attrs.evolve(self.image, key=np.asarray(keys, np.uint8).reshape(-1, KEY_BYTES)))

    def graph(self, image: int) -> SceneGraph:
        """The scene graph of one image, as objects."""
        return self.one(image).graphs()[0]

    def sample(self, image: int, roots: Roots | None = None) -> Sample:
        """One image as a Sample; with `roots` its pixels can be opened."""
        return self.one(image)._samples(roots)[0]

    def samples(self, roots: Roots | None = None) -> Iterator[Sample]:
        """All images as Samples, in order; made some at a time, which is several times faster than one by one."""
        for start in range(0, len(self), _AT_ONCE):
            yield from self.between(start, min(start + _AT_ONCE, len(self)))._samples(roots)

    def _samples(self, roots: Roots | None) -> list[Sample]:
        table, texts = self.image, self.vocabularies
        found = []
        for row, graph in enumerate(self.graphs()):
            split, source = int(table.split[row]), int(table.source[row])
            uri, digest = table.uris[row], table.sha256[row]
            found.append(
                Sample(
                    image_id=table.ids[row],
                    graph=graph,
                    uri=uri,
                    split=texts.split[split] if split >= 0 else None,
                    source=texts.source[source] if source >= 0 else None,
                    sha256=digest.tobytes().hex() if digest.any() else None,
                    image=roots.image(uri) if roots is not None and uri is not None else None,
                )
            )
        return found

    def sound_views(self) -> dict[int, SceneGraph]:
        """The scene graphs of all images that break no rule, by row; their rows become objects when asked for.

        Those of one image make those of all: take a few hundred images at a time.
        """
        faulty = {fault.image for fault in self.faults()}
        sound = [row for row in range(len(self)) if row not in faulty]
        return dict(zip(sound, views_of(self.gather(sound)), strict=True))

    def graphs(self) -> list[SceneGraph]:
        """The scene graphs of all images, as objects."""
        image = self.image
        regions = regions_from(with_own_frames(image, self.region), self.vocabularies)
        relations = relations_from(self.relation, self.vocabularies)
        ends = zip(pairwise(image.region_offsets.tolist()), pairwise(image.relation_offsets.tolist()), strict=True)
        return [
            SceneGraph(
                width=width,
                height=height,
                regions=regions[first_region:end_region],
                relations=relations[first:end],
                attributes=json.loads(attributes) if attributes else {},
            )
            for width, height, attributes, ((first_region, end_region), (first, end)) in zip(
                image.width.tolist(), image.height.tolist(), image.attributes.texts(), ends, strict=True
            )
        ]

    def faults(self) -> list[Fault]:
        """Everything that breaks the rules of `sgforge.graph`, found column-wise; in order of image and row."""
        return find_faults(self.image, self.region, self.relation, self.vocabularies)

    def check(self, shown: int = 10) -> None:
        """A `GraphError` that locates the first `shown` faults and counts the rest; nothing if there are none."""
        faults = self.faults()
        if not faults:
            return
        ids = self.image.ids
        lines = [f"image {ids[fault.image]!r}: {fault.where}: {fault.message}" for fault in faults[:shown]]
        if len(faults) > shown:
            lines.append(f"and {len(faults) - shown} more")
        raise GraphError("; ".join(lines))


def with_own_frames(image: ImageColumns, region: RegionColumns) -> RegionColumns:
    """The regions with the frame of each mask stated, the image's where `mask_frame` was 0, 0."""
    is_image = (region.has_mask == 1) & (region.mask_frame == 0).all(axis=1)
    if not is_image.any():
        return region
    sizes = np.repeat(np.stack([image.height, image.width], axis=1), image.region_count, axis=0)
    return attrs.evolve(region, mask_frame=np.where(is_image[:, None], sizes, region.mask_frame))
