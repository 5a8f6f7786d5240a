"""Reading sources: every image is looked at once, hashed, and given its split and its key.

What cannot be read (missing, truncated, far too large, of another size than its annotation) becomes a failed item of
the source step and is left out of the dataset; the next run tries it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import attrs

from sgforge.columns.building import ColumnRows
from sgforge.columns.declared import Column, fitted_sample, known_columns
from sgforge.columns.ragged import encode_text
from sgforge.decoding import Header
from sgforge.digests import is_settled
from sgforge.edits import Value, with_values
from sgforge.engine.planning.fingerprints import copy_key, image_digest, source_key
from sgforge.engine.sources.file_hashes import FileHashes, FileStamp
from sgforge.engine.sources.missing_pictures import Neighbours
from sgforge.errors import GraphError, ImageError, SgforgeError, StepError
from sgforge.file_refs import FILES_ROOT
from sgforge.graph import DeferredRows, Sample, SceneGraph, Values
from sgforge.graph.values import NO_VALUES
from sgforge.images import ImageSource, Roots, unturned_uri
from sgforge.packed import ValuePacker, pack_sample
from sgforge.stages import SourceFailure
from sgforge.text.blame import told, words_of

__all__ = [
    "Reading",
    "ReadingStopped",
    "blamed",
    "read_pictures",
    "read_sources",
    "split_of",
    "unused_root",
]

HELD_OUT: Final = 10
"""One image in so many goes to the split "val" where a source gives no split."""
_HOPELESS: Final = 100
"""Images at the beginning of a source that may all fail for one reason."""
_CHUNK: Final = 256
_CHUNK_SECONDS: Final = 0.5
_APPLY: Final = 'orientation = "apply" of the source turns pictures as they say'
_THREADS: Final = 4


class ReadingStopped(Exception):  # noqa: N818 - it is no error
    """The run was asked to stop while a source was read; nothing of that is kept."""


@attrs.frozen
class Reading:
    """One item of a source: the sample with its split, hash and key, or why there is none.

    `uri`: of the picture that failed. `sha256`: the name of the picture, where it could be read.
    """

    sample: Sample | None
    key: bytes = b""
    failure: SourceFailure | None = None
    uri: str | None = None
    sha256: str | None = None


@attrs.frozen
class _Looked:
    """What looking at a sample's image file gave."""

    sample: Sample
    image: ImageSource | None = None
    stamp: FileStamp | None = None
    header: Header | None = None
    failure: SourceFailure | None = None
    is_settled: bool = False

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) in pixels; None without an image."""
        return None if self.header is None else (self.header.width, self.header.height)


def read_sources(
    sources: Mapping[str, Any],
    roots: Roots,
    hashes: FileHashes,
    limit: int | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
    columns: Mapping[str, Mapping[tuple[str, str], Column]] | None = None,
    copies: Mapping[str, int] | None = None,
) -> Iterator[Reading]:
    """Every item of every source, in their order; `limit`: at most so many samples of each.

    Asked before each item, `is_stopped` ends it with `ReadingStopped`; sources that are read to their end are whole.
    `sources` are source components by name, `columns` those that each declared, `copies` how often each image is taken
    where it is not once. Runs in the calling thread, files are
    read by a few threads of its own.
    """
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="sgforge-files") as threads:
        for name, source in sources.items():
            neighbours = Neighbours(roots)
            declared = known_columns((columns or {}).get(name, {}).values())
            given = _with_values(_items(source, roots, name), declared)
            items = _limited(_until_stopped(given, is_stopped), limit)
            readings = _hopeful(_readings(items, name, neighbours, hashes, threads), name)
            yield from _copied(readings, (copies or {}).get(name))


def _copied(readings: Iterator[Reading], copies: int | None) -> Iterator[Reading]:
    """Each image so many times, as a group of its own name; one that cannot be read is told once."""
    for reading in readings:
        if copies is None or reading.sample is None:
            yield reading
            continue
        group = reading.sample.image_id
        grouped = with_values(reading.sample, [Value("image", None, "group", group)])
        for number in range(copies):
            sample = attrs.evolve(grouped, image_id=f"{group}~{number}")
            yield attrs.evolve(reading, sample=sample, key=copy_key(reading.key, group, number))


def read_pictures(uris: Sequence[str], roots: Roots, hashes: FileHashes) -> list[Reading]:
    """Pictures without a source: of each the sha256 that names it, or why it cannot be read."""
    if not uris:
        return []
    samples = [Sample(uri, uri=uri) for uri in uris]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="sgforge-files") as threads:
        return list(_read_chunk(samples, "", Neighbours(roots), hashes, threads, ValuePacker()))


def _readings(
    items: Iterator[Sample | SourceFailure],
    name: str,
    neighbours: Neighbours,
    hashes: FileHashes,
    threads: ThreadPoolExecutor,
) -> Iterator[Reading]:
    packer = ValuePacker()
    for chunk in _chunks(items):
        looked = [item for item in chunk if isinstance(item, Sample)]
        found = iter(_read_chunk(looked, name, neighbours, hashes, threads, packer))
        for item in chunk:
            yield next(found) if isinstance(item, Sample) else Reading(None, failure=item)


def _hopeful(readings: Iterator[Reading], name: str) -> Iterator[Reading]:
    """The readings, or a `StepError` when the first images all fail for one reason: so will the others, hours later."""
    failures: list[SourceFailure] = []
    for reading in readings:
        failure = reading.failure
        if failure is not None and failure.loses == "annotation":
            yield reading
            continue
        if failure is None or (failures and failure.reason != failures[0].reason):
            yield reading
            break
        failures.append(failure)
        if len(failures) == _HOPELESS:
            raise StepError(
                f"source {name!r}: its first {_HOPELESS} images all failed with {failure.reason!r}, so the others were "
                f"not read. The first: {failures[0].detail or failures[0].where}"
            )
        yield reading
    yield from readings


def _chunks(items: Iterator[Sample | SourceFailure]) -> Iterator[list[Sample | SourceFailure]]:
    """Items in lists that are worth a round of the threads; of a slow source shorter ones, so that it is seen."""
    chunk: list[Sample | SourceFailure] = []
    ends = 0.0
    for item in items:
        now = time.monotonic()
        ends = ends if chunk else now + _CHUNK_SECONDS
        chunk.append(item)
        if len(chunk) == _CHUNK or now >= ends:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _items(source: Any, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
    with blamed(name):
        items = iter(source.samples(roots, name))
    while True:
        # Only the source's own code stands inside: what ends this generator from outside is no fault of it.
        try:
            item = next(items)
        except StopIteration:
            return
        except BaseException as error:
            with blamed(name):
                raise error
        if not isinstance(item, (Sample, SourceFailure)):
            raise StepError(f"source {name!r} gave {type(item).__name__}, not a Sample or a SourceFailure")
        yield item


def _with_values(
    items: Iterator[Sample | SourceFailure], declared: Mapping[tuple[str, str], Column]
) -> Iterator[Sample | SourceFailure]:
    """The items, values of samples as their columns take them; those of none make the item a failure."""
    given: Values | None = None
    taken: Values = NO_VALUES
    for item in items:
        if isinstance(item, Sample) and item.has_made_image:
            detail = f"image {item.uri}: root {FILES_ROOT!r} is kept for what steps make; give the folder another name"
            yield _failure(item, "image-refused", detail)
        elif isinstance(item, Sample) and item.has_values:
            is_of_image = not (len(item.region_values) or len(item.relation_values))
            if is_of_image and item.values is given:  # samples may share their values, which are never changed
                yield item.with_image_values(taken)
                continue
            try:
                found = fitted_sample(item, declared)
            except GraphError as error:
                yield _failure(item, "annotation", f"image {item.image_id!r}: {error}")
                continue
            if is_of_image:
                given, taken = item.values, found.values
            yield found
        else:
            yield item


@contextmanager
def blamed(name: str) -> Iterator[None]:
    """Whatever a source's own code raises inside is a `StepError` that names it."""
    try:
        yield
    except (SgforgeError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise StepError(f"source {name!r} failed: {told(error)}") from error


def _until_stopped(
    items: Iterator[Sample | SourceFailure], is_stopped: Callable[[], bool]
) -> Iterator[Sample | SourceFailure]:
    for item in items:
        if is_stopped():
            raise ReadingStopped
        yield item


def _limited(items: Iterable[Sample | SourceFailure], limit: int | None) -> Iterator[Sample | SourceFailure]:
    taken = 0
    for item in items:
        if limit is not None and taken >= limit:
            return
        taken += isinstance(item, Sample)
        yield item


def _read_chunk(
    samples: Sequence[Sample],
    name: str,
    neighbours: Neighbours,
    hashes: FileHashes,
    threads: ThreadPoolExecutor,
    packer: ValuePacker,
) -> Iterator[Reading]:
    if {sample.uri for sample in samples} == {None}:  # no file to look at, so nothing to wait for
        yield from [_reading(_Looked(sample), name, None, packer) for sample in samples]
        return
    looked = list(threads.map(lambda sample: _look(sample, neighbours), samples))
    stamps = [item.stamp for item in looked if item.stamp is not None]
    known = dict(zip(stamps, hashes.find(stamps), strict=True))
    hashed = list(threads.map(lambda item: _hash(item, known), looked))
    fresh = {
        item.stamp: digest
        for item, digest in zip(looked, hashed, strict=True)
        # What was changed just now may change again and have the same size and time: it is read again next time.
        if item.stamp is not None and item.is_settled and isinstance(digest, str) and known[item.stamp] is None
    }
    if fresh:
        hashes.remember(fresh)
    for item, digest in zip(looked, hashed, strict=True):
        yield _reading(item, name, digest, packer)


def _look(sample: Sample, neighbours: Neighbours) -> _Looked:
    """The file's stamp and the image's size from its header; nothing is decoded."""
    if sample.uri is None:
        return _Looked(sample)
    try:
        image = sample.image if sample.image is not None else neighbours.roots.image(sample.uri)
        path = image.path
        status = path.stat()
        # Asked before the file is read: what is written to it later than now then gives it another time.
        settled = is_settled(status.st_mtime_ns)
        stamp = FileStamp(unturned_uri(sample.uri), status.st_size, status.st_mtime_ns)
        return _Looked(sample, image, stamp, image.header(), is_settled=settled)
    except FileNotFoundError:
        return _Looked(sample, failure=_failure(sample, "image-missing", neighbours.tell(sample.uri)))
    except ImageError as error:
        return _Looked(sample, failure=_failure(sample, error.code, str(error)))
    except OSError as error:
        return _Looked(sample, failure=_failure(sample, "image-unreadable", f"image {sample.uri}: {error}"))


def _failure(sample: Sample, reason: str, detail: str) -> SourceFailure:
    return SourceFailure(sample.uri or sample.image_id, reason, detail, sample.image_id)


def _hash(item: _Looked, known: Mapping[FileStamp, str | None]) -> str | SourceFailure | None:
    """The file's sha256; a file seen for the first time is also checked to be whole."""
    if item.stamp is None or item.image is None:
        return None
    digest = known[item.stamp]
    if digest is not None:
        return digest
    try:
        data = item.image.read_file()
        _check_whole(data, item.image)
    except ImageError as error:
        return _failure(item.sample, error.code, str(error))
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _check_whole(data: bytes, image: ImageSource) -> None:
    """Refuse a truncated image. A JPEG or PNG that ends with its end mark is whole; any other is decoded."""
    tail = data[-64:]
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" in tail:
        return
    if data[:8] == b"\x89PNG\r\n\x1a\n" and b"IEND" in tail:
        return
    image.pil()


def _reading(item: _Looked, name: str, digest: str | SourceFailure | None, packer: ValuePacker) -> Reading:
    sample, graph = item.sample, item.sample.graph
    failure = digest if isinstance(digest, SourceFailure) else item.failure
    if failure is not None or isinstance(digest, SourceFailure):
        return Reading(None, failure=failure, uri=sample.uri)
    if digest is not None and item.image is not None and item.header is not None:
        digest = item.image.identity(digest, item.header)
    failure = _find_fault(item)
    if failure is not None:
        return Reading(None, failure=failure, uri=sample.uri, sha256=digest)
    if item.size is not None and not graph.width:
        graph = graph.sized(*item.size)
    try:
        for text in (sample.image_id, sample.split, sample.uri):
            encode_text(text or "")
        annotations = pack_sample(_nameless(sample, graph), packer)
    except Exception as error:  # what a plugin's source put into a graph may break anywhere
        failure = _failure(sample, "annotation", f"image {sample.image_id!r}: {words_of(error)}")
        return Reading(None, failure=failure, uri=sample.uri, sha256=digest)
    # Without an image it is the id that says what is what: equal graphs need not be one and the same.
    digest_of_image = image_digest(digest or f"id {sample.image_id}", annotations)
    # What was made from one image stays together, whatever it looks like by now.
    group = sample.values.get("group")
    split = sample.split or (split_of(digest, sample.image_id) if group is None else split_of(None, group))
    done = Sample(
        image_id=sample.image_id,
        graph=graph,
        uri=sample.uri,
        split=split,
        source=name,
        sha256=digest,
        image=item.image,
        values=sample.values,
        region_values=sample.region_values,
        relation_values=sample.relation_values,
    )
    return Reading(done, source_key(digest_of_image), sha256=digest)


def _nameless(sample: Sample, graph: SceneGraph) -> Sample:
    """What of a sample its source said of the picture, whatever this is called."""
    return Sample(
        image_id="-",
        graph=graph,
        values=sample.values,
        region_values=sample.region_values,
        relation_values=sample.relation_values,
    )


def _find_fault(item: _Looked) -> SourceFailure | None:
    sample, graph = item.sample, item.sample.graph
    if item.size is not None and graph.width and item.size != (graph.width, graph.height):
        turned = item.size == (graph.height, graph.width)
        cause = f"orientation tags of files are not applied, {_APPLY}" if turned else "they do not belong together"
        detail = (
            f"image {sample.uri} is {item.size[0]}x{item.size[1]}, "
            f"its annotation says {graph.width}x{graph.height}: {cause}"
        )
        return _failure(sample, "size-mismatch", detail)
    width, height = item.size or (graph.width, graph.height)
    if not width or _are_seen(graph.deferred, width, height):
        return None
    for index, region in enumerate(graph.all.regions):
        box = region.box
        if box is not None and not (box[0] < width and box[1] < height and box[2] > 0 and box[3] > 0):
            detail = f"region {index} of {sample.image_id}: its box {box} lies outside the image of {width}x{height}"
            return _failure(sample, "region-outside", detail)
    return None


def _are_seen(rows: DeferredRows | None, width: int, height: int) -> bool:
    """Whether all boxes are known to lie within the image, or partly so."""
    if not isinstance(rows, ColumnRows):
        return False
    x0, y0, x1, y1 = rows.boxes.T
    # Written so that the NaN of a region without a box passes it.
    return not ((x0 >= width) | (y0 >= height) | (x1 <= 0) | (y1 <= 0)).any()


def unused_root(name: str) -> str:
    """The remark on a root in which nothing was looked for when all sources were read."""
    return f"root {name!r} is used by no source and no image: check its name"


def split_of(file_sha256: str | None, image_id: str) -> str:
    """The split of an image whose source gives none: by the hash of its file, so that one photo has one split."""
    if file_sha256 is None:
        import hashlib

        file_sha256 = hashlib.sha256(image_id.encode()).hexdigest()
    return "val" if int(file_sha256[:16], 16) * HELD_OUT < 2**64 else "train"
