"""What `sam-text` and `sam-concepts` look for: phrases, labels, what a caption lists, and a captioner that is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image
from sam.tiny import picture, text_options, tiny_concepts

import sgforge as sg
from sgforge.dataset import Dataset
from sgforge.errors import SgforgeError
from sgforge.graph import Caption, Region, Sample, SceneGraph, Span
from sgforge.stages import Failure, Part, Resources
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeSettings
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


@pytest.mark.parametrize("way", ["part", "step"])
def test_segmenters_take_the_list_and_nothing_is_asked_twice(tmp_path: Path, way: str) -> None:
    """As a part of `sam-concepts`, or as a step before it; the same words given as phrases find the same regions."""
    photos = source(tmp_path)
    weights = {"checkpoint": str(tiny_concepts(tmp_path / "concepts")), "threshold": 0.0}
    with FakeProvider(lambda _: FakeAnswer('{"nouns": ["cat", "grass"]}'), FakeSettings(latency_s=0.0)) as fake:
        settings = {"compat/m": {"base_url": fake.openai_url, "input_usd": 0.0, "output_usd": 0.0}}
        lister = {"use": "nouns", "model": "compat/m"}
        steps = [sg.segment("sam-concepts", captioner=lister, **weights)]
        if way == "step":
            steps = [
                sg.caption("nouns", model="compat/m"),
                sg.segment("sam-concepts", also=["caption"], **weights),
            ]
        for _ in range(2):
            report = sg.Pipeline(*steps, models=settings).run(photos, tmp_path / "asked", progress=False)
            assert not report.failures
        assert fake.ledger.received == 3
    told = sg.segment("sam-concepts", phrases=["cat", "grass"], **weights)
    sg.Pipeline(told).run(photos, tmp_path / "told", progress=False)
    first, second = (list(Dataset.open(tmp_path / name)) for name in ("asked", "told"))
    assert [one.graph.all.regions for one in first] == [one.graph.all.regions for one in second]
    assert sum(len(one.graph.regions) for one in first) > 1
    if way == "step":
        assert [one.values["caption"].text for one in first] == ["cat, grass"] * 3


def test_a_vocabulary_is_looked_for_behind_the_phrases(tmp_path: Path) -> None:
    (tmp_path / "nouns.txt").write_text("tree\ncup\n\nwet  road\n")
    phrases = Phrases(options(phrases=["cup"], vocabulary=tmp_path / "nouns.txt", also=["labels"]))
    phrases.setup(Resources())
    assert phrases.of([sample()]) == [("cup", "tree", "wet  road", "dog", "cat")]
    assert options(vocabulary=tmp_path / "nouns.txt"), "it is enough to look for something"


def test_a_faulty_vocabulary_ends_the_run_with_file_and_line_and_a_changed_one_is_looked_for_anew(
    tmp_path: Path,
) -> None:
    given = {"checkpoint": str(tiny_concepts(tmp_path / "concepts")), "threshold": 0.0}
    photos, nouns = source(tmp_path), tmp_path / "nouns.txt"

    def run() -> int:
        step = sg.segment("sam-concepts", vocabulary=str(nouns), **given)
        return sg.Pipeline(step).run(photos, tmp_path / "data", progress=False).steps[-1].counts.computed

    with pytest.raises(SgforgeError, match=r"nouns\.txt does not exist"):
        run()
    nouns.write_text("cat\nthis is no noun but a whole sentence\n")
    with pytest.raises(SgforgeError, match=rf"labels file {nouns}, line 2: .* is 8 words, not a name of at most 6"):
        run()
    nouns.write_text("cat\n")
    assert run() == 3
    assert run() == 0
    assert {row.label for one in Dataset.open(tmp_path / "data") for row in one.graph.regions.values()} == {"cat"}
    nouns.write_text("grass\n")
    assert run() == 3
    assert {row.label for one in Dataset.open(tmp_path / "data") for row in one.graph.regions.values()} == {"grass"}
