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
        "A picture shows less than the scene, so a degree has two ranges. Up to 0.3 lies what the picture allows but",
        "does not show: a ball in the lower part of a table's box may be under the table. Above lies what it shows;",
        "0 is for what boxes, masks or depths contradict. A filter rejects only the last, a teacher says only what is",
        "shown.",
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
        "Roof: how far the subject spans the object from above with room beneath it, as a table does. With masks: the",
        "share of the object's columns in which the subject begins above it and does not reach below it. By boxes: 0.3",
        "times the horizontal overlap, times how much higher the subject begins (2 rise), times how near its foot is",
        "(1 where the object's is as low, 0 half of the subject's height above it), each at most 1.",
        "Size: the geometric mean of the square roots of both areas.",
        "",
        'What stays outside: left and right as a person in the picture would say them, and "in" as of clothing (a man',
        "in a coat).",
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
