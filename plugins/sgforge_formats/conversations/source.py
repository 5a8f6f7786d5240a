"""The source `conversations`: LLaVA's conversations and those about regions (Osprey, Robin) into samples.

A row: {id, image | file_name, width, height, conversations: [{from: human | gpt, value}]}, and `annotation`, a list of
{bbox: x, y, width, height, segmentation}, where it is about regions; a region is called region1, region2, ... in texts.
An answer that is a graph, as JSON (R1-SGG) or by numbered regions (Robin), becomes the graph; every other pair of turns
becomes a question with its answer, in the column `questions`. What was asked for a graph is kept in `formats.origin`.
Failures of rows: those of `GraphBuilder`, bad-turn, bad-graph, bad-mask, and mask-count, of a row that is read all the
same; of an image: bad-image, duplicate-image. Turns of a system are left out and counted in a remark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from sgforge import masks
from sgforge.errors import GraphError
from sgforge.graph import Mask, Question, Sample
from sgforge.stages import SourceFailure
from sgforge.text.wording import shortened
from sgforge_formats.coco.images import MAX_SIDE, image_id_of
from sgforge_formats.conversations.graph_json import add_graph, graph_of_text
from sgforge_formats.conversations.graph_text import add_said, parse_said
from sgforge_formats.reading.annotated import AnnotatedSource, Reading
from sgforge_formats.reading.graph_builder import GraphBuilder
from sgforge_formats.reading.json_lines import json_lines
from sgforge_formats.reading.json_rows import JsonRow, json_rows, opened
from sgforge_formats.reading.numbers import read_number, read_whole

__all__ = ["ASKED", "IMAGE_SIGN", "KIND", "ConversationsSource"]

IMAGE_SIGN: Final = "<image>"
MASK_SIGN: Final = "<mask>"
KIND: Final = "conversation"
"""The kind of questions that are turns of a conversation."""
ASKED: Final = "asked"
"""What the origin of an image says was asked for its graph."""
_REGION: Final = re.compile(r"\bregion([1-9][0-9]{0,3})\b")
_PEOPLE: Final = {"human": "human", "user": "human", "gpt": "gpt", "assistant": "gpt", "system": "system"}


class ConversationsSource(AnnotatedSource):
    """Reads conversations, one sample a row."""

    def read(self, reading: Reading) -> Iterator[Sample | SourceFailure]:
        """Every row."""
        path = reading.files["annotations"]
        seen: set[str] = set()
        with opened(path) as stream:
            is_lines = path.name.removesuffix(".gz").endswith((".jsonl", ".ndjson"))
            rows = json_lines(stream, path.name) if is_lines else json_rows(stream, path.name, "conversations")
            for row in rows:
                if isinstance(row, SourceFailure):
                    yield row
                else:
                    yield from _sample(row, path.name, seen, reading)


def _sample(row: JsonRow, name: str, seen: set[str], reading: Reading) -> Iterator[Sample | SourceFailure]:
    value = row.value if isinstance(row.value, dict) else {}
    where = f"{name}: {row.where}"
    given = value.get("image") or value.get("file_name")
    picture = given if isinstance(given, str) else None
    image_id = image_id_of(value.get("id", value.get("question_id", picture)))
    sides = [read_whole(value.get(side) or 0) for side in ("width", "height")]
    if image_id is None or not all(side is not None and 0 <= side <= MAX_SIDE for side in sides):
        detail = f"a row needs an id or an image, and sizes in pixels if any, not {shortened(row.value)}"
        yield SourceFailure(where, "bad-image", detail, image_id)
        return
    if image_id in seen:
        yield SourceFailure(where, "duplicate-image", f"row {image_id} was given before", image_id)
        return
    seen.add(image_id)
    builder = GraphBuilder(
        where=where, image_id=image_id, width=sides[0] or 0, height=sides[1] or 0, tally=reading.tally
    )
    _regions(builder, value)
    talk = _Talk(builder, len(builder.drawn))
    talk.read(value.get("conversations", value.get("messages")), reading)
    uri = None if picture is None else reading.uri(picture)
    more = {"file_name": picture} if picture is not None else {}
    sample = builder.sample(uri, reading.split, more=more | ({ASKED: talk.asked} if talk.asked else {}))
    if isinstance(sample, Sample) and talk.questions:
        sample = attrs.evolve(sample, values={**sample.values, "questions": tuple(talk.questions)})
    yield from builder.faults
    yield sample


def _regions(builder: GraphBuilder, value: Mapping[str, Any]) -> None:
    rows = value.get("annotation", value.get("annotations"))
    for position, given in enumerate(rows if isinstance(rows, list) else ()):
        item = f"annotation[{position}]"
        row = given if isinstance(given, dict) else {}  # a region all the same: those after it are called by number
        box = row.get("bbox")
        numbers = [read_number(one) for one in box] if isinstance(box, list) else []
        corners: Any = None if box is None else [box]
        if len(numbers) == len("xywh") and None not in numbers:
            x, y, width, height = numbers
            corners = (x, y, x + width, y + height)  # type: ignore[operator]
        builder.region(None, None, corners, item, mask=_mask(builder, row.get("segmentation"), item))


def _mask(builder: GraphBuilder, outline: Any, item: str) -> Mask | None:
    if not outline:
        return None
    try:
        if isinstance(outline, dict):
            height, width = (read_whole(side) or 0 for side in outline["size"])
            return masks.from_coco(outline["counts"], height, width)
        return masks.from_polygons(outline, builder.height, builder.width)
    except (GraphError, KeyError, TypeError, ValueError) as error:
        builder.fault("bad-mask", f"its segmentation: {error}", item)
        return None


@attrs.define
class _Talk:
    """The turns of one row as they become questions and a graph; `shown`: regions that texts name by number."""

    builder: GraphBuilder
    shown: int
    questions: list[Question] = attrs.field(factory=list)
    asked: list[dict[str, str]] = attrs.field(factory=list)

    def read(self, turns: Any, reading: Reading) -> None:
        """All turns; what is none, or has no answer, is a fault."""
        if not isinstance(turns, list):
            self.builder.fault("bad-turn", f"conversations must be a list of turns, not {shortened(turns)}")
            return
        self._check_masks(turns)
        question: str | None = None
        for position, turn in enumerate(turns):
            item = f"conversations[{position}]"
            who, text = _said(turn)
            if who == "system":
                reading.tally.add("turns of a system, left out")
            elif who == "human" and text is not None and question is None:
                question = text.replace(IMAGE_SIGN, "").strip()
            elif who == "gpt" and text is not None and question is not None:
                self._pair(question, text, item)
                question = None
            else:
                self.builder.fault("bad-turn", f"{shortened(turn)} is no turn of human and gpt in turns", item)
        if question is not None:
            self.builder.fault("bad-turn", "the last question has no answer", "conversations")

    def _check_masks(self, turns: list[Any]) -> None:
        """Where texts hold `<mask>`, they hold it once for each region, as the published trainers need it."""
        said = [text for who, text in map(_said, turns) if who == "human" and text is not None]
        signs = sum(text.count(MASK_SIGN) for text in said)
        if signs and signs != self.shown:
            detail = f"its questions hold {signs} {MASK_SIGN}, its annotation {self.shown} regions"
            self.builder.fault("mask-count", detail, "conversations")

    def _pair(self, question: str, answer: str, item: str) -> None:
        graph = graph_of_text(answer)
        said = None if graph is not None else parse_said(answer)
        if graph is not None:
            add_graph(self.builder, graph.get("objects"), graph.get("relationships"), f"{item}.")
            self.asked.append({"question": question, "form": "json"})
        elif said is not None:
            add_said(self.builder, said, self.shown, item)
            self.asked.append({"question": question, "form": "text"})
        elif not question or not answer:
            self.builder.fault("bad-turn", "a question and its answer must not be empty", item)
        else:
            numbers = dict.fromkeys(int(one) - 1 for one in _REGION.findall(f"{question} {answer}"))
            references = [number for number in numbers if number < self.shown]
            self.questions.append(Question(KIND, question, answer, references=references))


def _said(turn: Any) -> tuple[str | None, str | None]:
    """Who says what, in LLaVA's words or in those of chat messages; None for what cannot be told."""
    if not isinstance(turn, dict):
        return None, None
    who, text = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
    return _PEOPLE.get(who) if isinstance(who, str) else None, text if isinstance(text, str) else None
