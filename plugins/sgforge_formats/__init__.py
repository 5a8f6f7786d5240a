"""Public formats for sgforge: sources and exporters of COCO (and LVIS), graph JSONL, plain folders, made scenes."""

from __future__ import annotations

import sgforge
from sgforge.hookspecs import Register
from sgforge_formats.columns import POLYGONS
from sgforge_formats.config import (
    CocoExportOptions,
    CocoOptions,
    FolderOptions,
    JsonlOptions,
    ScenesOptions,
)

sgforge_api = 1


@sgforge.hookimpl
def sgforge_register_sources(register: Register) -> None:
    """COCO instances and panoptic, graph JSONL, folders of images, procedural scenes."""
    register("coco", "sgforge_formats.coco.source:CocoSource", config=CocoOptions, revision=3, columns=(POLYGONS,))
    register("folder", "sgforge_formats.folder:FolderSource", config=FolderOptions, revision=2)
    register("jsonl", "sgforge_formats.graphs:JsonlSource", config=JsonlOptions)
    register("scenes", "sgforge_formats.made:ScenesSource", config=ScenesOptions)


@sgforge.hookimpl
def sgforge_register_exporters(register: Register) -> None:
    """COCO instances, graph JSONL."""
    register("coco", "sgforge_formats.coco.exporter:CocoExporter", config=CocoExportOptions, revision=2)
    register("jsonl", "sgforge_formats.graphs:JsonlExporter")
