"""Exporters `ms-swift`, `verifiers` and `trl`: rows of prompt, picture and truth, as each trainer reads them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sgforge.dataset import Snapshot
from sgforge.durable import output_file
from sgforge.graph import Sample, SceneGraph
from sgforge.jsonl import dump_sample
from sgforge_grpo.config import RowsOptions, VlmOptions
from sgforge_grpo.reading.answer import Frame
from sgforge_grpo.units import scale_of
from sgforge_grpo.vlm.prompts import question_of

__all__ = ["SwiftExporter", "TrlExporter", "VerifiersExporter", "row_of"]


def row_of(sample: Sample, options: RowsOptions) -> tuple[str, str, str]:
    """The question about a sample, the path of its picture, and its truth as a line of graph JSONL."""
    graph = sample.graph
    size = (max(graph.width, 1), max(graph.height, 1))
    frame = Frame(width=size[0], height=size[1], scale=scale_of(options.boxes, size))
    asked = VlmOptions(task="graph", labels=options.labels, predicates=options.predicates)
    text = question_of(sample, asked, frame).text
    kept = SceneGraph(graph.width, graph.height, graph.all.regions, graph.all.relations)
    truth = dump_sample(Sample(sample.image_id, kept)).decode("utf-8")
    _, _, relative = (sample.uri or "").partition(":")
    return text, str(options.images / relative) if options.images is not None else relative, truth


class _Exporter:
    """Writes one JSON line an image."""

    def __init__(self, options: RowsOptions) -> None:
        self._options = options

    def export(self, snapshot: Snapshot, output: Path, /) -> Mapping[str, int]:
        """Rows in id order; images without a file, and those without a relation, are left out and counted."""
        counts: Counter[str] = Counter()
        with output_file(output) as file:
            for place in range(len(snapshot)):
                sample = snapshot.sample(place)
                if sample.uri is None:
                    counts["images without a file"] += 1
                elif not sample.graph.relations:
                    counts["images without a relation"] += 1
                else:
                    row = self._row(*row_of(sample, self._options))
                    file.write(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")
                    counts["images"] += 1
        return dict(counts)

    def _row(self, text: str, picture: str, truth: str) -> dict[str, Any]:
        raise NotImplementedError


class SwiftExporter(_Exporter):
    """ms-swift: messages with the sign of a picture, its path, and the truth as a further column."""

    def _row(self, text: str, picture: str, truth: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": f"<image>{text}"}]
        return {"messages": messages, "images": [picture], "solution": truth}


class VerifiersExporter(_Exporter):
    """verifiers: a prompt in the form of chat endpoints, and the truth under `info`."""

    def _row(self, text: str, picture: str, truth: str) -> dict[str, Any]:
        url = Path(picture).absolute().as_uri()
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
        return {"prompt": [{"role": "user", "content": content}], "info": json.dumps({"solution": truth})}


class TrlExporter(_Exporter):
    """TRL: a conversational prompt, the path of the picture (cast the column to an image), and the truth."""

    def _row(self, text: str, picture: str, truth: str) -> dict[str, Any]:
        return {"prompt": [{"role": "user", "content": text}], "image": picture, "solution": truth}
