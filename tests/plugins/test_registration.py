"""What `register` refuses, and how a component is loaded and built."""

from __future__ import annotations

import re
import subprocess
import sys

import attrs
import pytest
from support.distributions import Distributions

import sgforge
from sgforge import hookspecs
from sgforge.errors import ConfigError, PluginError
from sgforge.plugins import Owner, Registry, discover, unmet_needs
from sgforge.plugins.hooks import RESERVED_STEP_KEYS
from sgforge.stages import Needs
from sgforge.text.did_you_mean import choices

OWNER = Owner("mine", "acme", "1.0")


@attrs.frozen
class Options:
    threshold: float = 0.5


class Teacher:
    def __init__(self, options=None):
        self.options = options

    def complete(self, samples):
        return []


def registry_with(kind="teachers", *arguments, **options):
    class Plugin:
        pass

    def hook(self, register):
        register(*arguments, **options)

    hook.__name__ = f"sgforge_register_{kind}"
    setattr(Plugin, hook.__name__, sgforge.hookimpl(hook))
    registry = Registry()
    registry.add(Plugin(), OWNER)
    return registry


def problem_of(*arguments, kind="teachers", **options):
    [report] = registry_with(kind, *arguments, **options).reports
    return "; ".join(report.problems)


def config_with(**fields):
    return attrs.make_class("Config", {name: attrs.field(default=None, type=kind) for name, kind in fields.items()})


@pytest.mark.parametrize("key", [*RESERVED_STEP_KEYS, "segment", "evaluate"])
def test_options_may_not_use_reserved_step_keys(key):
    problem = problem_of("x", Teacher, config=config_with(fine=int, **{key: int}))
    assert f"option '{key}' of Config is a reserved key of a teacher" in problem


def test_reserved_keys_are_those_of_the_design():
    assert RESERVED_STEP_KEYS == ("name", "on", "weights", "batch_size", "workers", "run")


def test_options_of_a_source_may_use_step_keys_but_not_use():
    assert problem_of("x", Teacher, kind="sources", config=config_with(weights=int)) == ""
    assert "reserved key of a source" in problem_of("x", Teacher, kind="sources", config=config_with(use=str))


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        (("Bad Name", Teacher), {}, "lower-case letters"),
        (("a/b", Teacher), {}, "lower-case letters"),
        (("x", "no_colon"), {}, "'package.module:Class'"),
        (("x", Teacher()), {}, "must be a class or text"),
        (("x", Teacher), {"config": dict}, "must be an attrs class"),
        (("x", Teacher), {"config": {"a": 1}}, "must be an attrs class"),
        (("x", Teacher), {"config": attrs.make_class("C", ["plain"])}, "option 'plain' of C has no type"),
        (("x", Teacher), {"revision": 0}, "from 1 up"),
        (("x", Teacher), {"revision": True}, "from 1 up"),
        (("x", Teacher), {"needs": ("torch",)}, r"Needs\(\.\.\.\)"),
        (("x", Teacher), {"identity": "no_colon"}, "identity 'no_colon' must be text like 'package.module:Class'"),
        (("x",), {}, "TypeError"),
        (("x", Teacher), {"revison": 2}, "revison"),
    ],
)
def test_bad_registrations_are_refused(arguments, options, expected):
    assert re.search(expected, problem_of(*arguments, **options))


def test_build_gives_typed_options_or_defaults():
    component = registry_with("teachers", "x", Teacher, config=Options).lookup("teacher", "x")
    assert component.build(Options(0.9)).options == Options(0.9)
    assert component.build().options == Options()
    assert registry_with("teachers", "x", Teacher).lookup("teacher", "x").build().options is None


def test_a_class_that_was_moved_keeps_the_name_it_has_in_keys():
    moved = registry_with("teachers", "x", "new.place:Teacher", identity="old.place:Teacher").lookup("teacher", "x")
    assert (moved.path, moved.identity) == ("new.place:Teacher", "old.place:Teacher")
    stayed = registry_with("teachers", "x", "new.place:Teacher").lookup("teacher", "x")
    assert stayed.identity == "new.place:Teacher"


def test_unknown_names_offer_the_near_one_and_the_right_kind():
    registry = registry_with("teachers", "geometry", Teacher)
    with pytest.raises(ConfigError, match="there is no teacher 'geometri'; did you mean 'geometry'"):
        registry.lookup("teacher", "geometri")
    with pytest.raises(ConfigError, match="there is no filter 'geometry'; 'geometry' is a teacher"):
        registry.lookup("filter", "geometry")
    with pytest.raises(ConfigError, match="there is no teacher 'zzz'; known: geometry"):
        registry.lookup("teacher", "zzz")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("there_is_none:Thing", "there is no module 'there_is_none'"),
        ("json:JSONDecode", "module 'json' has no 'JSONDecode'; did you mean 'JSONDecoder'"),
        ("json:dumps", "is not a class"),
        ("json:JSONDecoder", r"json:JSONDecoder has no method complete\(\)"),
    ],
)
def test_lazy_targets_fail_clearly_when_used(target, expected):
    component = registry_with("teachers", "x", target).lookup("teacher", "x")
    with pytest.raises(PluginError, match=expected) as caught:
        component.load()
    assert "acme 1.0 (plugin mine)" in str(caught.value)


def test_a_module_that_fails_while_imported_keeps_its_error(distributions: Distributions):
    source = """
        import sgforge
        @sgforge.hookimpl
        def sgforge_register_teachers(register): register("x", "THIS_MODULE_heavy:Heavy")
    """
    module = distributions.add("acme-heavy", "2.0", "heavy", source)
    (distributions.folder / f"{module}_heavy.py").write_text("raise OSError('libfoo.so is missing')")
    component = discover().lookup("teacher", "x")
    with pytest.raises(PluginError, match=r"acme-heavy 2\.0 .*OSError: libfoo\.so is missing") as caught:
        component.load()
    assert isinstance(caught.value.__cause__, OSError)


def test_a_declared_module_that_is_missing_comes_with_the_pip_command(distributions: Distributions):
    source = """
        import sgforge
        from sgforge.stages import Needs
        @sgforge.hookimpl
        def sgforge_register_teachers(register):
            register("x", "THIS_MODULE_heavy:Heavy", needs=Needs(modules=("no_such_framework",), extra="gpu"))
    """
    module = distributions.add("acme-heavy", "2.0", "heavy", source)
    (distributions.folder / f"{module}_heavy.py").write_text("import no_such_framework.deep")
    component = discover().lookup("teacher", "x")
    with pytest.raises(PluginError, match=r"pip install 'acme-heavy\[gpu\]'"):
        component.load()
    assert unmet_needs(component) == (
        "needs the module 'no_such_framework', which is not installed: pip install 'acme-heavy[gpu]'",
    )


def needing(needs):
    return registry_with("teachers", "x", Teacher, needs=needs).lookup("teacher", "x")


def test_unmet_needs_are_all_told(monkeypatch):
    monkeypatch.delenv("ACME_KEY", raising=False)
    unmet = unmet_needs(needing(Needs(modules=("json", "no_such_a", "no_such_b"), env=("ACME_KEY",))))
    assert len(unmet) == 3
    assert "'no_such_a'" in unmet[0]
    assert "pip install no_such_b" in unmet[1]
    assert "export ACME_KEY=..." in unmet[2]
    monkeypatch.setenv("ACME_KEY", "set")
    assert unmet_needs(needing(Needs(modules=("json",), env=("ACME_KEY",)))) == ()


def test_looking_for_a_module_does_not_import_it():
    code = (
        "import sys; from sgforge.plugins import Component, Owner, unmet_needs; from sgforge.stages import Needs\n"
        "c = Component('teacher', 'x', 'a:B', None, Needs(modules=('skimage',)), 1, Owner('p'))\n"
        "assert unmet_needs(c) == (); print('skimage' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_required_gpu_is_looked_for(needs_extra):
    needs_extra("transformers")
    import torch

    unmet = unmet_needs(needing(Needs(gpu="required")))
    assert bool(unmet) is not (torch.cuda.is_available() or torch.backends.mps.is_available())
    assert unmet_needs(needing(Needs(gpu="optional"))) == ()


def test_every_kind_has_a_hook_and_every_hook_a_kind():
    hooks = {name for name in vars(hookspecs) if name.startswith("sgforge_register_")}
    named = ["segmenter", "teacher", "filter", "student", "editor", "evaluator", "refiner", "model", "source"]
    named += ["renderer", "captioner", "questioner", "judge", "selector", "reward", "executor", "exporter", "command"]
    assert hooks == {f"sgforge_register_{name}s" for name in named}


def test_needs_that_name_an_option_which_is_not_there_are_refused():
    problem = problem_of("x", Teacher, config=Options, needs=Needs(checkpoint="folder"))
    assert "its needs say that option 'folder' names its checkpoint, and it has no such option" in problem
    assert problem_of("x", Teacher, config=config_with(folder=str), needs=Needs(checkpoint="folder")) == ""


def test_the_same_plugin_twice_is_refused_and_the_first_stays():
    class Plugin:
        @sgforge.hookimpl
        def sgforge_register_teachers(self, register):
            register("x", Teacher)

    plugin, registry = Plugin(), Registry()
    assert registry.add(plugin, OWNER).ok
    assert not registry.add(plugin, Owner("again")).ok
    assert registry.lookup("teacher", "x").owner == OWNER


def test_a_name_of_two_kinds_is_listed_once():
    assert choices("zzz", ["eval", "jsonl", "eval"]) == "known: eval, jsonl"


@pytest.mark.parametrize(
    ("plural", "methods"),
    [
        ("segmenters", "segment()"),
        ("teachers", "complete()"),
        ("filters", "filter()"),
        ("students", "generate(), train(), rank()"),
        ("editors", "edit()"),
        ("renderers", "render()"),
        ("captioners", "caption()"),
        ("questioners", "question()"),
        ("judges", "judge()"),
        ("selectors", "select()"),
        ("evaluators", "evaluate()"),
        ("refiners", "refine()"),
        ("rewards", "score()"),
        ("sources", "samples()"),
        ("exporters", "export()"),
        ("executors", "open()"),
    ],
)
def test_each_kind_has_a_hook_and_methods_that_it_must_have(plural, methods):
    class Plugin:
        pass

    def hook(self, register):
        register("any", Plugin)

    setattr(Plugin, f"sgforge_register_{plural}", sgforge.hookimpl(hook))
    registry = Registry()
    assert registry.add(Plugin(), Owner("any")).ok
    with pytest.raises(PluginError) as raised:
        registry.lookup(plural.removesuffix("s"), "any").load()
    assert str(raised.value).endswith(f"has no method {methods}")
