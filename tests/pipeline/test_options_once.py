"""Options are read once a run: what a plugin's own checks of them cost or say comes once, too."""

from __future__ import annotations

import attrs
import pytest

import sgforge as sg
from sgforge.cli.main import main
from sgforge.edits import Edit
from sgforge.graph import Region, Sample, SceneGraph
from sgforge.testing import IsolatedPlugins

made: list[int] = []


@attrs.frozen
class CountedOptions:
    size: int = 1

    def __attrs_post_init__(self) -> None:
        made.append(self.size)


class CountedTeacher:
    def __init__(self, options: CountedOptions) -> None:
        self.options = options

    def complete(self, samples):
        return [Edit() for _ in samples]


class TwoImages:
    def samples(self, roots, name):
        for number in range(2):
            yield Sample(f"{number}", SceneGraph(32, 32, [Region(label="cup", box=(1, 1, 9, 9))]), split="train")


class CountedPlugin:
    @sg.hookimpl
    def sgforge_register_teachers(self, register):
        register("counted", CountedTeacher, config=CountedOptions)

    @sg.hookimpl
    def sgforge_register_sources(self, register):
        register("two", TwoImages)


@pytest.fixture
def counted():
    made.clear()
    with IsolatedPlugins(CountedPlugin()):
        yield made


def test_a_run_from_python_reads_the_options_of_each_step_once(counted, tmp_path):
    steps = sg.complete("counted", size=3), sg.complete("counted", size=4)
    sg.Pipeline(*steps).run(sg.source("two"), tmp_path / "data", progress=False)
    assert [size for size in counted if size != 1] == [3, 4]


def test_a_run_of_a_config_reads_them_once(counted, tmp_path, capsys):
    config = tmp_path / "run.toml"
    config.write_text(
        f'dataset = "{tmp_path / "data"}"\n[source]\nuse = "two"\n[[step]]\ncomplete = "counted"\nsize = 3\n'
    )
    assert main(["run", str(config)]) == 0
    assert [size for size in counted if size != 1] == [3]
