"""What `sam-text` and `sam-concepts` look for: phrases, labels, what a caption lists, and a captioner that is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image
from sam.tiny import picture, text_options, tiny_concepts

import sgforge as sg
from sgforge.dataset import Dataset
from sgforge.graph import Caption, Region, Sample, SceneGraph, Span
from sgforge.stages import Failure, Part, Resources
from sgforge_sam.config import SamConceptsOptions, SamTextOptions
from sgforge_sam.phrases import Phrases, listed


@pytest.mark.parametrize(
    ("caption", "things"),
    [
        (Caption("A red cup, the table; two dogs"), ["red cup", "table", "two dogs"]),
        (Caption("- Cat\n- DOG \n\n* an  old man."), ["cat", "dog", "old man"]),
        (Caption("cup, and a cup"), ["cup", "cup"]),
        (Caption("There is a man who walks his dog along the street, grass"), ["grass"]),
        (Caption("a man walks his dog", [Span(2, 5, 0), Span(16, 19, 1)]), ["man", "dog"]),
        (Caption("..."), []),
    ],
)
def test_a_caption_lists_things(caption: Caption, things: list[str]) -> None:
    assert listed(caption) == things


class Lister:
    """A captioner that says the same of every image, but of those that it cannot see."""

    def __init__(self, *blind: str) -> None:
        self.blind = blind
        self.asked: list[int] = []

    def caption(self, samples: Sequence[Sample]) -> list[sg.Edit | Failure]:
        self.asked.append(len(samples))
        return [
            Failure("dark")
            if one.image_id in self.blind
            else sg.Edit.value("image", None, "caption", Caption("cat, grass"))
            for one in samples
        ]


def options(**given: object) -> SamConceptsOptions:
    return SamConceptsOptions(checkpoint="any", **given)  # type: ignore[arg-type]


def sample(image_id: str = "a", text: str = "") -> Sample:
    regions = [Region("dog"), Region("cat"), Region(), Region("gone", status="rejected"), Region("dog")]
    return Sample(image_id, SceneGraph(9, 9, regions), values={"caption": Caption(text)} if text else {})


def test_phrases_come_from_where_the_options_say_each_once() -> None:
    assert Phrases(options(phrases=["cup", "dog"])).of([sample(text="tree")]) == [("cup", "dog")]
    assert Phrases(options(also=["labels"])).of([sample()]) == [("dog", "cat")]
    assert Phrases(options(also=["caption"])).of([sample(text="a tree"), sample()]) == [("tree",), ()]
    all_of_them = Phrases(options(phrases=["cup", "dog"], also=["caption", "labels"]))
    assert all_of_them.of([sample(text="a tree, cat")]) == [("cup", "dog", "cat", "tree")]


def test_a_captioner_is_asked_for_all_images_at_once_and_fails_its_image_alone() -> None:
    lister = Lister("b")
    phrases = Phrases(options(phrases=["cup"], captioner=sg.use(lister)))
    phrases.setup(Resources(parts={"captioner": (Part("lister", 1.0, Resources(), lister),)}))
    found = phrases.of([sample("a", "tree"), sample("b"), sample("c")])
    assert found == [("cup", "cat", "grass"), Failure("dark", "captioner: dark"), ("cup", "cat", "grass")]
    assert lister.asked == [3]


def test_nothing_to_look_for_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing names what to look for"):
        options()
    with pytest.raises(ValueError, match="nothing names what to look for"):
        SamTextOptions(checkpoint="any", detector="any")


def source(folder: Path) -> sg.SourceStep:
    (folder / "photos").mkdir()
    for number in range(3):
        Image.fromarray(picture(60, 80, number)).save(folder / "photos" / f"{number}.png")
    return sg.source("folder", images=str(folder / "photos"))


@pytest.mark.parametrize("name", ["sam-text", "sam-concepts"])
def test_a_captioner_in_the_options_names_what_is_found(tmp_path: Path, name: str) -> None:
    """With the same weights as one that is given these phrases; an image that it cannot see fails alone."""
    if name == "sam-text":
        given = {**text_options(tmp_path), "text_threshold": 0.1}
        del given["phrases"]
    else:
        given = {"checkpoint": str(tiny_concepts(tmp_path / "concepts")), "threshold": 0.0}
    photos = source(tmp_path)
    asked = sg.segment(name, captioner=sg.use(Lister("2.png")), **given)
    report = sg.Pipeline(asked).run(photos, tmp_path / "asked", progress=False)
    assert [(one.image_id, one.reason) for one in report.failures] == [("2.png", "dark")]
    told = sg.segment(name, phrases=["cat", "grass"], **given)
    sg.Pipeline(told).run(photos, tmp_path / "told", progress=False)
    first, second = (list(Dataset.open(tmp_path / folder))[:2] for folder in ("asked", "told"))
    assert [one.graph.all.regions for one in first] == [one.graph.all.regions for one in second]
    assert sum(len(one.graph.regions) for one in first) > 1
    if name == "sam-concepts":
        values = Dataset.open(tmp_path / "told").column("region/sam.presence").values
        assert 0.0 <= values.min() <= values.max() <= 1.0
