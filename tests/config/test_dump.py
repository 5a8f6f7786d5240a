"""What is saved of options: all of them, but no secret."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from sgforge.config import dump_options, is_secret


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
