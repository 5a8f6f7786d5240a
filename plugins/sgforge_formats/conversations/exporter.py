"""The exporters `llava-conversations` and `robin-conversations`: one row of turns an image, a JSON list.

The graph is said first, asked for as it was read or as the options say, then come the questions that have an answer.
Robin's rows name their regions by number and give box and mask of each; LLaVA's have no regions beside the graph that
is said. Left out and counted: questions without an answer, images of which nothing can be said, what a graph that is
said does not hold (scores, depth, descriptions, rejected rows, masks and attributes in JSON).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sgforge import masks
from sgforge.graph import Question, Sample
from sgforge_formats.conversations.graph_json import json_graph
from sgforge_formats.conversations.graph_text import said_graph
from sgforge_formats.conversations.options import ConversationsExportOptions
from sgforge_formats.conversations.source import ASKED, IMAGE_SIGN
from sgforge_formats.origin import Origin
from sgforge_formats.writing.exports import file_name, write_rows
from sgforge_formats.writing.holding import Held, held, plain_xywh

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["LlavaExporter", "RobinExporter"]

_ASK: Final = ConversationsExportOptions().ask


class LlavaExporter:
    """Writes LLaVA's conversations; the file appears when it is whole."""

    def __init__(self, options: ConversationsExportOptions) -> None:
        self._options = options

    def export(self, snapshot: Snapshot, output: Path) -> Mapping[str, int]:
        """Writes the file `output`; returns what was written and left out, by name."""
        return write_rows(snapshot, output, self._row)

    def _row(self, sample: Sample, folders: Mapping[str, str], counts: Counter[str]) -> dict[str, Any] | None:
        form = self._options.graph
        holds = ("attributes",) if form == "text" else ()
        rows = held(sample, counts, holds, needs_box=False)
        said: str | None = None
        if rows.regions and form == "none":
            counts["regions of graphs that are not said left out"] += len(rows.regions)
        elif rows.regions:
            said = said_graph(rows) if form == "text" else json.dumps(json_graph(sample, rows), ensure_ascii=False)
        turns = _turns(sample, said, self._options.ask, counts)
        return _row(sample, {}, turns, folders, counts)


class RobinExporter:
    """Writes conversations about regions; the file appears when it is whole."""

    def export(self, snapshot: Snapshot, output: Path) -> Mapping[str, int]:
        """Writes the file `output`; returns what was written and left out, by name."""
        return write_rows(snapshot, output, _robin_row)


def _robin_row(sample: Sample, folders: Mapping[str, str], counts: Counter[str]) -> dict[str, Any] | None:
    rows = held(sample, counts, ("mask", "attributes"), needs_label=False)
    named = any(region.label for region in rows.regions.values())
    turns = _turns(sample, _said_of_named(rows, counts) if named else None, _ASK, counts)
    return _row(sample, {"annotation": list(_annotations(rows))}, turns, folders, counts)


def _said_of_named(rows: Held, counts: Counter[str]) -> str:
    """The text of the regions that have a label, by their numbers among all."""
    regions = {index: region for index, region in rows.regions.items() if region.label}
    relations = {
        index: one for index, one in rows.relations.items() if one.subject in regions and one.object in regions
    }
    if len(relations) < len(rows.relations):
        counts["relations of regions without a label left out"] += len(rows.relations) - len(relations)
    return said_graph(Held(regions, rows.boxes, relations, rows.numbers))


def _annotations(rows: Held) -> Iterator[dict[str, Any]]:
    boxes = plain_xywh([rows.boxes[index] for index in rows.regions])
    for region, box in zip(rows.regions.values(), boxes, strict=True):
        row: dict[str, Any] = {"bbox": box}
        if region.mask is not None:
            counts = masks.to_coco_batch([region.mask])[0].decode("ascii")
            row["segmentation"] = {"size": [region.mask.height, region.mask.width], "counts": counts}
        yield row


def _turns(sample: Sample, said: str | None, ask: str, counts: Counter[str]) -> list[dict[str, str]]:
    pairs = []
    asked = Origin.of(sample).image.get(ASKED)
    if said is not None:
        first = asked[0] if isinstance(asked, list) and asked and isinstance(asked[0], dict) else {}
        question = first.get("question")
        pairs.append((question if isinstance(question, str) else ask, said))
    for question in sample.values.get("questions") or ():
        if isinstance(question, Question) and question.answer:
            pairs.append((question.text, question.answer))
        else:
            counts["questions without an answer left out"] += 1
    turns = []
    for number, (question, answer) in enumerate(pairs):
        sign = f"{IMAGE_SIGN}\n" if number == 0 and _has_image(sample) else ""
        turns += [{"from": "human", "value": sign + question}, {"from": "gpt", "value": answer}]
    counts["turns"] += len(turns)
    return turns


def _has_image(sample: Sample) -> bool:
    return sample.uri is not None or isinstance(Origin.of(sample).image.get("file_name"), str)


def _row(
    sample: Sample,
    more: Mapping[str, Any],
    turns: list[dict[str, str]],
    folders: Mapping[str, str],
    counts: Counter[str],
) -> dict[str, Any] | None:
    if not turns:
        counts["images of which nothing is said left out"] += 1
        return None
    given = Origin.of(sample).image.get("file_name")
    name = given if isinstance(given, str) else None if sample.uri is None else file_name(sample, folders)
    size = {"width": sample.graph.width, "height": sample.graph.height} if sample.graph.width else {}
    image = {} if name is None else {"image": name}
    return {"id": sample.image_id, **image, **size, **more, "conversations": turns}
