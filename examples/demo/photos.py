"""Graphs written by hand: from the outlines in photos.toml to samples."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import skimage.data

from sgforge import Region, Relation, Sample, SceneGraph, masks


def photo_samples(folder: Path, split: str) -> Iterator[Sample]:
    """The photos of a split, their files copied into `folder`; the uris name them in the root "photos"."""
    folder.mkdir(parents=True, exist_ok=True)
    text = Path(__file__).with_name("photos.toml").read_text(encoding="utf-8")
    for photo in tomllib.loads(text)["photo"]:
        if photo["split"] == split:
            shutil.copy2(Path(skimage.data.__file__).parent / photo["file"], folder / photo["file"])
            yield Sample(Path(photo["file"]).stem, graph_of(photo), uri=f"photos:{photo['file']}", split=split)


def graph_of(photo: Mapping[str, Any]) -> SceneGraph:
    """The graph of one photo: regions by their outlines, relations by the names of the regions."""
    width, height = photo["size"]
    index = {region["name"]: number for number, region in enumerate(photo["regions"])}
    outlines = [[[side for point in region["outline"] for side in point]] for region in photo["regions"]]
    regions = [
        Region(region["name"].split("-")[0], mask.box, mask, depth=region["depth"])
        for region, mask in zip(
            photo["regions"], masks.from_polygons_batch(outlines, [(height, width)] * len(outlines)), strict=True
        )
    ]
    relations = [
        Relation(index[subject], predicate, index[object_], category)
        for subject, predicate, object_, category in photo["relations"]
    ]
    return SceneGraph(width, height, regions, relations, {"content": photo["content"]})
