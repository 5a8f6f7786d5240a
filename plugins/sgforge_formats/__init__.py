"""Public formats for sgforge: sources and exporters of COCO (and LVIS), graph JSONL, plain folders, made scenes."""

from __future__ import annotations

import sgforge
from sgforge.hookspecs import Register
from sgforge.stages import Needs
from sgforge_formats.ade20k.options import Ade20kOptions
from sgforge_formats.columns import ORIGIN, POLYGONS
from sgforge_formats.config import (
    CocoExportOptions,
    CocoOptions,
    FolderOptions,
    JsonlOptions,
    ScenesOptions,
)
from sgforge_formats.conversations.options import ConversationsExportOptions, ConversationsOptions
from sgforge_formats.joined.options import JoinOptions
from sgforge_formats.label_studio.options import LabelStudioOptions
from sgforge_formats.open_images.options import OpenImagesExportOptions, OpenImagesOptions
from sgforge_formats.panoptic_graphs.options import PsgExportOptions, PsgOptions
from sgforge_formats.refcoco.options import RefcocoOptions
from sgforge_formats.tabular.options import HfExportOptions, HfOptions
from sgforge_formats.visual_genome.options import (
    GqaOptions,
    Vg150ExportOptions,
    Vg150Options,
    VisualGenomeOptions,
)

sgforge_api = 1


@sgforge.hookimpl
def sgforge_register_sources(register: Register) -> None:
    """Public data sets of boxes, masks and scene graphs; graph JSONL, folders of images, procedural scenes."""
    register("coco", "sgforge_formats.coco.source:CocoSource", config=CocoOptions, revision=3, columns=(POLYGONS,))
    register(
        "folder",
        "sgforge_formats.plain.folder:FolderSource",
        config=FolderOptions,
        revision=2,
        identity="sgforge_formats.folder:FolderSource",
    )
    register(
        "jsonl",
        "sgforge_formats.plain.graphs:JsonlSource",
        config=JsonlOptions,
        identity="sgforge_formats.graphs:JsonlSource",
    )
    register(
        "scenes",
        "sgforge_formats.plain.made:ScenesSource",
        config=ScenesOptions,
        identity="sgforge_formats.made:ScenesSource",
    )

    origin = (ORIGIN,)
    vg150 = Needs(modules=("h5py",), extra="formats")
    register(
        "vg", "sgforge_formats.visual_genome.source:VisualGenomeSource", config=VisualGenomeOptions, columns=origin
    )
    register("gqa", "sgforge_formats.visual_genome.gqa:GqaSource", config=GqaOptions, columns=origin)
    register("svg-release", "sgforge_formats.visual_genome.gqa:GqaSource", config=GqaOptions, columns=origin)
    register(
        "vg150",
        "sgforge_formats.visual_genome.vg150:Vg150Source",
        config=Vg150Options,
        needs=vg150,
        columns=origin,
    )
    register("psg", "sgforge_formats.panoptic_graphs.source:PsgSource", config=PsgOptions, columns=origin)
    register(
        "open-images", "sgforge_formats.open_images.source:OpenImagesSource", config=OpenImagesOptions, columns=origin
    )
    talk = "sgforge_formats.conversations.source:ConversationsSource"
    register("conversations", talk, config=ConversationsOptions, columns=origin)
    for name in ("hf", "r1-sgg"):
        register(name, "sgforge_formats.tabular.source:HfSource", config=HfOptions, columns=origin)
    studio = "sgforge_formats.label_studio.source:LabelStudioSource"
    register("label-studio", studio, config=LabelStudioOptions, columns=origin)
    register("join", "sgforge_formats.joined.source:JoinSource", config=JoinOptions, columns=(ORIGIN, POLYGONS))
    register("ade20k", "sgforge_formats.ade20k.source:Ade20kSource", config=Ade20kOptions, columns=origin)
    register("refcoco", "sgforge_formats.refcoco.source:RefcocoSource", config=RefcocoOptions, columns=origin)


@sgforge.hookimpl
def sgforge_register_exporters(register: Register) -> None:
    """The forms of public data sets, and graph JSONL."""
    register("coco", "sgforge_formats.coco.exporter:CocoExporter", config=CocoExportOptions, revision=2)
    register("jsonl", "sgforge_formats.plain.graphs:JsonlExporter", identity="sgforge_formats.graphs:JsonlExporter")
    register("vg", "sgforge_formats.visual_genome.exporter:VisualGenomeExporter")
    register(
        "vg150",
        "sgforge_formats.visual_genome.vg150_exporter:Vg150Exporter",
        config=Vg150ExportOptions,
        needs=Needs(modules=("h5py",), extra="formats"),
    )
    register("psg", "sgforge_formats.panoptic_graphs.exporter:PsgExporter", config=PsgExportOptions)
    register("open-images", "sgforge_formats.open_images.exporter:OpenImagesExporter", config=OpenImagesExportOptions)
    llava = "sgforge_formats.conversations.exporter:LlavaExporter"
    register("llava-conversations", llava, config=ConversationsExportOptions)
    register("robin-conversations", "sgforge_formats.conversations.exporter:RobinExporter")
    register(
        "hf",
        "sgforge_formats.tabular.exporter:HfExporter",
        config=HfExportOptions,
        needs=Needs(modules=("pyarrow",), extra="formats"),
    )
    register("r1-sgg", "sgforge_formats.tabular.exporter:R1Exporter")
    register("graphml", "sgforge_formats.tabular.exporter:GraphmlExporter")
    register("label-studio", "sgforge_formats.label_studio.exporter:LabelStudioExporter")
