"""A preview as a folder: pictures as they were sent, prompts, answers and edits, one folder an image and step.

FOLDER/preview.json                       all of it, for machines; what marks the folder as a preview
FOLDER/1-IMAGE/1-STEP/picture-1.jpg       as the model saw it
                      call-1.txt          the prompt, then the answer
                      edit.jsonl          the edit, as `sgforge edits` reads it
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sgforge.durable import make_folder, write_json
from sgforge.edits import Edit
from sgforge.engine.forecast.preview import Preview, PreviewedImage, PreviewedStep
from sgforge.errors import ConfigError
from sgforge.jsonl import dump_edit

if TYPE_CHECKING:
    from sgforge.models.money.call_trace import Exchange

__all__ = ["as_json", "check_folder", "write_preview"]

_INDEX: Final = "preview.json"
_FORMAT: Final = "sgforge-preview"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_SUFFIXES: Final = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif"}


def check_folder(folder: Path) -> None:
    """A `ConfigError` for a folder that holds anything but a preview, which is replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        index = json.loads((folder / _INDEX).read_text("utf-8"))
    except (OSError, ValueError):
        index = None
    if not (isinstance(index, dict) and index.get("format") == _FORMAT):
        raise ConfigError(f"{folder} is there and holds no preview: --preview-to names another folder")


def write_preview(found: Preview, folder: Path) -> None:
    """Write all of a preview into `folder`, in the place of an earlier one."""
    check_folder(folder)
    if folder.exists():
        shutil.rmtree(folder)
    make_folder(folder)
    for image, of_image in _folders(found.images, folder, lambda image: image.sample.image_id):
        for step, place in _folders(image.steps, of_image, lambda step: step.name):
            place.mkdir(parents=True)
            _write_step(image, step, place)
    write_json(folder / _INDEX, {"format": _FORMAT, **as_json(found)})


def _folders(items: Any, above: Path, name: Any) -> Iterator[tuple[Any, Path]]:
    """Each with a folder whose name is safe, whatever its own is."""
    for number, item in enumerate(items, 1):
        yield item, above / f"{number}-{_UNSAFE.sub('_', name(item))[:60]}"


def _write_step(image: PreviewedImage, step: PreviewedStep, folder: Path) -> None:
    for name, data in _pictures(step).values():
        (folder / name).write_bytes(data)
    for number, exchange in enumerate(step.exchanges, 1):
        (folder / f"call-{number}.txt").write_text(_as_text(step, exchange), "utf-8", "backslashreplace")
    if isinstance(step.outcome, Edit):
        (folder / "edit.jsonl").write_bytes(dump_edit(image.sample.image_id, step.before, step.outcome))


def _pictures(step: PreviewedStep) -> dict[str, tuple[str, bytes]]:
    """File name and bytes of each picture that was sent, by sha256."""
    types = {part.sha256: part.media_type for exchange in step.exchanges for part in exchange.request.images}
    return {
        sha256: (f"picture-{number}.{_SUFFIXES[types[sha256]]}", data)
        for number, (sha256, data) in enumerate(step.pictures.items(), 1)
    }


def _as_text(step: PreviewedStep, exchange: Exchange) -> str:
    told = [f"model: {exchange.model}"]
    for turn in exchange.request.messages:
        told.append(f"\n== {turn.role}")
        told += [_part_text(step, part) for part in turn.parts]
    if exchange.request.schema is not None:
        told.append(f"\n== answer to satisfy\n{json.dumps(exchange.request.schema, ensure_ascii=False)}")
    answer = exchange.answer
    told.append(f"\n== answer\n{answer}" if isinstance(answer, Exception) else f"\n== answer\n{answer.text}")
    return "\n".join(told) + "\n"


def _part_text(step: PreviewedStep, part: Any) -> str:
    if hasattr(part, "sha256"):
        return f"[{_pictures(step)[part.sha256][0]}, {part.size[0]}x{part.size[1]}]"
    return str(part.text)


def as_json(found: Preview) -> dict[str, Any]:
    """All of a preview but the bytes of its pictures."""
    return {
        "images": [
            {"image": image.sample.image_id, "steps": [_step_json(image, step) for step in image.steps]}
            for image in found.images
        ],
        "left_out": list(found.left_out),
        "responses": None if found.responses is None else str(found.responses),
        "stopped": None if found.stopped is None else str(found.stopped),
    }


def _step_json(image: PreviewedImage, step: PreviewedStep) -> dict[str, Any]:
    edit, failure = None, None
    if isinstance(step.outcome, Edit):
        edit = json.loads(dump_edit(image.sample.image_id, step.before, step.outcome))
    else:
        failure = {"reason": step.outcome.reason, "detail": step.outcome.detail}
    names = {sha256: name for sha256, (name, _) in _pictures(step).items()}
    return {
        "step": step.name,
        "component": step.component,
        "calls": [_call_json(exchange, names) for exchange in step.exchanges],
        "edit": edit,
        "failure": failure,
        "faults": dict(step.faults),
    }


def _call_json(exchange: Exchange, names: Mapping[str, str]) -> dict[str, Any]:
    answer = exchange.answer
    asked = {
        "model": exchange.model,
        "prompt": [
            {"role": turn.role, "text": [part.text for part in turn.parts if not hasattr(part, "sha256")]}
            for turn in exchange.request.messages
        ],
        "pictures": [names[part.sha256] for part in exchange.request.images],
    }
    if isinstance(answer, Exception):
        return {**asked, "answer": None, "error": str(answer)}
    return {**asked, "answer": answer.text, "cached": answer.cached, "cost_usd": answer.cost_usd}
