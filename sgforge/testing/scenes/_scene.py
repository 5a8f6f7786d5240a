"""From a seed to a picture with its exact graph."""

from __future__ import annotations

from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt

from sgforge import masks
from sgforge.errors import GraphError
from sgforge.graph import Region, Sample, SceneGraph
from sgforge.testing.scenes._dice import Dice
from sgforge.testing.scenes._draw import layers_of
from sgforge.testing.scenes._layout import Layout, lay_out
from sgforge.testing.scenes._paint import Canvas, Rgb
from sgforge.testing.scenes._things import Camera, Thing
from sgforge.testing.scenes._truth import true_relations

__all__ = ["MIN_SIZE", "Scene", "lay_background", "make_scene", "paint_background", "setting_named"]

MIN_SIZE: Final = 64
_FARTHEST: Final = 8.0
"""Depth of the backdrop, and the most that a piece of ground has."""
_LEAST_PIXELS: Final = 12

_USUAL_WIDTH: Final = {
    "ball": 0.12, "apple": 0.087, "crate": 0.18, "cone": 0.135, "cup": 0.115, "book": 0.15, "bowl": 0.24,
    "tree": 0.32, "table": 0.52, "balloon": 0.12, "plank": 0.2, "robot": 0.133,
}  # fmt: skip


@attrs.frozen
class _Setting:
    """Ground and backdrop of a scene: names and colours."""

    name: str
    ground: str
    ground_rgb: Rgb
    backdrop: str
    low_rgb: Rgb
    high_rgb: Rgb


_SETTINGS: Final = (
    _Setting(
        name="meadow",
        ground="grass",
        ground_rgb=(0.52, 0.70, 0.36),
        backdrop="sky",
        low_rgb=(0.86, 0.93, 0.98),
        high_rgb=(0.52, 0.74, 0.94),
    ),
    _Setting(
        name="beach",
        ground="sand",
        ground_rgb=(0.90, 0.80, 0.58),
        backdrop="sky",
        low_rgb=(0.97, 0.91, 0.82),
        high_rgb=(0.55, 0.78, 0.92),
    ),
    _Setting(
        name="snow",
        ground="snow",
        ground_rgb=(0.88, 0.91, 0.96),
        backdrop="sky",
        low_rgb=(0.90, 0.92, 0.95),
        high_rgb=(0.64, 0.72, 0.84),
    ),
    _Setting(
        name="room",
        ground="floor",
        ground_rgb=(0.72, 0.58, 0.44),
        backdrop="wall",
        low_rgb=(0.86, 0.82, 0.74),
        high_rgb=(0.78, 0.74, 0.67),
    ),
)


@attrs.frozen(eq=False)
class Scene:
    """One made picture and all that is known about it; row n of the arrays is region n of the graph.

    `image` (S, S, 3) uint8 RGB. `masks` (N, S, S) bool: what is seen of each region; they share no pixel and leave none
    out. `full` (N, S, S) bool: each region as if nothing hid it. `depth` (S, S) float32: depth of each pixel, about 1
    at the lower edge, larger is farther.
    """

    image: npt.NDArray[np.uint8]
    sample: Sample
    masks: npt.NDArray[np.bool_]
    full: npt.NDArray[np.bool_]
    depth: npt.NDArray[np.float32]


def make_scene(seed: int, size: int = 256, pixel_relations: bool = False) -> Scene:
    """The scene of this seed, `size` x `size` pixels; the same on every platform. Below 64 pixels is an error.

    Regions are the things, then the ground, then the backdrop, with label, box, mask, a description, attributes
    (colour, texture, size) and median depth. Relations are all that hold, see `sgforge.testing.scenes`; with
    `pixel_relations` also how the paint of two things compares, which nothing but the picture tells.
    """
    if size < MIN_SIZE:
        raise GraphError(f"a scene of {size} pixels is too small to show anything: use {MIN_SIZE} or more")
    dice = Dice(seed)
    setting = dice.pick(_SETTINGS)
    horizon = dice.between(0.26, 0.36)
    camera = Camera(size, horizon, dice.between(0.62, 0.68), dice.pick((-1, 1)))
    layout, canvas = _draw(dice, camera, setting)
    seen = canvas.owner[None] == np.arange(len(layout.things) + 2, dtype=np.int16)[:, None, None]
    graph = _graph(layout, canvas, seen, setting, camera, pixel_relations)
    sample = Sample(f"scene-{seed:06d}", graph)
    return Scene(image=canvas.image(), sample=sample, masks=seen, full=canvas.full, depth=canvas.depth)


def _draw(dice: Dice, camera: Camera, setting: _Setting) -> tuple[Layout, Canvas]:
    """A layout in which every thing shows enough pixels, and its canvas."""
    while True:
        layout = lay_out(dice, camera, outdoors=setting.name != "room")
        ground = len(layout.things)
        canvas = Canvas(camera.size, ground + 2)
        background = lay_background(canvas, ground, dice, camera)
        canvas.lay([layer for i, thing in enumerate(layout.things) for layer in layers_of(thing, i, ground, camera)])
        counts = np.bincount(canvas.owner.ravel(), minlength=ground + 2)[:ground]
        whole = canvas.full[:ground].sum(axis=(1, 2))
        if len(layout.things) >= 2 and np.all((counts >= _LEAST_PIXELS) & (counts >= 0.3 * whole)):
            # Colours come last: small pictures take some layouts until one shows all things.
            paint_background(canvas, background, camera, setting)
            canvas.paint()
            return layout, canvas


def setting_named(name: str) -> _Setting:
    """Ground and backdrop by name; an unknown one is a `GraphError`."""
    found = next((setting for setting in _SETTINGS if setting.name == name), None)
    if found is None:
        raise GraphError(f"no setting {name!r}; there are {', '.join(setting.name for setting in _SETTINGS)}")
    return found


@attrs.frozen
class _Background:
    """How far each row is below the horizon, as a part of the height, and the noise of the ground."""

    below: npt.NDArray[np.float32]
    grain: npt.NDArray[np.float32]
    fine: npt.NDArray[np.float32]


def lay_background(canvas: Canvas, ground: int, dice: Dice, camera: Camera) -> _Background:
    """Ground and backdrop, owned by `ground` and the number after it, still without colours."""
    size = camera.size
    rows = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    below = rows - np.float32(camera.horizon)
    is_ground = below > 0
    depth = np.where(is_ground, np.float32(camera.eye) / np.maximum(below, np.float32(1e-3)), _FARTHEST)
    canvas.depth[:] = np.minimum(depth, np.float32(_FARTHEST))[:, None]
    canvas.owner[:] = np.where(is_ground, ground, ground + 1)[:, None]
    canvas.full[ground], canvas.full[ground + 1] = is_ground[:, None], ~is_ground[:, None]
    return _Background(below=below, grain=dice.noise(40, 18), fine=dice.noise(100, 60))


def paint_background(canvas: Canvas, background: _Background, camera: Camera, setting: _Setting) -> None:
    """Colour ground and backdrop; before the things that stand on them."""
    size, below = camera.size, background.below
    is_ground = below > 0
    up = np.clip(-below / np.float32(camera.horizon), 0, 1)[:, None]
    sky = np.array(setting.low_rgb, np.float32) * (1 - up) + np.array(setting.high_rgb, np.float32) * up
    near = np.clip(below / np.float32(1 - camera.horizon), 0, 1)[:, None]
    floor = np.array(setting.ground_rgb, np.float32) * (np.float32(0.86) + np.float32(0.2) * near)
    canvas.rgb[:] = np.where(is_ground[:, None], floor, sky)[:, None, :]
    grain = 1 + np.float32(0.12) * (_smooth(background.grain, size) - np.float32(0.5))
    fine = 1 + np.float32(0.05) * (_smooth(background.fine, size) - np.float32(0.5))
    canvas.rgb *= np.where(is_ground[:, None], grain * fine, np.float32(1))[..., None]


def _smooth(lattice: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """A small lattice stretched to (size, size) by linear interpolation."""
    for axis in (0, 1):
        count = lattice.shape[axis]
        at = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32((count - 1) / size)
        low = np.floor(at).astype(np.intp)
        part: Any = (at - low)[:, None] if axis == 0 else at - low
        lattice = np.take(lattice, low, axis) * (1 - part) + np.take(lattice, low + 1, axis) * part
    return lattice.astype(np.float32)


def _graph(
    layout: Layout,
    canvas: Canvas,
    seen: npt.NDArray[np.bool_],
    setting: _Setting,
    camera: Camera,
    pixel_relations: bool,
) -> SceneGraph:
    ground = len(layout.things)
    looks = [(thing.kind, *_looks(thing)) for thing in layout.things]
    looks += [(setting.ground, (), f"the {setting.ground}"), (setting.backdrop, (), f"the {setting.backdrop}")]
    regions = [
        Region(
            label=label,
            box=mask.box,
            mask=mask,
            descriptions=(description,),
            attributes=attributes,
            depth=float(np.median(canvas.depth[own])),
        )
        for (label, attributes, description), mask, own in zip(looks, masks.from_arrays(seen), seen, strict=True)
    ]
    attributes = {"setting": setting.name, "light": "left" if camera.light > 0 else "right"}
    relations = true_relations(layout, ground, camera.size, pixel_relations)
    return SceneGraph(
        width=camera.size, height=camera.size, regions=regions, relations=relations, attributes=attributes
    )


def _looks(thing: Thing) -> tuple[tuple[str, ...], str]:
    """The attributes of a thing, and a description of it."""
    ratio = thing.width / _USUAL_WIDTH[thing.kind]
    extent = "small" if ratio < 0.88 else "large" if ratio > 1.12 else ""
    texture = "" if thing.texture == "plain" else thing.texture
    attributes = tuple(word for word in (extent, thing.colour, texture) if word)
    facing = {-1: " facing left", 0: "", 1: " facing right"}[thing.facing]
    words = " ".join((*attributes, thing.kind))
    return attributes + ((facing.strip(),) if facing else ()), f"{'an' if words[0] in 'aeiou' else 'a'} {words}{facing}"
