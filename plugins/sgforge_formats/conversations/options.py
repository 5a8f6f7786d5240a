"""Options of the sources and exporters of conversations."""

from __future__ import annotations

from typing import Literal

import attrs

from sgforge_formats.config import Orientation

__all__ = ["ConversationsExportOptions", "ConversationsOptions"]


@attrs.frozen
class ConversationsOptions:
    """Rows of conversations, a JSON list or one row a line (.jsonl); plain or packed by gzip.

    `annotations`: the file. `images`: the folder of pictures. `split`, `orientation`: as for `coco`.
    """

    annotations: str
    images: str | None = None
    split: str | None = None
    orientation: Orientation = "stored"


@attrs.frozen
class ConversationsExportOptions:
    """LLaVA's conversations.

    `graph`: how a graph is said, "json" as R1-SGG has it or "text" by numbered regions as Robin has it; "none" leaves
    graphs out, and their regions and relations are counted. `ask`: what is asked for a graph that was not read from a
    conversation.
    """

    graph: Literal["json", "text", "none"] = "json"
    ask: str = "Give the scene graph of this picture."
