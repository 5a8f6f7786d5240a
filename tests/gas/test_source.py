"""The source `gas`: graphs without images, the same in any range, streamed into a dataset."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import LONGEST

import sgforge as sg
from sgforge.cli.main import main
from sgforge.dataset import Dataset
from sgforge.errors import ConfigError
from sgforge.jsonl import GraphLine, dump_lines
from sgforge.testing import SourceContract
from sgforge_gas.config import GasOptions
from sgforge_gas.sampling import PLAUSIBILITY, Sampler
from sgforge_gas.vocabulary import parse_vocabulary, starter


class TestGas(SourceContract):
    component = "gas"
    options = {"count": 20, "complexity": [3, 6]}


def test_a_graph_depends_on_its_number_alone() -> None:
    options = GasOptions(complexity=(4, 8), scene_attributes=(1, 3), seed=3)
    whole = list(Sampler(options).samples(range(3000)))
    parts = [*Sampler(options).samples(range(1500)), *Sampler(options).samples(range(1500, 3000))]
    assert whole == parts
    assert len({sample.image_id for sample in whole}) == 3000
    assert list(Sampler(GasOptions(complexity=(4, 8), seed=4)).graphs(range(5))) != [
        (sample.graph, sample.values) for sample in whole[:5]
    ]


@pytest.mark.parametrize(
    ("options", "first", "count", "digest"),
    [
        ({"seed": 3}, 0, 200, "23502dc7beb8e3e37a9380a8"),
        ({"seed": 5, "plausibility": "none"}, 0, 200, "67db762c72c465f27cf3f7a3"),
        ({"complexity": (3, 10), "cycles": True, "parallel": True}, 0, 200, "cdf321b4162a9a0e07dd2c2e"),
        (
            {"objects": (20, 30), "relations": (0, 60), "attributes": (0, 20), "prior": "sizes"},
            0,
            40,
            "cba11b18d7d77ee2de6f88db",
        ),
        ({"seed": 12345678901}, 10**12, 200, "5add827952ae6ba65aa5a4cd"),
    ],
)
def test_a_graph_is_the_one_that_it_was_in_earlier_versions(options, first: int, count: int, digest: str) -> None:
    # Recorded before graphs were drawn with fewer steps. Where they change on purpose, the source's revision rises.
    samples = Sampler(GasOptions(**options)).samples(range(first, first + count))
    lines = b"".join(dump_lines([GraphLine(sample) for sample in samples]))
    assert hashlib.sha256(lines).hexdigest()[:24] == digest


@given(
    seed=st.integers(0, 1000),
    complexity=st.integers(1, 11),
    cycles=st.booleans(),
    parallel=st.booleans(),
    plausibility=st.sampled_from(["types", "none"]),
)
def test_graphs_are_of_the_size_and_kind_asked_for(seed, complexity, cycles, parallel, plausibility) -> None:
    cycles, parallel = cycles and complexity < 8, parallel and complexity < 8
    options = GasOptions(
        complexity=(complexity,), cycles=cycles, parallel=parallel, seed=seed, plausibility=plausibility
    )
    words = starter()
    for graph, values in Sampler(options).graphs(range(4)):
        regions, relations = graph.all.regions, graph.all.relations
        assert len(regions) + len(relations) + sum(len(row.attributes) for row in regions) == complexity
        assert len({row.triplet for row in relations}) == len(relations)
        assert all(len(set(row.attributes)) == len(row.attributes) for row in regions)
        if not parallel:
            assert len({(row.subject, row.object) for row in relations}) == len(relations)
        fits = [
            words.predicate_of[row.predicate].fits(
                words.noun_of[regions[row.subject].label].type, words.noun_of[regions[row.object].label].type
            )
            for row in relations
        ] + [
            any(not one.fits or words.noun_of[row.label].type in one.fits for one in words.adjective_of[word])
            for row in regions
            for word in row.attributes
        ]
        assert values[PLAUSIBILITY]["score"] == pytest.approx(sum(fits) / len(fits) if fits else 1.0, abs=1e-6)
        assert plausibility == "none" or all(fits)


def test_relations_of_place_never_exclude_each_other() -> None:
    options = GasOptions(objects=(3,), relations=(6,), attributes=(0,), cycles=True, parallel=True, prior="sizes")
    orders = {"to the right of": "to the left of", "behind": "in front of", "below": "above", "underneath": "on top of"}
    seen = 0
    for graph, _ in Sampler(options).graphs(range(300)):
        for forwards in set(orders.values()):
            links = set()
            for row in graph.all.relations:
                pair = (row.subject, row.object)
                if row.predicate == forwards or orders.get(row.predicate) == forwards:
                    links.add(pair if row.predicate == forwards else pair[::-1])
            seen += len(links)
            assert any(
                all(order.index(a) < order.index(b) for a, b in links) for order in itertools.permutations(range(3))
            )
    assert seen > 300


def test_no_object_has_attributes_that_exclude_each_other() -> None:
    words = starter()
    options = GasOptions(objects=(1, 2), relations=(0,), attributes=(5, 8), prior="sizes")
    for graph, _ in Sampler(options).graphs(range(300)):
        for row in graph.all.regions:
            assert not any(other in row.attributes for word in row.attributes for other in words.excluded_by(word))


def test_an_object_has_one_attribute_of_a_category_while_others_are_left() -> None:
    categories = {}
    for one in starter().adjectives:
        categories.setdefault(one.word, set()).add(one.category)
    options = GasOptions(objects=(1,), relations=(0,), attributes=(2,), prior="sizes")
    for graph, _ in Sampler(options).graphs(range(300)):
        words = graph.all.regions[0].attributes
        chosen = [next(iter(categories[word])) for word in words if len(categories[word]) == 1]
        assert len(chosen) == len(set(chosen)), words


def test_a_pipeline_streams_them_into_a_dataset(tmp_path: Path) -> None:
    pipeline = sg.Pipeline()
    pipeline.run(sg.source("gas", count=50, complexity=[5], split="train"), tmp_path / "d")
    found = list(Dataset.open(tmp_path / "d"))
    assert [sample.image_id for sample in found] == [f"gas-0-{number:08d}" for number in range(50)]
    expected = list(Sampler(GasOptions(count=50, complexity=(5,))).graphs(range(50)))
    assert [sample.graph.triplets is not None and sample.graph.regions for sample in found] == [
        graph.regions for graph, _ in expected
    ]
    assert found[7].values[PLAUSIBILITY] == {"by": "types", "score": 1.0}


def test_a_config_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "p.toml"
    head = f'dataset = "{tmp_path}/d"\n[[step]]\nfilter = "spatial-rules"\n[source]\nuse = "gas"\n'
    config.write_text(f"{head}count = 5\ncomplexity = [4, 6]\n")
    assert main(["run", str(config)]) == 0
    assert len(Dataset.open(tmp_path / "d")) == 5
    config.write_text(f"{head}complexity = [3]\ncomponents = [7]\n")
    assert main(["check", str(config)]) == 2
    assert "components 7" in capsys.readouterr().err


def test_the_command_writes_the_same_with_any_number_of_workers(tmp_path: Path) -> None:
    made = []
    for workers in ("1", "3"):
        output = tmp_path / f"{workers}.jsonl"
        arguments = ["gas", "sample", "--count", "4500", "--complexity", "3-7", "--seed", "9"]
        command = [sys.executable, "-m", "sgforge", *arguments, "--workers", workers, "--output", str(output)]
        subprocess.run(command, check=True, timeout=LONGEST)
        made.append(output.read_bytes())
    assert made[0] == made[1]
    assert made[0].count(b"\n") == 4500


def test_the_command_goes_on_where_another_ended(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gas", "sample", "--count", "6", "--seed", "2"]) == 0
    whole = capsys.readouterr().out
    assert main(["gas", "sample", "--count", "2", "--seed", "2"]) == 0
    assert main(["gas", "sample", "--count", "4", "--start", "2", "--seed", "2"]) == 0
    assert capsys.readouterr().out == whole
    assert json.loads(whole.splitlines()[0])["width"] == 0


@pytest.mark.parametrize(
    ("table", "options", "says"),
    [
        ({"objects": {"x": ["a"]}}, {"complexity": (3,)}, "no relation: bound relations"),
        ({"objects": {"x": ["a"]}}, {"complexity": (3,), "relations": (0,)}, "no attribute: bound attributes"),
        (
            {"objects": {"x": ["a"], "y": ["b"]}, "relations": {"spatial": [{"word": "on", "subjects": "y"}]}},
            {"objects": (2,), "relations": (2,), "attributes": (0,), "parallel": True},
            "too few words",
        ),
    ],
)
def test_a_vocabulary_that_lacks_words_is_refused(table: dict, options: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        list(Sampler(GasOptions(**options), parse_vocabulary(table, "w")).graphs(range(3)))


def test_a_histogram_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    path.write_text("[[2, 1, 0, 1.5], [3, 2, 0, 4.5]]")
    options = GasOptions(complexity=(1, 9), prior="histogram", histogram=path)
    sizes = [len(graph.all.regions) for graph, _ in Sampler(options).graphs(range(4000))]
    assert abs(sizes.count(3) / 4000 - 0.75) < 0.03
    assert set(sizes) == {2, 3}
    path.write_text("[[2, 1, 0]]")
    with pytest.raises(ConfigError, match="row 0 must be"):
        Sampler(options)
    with pytest.raises(ConfigError, match="needs the file histogram"):
        Sampler(GasOptions(prior="histogram"))
