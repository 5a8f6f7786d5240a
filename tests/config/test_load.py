"""Whole config files: what they say, and every fault of one at once with its line."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sgforge
from sgforge.config import default_names, load_config, parse_config
from sgforge.config.lines import find_lines
from sgforge.engine.planning.resolve import resolve
from sgforge.errors import ConfigError
from sgforge.plugins import Owner, Registry
from sgforge.stages import Selection


@attrs.frozen
class TeacherOptions:
    model: str
    subjects: int = 5
    threshold: float = attrs.field(default=0.5, validator=attrs.validators.le(1.0))
    words: tuple[str, ...] = ()
    checkpoint: Path | None = None


@attrs.frozen
class FolderOptions:
    images: str


class Plugin:
    @sgforge.hookimpl
    def sgforge_register_teachers(self, register):
        register("svg", "nowhere:Teacher", config=TeacherOptions)

    @sgforge.hookimpl
    def sgforge_register_students(self, register):
        register("prior", "nowhere:Student")

    @sgforge.hookimpl
    def sgforge_register_sources(self, register):
        register("folder", "nowhere:Source", config=FolderOptions)


@pytest.fixture
def registry():
    registry = Registry()
    assert registry.add(Plugin(), Owner("test")).ok
    return registry


GOOD = """\
dataset = "runs/svg"   # a comment with "quotes" and [brackets]
branch = "try"

[roots]
coco = "data/coco"

[sources.seed]
use = "folder"
images = "coco:val2017"
[sources.new]
use = "folder"
images = "photos"

[models."openai/gpt-4o"]
max_in_flight = 12

[[step]]
complete = "svg"
model = "openai/gpt-4o"
words = [
    "a = 3",  # not a key
    "[b]",
]

[[step]]
train = "prior"
on = {source = "seed"}

[[step]]
name = "second"
generate = "prior"
weights = "train"
on = {source = ["new", "seed"], split = "val"}
batch_size = 4
"""


def faults_of(text, registry, overrides=()):
    with pytest.raises(ConfigError) as caught:
        check(text, registry, overrides)
    return str(caught.value)


def check(text, registry, overrides=()):
    config = parse_config(text, overrides, name="p.toml")
    resolve(
        registry,
        config.steps,
        config.sources,
        models=config.models,
        faults=config.faults,
        places=config.places,
    )


def test_a_whole_config(registry):
    config = parse_config(GOOD)
    assert config.dataset == Path("runs/svg")
    assert config.branch == "try"
    assert config.roots == {"coco": Path("data/coco")}
    assert {name: source.options["images"] for name, source in config.sources.items()} == {
        "seed": "coco:val2017",
        "new": "photos",
    }
    assert config.models["openai/gpt-4o"].max_in_flight == 12
    complete, train, generate = config.steps
    assert (complete.verb, complete.component, complete.name) == ("complete", "svg", None)
    assert complete.options == {"model": "openai/gpt-4o", "words": ["a = 3", "[b]"]}
    assert train.on == Selection(sources=("seed",))
    assert generate.on == Selection(sources=("new", "seed"), splits=("val",))
    assert (generate.name, generate.weights, generate.batch_size) == ("second", "train", 4)


def test_a_single_source_is_named_source(registry):
    text = 'dataset = "x"\n[source]\nuse = "folder"\nimages = "y"\n[[step]]\ntrain = "prior"\n'
    assert list(parse_config(text).sources) == ["source"]


BAD = """\
dataset = "runs/svg"
brnch = "main"
[source]
use = "foldr"
[[step]]
complete = "svg"
modl = "openai/gpt-4o"
subjects = 3.7
threshold = 2
words = "abc"
[[step]]
complte = "svg"
[[step]]
generate = "prior"
weights = "trian"
workers = 0
on = {source = "seed"}
[[step]]
train = "prior"
name = "generate"
[[step]]
train = "prior"
generate = "prior"
"""


def test_every_mistake_of_a_file_is_told_in_order_with_its_line(registry):
    lines = faults_of(BAD, registry).splitlines()
    assert lines[0] == f"p.toml: {len(lines) - 1} faults"
    assert [line.strip() for line in lines[1:]] == [
        "p.toml:2: brnch: unknown key; did you mean 'branch'?",
        "p.toml:4: source.use: there is no source 'foldr'; did you mean 'folder'?",
        "p.toml:5: step[0].model: missing, and it has no default",
        "p.toml:7: step[0].modl: unknown key; did you mean 'model'?",
        "p.toml:8: step[0].subjects: must be a whole number, not 3.7",
        "p.toml:9: step[0].threshold: 'threshold' must be <= 1.0: 2.0",
        "p.toml:10: step[0].words: must be a list, not 'abc'",
        "p.toml:11: step[1]: names no stage, but has 'complte': did you mean 'complete'?",
        "p.toml:15: step[2].weights: there is no earlier train or refine step 'trian'; there are none",
        "p.toml:16: step[2].workers: workers must be 1 or more, not 0",
        "p.toml:17: step[2].on.source: there is no source 'seed'; known: source",
        "p.toml:20: step[3].name: there is a step 'generate' already, step[2]: names are unique",
        "p.toml:21: step[4]: names 2 stages (generate, train): a step has one; start another [[step]]",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "p.toml: 3 faults\n  p.toml: dataset: missing, and it has no default"),
        ("dataset = ", "p.toml: not valid TOML"),
        ('dataset = "a"\ndataset = "b"', "p.toml: not valid TOML: Cannot overwrite a value (at end of document)"),
        (GOOD + "[gateway]\nbudget = 3", "p.toml:36: gateway.budget: unknown key; did you mean 'budget_usd'?"),
        (GOOD + "[gateway]\nbudget_usd = -1", "budget_usd must be a number greater than 0, got -1"),
        (GOOD.replace("coco = ", '"co/co" = '), 'p.toml:5: roots."co/co": root name'),
        (GOOD.replace('openai/gpt-4o"]', 'gpt"]'), 'p.toml:14: models.gpt: must read "provider/model"'),
        (GOOD.replace("[sources.seed]", "[source]"), "write either [source], or [sources.NAME]"),
        (GOOD.replace("[[step]]", "[step]", 1).split("[[step]]")[0], "p.toml:17: step: write [[step]] with"),
        ('dataset = "x"\n[[source]]\nuse = "folder"\n', "p.toml:2: source: write [source] with one bracket, or"),
        ('[source]\nuse = "folder"\n[source]\n', "[source] stands there before; several sources are [sources.NAME]"),
        (GOOD.split("[[step]]")[0].replace("branch", "step = []\nbranch"), "p.toml: there is no [[step]]"),
        (GOOD.replace('branch = "try"', 'branch = "a b"'), "p.toml:2: branch: 'a b' is no name of a branch"),
        (GOOD.replace('branch = "try"', "branch = true"), "p.toml:2: branch: must be a text, not true"),
        (GOOD.replace('branch = "try"', "branch = 2026-01-31"), "p.toml:2: branch: must be a text, not 2026-01-31"),
        ('dataset = "x"\n[source]\nuse = 3\n', "p.toml:3: source.use: must be a text, not 3: name a source"),
        (GOOD.replace('train = "prior"', "train = 3"), "p.toml:26: step[1].train: must name a student, not 3"),
        (GOOD.replace('train = "prior"', 'train = "svg"'), "there is no student 'svg'; 'svg' is a teacher"),
        (
            GOOD.replace("batch_size = 4", "foo = 4"),
            "p.toml:34: step[2].foo: unknown option: student 'prior' takes none",
        ),
        (
            GOOD.replace("batch_size = 4", "batch_sise = 4"),
            "p.toml:34: step[2].batch_sise: unknown option: student 'prior' takes none; did you mean 'batch_size'?",
        ),
    ],
)
def test_faults(text, expected, registry):
    assert expected in faults_of(text, registry)


def test_secrets_are_refused_and_not_repeated(registry):
    text = GOOD.replace("max_in_flight = 12", 'api_key = "sk-very-secret"').replace(
        'model = "openai/gpt-4o"', 'model = "openai/gpt-4o"\nhf_token = "hf-very-secret"'
    )
    message = faults_of(text, registry, ["step.complete.auth_token=also-very-secret"])
    assert message.count("put it in an environment variable") == 3
    assert "very-secret" not in message
    assert "api_key_env" in message


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("step.complete.subjects=7", lambda config: config.steps[0].options["subjects"] == 7),
        ("step[0].model=a/b", lambda config: config.steps[0].options["model"] == "a/b"),
        ("step.second.weights='train'", lambda config: config.steps[2].weights == "train"),
        ("step.second.on.split=train", lambda config: config.steps[2].on.splits == ("train",)),
        ('models."openai/gpt-4o".max_in_flight=3', lambda config: config.models["openai/gpt-4o"].max_in_flight == 3),
        ('models."a/b=c".max_in_flight=3', lambda config: config.models["a/b=c"].max_in_flight == 3),
        ("gateway.budget_usd=2.5", lambda config: config.gateway.budget_usd == 2.5),
        ("sources.new.images=x=y", lambda config: config.sources["new"].options["images"] == "x=y"),
        ('step.complete.words=["x", "y"]', lambda config: config.steps[0].options["words"] == ["x", "y"]),
        ("dataset=elsewhere", lambda config: config.dataset == Path("elsewhere")),
    ],
)
def test_overrides(override, read, registry):
    assert read(parse_config(GOOD, [override]))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("step.complete.subjects='7'", "--set step.complete.subjects: step[0].subjects: must be a whole number"),
        ("step.complete.subjcts=7", "--set step.complete.subjcts: step[0].subjcts: unknown key"),
        ("step.complet.subjects=7", "there is no step 'complet'; did you mean 'complete'?"),
        ("step[7].subjects=7", "there is no step[7]; the config has 3 steps, from 0"),
        ("step.complete=7", "name the step and the option"),
        ("dataset", "must read key=value"),
        ("dataset=", "--set dataset: no value stands behind the =; an empty text is"),
        ("models.a/b.max_in_flight=3", "this key cannot be read; quote odd parts of it"),
        ("=3", "must read key=value"),
        ("dataset.x=3", "dataset is a value, not a table"),
        ("step.complete.words=[1,", "the value is no TOML"),
        ("brnch=x", "--set brnch: brnch: unknown key; did you mean 'branch'?"),
    ],
)
def test_bad_overrides(override, expected, registry):
    assert expected in faults_of(GOOD, registry, [override])


def test_a_missing_file_says_how_to_write_one(tmp_path):
    with pytest.raises(ConfigError, match=r"`sgforge init .*p\.toml` writes one"):
        load_config(tmp_path / "p.toml")


def test_a_mark_of_the_byte_order_is_no_part_of_the_config(tmp_path, registry):
    path = tmp_path / "p.toml"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert load_config(path) == parse_config(GOOD)


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "p.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_default_names_count_the_uses_of_a_verb():
    verbs = ["filter", "filter", "train", "filter", None]
    assert default_names(verbs, [None, None, None, "mine", None]) == ["filter", "filter-2", "train", "mine", "step"]


def test_windows_line_ends(registry):
    text = BAD.replace("\n", "\r\n")
    assert "p.toml:8: step[0].subjects" in faults_of(text, registry)


def test_lines_of_keys_in_every_form():
    text = '''a = 1
"b c".d = 2
e = """
f = 3
"""
[g.'h/i']   # [x]
j = [
  { k = 1 },

  [2, 3], "x,", # 4,
  5, 6 ]
l.m.n = { o = 1 }
[[p]]
q = 1
[p.r]
s = 1
[[p]]
[[p.t]]
u = 1
[[p.t]]
u = 2
'''
    lines = find_lines(text)
    assert lines == {
        ("a",): 1,
        ("b c",): 2,
        ("b c", "d"): 2,
        ("e",): 3,
        ("g", "h/i"): 6,
        ("g", "h/i", "j"): 7,
        ("g", "h/i", "j", 0): 8,
        ("g", "h/i", "j", 1): 10,
        ("g", "h/i", "j", 2): 10,
        ("g", "h/i", "j", 3): 11,
        ("g", "h/i", "j", 4): 11,
        ("g", "h/i", "l"): 12,
        ("g", "h/i", "l", "m"): 12,
        ("g", "h/i", "l", "m", "n"): 12,
        ("p", 0): 13,
        ("p", 0, "q"): 14,
        ("p", 0, "r"): 15,
        ("p", 0, "r", "s"): 16,
        ("p", 1): 17,
        ("p", 1, "t", 0): 18,
        ("p", 1, "t", 0, "u"): 19,
        ("p", 1, "t", 1): 20,
        ("p", 1, "t", 1, "u"): 21,
    }


keys = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=6)


@given(st.dictionaries(keys, st.text(max_size=8), max_size=4))
def test_lines_are_found_for_any_key(table):
    pairs = [(json.dumps(key, ensure_ascii=False), json.dumps(value)) for key, value in table.items()]
    text = "".join(f"{key} = {value}\n" for key, value in pairs)
    assert find_lines(text) == {(key,): number for number, key in enumerate(table, start=1)}


def test_an_option_that_holds_components_may_be_called_like_a_verb():
    text = GOOD.replace('train = "prior"', 'train = "prior"\njudge = {use = "x"}\ncaption = [{use = "y"}]')
    _, train, _ = parse_config(text).steps
    assert (train.verb, train.options) == ("train", {"judge": {"use": "x"}, "caption": [{"use": "y"}]})
    twice = parse_config(GOOD.replace('train = "prior"', 'train = "prior"\njudge = "x"'))
    assert [fault.message for fault in twice.faults] == [
        "names 2 stages (judge, train): a step has one; start another [[step]]"
    ]
