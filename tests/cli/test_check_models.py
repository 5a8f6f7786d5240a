"""What `run` would refuse before any work is found by `check` too, all of it in one message, each with its mend."""

from __future__ import annotations

import re

import pytest

from sgforge.cli.main import main

HEAD = 'dataset = "d"\n[source]\nuse = "scenes"\nfolder = "s"\ncount = 2\nsize = 96\n'
STEPS = (
    '[[step]]\ncomplete = "svg"\nmodel = "compat/m"\n'
    '[[step]]\nfilter = "vqa"\nmodel = "openai/gpt-99"\n'
    '[[step]]\nedit = "svg"\nmodel = "anthropic/claude-haiku-4-5"\n'
)
FAULTS = [
    r'step\[0\]: asks \'compat/m\': give base_url in \[models."compat/m"\]',
    r'step\[0\]: asks \'compat/m\': \[models."compat/m"\]: give both input_usd and output_usd, or neither',
    r"step\[1\]: asks 'openai/gpt-99', whose provider needs the environment variable OPENAI_API_KEY: export",
    r"step\[1\]: asks 'openai/gpt-99': budget_usd is set and the price of openai/gpt-99 is not known: give",
    r"step\[2\]: asks 'anthropic/claude-haiku-4-5', whose api_key_file none.txt does not exist: write the key into it",
]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "SGFORGE_COMPAT_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_everything_that_models_lack_is_told_at_once(command, tmp_path, capsys):
    settings = (
        '[gateway]\nbudget_usd = 1.0\n[models."compat/m"]\ninput_usd = 1.0\n'
        '[models."anthropic/claude-haiku-4-5"]\napi_key_file = "none.txt"\n'
    )
    (tmp_path / "p.toml").write_text(HEAD + settings + STEPS)
    assert main([command, "p.toml"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{len(FAULTS)} faults" in captured.err
    for fault in FAULTS:
        assert re.search(fault, captured.err), fault
    assert [path.name for path in tmp_path.iterdir()] == ["p.toml"]


@pytest.mark.parametrize("command", ["check", "plan", "run"])
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, "price file mine.toml: No such file or directory: check prices in [gateway]"),
        ("version =", "price file mine.toml: "),
        ('version = "1"\n[models."compat/m"]\ninput = 1\n', '[models."compat/m"]: output is missing'),
    ],
)
def test_a_price_file_with_a_mistake_is_told_with_the_rest(command, text, fault, tmp_path, capsys):
    if text is not None:
        (tmp_path / "mine.toml").write_text(text)
    (tmp_path / "p.toml").write_text(HEAD + '[gateway]\nprices = "mine.toml"\n' + STEPS)
    assert main([command, "p.toml"]) == 2
    error = capsys.readouterr().err
    assert fault in error
    assert "give base_url" in error
    assert "export ANTHROPIC_API_KEY=..." in error
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    "address", ["http://", "http://:80", "http://h:99999", "http://h/v1?x=1", "http://a b", "h:80"]
)
def test_a_base_url_that_is_none(address, tmp_path, capsys):
    settings = f'[models."compat/m"]\nbase_url = "{address}"\n'
    (tmp_path / "p.toml").write_text(HEAD + settings + '[[step]]\ncomplete = "svg"\nmodel = "compat/m"\n')
    assert main(["check", "p.toml"]) == 2
    assert 'p.toml:8: models."compat/m".base_url: base_url must' in capsys.readouterr().err


def test_a_missing_extra_hides_no_other_fault(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    (tmp_path / "p.toml").write_text(HEAD + "[gateway]\nbudget_usd = 1\n" + STEPS)
    assert main(["check", "p.toml"]) == 2
    error = capsys.readouterr().err
    assert "whose provider needs the module 'openai', which is not installed: pip install 'sgforge[openai]'" in error
    assert "the price of openai/gpt-99 is not known" in error
    assert "the price of compat/m is not known" in error


def test_a_budget_with_known_prices_is_in_order(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-test-key")
    steps = '[[step]]\ncomplete = "svg"\nmodel = "openai/gpt-6-luna"\n'
    (tmp_path / "p.toml").write_text(HEAD + "[gateway]\nbudget_usd = 1\n" + steps)
    assert main(["check", "p.toml"]) == 0
    assert "p.toml is in order" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["p.toml"]
