"""Procedural scenes: seeded pictures whose graph is known exactly, for tests, demos and proofs that students learn.

Things stand in groups on a ground: crates, balls, cones, cups, bowls, books, apples, tables, trees, balloons, planks
and robots. What spatial words mean here is defined on the world (see the module `_truth`), independent of
`sgforge.spatial`. Other relations follow from pose and layout, never from one label: a robot near a crate may be
pushing it, holding it, standing on it, or only be next to it. With `pixel_relations` graphs also say how the paint of
two things compares (see the module `_comparisons`); pictures are the same. `staged_scene` draws things where one says.
"""

from __future__ import annotations

from sgforge.testing.scenes._files import scene_samples, write_scenes
from sgforge.testing.scenes._scene import Scene, make_scene
from sgforge.testing.scenes._staged import STAGED_KINDS, STAGED_TEXTURES, Prop, staged_scene

__all__ = [
    "STAGED_KINDS",
    "STAGED_TEXTURES",
    "Prop",
    "Scene",
    "make_scene",
    "scene_samples",
    "staged_scene",
    "write_scenes",
]
