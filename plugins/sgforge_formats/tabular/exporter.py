"""The exporters `hf`, `r1-sgg` and `graphml`.

`hf`: a folder of Parquet files, data/SPLIT-00000.parquet, that `datasets.load_dataset` reads; the column `graph` is a
line of graph JSONL and so holds all that it holds, the column `image` the picture, if its folder is named. `r1-sgg`:
one row a line, `objects` and `relationships` as JSON texts, boxes in pixels; regions need a label and a box. `graphml`:
a folder with one graph an image, for graph programs; boxes and scores are attributes of its nodes and edges.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape, quoteattr

from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge.jsonl import dump_sample
from sgforge_formats.coco.rows import usual_id
from sgforge_formats.conversations.graph_json import json_graph
from sgforge_formats.origin import Origin
from sgforge_formats.tabular.options import HfExportOptions
from sgforge_formats.writing.exports import (
    dumped,
    exported,
    file_name,
    image_folders,
    whole_file,
    whole_folder,
    without_collection,
)
from sgforge_formats.writing.holding import held, plain_xyxy

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["GraphmlExporter", "HfExporter", "R1Exporter"]

_SPLITS: Final = {"val": "validation"}
_NO_SPLIT: Final = "train"


class HfExporter:
    """Writes a folder of Parquet files; it appears when it is whole."""

    def __init__(self, options: HfExportOptions) -> None:
        self._options = options
        if options.rows_a_file < 1:
            raise ConfigError("rows_a_file must be 1 or more")

    def export(self, snapshot: Snapshot, output: Path) -> Mapping[str, int]:
        """Writes the folder `output`; returns what was written and left out, by name."""
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise ConfigError("Parquet needs pyarrow: pip install 'sgforge[formats]'") from None
        counts: Counter[str] = Counter()
        folders = image_folders(snapshot)
        texts = {name: pa.string() for name in ("image_id", "file_name", "split", "graph")}
        fields = {**texts, "width": pa.int32(), "height": pa.int32()}
        features = {name: {"dtype": str(kind), "_type": "Value"} for name, kind in fields.items()}
        if self._options.images is not None:
            fields = {"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), **fields}
            features = {"image": {"_type": "Image"}, **features}
        schema = pa.schema(fields).with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        waiting: dict[str, list[dict[str, Any]]] = {}
        files: Counter[str] = Counter()
        with without_collection(), whole_folder(output) as folder:
            (folder / "data").mkdir()

            def write(split: str) -> None:
                path = folder / "data" / f"{split}-{files[split]:05d}.parquet"
                pq.write_table(pa.Table.from_pylist(waiting.pop(split), schema), path, compression="zstd")
                files[split] += 1

            for samples in exported(snapshot, counts):
                for sample in samples:
                    split = _SPLITS.get(sample.split or "", sample.split or _NO_SPLIT)
                    waiting.setdefault(split, []).append(self._row(sample, folders, counts))
                    if len(waiting[split]) == self._options.rows_a_file:
                        write(split)
            for split in list(waiting):
                write(split)
        return counts

    def _row(self, sample: Sample, folders: Mapping[str, str], counts: Counter[str]) -> dict[str, Any]:
        name = None if sample.uri is None else file_name(sample, folders)
        row = {
            "image_id": sample.image_id,
            "file_name": name,
            "width": sample.graph.width,
            "height": sample.graph.height,
            "split": sample.split,
            "graph": dump_sample(sample).decode().rstrip("\n"),
        }
        graph = sample.graph.all
        counts["regions"] += len(graph.regions)
        counts["relations"] += len(graph.relations)
        if self._options.images is not None:
            data = _picture(Path(self._options.images).expanduser(), name)
            counts["pictures" if data is not None else "images without a picture in the folder"] += 1
            row["image"] = {"bytes": data, "path": name} if data is not None else None
        elif name is not None:
            counts["pictures named, not written, as no folder images is named"] += 1
        return row


def _picture(folder: Path, name: str | None) -> bytes | None:
    path = folder / (name or "")
    inside = path.resolve().is_relative_to(folder.resolve())
    return path.read_bytes() if name and inside and path.is_file() else None


class R1Exporter:
    """Writes R1-SGG's rows, one a line; the file appears when it is whole."""

    def export(self, snapshot: Snapshot, output: Path) -> Mapping[str, int]:
        """Writes the file `output`; returns what was written and left out, by name."""
        counts: Counter[str] = Counter()
        folders = image_folders(snapshot)
        with without_collection(), whole_file(output) as stream:
            for samples in exported(snapshot, counts):
                for sample in samples:
                    stream.write(dumped(_r1_row(sample, folders, counts)) + b"\n")
        return counts


def _r1_row(sample: Sample, folders: Mapping[str, str], counts: Counter[str]) -> dict[str, Any]:
    graph = json_graph(sample, held(sample, counts, ()))
    row: dict[str, Any] = {"image_id": usual_id(sample.image_id)}
    given = Origin.of(sample).image.get("file_name")
    if sample.uri is not None or isinstance(given, str):
        row["file_name"] = given if isinstance(given, str) else file_name(sample, folders)
    if sample.graph.width:
        row |= {"width": sample.graph.width, "height": sample.graph.height}
    if sample.split is not None:
        row["split"] = sample.split
    return row | {key: json.dumps(graph[key], ensure_ascii=False) for key in ("objects", "relationships")}


class GraphmlExporter:
    """Writes one GraphML file an image into a folder, which appears when it is whole."""

    def export(self, snapshot: Snapshot, output: Path) -> Mapping[str, int]:
        """Writes the folder `output`; returns what was written and left out, by name."""
        counts: Counter[str] = Counter()
        with without_collection(), whole_folder(output) as folder:
            used: set[str] = set()
            for samples in exported(snapshot, counts):
                for sample in samples:
                    name = _safe_name(sample.image_id, used)
                    (folder / f"{name}.graphml").write_text("\n".join(_graphml(sample, counts)), encoding="utf-8")
        return counts


def _safe_name(image_id: str, used: set[str]) -> str:
    """A name of a file for an id; ids that become one get a number."""
    plain = "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in image_id)[:120].lstrip(".") or "_"
    name, number = plain, 1
    while name.casefold() in used:
        number += 1
        name = f"{plain}~{number}"
    used.add(name.casefold())
    return name


_KEYS: Final = (
    *(("label", "node", "string"), ("x0", "node", "double"), ("y0", "node", "double"), ("x1", "node", "double")),
    *(("y1", "node", "double"), ("attributes", "node", "string"), ("descriptions", "node", "string")),
    *(("score", "node", "double"), ("predicate", "edge", "string"), ("category", "edge", "string")),
    ("confidence", "edge", "double"),
)


def _graphml(sample: Sample, counts: Counter[str]) -> Iterator[str]:
    rows = held(
        sample,
        counts,
        ("attributes", "descriptions", "score", "category"),
        needs_label=False,
        needs_box=False,
    )
    boxes = dict(zip(rows.boxes, plain_xyxy(list(rows.boxes.values())), strict=True))
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
    for name, kind, form in _KEYS:
        yield f'<key id="{name}" for="{kind}" attr.name="{name}" attr.type="{form}"/>'
    yield f'<graph id={quoteattr(sample.image_id)} edgedefault="directed">'
    for index, region in rows.regions.items():
        cells: dict[str, Any] = {"label": region.label, "score": region.score}
        cells |= dict(zip(("x0", "y0", "x1", "y1"), boxes.get(index, ()), strict=False))
        cells |= {"attributes": "; ".join(region.attributes), "descriptions": "; ".join(region.descriptions)}
        yield f'<node id="n{index}">{_cells(cells)}</node>'
    for number, relation in rows.relations.items():
        cells = {"predicate": relation.predicate, "category": relation.category, "confidence": relation.score}
        ends = f'source="n{relation.subject}" target="n{relation.object}"'
        yield f'<edge id="e{number}" {ends}>{_cells(cells)}</edge>'
    yield "</graph>"
    yield "</graphml>\n"


def _cells(cells: Mapping[str, Any]) -> str:
    given = {name: value for name, value in cells.items() if value not in (None, "")}
    return "".join(f'<data key="{name}">{escape(str(value))}</data>' for name, value in given.items())
