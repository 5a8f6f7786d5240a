"""The procedural renderer: pictures whose relations hold, faults on purpose, and the judge of what was drawn.

All of it works without a model.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sgforge.cli.main import main
from sgforge.dataset import Dataset
from sgforge.errors import GraphError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.images import Roots
from sgforge.stages import Failure
from sgforge.testing import JudgeContract, RendererContract
from sgforge.testing.scenes import STAGED_KINDS, Prop, staged_scene
from sgforge_gas.config import GasOptions
from sgforge_gas.judging.drawn import answers_of
from sgforge_gas.questions import Asker, score_answers
from sgforge_gas.rendering.layout import Drawn, laid_out, true_places
from sgforge_gas.rendering.procedural import NOTE, png_of, with_faults
from sgforge_gas.sampling import Sampler
from sgforge_gas.structures.dice import dice_of
from sgforge_gas.vocabulary import load_vocabulary

SCENES = Path(__file__).parents[2] / "examples/gas/scenes.toml"
WORDS = load_vocabulary(SCENES)


def graphs(count: int, **more):
    options = GasOptions(**{"complexity": (3, 8), "vocabulary": SCENES, "scene_attributes": (0,), **more})
    return [graph for graph, _ in Sampler(options).graphs(range(count))]


class TestProcedural(RendererContract):
    component = "procedural"

    def samples(self, folder: Path) -> list[Sample]:
        return [Sample(f"graph-{number}", graph) for number, graph in enumerate(graphs(3))]


class TestDrawn(JudgeContract):
    component = "drawn"

    def samples(self, folder: Path) -> list[Sample]:
        """Pictures that were drawn, with what can be asked of their graphs."""
        found = []
        for number, graph in enumerate(graphs(2)):
            (folder / f"{number}.png").write_bytes(png_of(laid_out(graph), 64, "room"))
            image = Roots({"made": folder}).image(f"made:{number}.png")
            values = {"questions": tuple(Asker().ask(graph))}
            found.append(Sample(f"{number}", graph, uri=f"made:{number}.png", image=image, values=values))
        return found

    def test_a_picture_that_is_gone_is_told_from_one_of_another_renderer(self, tmp_path: Path) -> None:
        samples = self.samples(tmp_path)
        (tmp_path / "0.png").unlink()
        Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
        gone, other = self.answers(tmp_path, samples)
        assert (gone.reason, other.reason) == ("image", "no-note")
        assert "made:0.png" in gone.detail


def test_most_graphs_of_the_vocabulary_can_be_drawn_and_show_all_that_is_asked() -> None:
    drawn = 0
    for graph in graphs(200):
        things = laid_out(graph)
        if isinstance(things, Failure):
            assert things.reason in ("contradiction", "cannot-draw")
            continue
        drawn += 1
        asked = Asker(WORDS).ask(graph)
        assert score_answers(asked, answers_of(things, asked)).plain == 1.0
    assert drawn > 160


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (SceneGraph(0, 0, [Region("whale")]), "cannot-draw"),
        (SceneGraph(0, 0, [Region("ball", attributes=["velvet"])]), "cannot-draw"),
        (SceneGraph(0, 0, [Region("ball"), Region("cup")], [Relation(0, "admires", 1)]), "cannot-draw"),
        (SceneGraph(0, 0, [Region("ball")], [], {"weather": "foggy"}), "cannot-draw"),
        (SceneGraph(0, 0, [Region("ball"), Region("cup")], [Relation(0, "on top of", 1)]), "cannot-draw"),
        (
            SceneGraph(0, 0, [Region("ball"), Region("cup")], [Relation(0, "behind", 1), Relation(1, "behind", 0)]),
            "contradiction",
        ),
        (
            SceneGraph(
                0,
                0,
                [Region("ball"), Region("cup")],
                [Relation(0, "to the left of", 1), Relation(1, "to the left of", 0)],
            ),
            "contradiction",
        ),
    ],
)
def test_what_cannot_be_drawn_says_so(graph: SceneGraph, reason: str) -> None:
    found = laid_out(graph)
    assert isinstance(found, Failure)
    assert found.reason == reason


def test_pixels_stand_where_the_note_says() -> None:
    things = [
        Drawn(label="ball", colour="red", column=0),
        Drawn(label="crate", colour="blue", column=1),
        Drawn(label="cup", colour="green", column=1, on=1),
    ]
    picture = Image.open(io.BytesIO(png_of(things, 128, "room")))
    assert json.loads(picture.info[NOTE])[0]["label"] == "ball"
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    red = (pixels[..., 0] > pixels[..., 1] + 60) & (pixels[..., 0] > pixels[..., 2] + 60)
    blue = pixels[..., 2] > pixels[..., 0] + 40
    green = (pixels[..., 1] > pixels[..., 0] + 40) & (pixels[..., 1] > pixels[..., 2] + 20)
    middle = {name: np.argwhere(mask).mean(axis=0) for name, mask in (("r", red), ("b", blue), ("g", green))}
    assert middle["r"][1] < middle["b"][1]
    assert middle["g"][0] < middle["b"][0]
    assert abs(middle["g"][1] - middle["b"][1]) < 12
    assert {(2, "on top of", 1), (0, "to the left of", 1)} <= true_places(things)


def test_faults_lower_the_score_and_depend_on_the_dice_alone() -> None:
    totals = {0.0: [], 0.5: []}
    for graph in graphs(60):
        things = laid_out(graph)
        if isinstance(things, Failure):
            continue
        asked = Asker(WORDS).ask(graph)
        for rate, found in totals.items():
            dice = [next(iter(dice_of(3, range(len(found), len(found) + 1)))) for _ in range(2)]
            drawn, again = (with_faults(things, rate, one) for one in dice)
            assert drawn == again
            found.append(score_answers(asked, answers_of(drawn, asked)).balanced)
    assert set(totals[0.0]) == {1.0}
    assert np.mean(totals[0.5]) < 0.9


@pytest.mark.parametrize("kind", STAGED_KINDS)
def test_every_kind_is_seen_in_its_colour(kind: str) -> None:
    pixels, masks = staged_scene([Prop(kind=kind, across=0.5, depth=1.3, colour="purple")], 96)
    assert masks.shape == (1, 96, 96)
    assert masks[0].sum() > 20
    other, _ = staged_scene([Prop(kind=kind, across=0.5, depth=1.3, colour="yellow")], 96)
    assert (pixels != other).any(axis=2)[masks[0]].mean() > 0.2


@pytest.mark.parametrize(
    "prop", [{"kind": "whale"}, {"kind": "ball", "colour": "beige"}, {"kind": "ball", "texture": "velvet"}]
)
def test_things_that_cannot_be_staged(prop: dict) -> None:
    with pytest.raises(GraphError, match="can be drawn; there are"):
        staged_scene([Prop(across=0.5, depth=1.2, **prop)])


def test_best_of_candidates_by_a_pipeline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "p.toml"
    config.write_text(
        f"""dataset = "{tmp_path}/d"
[source]
use = "gas"
count = 8
complexity = [5, 7]
vocabulary = "{SCENES}"
scene_attributes = [0]
copies = 4
split = "train"
[[step]]
caption = "gas"
vocabulary = "{SCENES}"
[[step]]
question = "gas"
vocabulary = "{SCENES}"
[[step]]
render = "procedural"
size = 64
fault_rate = 0.5
[[step]]
judge = "drawn"
[[step]]
select = "best-of"
rewards = [{{use = "scene-questions"}}]
others = "keep"
"""
    )
    code = main(["run", str(config), "--json"])
    assert code in (0, 4)  # some graphs cannot be drawn
    capsys.readouterr()
    groups: dict[str, list] = {}
    for sample in Dataset.open(tmp_path / "d"):
        if "chosen" in sample.values:
            groups.setdefault(sample.values["group"], []).append(sample)
    assert len(groups) >= 6
    better = 0
    for members in groups.values():
        totals = {one.image_id: one.values["answers"]["total"] for one in members}
        chosen = [one for one in members if one.values["chosen"]["chosen"]]
        assert len(chosen) == 1
        assert totals[chosen[0].image_id] == max(totals.values())
        better += max(totals.values()) > min(totals.values())
    assert better >= 4
