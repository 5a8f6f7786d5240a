"""SceneGraph, the rows of one image with their verdicts, and Sample, the image with its graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from sgforge.errors import GraphError
from sgforge.file_refs import is_made
from sgforge.graph.checks import KEPT, Box, to_rows
from sgforge.graph.rows import Mask, Region, Relation
from sgforge.graph.values import NO_VALUES, Values, to_row_values, to_values
from sgforge.text.wording import counted, shortened

if TYPE_CHECKING:
    from sgforge.images import ImageSource

__all__ = ["DeferredRows", "Rows", "Sample", "SceneGraph"]

_LARGEST: Final = 2**31 - 1


@attrs.frozen
class Rows:
    """All rows of a graph in order of arrival, rejected ones included."""

    regions: tuple[Region, ...]
    relations: tuple[Relation, ...]


class DeferredRows(Protocol):
    """Checked rows that are kept in another form until somebody asks for them as objects."""

    @property
    def has_masks(self) -> bool:
        """Whether any region may have a mask."""

    def made(self) -> Rows:
        """The rows; those that building a graph of them would take."""


def _check_index(index: Any, count: int, what: str) -> None:
    if not isinstance(index, int) or isinstance(index, bool):
        raise GraphError(f"{what} {index!r} must be an int, not {type(index).__name__}")
    if not 0 <= index < count:
        raise GraphError(f"{what} is {index}, out of range: the graph has {counted(count, 'region')}")


def _texts_by_name(value: Mapping[str, str]) -> dict[str, str]:
    if type(value) is not dict and not isinstance(value, Mapping):
        raise GraphError(f'attributes of a graph are texts by name, such as {{"style": "sketch"}}, not {value!r}')
    return dict(value)


@attrs.frozen(slots=False, repr=False)
class SceneGraph:
    """The regions and relations of one image (or of none: width and height 0).

    `SceneGraph(width, height, regions, relations, attributes)` takes all rows. `regions` and `relations` are the kept
    rows by index, a relation also needing both its regions kept; `all` has every row with its status and reason.
    """

    width: int = 0
    height: int = 0
    _regions: tuple[Region, ...] = attrs.field(default=(), converter=to_rows)
    _relations: tuple[Relation, ...] = attrs.field(default=(), converter=to_rows)
    attributes: Mapping[str, str] = attrs.field(factory=dict, converter=_texts_by_name, hash=False)

    def __attrs_post_init__(self) -> None:
        if not (type(self.width) is int and type(self.height) is int):
            given = f"{shortened(self.width)}, {shortened(self.height)}"
            raise GraphError(f"image size {given} must be two ints, width and height in pixels; then come the rows")
        if self.width < 0 or self.height < 0 or bool(self.width) != bool(self.height):
            raise GraphError(f"image size {self.width}x{self.height} must be positive, or 0x0 without an image")
        if self.width > _LARGEST or self.height > _LARGEST:
            raise GraphError(f"image size {self.width}x{self.height} is more than {_LARGEST} pixels on a side")
        try:
            self._check_rows()
        except AttributeError:
            self._refuse_other_kinds()  # looked for only now: graphs are built by the million
            raise

    @classmethod
    def of_checked(cls, width: int, height: int, attributes: Mapping[str, str], rows: DeferredRows) -> SceneGraph:
        """A graph that is known to be sound; its rows become objects when they are asked for (`GraphColumns`)."""
        graph = cls.__new__(cls)
        fields = graph.__dict__
        fields["width"] = width
        fields["height"] = height
        fields["attributes"] = attributes
        fields["_deferred"] = rows
        return graph

    @property
    def deferred(self) -> DeferredRows | None:
        """The form in which its rows were given, where that was not objects."""
        rows: DeferredRows | None = self.__dict__.get("_deferred")
        return rows

    if not TYPE_CHECKING:  # of any name, as far as a type checker can tell

        def __getattr__(self, name: str) -> Any:
            if name in ("_regions", "_relations") and "_deferred" in self.__dict__:
                made = self.deferred.made()
                self.__dict__.update(_regions=made.regions, _relations=made.relations)
                return self.__dict__[name]
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def __getstate__(self) -> dict[str, Any]:
        rows = {"_regions": self._regions, "_relations": self._relations}
        return {name: value for name, value in self.__dict__.items() if name != "_deferred"} | rows

    def _refuse_other_kinds(self) -> None:
        for rows, kind in ((self._regions, Region), (self._relations, Relation)):
            for row in rows:
                if not isinstance(row, kind):
                    raise GraphError(f"{shortened(row)} stands where a {kind.__name__} belongs") from None
        for index, region in enumerate(self._regions):
            if region.mask is not None and not isinstance(region.mask, Mask):
                raise GraphError(f"the mask of region {index} must be a Mask, not {shortened(region.mask)}") from None

    def _check_rows(self) -> None:
        count = len(self._regions)
        for index, region in enumerate(self._regions):
            if region.parent is not None:
                _check_index(region.parent, count, f"parent of region {index}")
                if region.parent == index:
                    raise GraphError(f"region {index} is its own parent")
            mask = region.mask
            if mask is not None and self.width and (mask.width, mask.height) != (self.width, self.height):
                raise GraphError(
                    f"mask of region {index} is {mask.width}x{mask.height}, the image {self.width}x{self.height}"
                )
        for index, relation in enumerate(self._relations):
            subject, object_ = relation.subject, relation.object
            if not (type(subject) is type(object_) is int and 0 <= subject < count and 0 <= object_ < count):
                _check_index(subject, count, f"subject of relation {index}")
                _check_index(object_, count, f"object of relation {index}")

    def __repr__(self) -> str:
        rejected = len(self._regions) + len(self._relations) - len(self.regions) - len(self.relations)
        size = f"{self.width}x{self.height}" if self.width else "no image"
        rows = f"{counted(len(self.regions), 'region')}, {counted(len(self.relations), 'relation')}"
        left = counted(rejected, "row")
        return f"<SceneGraph {size}: {rows}{f', {left} not kept' if rejected else ''}>"

    @property
    def all(self) -> Rows:
        """Every row, rejected ones included."""
        return Rows(self._regions, self._relations)

    @cached_property
    def regions(self) -> dict[int, Region]:
        """Kept regions by index, in order."""
        return {index: region for index, region in enumerate(self._regions) if region.status == KEPT}

    @cached_property
    def relations(self) -> dict[int, Relation]:
        """Kept relations by index, in order; both regions of each are kept."""
        regions = self.regions
        return {
            index: relation
            for index, relation in enumerate(self._relations)
            if relation.status == KEPT and relation.subject in regions and relation.object in regions
        }

    def sized(self, width: int, height: int) -> SceneGraph:
        """This graph with another size of its image; masks of another size than that are a `GraphError`."""
        deferred = self.deferred
        if deferred is not None and not deferred.has_masks:
            size = SceneGraph(width, height)
            return SceneGraph.of_checked(size.width, size.height, self.attributes, deferred)
        return SceneGraph(
            width=width,
            height=height,
            regions=self._regions,
            relations=self._relations,
            attributes=self.attributes,
        )

    def box_of(self, index: int) -> Box:
        """The xyxy box of region `index` (of its mask if it has no box); a region without either is a `GraphError`."""
        try:
            region = self._regions[index]
        except (IndexError, TypeError):
            there = counted(len(self._regions), "region")
            raise GraphError(f"there is no region {index!r}: the graph has {there}") from None
        box = region.box or (region.mask.box if region.mask is not None else None)
        if box is None:
            raise GraphError(f"region {index} ({region.label or 'no label'}) has neither box nor mask")
        return box

    def triplets(self) -> Iterator[tuple[str | None, str, str | None]]:
        """(subject label, predicate, object label) of each kept relation."""
        for relation in self.relations.values():
            yield self._regions[relation.subject].label, relation.predicate, self._regions[relation.object].label


def _named(values: Values) -> str:
    return repr(values)


@attrs.frozen
class Sample:
    """One image with its scene graph.

    `uri` is "root:relative/path" or None without an image. `image` opens the pixels and takes no part in equality.
    `source` names the pipeline's source that gave it; `split` is train, val, test or None where none is known.
    `values`, `region_values`, `relation_values`: of further columns by name, such as `values["caption"]`; of rows by
    name and index, such as `region_values["clip.embedding"][3]`. What has no value is not in them.
    """

    image_id: str
    graph: SceneGraph = attrs.field(factory=SceneGraph)
    uri: str | None = None
    split: str | None = None
    source: str | None = None
    sha256: str | None = None
    image: ImageSource | None = attrs.field(default=None, eq=False, repr=False)
    values: Values = attrs.field(default=NO_VALUES, converter=to_values, kw_only=True, hash=False, repr=_named)
    region_values: Values = attrs.field(
        default=NO_VALUES, converter=to_row_values, kw_only=True, hash=False, repr=_named
    )
    relation_values: Values = attrs.field(
        default=NO_VALUES, converter=to_row_values, kw_only=True, hash=False, repr=_named
    )

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.image_id, str) or not self.image_id:
            raise GraphError(f"image id {self.image_id!r} must be a non-empty text")
        if not isinstance(self.graph, SceneGraph):
            raise GraphError(f"the graph of a sample must be a SceneGraph, not {shortened(self.graph)}")

    @property
    def has_values(self) -> bool:
        """Whether any further column has a value."""
        given = self.values, self.region_values, self.relation_values
        return any(values is not NO_VALUES and len(values) for values in given)

    @property
    def copy(self) -> int:
        """Which copy of its group it is, 0 for the first and for one that is no copy.

        It is part of the image's key, as the id is not: what is made of copies may differ by this number alone.
        """
        group = self.values.get("group")
        number = "" if group is None else self.image_id.removeprefix(f"{group}~")
        return int(number) if number.isdecimal() and number.isascii() else 0

    @property
    def state(self) -> str:
        """A digest of its graph's rows: labels, boxes, triplets and status, whatever steps made them."""
        from sgforge.graph.state import graph_state

        return graph_state(self.graph)

    @property
    def has_made_image(self) -> bool:
        """Whether a step made its image."""
        return is_made(self.uri)

    def with_image_of(self, other: Sample) -> Sample:
        """This sample with the image of another state of it, and its size where the graph has none of its own."""
        graph = self.graph
        if not graph.width:
            graph = graph.sized(other.graph.width, other.graph.height)
        return attrs.evolve(self, graph=graph, uri=other.uri, sha256=other.sha256, image=other.image)

    def with_state_of(self, other: Sample) -> Sample:
        """This sample with the graph, values and made image of another state of it; its own name, file and split."""
        made = other if other.has_made_image else self
        return Sample(
            image_id=self.image_id,
            graph=other.graph,
            uri=made.uri,
            split=self.split,
            source=self.source,
            sha256=made.sha256,
            image=made.image,
            values=other.values,
            region_values=other.region_values,
            relation_values=other.relation_values,
        )

    def with_image_values(self, values: Values) -> Sample:
        """This sample with other values of the image."""
        # Every image of every stage comes by here, and what was checked once need not be checked again.
        made = object.__new__(Sample)
        for put, value in zip(_PUT_FIELDS, _ALL_FIELDS(self), strict=True):
            put(made, value)
        _PUT_VALUES(made, to_values(values))
        return made

    def values_of(self, target: str) -> Values:
        """The values of "image", "region" or "relation"."""
        found: Values = getattr(self, "values" if target == "image" else f"{target}_values")
        return found


_SAMPLE_FIELDS: Final = tuple(field.name for field in attrs.fields(Sample))
_ALL_FIELDS: Final = attrgetter(*_SAMPLE_FIELDS)
_PUT_FIELDS: Final = tuple(getattr(Sample, name).__set__ for name in _SAMPLE_FIELDS)
_PUT_VALUES: Final = Sample.values.__set__  # type: ignore[attr-defined]
