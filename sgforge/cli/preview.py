"""`sgforge run CONFIG --preview N`: a pipeline on a few images, shown and written to a folder; no dataset is made."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sgforge.edits import Edit
from sgforge.errors import ConfigError
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

if TYPE_CHECKING:
    from sgforge.engine.forecast.preview import Preview, PreviewedImage, PreviewedStep
    from sgforge.engine.launch import Request
    from sgforge.models.money.call_trace import Exchange

__all__ = ["add_preview", "show_preview"]

_FAILED_ITEMS: Final = 4
_LONG: Final = 160
_MOST_CALLS: Final = 3
"""Of each step so many calls are shown; the folder has all."""


def add_preview(parser: argparse.ArgumentParser) -> None:
    """The arguments of a preview."""
    parser.add_argument(
        "--preview",
        type=int,
        metavar="N",
        help="show pictures, prompts, answers and edits of N images, and write them to a folder; the dataset stays as "
        "it is, and a run does not buy these answers again",
    )
    parser.add_argument(
        "--preview-to", type=Path, metavar="FOLDER", help="the folder of a preview (default: the dataset's, -preview)"
    )


def show_preview(request: Request, args: argparse.Namespace) -> int:
    """Make the preview, write it and print it; the exit code."""
    from sgforge.engine.forecast.preview import preview
    from sgforge.engine.forecast.preview_folder import as_json, check_folder, write_preview
    from sgforge.plugins import load_plugins

    if args.preview is None:
        raise ConfigError("--preview-to names the folder of a preview: say of how many images, as in --preview 5")
    dataset = request.dataset
    folder = dataset.with_name(f"{dataset.name}-preview") if args.preview_to is None else args.preview_to
    check_folder(folder)
    found = preview(request, load_plugins(), args.preview)
    write_preview(found, folder)
    print(json.dumps({"folder": str(folder), **as_json(found)}) if args.json else "\n".join(_lines(found, folder)))
    if found.stopped is not None:
        raise found.stopped
    failed = any(not isinstance(step.outcome, Edit) for image in found.images for step in image.steps)
    return _FAILED_ITEMS if failed else 0


def _lines(found: Preview, folder: Path) -> Iterator[str]:
    for image in found.images:
        yield from _image_lines(image)
    if found.left_out:
        yield f"not in a preview: {', '.join(found.left_out)} (from the first step on that works on all images at once)"
    exchanges = [exchange for image in found.images for step in image.steps for exchange in step.exchanges]
    bought = [one.answer for one in exchanges if not isinstance(one.answer, Exception) and not one.answer.cached]
    if found.responses is not None:
        costs = [answer.cost_usd for answer in bought]
        price = "" if not costs or None in costs else f" for ${sum(cost for cost in costs if cost is not None):.4f}"
        kept = f": kept in {visible(str(found.responses))}, where a run finds them" if bought else ""
        yield f"{counted(len(exchanges), 'question')}, {counted(len(bought), 'answer')} bought{price}{kept}"
    yield f"pictures, prompts, answers and edits of {counted(len(found.images), 'image')}: {visible(str(folder))}"


def _image_lines(image: PreviewedImage) -> Iterator[str]:
    graph = image.sample.graph
    yield f"{visible(image.sample.image_id)} ({graph.width}x{graph.height})"
    for step in image.steps:
        yield f"  {visible(step.name)} {visible(step.component)}: {_outcome(step)}"
        for exchange in step.exchanges[:_MOST_CALLS]:
            yield from _call_lines(exchange)
        if len(step.exchanges) > _MOST_CALLS:
            yield f"    ... and {counted(len(step.exchanges) - _MOST_CALLS, 'question')} more"


def _outcome(step: PreviewedStep) -> str:
    outcome = step.outcome
    if not isinstance(outcome, Edit):
        return f"failed, {visible(outcome.reason)}: {visible(outcome.detail)}"
    if outcome.dropped is not None:
        return f"dropped: {visible(outcome.dropped)}"
    rejected = sum(verdict.status == "rejected" for verdict in outcome.verdicts)
    parts: list[tuple[int, str]] = [
        (len(outcome.regions), "region"),
        (len(outcome.relations), "relation"),
        (rejected, "rejection"),
        (len(outcome.verdicts) - rejected, "approval"),
        (len(outcome.sets), "field"),
        (len(outcome.values), "value"),
        (int(outcome.image is not None), "picture"),
    ]
    told = ", ".join(counted(count, what) for count, what in parts if count) or "nothing"
    left_out = ", ".join(f"{visible(reason)} {count}" for reason, count in sorted(step.faults.items()))
    return f"{told}{f' (counted: {left_out})' if left_out else ''}"


def _call_lines(exchange: Exchange) -> Iterator[str]:
    shown = ", ".join(f"{part.size[0]}x{part.size[1]}" for part in exchange.request.images)
    said: list[Any] = [part for part in exchange.request.messages[-1].parts if hasattr(part, "text")]
    seen = f", picture {shown}" if shown else ""
    yield f"    asked {visible(exchange.model)}{seen}: {_short(said[-1].text if said else '')}"
    answer = exchange.answer
    if isinstance(answer, Exception):
        yield f"    no answer: {_short(str(answer))}"
    else:
        yield f"    said{' before' if answer.cached else ''}: {_short(answer.text)}"


def _short(text: str) -> str:
    """The end of a text: prompts begin with the facts, and end with what is asked."""
    plain = " ".join(text.split())
    return visible(plain if len(plain) <= _LONG else f"{plain[: _LONG // 2]} ... {plain[-_LONG // 2 :]}")
