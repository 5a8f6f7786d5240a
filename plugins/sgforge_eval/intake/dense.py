"""Predictions as arrays: per image, or of many images behind each other, in memory or in an .npz or .zarr file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np

from sgforge.errors import ConfigError
from sgforge.graph import Mask
from sgforge.masks import MaskTable, from_arrays, from_coco_batch, to_coco_batch
from sgforge.stages import Ranking
from sgforge_eval.intake.arrays import Floats, Ints
from sgforge_eval.intake.batch import offsets_of

__all__ = ["DenseGraphs", "DenseImage"]

_NOTHING: Final = Mask(height=0, width=0, x=0, y=0, crop_width=0, crop_height=0, counts=b"")
_NAMES: Final = ("ids", "label_names", "predicates", "masks")
_ARRAYS: Final = ("sizes", "object_offsets", "boxes", "labels", "object_scores", "pair_offsets", "pairs", "scores")
_OPTIONAL: Final = ("sizes", "object_scores", "masks")


@attrs.frozen(eq=False)
class DenseImage:
    """What a model says of one image: M regions and P pairs of them, with a score for each of C predicates.

    `boxes` (M, 4) xyxy in pixels, or `masks` (M, H, W) bool; `labels` M names; `pairs` (P, 2) of region indices;
    `scores` (P, C), P(predicate | pair); `predicates` C names; `object_scores` (M,), 1 where none is given.
    """

    image_id: str
    labels: Sequence[str | None]
    pairs: Any
    scores: Any
    predicates: Sequence[str]
    boxes: Any = None
    masks: Any = None
    object_scores: Any = None
    width: int = 0
    height: int = 0

    @classmethod
    def of_ranking(cls, image_id: str, ranking: Ranking) -> DenseImage:
        """A student's ranking as such arrays; regions are located by box only."""
        found = ranking.regions
        return cls(
            image_id=image_id,
            labels=[region.label for region in found],
            pairs=ranking.pairs,
            scores=ranking.scores,
            predicates=ranking.predicates,
            boxes=np.array([region.box or (np.nan,) * 4 for region in found], np.float32).reshape(-1, 4),
            object_scores=np.array([1.0 if region.score is None else region.score for region in found], np.float32),
        )


@attrs.frozen(eq=False)
class DenseGraphs:
    """N images of such arrays behind each other, all over one list of predicates.

    `ids` N texts; `object_offsets`, `pair_offsets` (N + 1) where each image's rows begin; `boxes` (M, 4) float32, NaN
    where none; `labels` (M,) index `label_names`, -1 for none; `pairs` (P, 2) count from an image's first region;
    `scores` (P, C) float32 for the C `predicates`. `object_scores` (M,), `sizes` (N, 2) width and height, and `masks`
    may be missing. Shapes that do not fit each other are a `ConfigError`.
    """

    ids: tuple[str, ...]
    object_offsets: Ints
    boxes: Floats
    labels: Ints
    label_names: tuple[str, ...]
    pair_offsets: Ints
    pairs: Ints
    scores: Floats
    predicates: tuple[str, ...]
    object_scores: Floats | None = None
    sizes: Ints | None = None
    masks: MaskTable | None = None

    def __attrs_post_init__(self) -> None:
        objects, pairs, images = len(self.labels), len(self.pairs), len(self.ids)
        wanted = {
            "object_offsets": (images + 1,),
            "pair_offsets": (images + 1,),
            "boxes": (objects, 4),
            "pairs": (pairs, 2),
            "scores": (pairs, len(self.predicates)),
            "object_scores": (objects,),
            "sizes": (images, 2),
        }
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ConfigError(f"array {name} has shape {value.shape}, but {shape} fits the other arrays")
        for name, count in (("object_offsets", objects), ("pair_offsets", pairs)):
            offsets = getattr(self, name)
            if offsets[0] != 0 or offsets[-1] != count or (np.diff(offsets) < 0).any():
                raise ConfigError(f"array {name} must rise from 0 to {count}, the number of its rows")
        if objects and (self.labels.min() < -1 or self.labels.max() >= len(self.label_names)):
            raise ConfigError(f"array labels must index the {len(self.label_names)} label_names, or be -1")

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, images: Iterable[DenseImage]) -> DenseGraphs:
        """Per-image arrays behind each other; a shape that does not fit, or other predicates, names its image."""
        listed = list(images)
        names: dict[str | None, int] = {None: -1}
        for image in listed:
            _check_image(image, listed[0])
            for label in image.labels:
                names.setdefault(label, len(names) - 1)
        predicates = tuple(listed[0].predicates) if listed else ()
        width = len(predicates)
        return cls(
            ids=tuple(image.image_id for image in listed),
            object_offsets=offsets_of(len(image.labels) for image in listed),
            boxes=_joined([_boxes(image) for image in listed], (0, 4), np.float32),
            labels=np.array([names[label] for image in listed for label in image.labels], np.int32),
            label_names=tuple(name for name in names if name is not None),
            pair_offsets=offsets_of(len(image.pairs) for image in listed),
            pairs=_joined([np.asarray(image.pairs).reshape(-1, 2) for image in listed], (0, 2), np.int64),
            scores=_joined([np.asarray(image.scores).reshape(-1, width) for image in listed], (0, width), np.float32),
            predicates=predicates,
            object_scores=_joined([_scores(image) for image in listed], (0,), np.float32),
            sizes=np.array([(image.width, image.height) for image in listed], np.int64).reshape(-1, 2),
            masks=MaskTable.of(_masks(listed)) if any(image.masks is not None for image in listed) else None,
        )

    @classmethod
    def read(cls, path: Path) -> DenseGraphs:
        """From a file that `write` made, or any .npz or .zarr with these arrays; what is missing is a `ConfigError`."""
        stored = _read_zarr(path) if path.suffix == ".zarr" else _read_npz(path)
        missing = [name for name in (*_ARRAYS, *_NAMES) if name not in stored and name not in _OPTIONAL]
        if missing:
            raise ConfigError(f"{path} has no array {missing[0]!r}: predictions as arrays need {', '.join(_ARRAYS)}")
        texts = {
            name: tuple(str(text) for text in np.asarray(stored[name]).tolist()) for name in _NAMES if name in stored
        }
        counts = texts.pop("masks", None)
        try:
            arrays = {name: np.asarray(stored[name]) for name in _ARRAYS if name in stored}
            for name in ("boxes", "scores", "object_scores"):
                if name in arrays:
                    arrays[name] = arrays[name].astype(np.float32)
            found = cls(**texts, **arrays)
            return found if counts is None else attrs.evolve(found, masks=_read_masks(counts, found))
        except (ConfigError, TypeError, ValueError) as error:
            raise ConfigError(f"{path}: {error}") from None

    def write(self, path: Path) -> None:
        """To an .npz, or a .zarr folder; texts are arrays of texts, masks COCO's compressed run lengths."""
        held: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        held |= {name: np.array(getattr(self, name), np.str_) for name in _NAMES[:3]}
        if self.masks is not None:
            held["masks"] = np.array([text.decode() for text in to_coco_batch(self.masks.masks())], np.str_)
        if path.suffix != ".zarr":
            np.savez(path, **held)
            return
        import zarr

        group = zarr.open_group(path, mode="w")
        for name, value in held.items():
            if name in _NAMES:
                group.attrs[name] = value.tolist()
            else:
                group.create_array(name, data=value)


def _check_image(image: DenseImage, first: DenseImage) -> None:
    objects, pairs, scores = len(image.labels), np.asarray(image.pairs), np.asarray(image.scores)
    where = f"image {image.image_id!r}"
    if tuple(image.predicates) != tuple(first.predicates):
        raise ConfigError(
            f"{where} has other predicates than {first.image_id!r}: all images need one list, in one order"
        )
    if image.boxes is None and image.masks is None:
        raise ConfigError(f"{where} has neither boxes nor masks")
    for name, value in (("boxes", image.boxes), ("masks", image.masks), ("object_scores", image.object_scores)):
        if value is not None and len(value) != objects:
            raise ConfigError(f"{where} has {len(value)} {name} for {objects} labels")
    if len(pairs) != len(scores) or (scores.size and scores.shape[1:] != (len(image.predicates),)):
        wanted = (len(pairs), len(image.predicates))
        raise ConfigError(f"{where}: scores have shape {scores.shape}, but {wanted} fits its pairs and predicates")


def _joined(parts: Sequence[Any], empty: tuple[int, ...], dtype: Any) -> Any:
    return np.concatenate([np.zeros(empty, dtype), *parts]).astype(dtype, copy=False)


def _boxes(image: DenseImage) -> Floats:
    if image.boxes is not None:
        return np.asarray(image.boxes, np.float32).reshape(-1, 4)
    masks = from_arrays(np.asarray(image.masks, bool))
    return np.array([mask.box or (np.nan,) * 4 for mask in masks], np.float32).reshape(-1, 4)


def _scores(image: DenseImage) -> Floats:
    if image.object_scores is None:
        return np.ones(len(image.labels), np.float32)
    return np.asarray(image.object_scores, np.float32)


def _masks(images: Sequence[DenseImage]) -> list[Mask]:
    found: list[Mask] = []
    for image in images:
        found += [_NOTHING] * len(image.labels) if image.masks is None else from_arrays(np.asarray(image.masks, bool))
    return found


def _read_masks(counts: Sequence[str], graphs: DenseGraphs) -> MaskTable:
    if graphs.sizes is None or len(counts) != len(graphs.labels):
        raise ConfigError(f"{len(counts)} masks for {len(graphs.labels)} labels, or no sizes of their images")
    image = np.repeat(np.arange(len(graphs)), np.diff(graphs.object_offsets))
    frames = [(int(height), int(width)) for width, height in graphs.sizes[image].tolist()]
    shown = [row for row, text in enumerate(counts) if text]
    masks = [_NOTHING] * len(counts)
    decoded = from_coco_batch([counts[row] for row in shown], [frames[row] for row in shown])
    for row, mask in zip(shown, decoded, strict=True):
        masks[row] = mask
    return MaskTable.of(masks)


def _read_npz(path: Path) -> Mapping[str, Any]:
    if not zipfile.is_zipfile(path):
        raise ConfigError(f"predictions {path} cannot be read: it is no .npz file as `DenseGraphs.write` makes")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"predictions {path} cannot be read: {_without_advice(error)}") from None


def _without_advice(error: Exception) -> str:
    """What numpy says, but not that a file of objects could be loaded all the same."""
    return "it holds objects, which are not loaded: arrays alone are" if "pickle" in str(error) else str(error)


def _read_zarr(path: Path) -> Mapping[str, Any]:
    import zarr

    try:
        group = zarr.open_group(path, mode="r")
        arrays = {name: np.asarray(group[name][...]) for name in _ARRAYS if name in group}
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"predictions {path} cannot be read: {error}") from None
    return arrays | {name: group.attrs[name] for name in _NAMES if name in group.attrs}
