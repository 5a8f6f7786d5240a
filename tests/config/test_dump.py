"""What is saved of a config: all of it, but no secret."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from sgforge.config import PipelineConfig, SourceConfig, StepConfig, dump_config, dump_options, is_secret
from sgforge.models.settings import ModelSettings
from sgforge.stages import Selection


@attrs.frozen
class Options:
    path: Path = Path("a/b")
    words: tuple[str, ...] = ("x",)
    server: str = "https://user:hunter2@host/v1"
    api_key: str = "sk-hunter2"
    pad_token: str = attrs.field(default="<pad>", metadata={"secret": False})
    phrase: str = attrs.field(default="hunter2", metadata={"secret": True})
    headers: dict[str, str] = attrs.field(factory=lambda: {"x-api-key": "hunter2", "accept": "json"})
    tokens: tuple[str, ...] = ("kept",)


def test_options_are_plain_and_without_secrets():
    assert dump_options(Options()) == {
        "path": "a/b",
        "words": ["x"],
        "server": "https://***@host/v1",
        "api_key": "***",
        "pad_token": "<pad>",
        "phrase": "***",
        "headers": {"x-api-key": "***", "accept": "json"},
        "tokens": ["kept"],
    }
    assert dump_options(None) == {}


@pytest.mark.parametrize("name", ["api_key", "apikey", "hf_token", "SECRET", "client-secret", "password", "aws.key"])
def test_names_of_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", ["api_key_env", "token_file", "max_tokens", "keyword", "tokenizer", "monkey", "model"])
def test_names_that_are_none(name):
    assert not is_secret(name)


def test_a_whole_config_is_json_with_every_default():
    config = PipelineConfig(
        Path("runs/x"),
        sources={"source": SourceConfig("folder", {"images": "i"}, None)},
        models={"a/b": ModelSettings(base_url="http://me:hunter2@localhost")},
        steps=(StepConfig("complete", "svg", {}, on=Selection(splits=("val",)), typed=Options()),),
    )
    text = dump_config(config)
    assert "hunter2" not in text
    saved = json.loads(text)
    assert saved["branch"] == "main"
    assert saved["models"]["a/b"]["timeout_s"] == 600.0
    assert saved["step"][0]["complete"] == "svg"
    assert saved["step"][0]["words"] == ["x"]
    assert saved["step"][0]["on"] == {"source": None, "split": ["val"]}
    assert dump_config(config) == text
