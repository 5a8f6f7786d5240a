"""Pictures of graphs: what is marked can be seen, marks do not hide it, and untrusted text is harmless."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sgforge.draw import draw_graph, draw_marks
from sgforge.draw.canvas import Canvas, clean_text, color_of
from sgforge.draw.places import Place, Places
from sgforge.draw.shapes import shapes_of
from sgforge.errors import GraphError
from sgforge.graph import Region, Relation, SceneGraph
from sgforge.masks import from_array

GREY = Image.new("RGB", (320, 240), (128, 128, 128))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def places_for(regions: dict[int, Region], image: Image.Image = GREY) -> dict[int, Place]:
    """The places that `draw_marks` chooses."""
    canvas = Canvas(image)
    shapes = shapes_of(regions, canvas, 1.0, masks=True)
    places = Places(canvas, shapes.values())
    order = sorted(shapes, key=lambda index: shapes[index].area)
    return {index: places.for_shape(shapes[index], canvas.text_size(str(index))) for index in order}


def overlap(first: Place, second: Place) -> float:
    a, b = first.rect, second.rect
    return max(0.0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0.0, min(a.y1, b.y1) - max(a.y0, b.y0))


def scattered(number: int, seed: int) -> dict[int, Region]:
    """Boxes of 3 to 120 pixels a side."""
    rng = np.random.default_rng(seed)
    regions = {}
    for index in range(number):
        width, height = np.exp(rng.uniform(np.log(3), np.log(120), 2))
        x, y = rng.uniform(0, 320 - width), rng.uniform(0, 240 - height)
        regions[index] = Region(f"thing {index}", (x, y, x + width, y + height))
    return regions


@pytest.mark.parametrize("number", [3, 10, 40])
@pytest.mark.parametrize("seed", range(4))
def test_marks_lie_in_the_picture_and_apart(number: int, seed: int) -> None:
    places = places_for(scattered(number, seed))
    for place in places.values():
        rect = place.rect
        assert 0 <= rect.x0 < rect.x1 <= 320
        assert 0 <= rect.y0 < rect.y1 <= 240
    area = next(iter(places.values())).rect
    shared = [overlap(places[a], places[b]) for a in places for b in places if a < b]
    assert sum(shared) <= 0.02 * number * area.width * area.height


@pytest.mark.parametrize("seed", range(4))
def test_a_mark_covers_at_most_a_tenth_of_the_region_it_marks(seed: int) -> None:
    regions = scattered(25, seed)
    for index, place in places_for(regions).items():
        x0, y0, x1, y1 = regions[index].box or (0, 0, 0, 0)
        rect = place.rect
        shared = max(0.0, min(rect.x1, x1) - max(rect.x0, x0)) * max(0.0, min(rect.y1, y1) - max(rect.y0, y0))
        assert shared <= 0.1 * (x1 - x0) * (y1 - y0) + 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_marks_of_a_crowd_together_hide_less_than_half_of_any_region(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners, sizes = rng.uniform(0, 120, (60, 2)), rng.uniform(4, 90, (60, 2))
    boxes = np.hstack([corners, corners + sizes])
    covered = np.zeros((480, 640), bool)
    for place in places_for(
        {i: Region(box=tuple(box)) for i, box in enumerate(boxes)}, GREY.resize((640, 480))
    ).values():
        rect = place.rect
        covered[round(rect.y0) : round(rect.y1), round(rect.x0) : round(rect.x1)] = True
    for x0, y0, x1, y1 in boxes.round().astype(int):
        assert covered[y0:y1, x0:x1].mean() < 0.5


def test_the_mark_of_the_whole_picture_lies_at_its_frame() -> None:
    regions = {1: Region(box=(0, 0, 320, 240))}
    corners = ((0, 0), (316, 0), (0, 236), (316, 236))
    regions |= {index: Region(box=(x, y, x + 4, y + 4)) for index, (x, y) in enumerate(corners, 2)}
    rect = places_for(regions)[1].rect
    assert min(rect.x0, rect.y0, 320 - rect.x1, 240 - rect.y1) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("index", range(30))
@pytest.mark.parametrize("ground", ["its own colour", "black", "white"])
def test_an_outline_stands_out_on_any_ground(index: int, ground: str) -> None:
    color = {"its own colour": color_of(index), "black": (0, 0, 0), "white": (255, 255, 255)}[ground]
    picture = Image.new("RGB", (120, 120), color)
    for region in (Region(box=(30, 30, 90, 90)), Region(mask=from_array(_disc(60, 60, 30)[:120, :120]))):
        drawn = pixels(draw_marks(picture, {index: region}))[60, 20:40]  # across the left side of the outline
        assert np.abs(_luminance(drawn) - _luminance(np.array(color))).max() > 40


def _luminance(colors: np.ndarray) -> np.ndarray:
    return colors @ np.array([0.2126, 0.7152, 0.0722])


def test_every_pixel_of_a_tiny_region_stays_as_it_was() -> None:
    regions = {0: Region(box=(100, 100, 104, 104)), 1: Region(mask=from_array(_disc(200, 60, 3)))}
    after = pixels(draw_marks(GREY, regions))
    assert (after[100:104, 100:104] == 128).all()
    assert (after[_disc(200, 60, 3)] == 128).all()
    assert (after[90:115, 90:115] != 128).any()


def _disc(x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[:240, :320]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_a_mark_of_a_ring_lies_beside_its_pixels_or_on_the_ring_not_lost_in_the_hole() -> None:
    ring = _disc(160, 120, 100) & ~_disc(160, 120, 80)
    place = places_for({7: Region(mask=from_array(ring))})[7]
    x, y = place.rect.center
    on_ring = ring[int(y), int(x)]
    led = place.leader is not None and ring[int(place.leader[1][1]), int(place.leader[1][0])]
    assert on_ring or led


def test_numbers_are_those_given() -> None:
    regions = {3: Region(box=(20, 20, 200, 200))}
    assert (pixels(draw_marks(GREY, regions, {3: 1})) != pixels(draw_marks(GREY, regions))).any()
    assert (pixels(draw_marks(GREY, regions, {3: 3})) == pixels(draw_marks(GREY, regions))).all()


def test_scale_shrinks_the_regions_with_the_picture() -> None:
    small = draw_marks(GREY.resize((160, 120)), {0: Region(box=(100, 100, 300, 200))}, scale=0.5)
    same = draw_marks(GREY.resize((160, 120)), {0: Region(box=(50, 50, 150, 100))})
    assert (pixels(small) == pixels(same)).all()


def test_the_given_image_is_not_changed_and_any_mode_is_taken() -> None:
    grey = Image.new("L", (64, 48), 100)
    drawn = draw_marks(grey, {0: Region(box=(5, 5, 60, 40))})
    assert drawn.mode == "RGB"
    assert drawn.size == grey.size
    assert (np.asarray(grey) == 100).all()


def test_relations_and_masks_are_drawn_only_when_asked_for() -> None:
    graph = SceneGraph(
        320,
        240,
        [Region("disc", (30, 70, 131, 171), from_array(_disc(80, 120, 50))), Region("box", (200, 80, 300, 160))],
        [Relation(0, "left of", 1)],
    )
    between = (slice(110, 130), slice(140, 190))
    assert (pixels(draw_graph(GREY, graph))[between] != 128).any()
    assert (pixels(draw_graph(GREY, graph, relations=False))[between] == 128).all()
    deep = (slice(140, 150), slice(70, 90))
    assert (pixels(draw_graph(GREY, graph, relations=False, labels=False))[deep] != 128).all()
    assert (pixels(draw_graph(GREY, graph, relations=False, labels=False, masks=False))[deep] == 128).all()


def test_an_arrow_points_from_subject_to_object() -> None:
    regions = [Region(box=(20, 100, 60, 140)), Region(box=(260, 100, 300, 140))]
    there = draw_graph(GREY, SceneGraph(320, 240, regions, [Relation(0, "to", 1)]), labels=False)
    back = draw_graph(GREY, SceneGraph(320, 240, regions, [Relation(1, "to", 0)]), labels=False)

    def ink(image: Image.Image, x: int) -> int:
        return int((pixels(image)[100:140, x : x + 16] != 128).any(axis=2).sum())

    assert ink(there, 266) > ink(back, 266)  # the head is larger than the dot of the tail
    assert ink(back, 40) > ink(there, 40)


def test_rejected_rows_are_not_drawn() -> None:
    graph = SceneGraph(320, 240, [Region("ghost", (20, 20, 200, 200), status="rejected")])
    assert (pixels(draw_graph(GREY, graph)) == 128).all()


def test_a_region_beyond_the_picture_and_a_picture_smaller_than_a_mark_do_no_harm() -> None:
    draw_marks(GREY, {0: Region(box=(400, 300, 500, 400)), 1: Region(box=(-50, -50, 1000, 1000))})
    assert draw_marks(Image.new("RGB", (4, 3)), {0: Region(box=(0, 0, 4, 3))}).size == (4, 3)
    assert draw_graph(Image.new("RGB", (1, 1)), SceneGraph(1, 1, [Region("x", (0, 0, 1, 1))])).size == (1, 1)


def test_a_region_without_geometry_is_refused_by_index() -> None:
    with pytest.raises(GraphError, match="region 1 has neither box nor mask"):
        draw_marks(GREY, {0: Region(box=(0, 0, 5, 5)), 1: Region("idea")})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cup\nof\ttea", "cup of tea"),
        ("\x1b[31mred\x00", "[31mred"),
        ("a\u202egnp.exe", "a gnp.exe"),
        ("  ", ""),
        ("x" * 100, "x" * 27 + "…"),
        ("\u200b" * 500 + "late", ""),
        ("tasse à café", "tasse à café"),
    ],
)
def test_untrusted_text_is_cleaned_and_cut(text: str, shown: str) -> None:
    assert clean_text(text) == shown
