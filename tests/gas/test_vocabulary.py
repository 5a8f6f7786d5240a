"""Vocabularies: our starter, files, WordNet, mined ones; what is wrong is named with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gas.wordnet_folder import write_wordnet

from sgforge.cli.main import main
from sgforge.errors import ConfigError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.jsonl import write_jsonl
from sgforge_gas.vocabulary import english, load_vocabulary, parse_vocabulary, save_vocabulary, starter
from sgforge_gas.vocabulary.loading import as_table
from sgforge_gas.vocabulary.mining import mine
from sgforge_gas.vocabulary.wordnet import wordnet_nouns, wordnet_vocabulary


def test_the_starter_is_as_large_as_it_says() -> None:
    words = starter()
    assert len(words.nouns) == 300
    assert len({one.word for one in words.adjectives}) >= 120
    assert len(words.predicates) == 60
    assert len(words.scene) == 10
    assert words.licence


def test_every_noun_of_the_starter_can_have_attributes_and_every_pair_a_relation() -> None:
    words = starter()
    types = {noun.type for noun in words.nouns}
    for type_ in types:
        assert any(not one.fits or type_ in one.fits for one in words.adjectives), type_
        for other in types:
            assert any(one.fits(type_, other) for one in words.predicates)


def test_inverses_point_back() -> None:
    words = starter()
    for one in words.predicates:
        if one.inverse:
            assert words.predicate_of[one.inverse].inverse == one.word, one.word


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("apple", "an"), ("unicycle", "a"), ("hourglass", "an"), ("umbrella", "an"), ("ukulele", "a"),
        ("honest man", "an"),
        ("unusual hat", "an"), ("x-ray", "an"), ("European car", "a"), ("MRI", "an"), ("one-eyed cat", "a"),
        ("urn", "an"),
        ("8-sided box", "an"), ("useful tool", "a"), ("ewe", "a"), ("TV", "a"), ("UFO", "a"), ("dog", "a"),
        ("utensil", "a"),
        ("unopened jar", "an"), ("house", "a"), ("heirloom", "an"), ("uniform", "a"), ("oar", "an"), ("iPhone", "an"),
    ],
)  # fmt: skip
def test_articles(phrase: str, expected: str) -> None:
    assert english.article(phrase) == expected


@pytest.mark.parametrize(
    ("word", "is_plural"),
    [
        ("scissors", True), ("trees", True), ("people", True), ("cactus", False), ("mattress", False), ("bus", False),
        ("thermos", False), ("glass", False), ("glasses", True), ("lens", False), ("tennis racket", False),
        ("pair of shoes", False), ("dogs on a beach", True), ("grass", False), ("men", True), ("gas", False),
    ],
)  # fmt: skip
def test_plurals_are_known_by_their_form(word: str, is_plural: bool) -> None:
    assert english.looks_plural(word) is is_plural


@pytest.mark.parametrize(
    ("word", "several"),
    [
        ("dog", "dogs"), ("bus", "buses"), ("box", "boxes"), ("baby", "babies"), ("toy", "toys"),
        ("snowman", "snowmen"),
        ("tomato", "tomatoes"), ("loaf of bread", "loaves of bread"), ("goose", "geese"), ("mongoose", "mongooses"),
        ("scissors", "scissors"), ("hot dog", "hot dogs"), ("brush", "brushes"),
    ],
)  # fmt: skip
def test_plurals(word: str, several: str) -> None:
    assert english.plural(word) == several


@pytest.mark.parametrize(
    ("predicate", "kind", "one", "several"),
    [
        ("on", "prepositional", "", ""), ("holding", "participle", "", ""), ("tied to", "participle", "", ""),
        ("wears", "finite", "wears", "wear"), ("has", "finite", "has", "have"),
        ("is above", "finite", "is above", "are above"),
        ("leads to", "finite", "leads to", "lead to"), ("larger than", "prepositional", "", ""),
        ("ride", "finite", "rides", "ride"), ("carries", "finite", "carries", "carry"),
        ("watches", "finite", "watches", "watch"),
        ("attached to", "participle", "", ""), ("part of", "prepositional", "", ""),
    ],
)  # fmt: skip
def test_relations_stand_as_their_kind_says(predicate: str, kind: str, one: str, several: str) -> None:
    assert english.relation_kind(predicate) == kind
    if kind == "finite":
        assert (english.verb_for(predicate, False), english.verb_for(predicate, True)) == (one, several)


def test_ordinals() -> None:
    assert [english.ordinal(number) for number in (1, 2, 12, 20, 21, 22, 33, 111)] == [
        "first", "second", "twelfth", "twentieth", "21st", "22nd", "33rd", "111th"
    ]  # fmt: skip


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    save_vocabulary(starter(), tmp_path / "words.json")
    again = load_vocabulary(tmp_path / "words.json")
    assert as_table(again) == as_table(starter())
    assert [one.fits("person", "food") for one in again.predicates] == [
        one.fits("person", "food") for one in starter().predicates
    ]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "objects: there is no object"),
        ({"objects": {}}, "objects: there is no object"),
        ({"objects": {"x": []}}, "there is no object"),
        ([], "it: must be a table"),
        ({"objects": {"x": ["a", "a"]}}, "objects.x: 'a' stands there twice"),
        (
            {"objects": {"x": ["a"]}, "attributes": {"c": {"words": ["red"], "fits": []}}},
            "attributes.c.fits: fits no type",
        ),
        (
            {"objects": {"x": ["a"]}, "attributes": {"c": {"words": ["red"], "fits": ["xx"]}}},
            "attributes.c.fits: unknown type",
        ),
        ({"objects": {"x": ["a"]}, "relations": {"spacial": ["on"]}}, "did you mean 'spatial'"),
        ({"objects": {"x": ["a"]}, "relations": {"spatial": ["on | prep"]}}, r"relations.spatial\[0\].kind"),
        ({"objects": {"x": ["a"]}, "relations": {"spatial": [" | finite"]}}, r"spatial\[0\]: has no word"),
        ({"objects": {"x": ["a"]}, "scene": {"w": {"says": "no place", "values": ["v"]}}}, "scene.w.says"),
        ({"objects": {"x": ["a"]}, "counts": {"triplets": [["a", "on", 3]]}}, "counts.triplets"),
        ({"objects": {"x": ["a"]}, "atributes": {}}, "did you mean 'attributes'"),
    ],
)
def test_a_wrong_vocabulary_is_refused_with_its_place(table, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_vocabulary(table, "words.json")


def test_a_file_that_is_no_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text("{")
    with pytest.raises(ConfigError, match="no JSON"):
        load_vocabulary(tmp_path / "words.json")
    with pytest.raises(ConfigError, match="No such file"):
        load_vocabulary(tmp_path / "none.json")


def test_wordnet_nouns_by_synset_and_type(tmp_path: Path) -> None:
    folder = write_wordnet(tmp_path)
    found = {noun.word: noun.type for noun in wordnet_nouns(folder)}
    assert found == {
        "physical object": "thing", "animal": "animal", "beast": "animal", "vehicle": "vehicle", "food": "thing",
        "bat": "thing", "club": "thing", "dog": "animal", "domestic dog": "animal", "hay wagon": "vehicle",
        "puppy": "animal",
    }  # fmt: skip
    animals = [noun.word for noun in wordnet_nouns(folder, ["animal.n.01"])]
    assert animals == ["animal", "beast", "dog", "domestic dog", "bat", "puppy"]
    assert [noun.word for noun in wordnet_nouns(folder, ["bat.n.02"])] == ["bat", "club"]


def test_a_wordnet_vocabulary_keeps_what_fits_its_nouns(tmp_path: Path) -> None:
    words = wordnet_vocabulary(write_wordnet(tmp_path), ["animal.n.01"], starter())
    assert {noun.type for noun in words.nouns} == {"animal"}
    assert "fluffy" in words.adjective_of
    assert "velvet" not in words.adjective_of
    assert "Princeton" in words.licence
    assert parse_vocabulary(as_table(words), "again").noun_of.keys() == words.noun_of.keys()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "data.noun").unlink(), "has no data.noun"),
        (lambda folder: (folder / "index.noun").unlink(), "has no index.noun"),
        (lambda folder: _cut(folder / "data.noun", 120), "data.noun:4: the line is cut"),
        (lambda folder: _cut(folder / "index.noun", 8), "index.noun:.*the line is cut"),
        (lambda folder: _drop_last_line(folder / "data.noun"), "synset 00004000 is not there; the file was cut"),
    ],
)
def test_a_wordnet_folder_that_is_cut(spoil, says: str, tmp_path: Path) -> None:
    folder = write_wordnet(tmp_path)
    spoil(folder)
    with pytest.raises(ConfigError, match=says):
        list(wordnet_nouns(folder))


def _cut(path: Path, behind: int) -> None:
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    kept = "".join(lines[:3]) if path.name == "data.noun" else text
    path.write_text(kept + lines[3][:20] if path.name == "data.noun" else text[:-behind])


def _drop_last_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def test_a_synset_that_is_not_there(tmp_path: Path) -> None:
    folder = write_wordnet(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'animal'"):
        list(wordnet_nouns(folder, ["anmal"]))
    with pytest.raises(ConfigError, match="senses 1 to 2"):
        list(wordnet_nouns(folder, ["bat.n.07"]))


def _graph() -> SceneGraph:
    regions = [
        Region(label="dog", attributes=["brown", "happy"]),
        Region(label="sofa"),
        Region(label="dog", attributes=["brown"]),
        Region(label="ghost", status="rejected", reason="x"),
        Region(),
    ]
    relations = [
        Relation(0, "lying on", 1, category="spatial"),
        Relation(2, "lying on", 1, category="spatial"),
        Relation(0, "wears", 4),
        Relation(0, "near", 3),
    ]
    return SceneGraph(0, 0, regions, relations, {"weather": "rainy"})


def test_mining_counts_kept_rows() -> None:
    words = mine([_graph(), _graph()], "runs/x")
    assert words.counts.objects == {"dog": 4, "sofa": 2}
    assert words.counts.attributes == {("dog", "brown"): 4, ("dog", "happy"): 2}
    assert words.counts.triplets == {("dog", "lying on", "sofa"): 4}
    assert words.counts.sizes == {(4, 3, 3): 2}
    assert words.predicate_of["lying on"].category == "spatial"
    assert words.predicate_of["lying on"].kind == "participle"
    assert words.scene_of["weather"].values == ("rainy",)
    again = parse_vocabulary(as_table(words), "again")
    assert again.counts.triplets == words.counts.triplets


def test_nothing_to_mine_is_said() -> None:
    with pytest.raises(ConfigError, match="no label was seen 9 times"):
        mine([_graph()], "runs/x", least=9)


def test_the_command_mines_and_draws_what_was_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl([Sample("a", _graph()), Sample("b", _graph())], tmp_path / "g.jsonl")
    words = tmp_path / "words.json"
    assert main(["gas", "vocabulary", "--graphs", str(tmp_path / "g.jsonl"), "--output", str(words)]) == 0
    assert "2 objects, 2 attributes, 1 relation, 1 scene attribute" in capsys.readouterr().out
    arguments = ["--vocabulary", str(words), "--plausibility", "seen", "--objects", "2", "--relations", "1"]
    assert main(["gas", "sample", "--count", "40", *arguments, "--attributes", "0-1", "--prior", "sizes"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    labels = {
        tuple(line["regions"][line["relations"][0][side]]["label"] for side in ("subject", "object")) for line in lines
    }
    # Only dog on sofa was ever seen, so the labels of every pair are these; backwards no relation was seen.
    assert labels <= {("dog", "sofa"), ("sofa", "dog")}
    scores = {
        line["x"]["gas.plausibility"]["score"]
        for line in lines
        if line["regions"][line["relations"][0]["subject"]]["label"] == "dog" and not _attributes_of(line, "sofa")
    }
    assert scores == {1.0}


def _attributes_of(line: dict, label: str) -> list[str]:
    return [word for row in line["regions"] if row["label"] == label for word in row.get("attributes", [])]


def test_the_command_takes_a_wordnet_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_wordnet(tmp_path / "wn")
    words = str(tmp_path / "w.json")
    assert main(["gas", "vocabulary", "--wordnet", str(folder), "--synset", "vehicle", "--output", words]) == 0
    assert {noun.word for noun in load_vocabulary(Path(words)).nouns} == {"vehicle", "hay wagon"}
    assert main(["gas", "vocabulary", "--synset", "vehicle", "--output", words]) == 2
    assert "--synset needs --wordnet" in capsys.readouterr().err
