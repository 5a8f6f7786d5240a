"""A scene graph as plain text, for models that read and do not see."""

from __future__ import annotations

from sgforge.graph import SceneGraph

__all__ = ["graph_text"]


def graph_text(graph: SceneGraph) -> str:
    """Kept regions, numbered, with attributes, description and box; then kept relations by name and number."""
    lines = [
        f"Image of {graph.width} x {graph.height} pixels." if graph.width else "No image size is known.",
        "Objects:",
    ]
    names = {index: f"{_plain(region.label or 'thing')} {index}" for index, region in graph.regions.items()}
    for index, region in graph.regions.items():
        box = region.box or (region.mask.box if region.mask is not None else None)
        parts = [f"- {names[index]}"]
        if region.attributes:
            parts.append(f" ({', '.join(map(_plain, region.attributes))})")
        if box is not None:
            parts.append(f" at [{', '.join(f'{side:.0f}' for side in box)}]")
        if region.descriptions:
            parts.append(f": {_plain(region.descriptions[0])}")
        lines.append("".join(parts))
    lines.append("Relations:")
    lines += [
        f"- {names[relation.subject]} {_plain(relation.predicate)} {names[relation.object]}"
        for relation in graph.relations.values()
    ]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """One line: labels are untrusted, and a line break would let them pose as rows of their own."""
    return " ".join(text.split())
