"""Relations that only pixels tell, held against what regions say of their looks and what their pixels show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sgforge.testing.scenes import Scene, make_scene, scene_samples

NEW = {"same colour as", "same pattern as", "paler than"}
COLOURS = {"red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "grey", "brown"}
PLAIN_WHITE = 0.299 * 0.93 + 0.587 * 0.93 + 0.114 * 0.91


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(seed, 96, pixel_relations=True) for seed in range(2000, 2060)]


def colour(scene: Scene, index: int) -> str | None:
    return next((word for word in scene.sample.graph.regions[index].attributes if word in COLOURS), None)


def test_without_them_nothing_changes() -> None:
    for seed in range(5):
        plain, more = make_scene(seed, 96), make_scene(seed, 96, pixel_relations=True)
        assert np.array_equal(plain.image, more.image)
        old = [one.triplet for one in plain.sample.graph.relations.values()]
        assert old == [one.triplet for one in more.sample.graph.relations.values() if one.predicate not in NEW]
        assert not {one.predicate for one in plain.sample.graph.relations.values()} & NEW


def test_the_same_colour_is_the_same_word(scenes: list[Scene]) -> None:
    count = 0
    for scene in scenes:
        said = {one.triplet[::2] for one in scene.sample.graph.relations.values() if one.predicate == "same colour as"}
        things = [index for index in scene.sample.graph.regions if colour(scene, index)]
        assert said == {(a, b) for a in things for b in things if a != b and colour(scene, a) == colour(scene, b)}
        count += len(said)
    assert 3 < count / len(scenes) < 20


def test_what_is_paler_is_lighter_to_the_eye(scenes: list[Scene]) -> None:
    """Median luminance of the pixels: shading blurs it, the order of plain things stays nearly always."""
    right = total = 0
    for scene in scenes:
        grey = scene.image.astype(float) @ (0.299, 0.587, 0.114)
        for one in scene.sample.graph.relations.values():
            if one.predicate == "paler than":
                subject, object_ = (np.median(grey[scene.masks[index]]) for index in (one.subject, one.object))
                right, total = right + (subject > object_), total + 1
                assert (one.object, "paler than", one.subject) not in {
                    other.triplet for other in scene.sample.graph.relations.values()
                }
    assert total > 300
    assert right / total > 0.9


def test_luminance_by_hand() -> None:
    from sgforge.testing.scenes._comparisons import luminance

    assert luminance("white") == pytest.approx(PLAIN_WHITE, abs=5e-4)
    assert luminance("blue") == pytest.approx(0.299 * 0.20 + 0.587 * 0.42 + 0.114 * 0.82)


def test_files_hold_them(tmp_path: Path) -> None:
    made = scene_samples(tmp_path, 20, 0, size=96, uri="s:", pixel_relations=True)
    assert {one.predicate for sample in made for one in sample.graph.relations.values()} >= NEW
