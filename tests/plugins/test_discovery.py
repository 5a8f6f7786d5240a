"""Discovery: every way to be broken is reported with its owner, and harms nobody else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from sgforge.cli.main import main
from sgforge.errors import ConfigError, PluginError
from sgforge.plugins import Owner, Registry, discover, load_plugins, use_registry

HOOK = "import sgforge\n@sgforge.hookimpl\n"
BROKEN = {
    "import-error": (
        "import there_is_no_such_module",
        r"ModuleNotFoundError: No module named 'there_is_no_such_module' \(module_of_acme_bad.py, line 1\)",
    ),
    "syntax-error": ("def broken(:\n    pass", "SyntaxError"),
    "exit": ("import sys\nsys.exit(3)", r"sys\.exit\(3\)"),
    "bad-argument": (
        HOOK + "def sgforge_register_teachers(registr): pass",
        r"sgforge_register_teachers takes \(register\), not \(registr\)",
    ),
    "one-argument-more": (HOOK + "def sgforge_register_teachers(register, more): pass", r"not \(register, more\)"),
    "no-argument": (HOOK + "def sgforge_register_teachers(): pass", r"takes \(register\), not \(\)"),
    "async": (HOOK + "async def sgforge_register_teachers(register): pass", "is async or has a yield"),
    "no-hook": ("import sgforge", r"no function of it is decorated with @sgforge\.hookimpl"),
    "panic": ("class Panic(BaseException): pass\nraise Panic('of an extension')", r"Panic: of an extension \(.*line 2"),
    "keyword": (
        HOOK + "def sgforge_register_teachers(register): register('a', 'm:T', option=1)",
        r"TypeError: register\(\) got an unexpected keyword argument 'option' \(module_of_acme_bad.py, line 3\)",
    ),
    "unreadable-types": (
        "import attrs, sgforge\n@attrs.frozen\nclass Options:\n    a: 'Missing' = 1\n"
        "@sgforge.hookimpl\ndef sgforge_register_teachers(register): register('a', 'm:T', config=Options)",
        "the types of Options cannot be read .*'Missing'",
    ),
    "misspelt": (HOOK + "def sgforge_register_teacher(register): pass", "did you mean 'sgforge_register_teachers'"),
    "undecorated": ("def sgforge_register_teachers(register): pass", r"has no @sgforge\.hookimpl"),
    "raises": (HOOK + "def sgforge_register_teachers(register): 1 / 0", "ZeroDivisionError"),
    "exits-in-hook": (HOOK + "def sgforge_register_teachers(register): raise SystemExit(0)", r"sys\.exit\(0\)"),
    "api": ("sgforge_api = 99", "plugin API 99, this sgforge has API 1"),
    "wrapper": (
        "import sgforge\n@sgforge.hookimpl(wrapper=True)\ndef sgforge_run_started(event):\n    yield",
        "wrappers are not supported",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_reported_and_the_others_work(kind, distributions):
    source, expected = BROKEN[kind]
    distributions.add("acme-bad", "0.3", "a-bad", source)
    distributions.add_good("acme-good", "1.2", "b-good", "fine")
    registry = discover()
    bad, fine = registry.reports
    assert bad.owner == Owner("a-bad", "acme-bad", "0.3")
    assert not bad.ok
    [problem] = bad.problems
    assert re.search(expected, problem), problem
    assert "\n" not in problem
    assert isinstance(bad.error, BaseException)
    assert fine.ok
    assert registry.lookup("teacher", "fine").owner == Owner("b-good", "acme-good", "1.2")


def test_all_faulty_hooks_of_a_plugin_are_told_at_once(distributions):
    source = """
        import sgforge
        @sgforge.hookimpl
        def sgforge_register_filtres(register): pass
        def sgforge_run_started(event): pass
    """
    distributions.add("acme-bad", "0.3", "bad", source)
    [report] = discover().reports
    assert "sgforge_register_filtres" in report.problems[0]
    assert "sgforge_run_started" in report.problems[0]


def test_a_module_imported_by_a_plugin_is_no_hook(distributions):
    source = "import sgforge, sgforge_baseline\nsgforge_api = 1\nsgforge_table = {}\n"
    source += "@sgforge.hookimpl\ndef sgforge_run_started(event): pass"
    distributions.add("acme-boxes", "1", "boxes", source)
    [report] = discover().reports
    assert report.ok


def test_a_keyboard_interrupt_is_not_swallowed(distributions):
    distributions.add("acme-bad", "0.3", "bad", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover()


def test_using_what_a_broken_plugin_registered_tells_its_original_error(distributions):
    source = """
        import sgforge
        @sgforge.hookimpl
        def sgforge_register_filters(register): register("early", "x:Y")
        @sgforge.hookimpl
        def sgforge_register_teachers(register): deep()
        def deep(): raise RuntimeError("the flux is out")
    """
    distributions.add("acme-bad", "0.3", "bad", source)
    registry = discover()
    assert registry.components() == ()
    with pytest.raises(PluginError, match=r"filter 'early' comes from acme-bad 0\.3 \(plugin bad\)") as caught:
        registry.lookup("filter", "early")
    cause = caught.value.__cause__
    assert isinstance(cause, RuntimeError)
    assert cause.__traceback__.tb_next is not None, "the traceback into the plugin is gone"


def test_an_unknown_name_may_be_a_broken_plugins(distributions):
    distributions.add("acme-bad", "0.3", "bad", "import there_is_no_such_module")
    with pytest.raises(PluginError, match=r"acme-bad 0\.3 \(plugin bad\) failed to load and may provide it") as caught:
        discover().lookup("teacher", "mystery")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_name_clash_names_both_owners_and_neither_wins(distributions):
    distributions.add_good("acme-one", "1.0", "one", "same")
    distributions.add_good("acme-two", "2.0", "two", "same")
    distributions.add_good("acme-three", "3.0", "three", "other")
    registry = discover()
    with pytest.raises(PluginError, match=r"claimed by acme-one 1\.0 \(plugin one\) and acme-two 2\.0 \(plugin two\)"):
        registry.lookup("teacher", "same")
    assert [component.name for component in registry.components("teacher")] == ["other"]
    assert {report.owner.plugin: report.ok for report in registry.reports} == {
        "one": False,
        "three": True,
        "two": False,
    }
    assert all("claimed by" in report.problems[0] for report in registry.reports if not report.ok)


def test_a_name_that_one_plugin_registers_twice_is_its_own_fault(distributions):
    line = 'register("same", "x:Y")'
    distributions.add("acme-bad", "1", "bad", f"{HOOK}def sgforge_register_teachers(register): {line}; {line}")
    [report] = discover().reports
    assert report.problems == ("teacher 'same' of acme-bad 1 (plugin bad) is registered 2 times: rename all but one",)


def test_what_a_plugin_prints_at_import_does_not_get_among_our_output(distributions, capsys):
    distributions.add("acme-loud", "1", "loud", f"print('hello')\n{HOOK}def sgforge_run_started(event): pass")
    assert discover().reports[0].ok
    assert capsys.readouterr() == ("", "hello\n")


def test_plugins_load_in_the_order_of_their_names(distributions):
    for name in ("zebra", "ant", "mole"):
        distributions.add_good(f"acme-{name}", "1", name, name)
    assert [report.owner.plugin for report in discover().reports] == ["ant", "mole", "zebra"]


def test_restriction_leaves_plugins_out_and_says_so(distributions):
    distributions.add_good("acme-one", "1", "one", "first")
    distributions.add_good("acme-two", "1", "two", "second")
    distributions.restrict("two")
    registry = discover()
    assert [report.owner.plugin for report in registry.reports] == ["two"]
    assert "one" in registry.skipped
    with pytest.raises(ConfigError, match=r"SGFORGE_PLUGINS leaves out: .*one"):
        registry.lookup("teacher", "first")


def test_empty_restriction_loads_nothing(distributions):
    distributions.add_good("acme-one", "1", "one", "first")
    distributions.restrict()
    registry = discover()
    assert registry.reports == ()
    assert registry.components() == ()


def test_restriction_to_what_is_not_installed_is_reported(distributions):
    distributions.add_good("acme-boxes", "1", "acme-boxes", "first")
    distributions.restrict("acme-boxs", " acme-boxes ")
    found = {report.owner.plugin: report for report in discover().reports}
    assert found["acme-boxes"].ok
    [problem] = found["acme-boxs"].problems
    assert problem == "SGFORGE_PLUGINS names a plugin that is not installed; did you mean 'acme-boxes'?"


def test_loading_twice_is_loading_once(distributions):
    distributions.add_good("acme-one", "1", "one", "first")
    code = "from sgforge.plugins import load_plugins as l; a = l(); print(a is l(), len(a.reports))"
    env = {**os.environ, "PYTHONPATH": str(distributions.folder)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == ["True", "1"]


def test_use_registry_holds_inside_the_block_only():
    outside, inside = load_plugins(), Registry()
    with use_registry(inside):
        assert load_plugins() is inside
    assert load_plugins() is outside


def test_the_command_lists_broken_plugins_with_owner(distributions):
    distributions.add("acme-bad", "0.3", "bad", "import sys; sys.exit(3)")
    distributions.add_good("acme-good", "1.2", "fine", "fine")
    env = {**os.environ, "PYTHONPATH": str(distributions.folder)}
    command = [sys.executable, "-m", "sgforge", "plugins"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout
    assert "acme-bad 0.3 (plugin bad): BROKEN" in text
    assert "acme-good 1.2 (plugin fine): ok" in text
    listed = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True, env=env).stdout)
    assert {plugin["plugin"]: plugin["ok"] for plugin in listed["plugins"]} == {"bad": False, "fine": True}


def test_plugins_command_says_why_a_component_cannot_be_used(distributions, capsys):
    distributions.add_good("acme-one", "1.0", "one", "same")
    distributions.add_good("acme-two", "2.0", "two", "same")
    distributions.add("acme-bad", "0.3", "bad", "import there_is_no_such_module")
    with use_registry(discover()):
        assert main(["plugins", "same"]) == 0
        told = capsys.readouterr().out
        assert told.count("claimed by acme-one 1.0 (plugin one) and acme-two 2.0 (plugin two)") == 2
        assert main(["plugins", "other"]) == 2
        assert "broken, and may have it: acme-bad 0.3 (plugin bad)" in capsys.readouterr().err
