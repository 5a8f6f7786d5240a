"""The renderer `procedural`: draws the graphs that `sgforge.testing.scenes` can show; no weights, no GPU.

It can make mistakes on purpose, so that whole loops of rendering, judging and selecting can be tried. What it drew is
noted in the picture's file, where the judge `drawn` reads it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from typing import Any, Final

import attrs

from sgforge.edits import Edit
from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge.stages import Answer, Failure, Resources
from sgforge.testing.scenes import Prop, staged_scene
from sgforge_gas.config import ProceduralOptions
from sgforge_gas.rendering.layout import COLOURS, Drawn, laid_out, looks
from sgforge_gas.structures.dice import Dice, dice_of

__all__ = ["NOTE", "ProceduralRenderer", "png_of", "with_faults"]

NOTE: Final = "sgforge.drawn"
"""The text chunk of a PNG that says what was drawn."""
_NEAREST: Final = 1.25
_APART: Final = 0.35


class ProceduralRenderer:
    """Draws each graph. With `fault_rate` each thing may be left out or get another colour, and two may change places,
    by the image's id: candidates of one graph differ.

    Reasons of failures: cannot-draw, contradiction (see `layout`).
    """

    def __init__(self, options: ProceduralOptions) -> None:
        self.options = options
        self._files: Any = None

    def setup(self, resources: Resources) -> None:
        """Take what keeps files."""
        if resources.files is None:
            raise StepError("the renderer procedural needs Resources.files: run it through a pipeline")
        self._files = resources.files

    def render(self, samples: Sequence[Sample]) -> list[Answer]:
        """A picture of each graph."""
        return [self._answer(sample) for sample in samples]

    def _answer(self, sample: Sample) -> Answer:
        things = laid_out(sample.graph)
        if isinstance(things, Failure):
            return things
        options = self.options
        drawn = with_faults(things, options.fault_rate, _dice(sample.image_id, options.seed))
        return Edit(image=self._files.put(png_of(drawn, options.size, options.setting), ".png"))


def _dice(image_id: str, seed: int) -> Dice:
    digest = hashlib.blake2b(image_id.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    number = int.from_bytes(digest, "big")
    return next(dice_of(seed, range(number, number + 1)))


def with_faults(things: Sequence[Drawn], rate: float, dice: Dice) -> list[Drawn]:
    """The things with mistakes: with probability `rate` each has another colour, is left out, or changes places."""
    found = list(things)
    for number, thing in enumerate(things):
        if dice.unit() >= rate:
            continue
        what = dice.below(3)
        others = [other for other in range(len(things)) if things[other].on == thing.on == -1 and other != number]
        if what == 0:
            found[number] = attrs.evolve(
                found[number], colour=dice.pick([name for name in COLOURS if name != (thing.colour or "grey")])
            )
        elif what == 1 and others:
            other = dice.pick(others)
            one, two = found[number], found[other]
            found[number] = attrs.evolve(one, column=two.column, row=two.row)
            found[other] = attrs.evolve(two, column=one.column, row=one.row)
        else:
            found[number] = attrs.evolve(found[number], label="")
    return _without_missing(found)


def _without_missing(things: Sequence[Drawn]) -> list[Drawn]:
    """Without those left out; what stood on one of them stands on the ground."""
    kept = [number for number, thing in enumerate(things) if thing.label]
    place = {number: at for at, number in enumerate(kept)}
    found = []
    for number in kept:
        thing = things[number]
        base = things[thing.on] if thing.on >= 0 else thing
        found.append(attrs.evolve(thing, on=place.get(thing.on, -1), column=base.column, row=base.row))
    return found


def png_of(things: Sequence[Drawn], size: int, setting: str) -> bytes:
    """The picture of things, as a PNG that notes what they are."""
    from PIL import Image, PngImagePlugin

    columns = max((thing.column for thing in things), default=0) + 1
    order = sorted(range(len(things)), key=lambda number: things[number].on >= 0)
    props = []
    for number in order:
        thing = things[number]
        props.append(
            Prop(
                across=0.5 if columns == 1 else 0.1 + 0.8 * thing.column / (columns - 1),
                depth=_NEAREST + _APART * thing.row,
                on=order.index(thing.on) if thing.on >= 0 else -1,
                **looks(thing),  # type: ignore[arg-type]
            )
        )
    pixels, _ = staged_scene(props, size, setting)
    note = PngImagePlugin.PngInfo()
    note.add_itxt(NOTE, json.dumps([attrs.asdict(thing) for thing in things]))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=3, pnginfo=note)
    return stream.getvalue()
