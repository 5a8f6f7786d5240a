"""The page docs/spatial.md, printed from the vocabulary: `python -m sgforge.spatial.reference > docs/spatial.md`."""

from __future__ import annotations

import sys

from sgforge.spatial.vocabulary import VOCABULARY

__all__ = ["reference"]


def reference() -> str:
    """The vocabulary as a page of Markdown: docs/spatial.md."""
    lines = [
        "# Spatial predicates",
        "",
        "What each spatial predicate means, as a degree in [0, 1] measured by `sgforge.spatial`. Directions are the",
        "picture's. Boxes are always used, masks refine containment and contact where both regions have one, depth",
        "(larger is farther) tells front from behind. A degree does not change when an image is shifted or scaled.",
        "",
        "| predicate | inverse | degree | synonyms |",
        "|---|---|---|---|",
    ]
    for predicate in VOCABULARY.values():
        inverse_name = "itself" if predicate.symmetric else predicate.inverse
        lines.append(
            f"| {predicate.name} | {inverse_name} | {predicate.definition} | {', '.join(predicate.synonyms)} |"
        )
    lines += [
        "",
        'Case, articles, "is" and adverbs such as "directly" do not matter: "is to the left of" is "left of".',
        "Front and behind cannot be told without the depths of both regions; nothing can be told without their boxes.",
        "Every predicate for (a, b) has exactly the degree of its inverse for (b, a).",
        "",
        "This page is printed by `python -m sgforge.spatial.reference > docs/spatial.md`; a test compares them.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(reference())
