"""Settings of the gateway and of one model; none of them is part of a response's key but `base_url`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import attrs
from attrs.validators import in_

from sgforge.errors import ConfigError

__all__ = ["GatewaySettings", "ModelSettings"]

_OURS: Final = frozenset({"model", "messages", "stream", "n", "max_tokens", "max_completion_tokens", "response_format"})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _positive(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not (_is_number(value) and value > 0):
        raise ConfigError(f"{attribute.name} must be a number greater than 0, got {value!r}")


def _price(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not (_is_number(value) and value >= 0 and math.isfinite(value)):
        raise ConfigError(f"{attribute.name} must be a number of at least 0, got {value!r}")


def _whether(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{attribute.name} must be true or false, got {value!r}")


def _further(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    taken = sorted(set(value) & _OURS)
    if taken:
        raise ConfigError(f"{attribute.name} may not hold {', '.join(taken)}: the gateway sets it")


def _file(value: Any) -> Any:
    """A path that is given as a text, in Python."""
    return Path(value) if isinstance(value, str) else value


def _web_address(instance: object, attribute: attrs.Attribute[str | None], value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise ConfigError(f"{attribute.name} must be a text, got {value!r}")
    if not value.startswith(("http://", "https://")):
        # Without what stands behind it, and not at all with a password in it.
        shown = "another address" if "@" in value else repr(value.partition("?")[0].partition("#")[0])
        raise ConfigError(f"{attribute.name} must start with http:// or https://, got {shown}")
    try:
        parts = urlsplit(value)
        is_address = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if "@" in value:
        raise ConfigError(f"{attribute.name} must hold no user and no password: put the key into api_key_file")
    if not is_address or any(letter.isspace() for letter in value) or parts.query or parts.fragment:
        # Without what stands behind it, which may be a key.
        plain = value.partition("?")[0].partition("#")[0]
        raise ConfigError(f"{attribute.name} must read http(s)://HOST[:PORT][/PATH] and no more, got {plain!r}...")


@attrs.frozen
class ModelSettings:
    """Settings of one "provider/model": `[models."openai/gpt-6.2-sol"]` in a config.

    `base_url`: another server than the vendor's own. `api_key_env`: the environment variable that holds the key (the
    provider's usual one if not given); `api_key_file`: a file that holds it. Keys themselves are never settings.
    `max_in_flight`: the most calls at one time; the gateway starts lower and grows until the server objects.
    `requests_per_minute`, `tokens_per_minute`: hard limits. `timeout_s`: of one call; `deadline_s`: of one request
    with all its retries. `max_image_side`, `max_image_bytes`: larger images are downscaled to fit (the provider's own
    limits if not given). `input_usd` ... `batch_factor`: prices per million tokens that override the table.
    `image_tokens`: the most tokens one image is billed as. `schema_in_prompt`: whether the schema of an answer
    stands in the text too ("auto": for servers that are not known to enforce it, and in every repair). `effort`,
    `thinking`, `extra_body`: how much the model thinks, whether it does, further fields of the body; they are part
    of what names its answers. `probabilities`: whether a server gives probabilities of answer tokens, where the
    provider's own idea of it is wrong. `batch_size`, `dtype`, `device`: for models that run in process ("auto"
    takes what the run was given).
    """

    base_url: str | None = attrs.field(default=None, validator=_web_address)
    api_key_env: str | None = None
    api_key_file: Path | None = attrs.field(default=None, converter=_file)
    max_in_flight: int = attrs.field(default=64, validator=_positive)
    requests_per_minute: float | None = attrs.field(default=None, validator=_positive)
    tokens_per_minute: float | None = attrs.field(default=None, validator=_positive)
    timeout_s: float = attrs.field(default=600.0, validator=_positive)
    deadline_s: float = attrs.field(default=1800.0, validator=_positive)
    max_image_side: int | None = attrs.field(default=None, validator=_positive)
    max_image_bytes: int | None = attrs.field(default=None, validator=_positive)
    input_usd: float | None = attrs.field(default=None, validator=_price)
    cache_read_usd: float | None = attrs.field(default=None, validator=_price)
    cache_write_usd: float | None = attrs.field(default=None, validator=_price)
    output_usd: float | None = attrs.field(default=None, validator=_price)
    batch_factor: float | None = attrs.field(default=None, validator=_price)
    image_tokens: int | None = attrs.field(default=None, validator=_positive)
    schema_in_prompt: Literal["auto"] | bool = attrs.field(default="auto", validator=in_(("auto", True, False)))
    effort: str | None = None
    thinking: bool | None = attrs.field(default=None, validator=_whether)
    extra_body: Mapping[str, Any] = attrs.field(factory=dict, validator=_further)
    probabilities: bool | None = attrs.field(default=None, validator=_whether)
    batch_size: int = attrs.field(default=8, validator=_positive)
    dtype: str = "auto"
    device: str = "auto"


@attrs.frozen
class GatewaySettings:
    """Settings of all models of a run.

    `budget_usd`: the most that everything in the responses file may cost together, earlier runs included.
    `retry_failed`: buy refused, truncated and invalid answers again. `reread`: read stored bodies that were of no use
    once more before anything is bought. `prices`: a price file that overrides the table.
    `max_image_mb`: encoded images held for calls in flight. `repair`: one more try for an answer that breaks its
    schema. `stop_after_refusals`: the run stops after so many 401, 402 or 403 in a row.
    """

    budget_usd: float | None = attrs.field(default=None, validator=_positive)
    retry_failed: bool = attrs.field(default=False, validator=_whether)
    reread: bool = attrs.field(default=False, validator=_whether)
    prices: Path | None = attrs.field(default=None, converter=_file)
    max_image_mb: float = attrs.field(default=256.0, validator=_positive)
    repair: bool = attrs.field(default=True, validator=_whether)
    stop_after_refusals: int = attrs.field(default=3, validator=_positive)
