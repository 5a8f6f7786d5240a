"""Components in options, before anything runs: how they are written, what is checked, what of them is in a key."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import engine_parts
import pytest
from engine_parts import Critic, CriticOptions

import sgforge as sg
from sgforge.cli.main import main
from sgforge.config import parse_config
from sgforge.engine.context import step_fingerprint
from sgforge.engine.planning.plan import Plan
from sgforge.engine.planning.resolve import resolve
from sgforge.errors import ConfigError, PluginError, PreflightError
from sgforge.plugins import Owner, Registry
from sgforge.stages import Needs, Use, part, parts

HEAD = 'dataset = "d"\n[source]\nuse = "toy"\n[[step]]\n'


def plan(registry: Registry, *steps: sg.Step) -> Plan:
    return resolve(registry, steps, {"source": sg.source("toy")})


def from_toml(registry: Registry, step: str) -> Plan:
    config = parse_config(HEAD + step, name="p.toml")
    return resolve(registry, config.steps, config.sources, faults=config.faults, places=config.places)


def key_of(found: Plan, number: int = 0) -> str:
    return step_fingerprint(found.steps[number], 0, "run")


PANEL = """filter = "panel"
chair = "critic-async"
critics = [{use = "critic", weight = 2.0, least = 0.3}, "critic-async", {use = "critic", name = "strict", least = 1}]
"""


def test_toml_and_python_say_the_same(registry):
    critics = [sg.use("critic", weight=2, least=0.3), "critic-async", {"use": "critic", "name": "strict", "least": 1}]
    python = plan(registry, sg.filter("panel", critics=critics, chair="critic-async"))
    for found in (from_toml(registry, PANEL), python):
        held = found.steps[0].spec.parts
        told = [(one.name, one.weight, one.spec.name) for one in held["critics"]]
        assert told == [("critic", 2.0, "critic"), ("critic-async", 1.0, "critic-async"), ("strict", 1.0, "critic")]
        assert [one.spec.options.least for one in held["critics"]] == [0.3, 0.5, 1.0]
        assert [one.name for one in held["chair"]] == ["critic-async"]
    assert key_of(python) == key_of(from_toml(registry, PANEL))


def test_an_instance_may_stand_among_names(registry):
    found = plan(registry, sg.filter("panel", critics=["critic", Critic(CriticOptions(least=0.9))]))
    first, second = found.steps[0].spec.parts["critics"]
    assert (first.spec.instance, second.spec.instance.options.least, second.name) == (None, 0.9, "Critic")
    assert found.notes == ()


def test_parts_of_one_name_are_numbered_and_given_names_are_unique(registry):
    found = plan(registry, sg.filter("panel", critics=["critic", "critic", sg.use("critic", name="third")]))
    assert [one.name for one in found.steps[0].spec.parts["critics"]] == ["critic", "critic-2", "third"]
    with pytest.raises(ConfigError, match=r"critics\[1\].name: there is a part 'critic' already"):
        plan(registry, sg.filter("panel", critics=["critic", sg.use("critic-async", name="critic")]))


def test_every_fault_is_told_with_its_place(registry):
    step = """filter = "panel"
chair = {use = "crtic"}
critics = [
    {use = "critic", least = 0.3},
    {use = "critic", threshold = 1},
    {use = "panel", critics = [{use = "critic", least = "high"}]},
    {weight = 1.0},
    7,
]
"""
    with pytest.raises(ConfigError) as raised:
        from_toml(registry, step)
    lines = str(raised.value).splitlines()
    assert "p.toml:11: step[0].critics[3].use: missing, and it has no default" in lines[1]
    assert "p.toml:12: step[0].critics[4]: must be a component" in lines[2]
    # What each part is comes to light when what was written can be read.
    with pytest.raises(ConfigError) as raised:
        from_toml(registry, step.replace("{weight = 1.0},", "").replace("7,", ""))
    assert [line.strip() for line in str(raised.value).splitlines()[1:]] == [
        "p.toml:6: step[0].chair.use: there is no filter 'crtic'; did you mean 'critic'?",
        "p.toml:9: step[0].critics[1].threshold: unknown key; known: least, log, setup_error, words",
        "p.toml:10: step[0].critics[2].critics[0].least: must be a number, not 'high'",
    ]


def test_tables_of_their_own_have_lines_of_their_own(registry):
    step = 'filter = "panel"\n[[step.critics]]\nuse = "critic"\n[[step.critics]]\nuse = "critic"\nleast = "high"\n'
    with pytest.raises(ConfigError, match=r"^p.toml:10: step\[0\].critics\[1\].least: must be a number, not 'high'$"):
        from_toml(registry, step)


def test_a_part_without_which_nothing_works_must_be_given(registry):
    with pytest.raises(ConfigError, match=r"step 'filter'.critics: missing, and it has no default"):
        plan(registry, sg.filter("panel"))


def test_needs_of_parts_are_in_the_preflight(registry):
    with pytest.raises(PreflightError) as raised:
        plan(registry, sg.filter("panel", critics=["critic-needy", sg.use("critic-asking", model="compat")]))
    assert "step 'filter'.critics[0]: needs the module 'no_such_module'" in str(raised.value)
    assert "step 'filter'.critics[1]: needs a model" in str(raised.value)


def test_a_part_that_wants_weights_must_name_them(registry, tmp_path):
    @attrs.frozen
    class Options:
        student: Use = part("student", "toy")

    class Plugin:
        @sg.hookimpl
        def sgforge_register_filters(self, register):
            register("taught", engine_parts.Panel, config=Options)

    registry.add(Plugin(), Owner("taught"))
    with pytest.raises(PreflightError, match=r"step 'filter'.student: has no weights: give it a checkpoint"):
        plan(registry, sg.filter("taught"))
    (tmp_path / "counts.json").write_text("{}")
    one = key_of(plan(registry, sg.filter("taught", student=sg.use("toy", checkpoint=tmp_path))))
    (tmp_path / "counts.json").write_text('{"on": 1}')
    assert key_of(plan(registry, sg.filter("taught", student=sg.use("toy", checkpoint=tmp_path)))) != one


def test_weights_of_a_part_count_by_their_contents_also_at_the_default(registry, tmp_path):
    @attrs.frozen
    class Options:
        checkpoint: Path | str = tmp_path

    class Plugin:
        @sg.hookimpl
        def sgforge_register_filters(self, register):
            register("weighty", Critic, config=Options, needs=Needs(checkpoint=True))

    registry.add(Plugin(), Owner("weighty"))
    found = []
    for text in ("one", "two", "one"):
        (tmp_path / "weights.bin").write_text(text)
        found.append(key_of(plan(registry, sg.filter("panel", critics=["weighty"]))))
    assert found[0] == found[2] != found[1]
    hub = [key_of(plan(registry, sg.filter("panel", critics=[sg.use("weighty", checkpoint=f"a/{n}")]))) for n in "bc"]
    assert hub[0] != hub[1]


def test_models_of_parts_are_the_plans(registry):
    inner = sg.use("panel", critics=[sg.use("critic-asking", model="compat/b")])
    step = sg.filter("panel-async", critics=[sg.use("critic-asking", model="compat/a"), inner])
    models = {name: {"base_url": "http://127.0.0.1:1"} for name in ("compat/a", "compat/b")}
    found = resolve(registry, [step], {"source": sg.source("toy")}, models=models)
    assert found.model_names() == ["compat/a", "compat/b"]


def test_a_part_counts_in_the_key_also_at_its_default(registry):
    before = plan(registry, sg.filter("chaired"))
    assert before.steps[0].spec.identity["parts"] == {
        "chair": [
            {"name": "critic", "weight": 1.0, "component": "engine_parts:Critic", "revision": 1, "options": {}},
        ]
    }
    object.__setattr__(registry.lookup("filter", "critic"), "revision", 2)
    assert key_of(plan(registry, sg.filter("chaired"))) != key_of(before)


@pytest.mark.parametrize(
    "other",
    [
        sg.use("critic", least=0.4),
        sg.use("critic", weight=2.0),
        sg.use("critic", name="other"),
        sg.use("critic-async"),
        sg.use("panel", critics=["critic"]),
    ],
)
def test_whatever_differs_in_a_part_is_another_key(registry, other):
    plain = key_of(plan(registry, sg.filter("panel", critics=["critic"])))
    assert key_of(plan(registry, sg.filter("panel", critics=[sg.use("critic")]))) == plain
    assert key_of(plan(registry, sg.filter("panel", critics=[other]))) != plain
    nested = [
        key_of(plan(registry, sg.filter("panel", critics=[sg.use("panel", critics=[one])])))
        for one in (sg.use("critic"), other)
    ]
    assert nested[0] != nested[1]


def test_a_file_of_a_part_counts_by_its_contents(registry, tmp_path):
    path = tmp_path / "words.txt"
    found = []
    for text in ("one", "two", "one"):
        path.write_text(text)
        found.append(key_of(plan(registry, sg.filter("panel", critics=[sg.use("critic", words=path)]))))
    assert found[0] == found[2] != found[1]
    path.unlink()
    with pytest.raises(PreflightError, match=r"step 'filter'.critics\[0\]: names a file that cannot be read"):
        plan(registry, sg.filter("panel", critics=[sg.use("critic", words=path)]))


def test_a_file_that_counts_image_by_image_counts_whole_in_a_part(registry, tmp_path):
    """The key of no image names those of a part."""

    class Plugin:
        @sg.hookimpl
        def sgforge_register_filters(self, register):
            register("lined", Critic, config=CriticOptions, needs=Needs(by_image="words"))

    registry.add(Plugin(), Owner("lined"))
    path = tmp_path / "words.txt"
    alone, held = [], []
    for text in ("one", "two", "one"):
        path.write_text(text)
        alone.append(key_of(plan(registry, sg.filter("lined", words=path))))
        held.append(key_of(plan(registry, sg.filter("panel", critics=[sg.use("lined", words=path)]))))
    assert len(set(alone)) == 1
    assert held[0] == held[2] != held[1]


def test_a_part_that_cannot_be_recognised_makes_its_holder_so(registry):
    class Unknown(Critic):
        revision = None

    found = plan(registry, sg.filter("panel", critics=["critic", sg.use("panel", critics=[Unknown()])]))
    assert found.notes == (
        "step 'filter' is always done again: the instance of Unknown in critics[1].critics[0] names no `options` "
        "and `revision`",
    )
    assert step_fingerprint(found.steps[0], 0, "run 1") != step_fingerprint(found.steps[0], 0, "run 2")


def test_a_default_that_holds_itself_has_no_end(registry):
    @attrs.frozen
    class Options:
        judge: Use = part("filter", "endless")

    class Plugin:
        @sg.hookimpl
        def sgforge_register_filters(self, register):
            register("endless", engine_parts.Panel, config=Options)

    registry.add(Plugin(), Owner("endless"))
    with pytest.raises(ConfigError, match="a default that holds itself has no end"):
        plan(registry, sg.filter("endless"))


@attrs.frozen
class Plain:
    judge: Use = attrs.field(default=Use("critic"))


@attrs.frozen
class Within:
    settings: Plain = Plain()


@attrs.frozen
class Wrong:
    judge: int = part("filter", 3)


@attrs.frozen
class Sourced:
    judge: Use = part("source")


@attrs.frozen
class Misspelt:
    judge: Use = part("fliter")


@attrs.frozen
class Fine:
    judge: Use | None = part("filter", None)
    others: tuple[Use, ...] = parts("teacher", ())


@attrs.frozen
class Weighed:
    weight: float = 1.0


@attrs.frozen
class Using:
    use: str = ""


@pytest.mark.parametrize(
    ("kind", "config", "expected"),
    [
        ("filters", Plain, r"option 'judge' holds a component: declare it with part\(\) or parts\(\)"),
        ("filters", Within, r"option 'settings' holds a component: declare it"),
        ("filters", Wrong, "option 'judge' holds components, so its type is Use"),
        ("filters", Sourced, "option 'judge' cannot hold a component of kind 'source'"),
        ("filters", Misspelt, "kind 'fliter'; did you mean 'filter'"),
        ("sources", Fine, "option 'judge' holds a component, which the options of a source cannot"),
        ("exporters", Fine, "which the options of an exporter cannot"),
        ("filters", Weighed, "option 'weight' of Weighed is a reserved key of a filter"),
        ("students", Using, "option 'use' of Using is a reserved key of a student"),
        ("exporters", Weighed, None),
        ("filters", Fine, None),
    ],
)
def test_options_that_no_part_can_be_in_are_refused_at_registration(kind, config, expected):
    class Plugin:
        pass

    def hook(self, register):
        register("any", "nowhere:Any", config=config, needs=Needs())

    hook.__name__ = f"sgforge_register_{kind}"
    setattr(Plugin, hook.__name__, sg.hookimpl(hook))
    report = Registry().add(Plugin(), Owner("any"))
    if expected is None:
        assert report.ok, report.problems
    else:
        assert isinstance(report.error, PluginError)
        with pytest.raises(PluginError, match=expected):
            raise report.error


def test_use_refuses_what_it_cannot_hold():
    with pytest.raises(ConfigError, match="weight must be a finite number, not nan"):
        sg.use("critic", weight=float("nan"))
    with pytest.raises(ConfigError, match="an instance has its options already"):
        sg.use(Critic(), least=0.1)
    with pytest.raises(ConfigError, match="one line of printable text"):
        sg.use("critic", name="a\nb")


def test_commands_show_parts(registry, tmp_path, capsys):
    path = tmp_path / "p.toml"
    inner = 'critics = [{use = "panel", critics = ["critic"]}, {use = "critic", name = "strict", least = 1}]'
    path.write_text(f'{HEAD}filter = "panel"\n{inner}\n')
    assert main(["check", str(path)]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[3:] == [
        "1. filter  panel",
        "critics: panel, weight 1",
        "critics: critic, weight 1",
        "critics: critic as strict (least = 1.0), weight 1",
    ]
    assert main(["check", str(path), "--json"]) == 0
    [step] = json.loads(capsys.readouterr().out)["steps"]
    assert step["options"]["critics"][1] == {
        "use": "critic",
        "weight": 1.0,
        "name": "strict",
        "least": 1.0,
        "words": None,
        "setup_error": "",
        "log": "",
    }
    assert main(["plugins", "panel"]) == 0
    out = capsys.readouterr().out
    assert "critics  list of filter components, required" in out
    assert "chair    a filter component, default none" in out
    assert main(["plugins", "chaired"]) == 0
    assert 'chair  a filter component, default "critic"' in capsys.readouterr().out


def test_secrets_of_parts_are_not_saved(registry):
    @attrs.frozen
    class Options:
        api_key: str = ""
        word: str = attrs.field(default="", metadata={"secret": True})

    class Plugin:
        @sg.hookimpl
        def sgforge_register_filters(self, register):
            register("locked", Critic, config=Options)

    registry.add(Plugin(), Owner("locked"))
    found = plan(registry, sg.filter("panel", critics=[sg.use("locked", api_key="sesame", word="sesame")]))
    assert "sesame" not in json.dumps(found.steps[0].spec.saved_options())


def test_what_is_saved_gives_the_same_options_again(registry):
    from sgforge.config import dump_options, structure_options

    panel = registry.lookup("filter", "panel")
    given = {"critics": ["critic", {"use": "panel", "weight": 0.5, "critics": [{"use": "critic", "least": 0.1}]}]}
    typed = structure_options(panel, given, "given")
    saved = json.loads(json.dumps(dump_options(typed)))
    assert structure_options(panel, {k: v for k, v in saved.items() if v is not None}, "saved") == typed
    # What a run keeps has the defaults too, and is read again as well.
    spec = plan(registry, sg.filter("panel", **given)).steps[0].spec
    kept = json.loads(json.dumps(spec.saved_options()))
    again = plan(registry, sg.filter("panel", critics=[_without_none(one) for one in kept["critics"]]))
    assert again.steps[0].spec.identity == spec.identity


def _without_none(table):
    if isinstance(table, dict):
        return {key: _without_none(value) for key, value in table.items() if value is not None}
    return [_without_none(one) for one in table] if isinstance(table, list) else table


def test_paths_of_python_are_texts_to_a_config():
    step = sg.filter("panel", critics=[sg.use("critic", words=Path("a") / "b")])
    assert step.options["critics"] == [{"use": "critic", "weight": 1.0, "words": "a/b"}]
