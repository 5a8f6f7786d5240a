"""Rows of scene_graphs.json and objects.json as columns, many images at once.

Only what leaves no doubt is read so: an image of which any rule of `GraphBuilder` would say, count or change something
is read row by row. So there is one place that words the rules and what they find; here is only what tells that none of
them would speak.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import attrs
import numpy as np
import numpy.typing as npt

from sgforge.columns import GraphColumns, ImageColumns, Ragged, RegionColumns, RelationColumns, Vocabularies
from sgforge.graph import SceneGraph
from sgforge_formats.coco.images import image_id_of
from sgforge_formats.origin import Origin
from sgforge_formats.reading.graph_builder import OUTSIDE, is_plain_text
from sgforge_formats.reading.json_rows import TypedReading
from sgforge_formats.reading.jsonlists import RowBlock
from sgforge_formats.reading.numbers import EXACT
from sgforge_formats.reading.typed_rows import TypedLists, are_read_as_columns, has_known_keys
from sgforge_formats.visual_genome.arrow_tables import Lists, Structs, Texts, structs_of
from sgforge_formats.visual_genome.image_data import ImageFacts

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["READ_AS_COLUMNS", "ReadGraph", "typed_reading"]

READ_AS_COLUMNS: Final = frozenset({"scene_graphs", "objects"})
"""The options whose files are read so, where no other file of annotations is named."""
_SIDES: Final = ("subject", "object")
_FARTHEST: Final = 2**62

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@attrs.frozen(eq=False)
class ReadGraph:
    """An image that was read: its graph, what else the file says of it, and the address of its picture."""

    image_id: str
    graph: SceneGraph
    origin: Callable[[], Origin]
    url: str | None


def typed_reading(stream: BinaryIO, facts: Mapping[str, ImageFacts]) -> TypedReading | None:
    """The reader of a file of scene graphs or objects; None where Arrow is not installed."""
    if not are_read_as_columns():
        return None
    return TypedReading(lists=TypedLists(stream, _schema()), read=partial(_read, facts=facts))


def _schema() -> pa.Schema:
    import pyarrow as pa

    texts, number, whole = pa.list_(pa.string()), pa.float64(), pa.int64()
    thing = [("object_id", whole), *((side, number) for side in "xywh"), ("name", pa.string()), ("names", texts)]
    thing += [("synsets", texts), ("attributes", texts), ("merged_object_ids", pa.list_(whole))]
    link = [("relationship_id", whole), ("predicate", pa.string()), ("synsets", texts)]
    link += [("subject_id", whole), ("object_id", whole)]
    lists = [(name, pa.list_(pa.struct(fields))) for name, fields in (("objects", thing), ("relationships", link))]
    return pa.schema([("image_id", whole), ("image_url", pa.string()), *lists])


def _read(block: RowBlock, facts: Mapping[str, ImageFacts]) -> dict[int, ReadGraph]:
    """The images without doubt, by their place in the block."""
    images = _Images(block.table, facts)
    images.doubt |= ~has_known_keys(block, images.keys)
    columns = images.columns()
    if columns is None:
        return {}
    return {at: images.graph(at, graph) for at, graph in columns.sound_views().items() if not images.doubt[at]}


class _Images:
    """The images of one block; `doubt` (N,) says which of them are to be read row by row."""

    def __init__(self, table: pa.Table, facts: Mapping[str, ImageFacts]) -> None:
        self._objects = structs_of(table, "objects")
        self._relations = structs_of(table, "relationships")
        self._ids = [image_id_of(number) for number in table["image_id"].to_pylist()]
        self._urls = table["image_url"].to_pylist()
        self._facts = [facts.get(image_id or "") or ImageFacts() for image_id in self._ids]
        self._sizes = np.asarray([(one.width, one.height) for one in self._facts], np.int64).reshape(-1, 2)
        of_image = sum(np.asarray(table[name].is_valid()).astype(np.int64) for name in table.column_names)
        self.keys: Ints = of_image + self._objects.keys + self._relations.keys
        self.doubt: Bools = np.asarray([image_id is None for image_id in self._ids], np.bool_)

    def graph(self, at: int, graph: SceneGraph) -> ReadGraph:
        """One image, whose graph this is."""
        url = self._facts[at].url or self._urls[at]
        return ReadGraph(image_id=self._ids[at] or "", graph=graph, origin=partial(self.origin, at), url=url)

    def columns(self) -> GraphColumns | None:
        """All images; None where ids are too far apart to be looked up together."""
        objects, relations = self._objects, self._relations
        places = self._places()
        if places is None:
            return None
        labels, attributes, predicates = self._labels(), self._attributes(), relations.texts("predicate")
        self._require(relations, (predicates.numbers >= 0) & predicates.are(_is_sound))
        image = attrs.evolve(
            ImageColumns.blank(len(self._ids)),
            id=Ragged.of_texts(image_id or "?" for image_id in self._ids),
            width=self._sizes[:, 0].astype(np.int32),
            height=self._sizes[:, 1].astype(np.int32),
            region_count=objects.counts.astype(np.uint32),
            relation_count=relations.counts.astype(np.uint32),
        )
        region = attrs.evolve(
            RegionColumns.blank(len(objects)),
            label=labels.numbers,
            box=self._boxes(),
            attribute=Ragged(attributes.counts.astype(np.uint32), attributes.flat.numbers),
        )
        sides = {side: place.astype(np.int32) for side, place in places.items()}
        relation = attrs.evolve(RelationColumns.blank(len(relations)), predicate=predicates.numbers, **sides)
        words = Vocabularies(label=labels.words, attribute=attributes.flat.words, predicate=predicates.words)
        return GraphColumns(image, region, relation, words)

    def _require(self, rows: Structs, sound: Bools) -> None:
        """Leave out the images of rows that are not sound."""
        self.doubt[rows.owners[~sound]] = True

    def _labels(self) -> Texts:
        """The first of `names`, else `name`."""
        labels = self._objects.first_texts("names", otherwise="name")
        self._require(self._objects, labels.are(is_plain_text))
        return attrs.evolve(labels, numbers=np.where(labels.are(bool), labels.numbers, np.int32(-1)))

    def _attributes(self) -> Lists:
        given = self._objects.lists("attributes")
        sound = (given.flat.numbers >= 0) & given.flat.are(_is_sound)
        pairs = given.owners * (len(given.flat.words) + 1) + given.flat.numbers
        _, first = np.unique(pairs, return_index=True)
        is_first = np.zeros(len(pairs), np.bool_)
        is_first[first] = True
        self.doubt[self._objects.owners[given.owners[~(sound & is_first)]]] = True
        return given

    def _boxes(self) -> npt.NDArray[np.float32]:
        objects = self._objects
        x, y, w, h = (objects.numbers(name) for name in "xywh")
        right, bottom = x + w, y + h
        width, height = self._sizes[objects.owners].T
        # Written so that NaN fails it.
        is_exact = np.maximum.reduce([np.abs(side) for side in (x, y, w, h)]) < EXACT
        is_seen = (x >= -OUTSIDE) & (y >= -OUTSIDE) & (right <= width + OUTSIDE) & (bottom <= height + OUTSIDE)
        is_seen &= (right > 0) & (bottom > 0) & (x < width) & (y < height)
        self._require(objects, is_exact & (is_seen | (width == 0)))
        return np.stack([x, y, right, bottom], axis=1).astype(np.float32)

    def _places(self) -> dict[str, Ints] | None:
        """Which region of its image each side of each relation is, -1 where there is none; None as `columns` says."""
        objects, relations = self._objects, self._relations
        merged = objects.lists("merged_object_ids")
        ids = [objects.whole("object_id"), merged.flat, *(relations.whole(f"{side}_id") for side in _SIDES)]
        owners = [objects.owners, objects.owners[merged.owners], relations.owners, relations.owners]
        keys = _keys(ids, owners, len(self._ids))
        if keys is None:
            return None
        for rows, name in ((objects, "object_id"), (relations, "relationship_id"), *self._sides()):
            self._require(rows, ~rows.is_null(name))
        local = np.arange(len(objects)) - objects.offsets[:-1][objects.owners]
        known = _Known(np.concatenate(keys[:2]), np.concatenate([local, local[merged.owners]]))
        self.doubt[np.concatenate(owners[:2])[known.twice]] = True
        self.doubt[owners[1][objects.null_items("merged_object_ids")]] = True
        places = {side: known.find(wanted) for side, wanted in zip(_SIDES, keys[2:], strict=True)}
        for place in places.values():
            self._require(relations, place >= 0)
        return places

    def _sides(self) -> Sequence[tuple[Structs, str]]:
        return [(self._relations, f"{side}_id") for side in _SIDES]

    @cached_property
    def _region_more(self) -> Mapping[str, Sequence[Sequence[Any]]]:
        """What regions have beside the graph, by its name."""
        names = [given if len(given) > 1 else [] for given in self._objects.lists("names").tolist()]
        more = {name: self._objects.lists(name).tolist() for name in ("synsets", "merged_object_ids")}
        return {name: given for name, given in (more | {"names": names}).items() if any(given)}

    @cached_property
    def _synsets(self) -> Sequence[Sequence[Any]]:
        """Those of relations."""
        return self._relations.lists("synsets").tolist()

    def origin(self, at: int) -> Origin:
        """What the file says of an image beside its graph."""
        first, last = self._objects.offsets[at : at + 2].tolist()
        start, stop = self._relations.offsets[at : at + 2].tolist()
        regions: dict[int, dict[str, Any]] = {}
        for name, given in self._region_more.items():
            for index, found in enumerate(given[first:last]):
                if found:
                    regions.setdefault(index, {})[name] = found
        return Origin(
            region_ids=self._objects.whole("object_id")[first:last].tolist(),
            relation_ids=self._relations.whole("relationship_id")[start:stop].tolist(),
            image=self._facts[at].more(),
            regions=regions,
            relations={index: {"synsets": found} for index, found in enumerate(self._synsets[start:stop]) if found},
        )


def _is_sound(text: str) -> bool:
    return bool(text) and is_plain_text(text)


def _keys(ids: Sequence[Ints], owners: Sequence[Ints], images: int) -> list[Ints] | None:
    """One number for each id in its image; None where no such numbers have 64 bits."""
    filled = [one for one in ids if len(one)]
    low, high = (min(int(one.min()) for one in filled), max(int(one.max()) for one in filled)) if filled else (0, 0)
    span = high - low + 1
    if span * images >= _FARTHEST:
        return None
    return [owner * span + (one - low) for one, owner in zip(ids, owners, strict=True)]


class _Known:
    """Regions by key."""

    def __init__(self, keys: Ints, regions: Ints) -> None:
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        self._regions = regions

    @property
    def twice(self) -> Ints:
        """The places of keys that stand there before."""
        found: Ints = self._order[1:][self._keys[1:] == self._keys[:-1]]
        return found

    def find(self, keys: Ints) -> Ints:
        """The region of each key, -1 where there is none."""
        if not len(self._keys):
            return np.full(len(keys), -1)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[at] == keys, self._regions[self._order[at]], -1)
