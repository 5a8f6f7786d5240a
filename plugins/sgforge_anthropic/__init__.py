"""Model provider anthropic/: the vendor's SDK, messages and message batches."""

from __future__ import annotations

from sgforge.hookspecs import Register, hookimpl
from sgforge.models import ModelSettings
from sgforge.stages import Needs

_SDK = Needs(("anthropic",), "anthropic", env=("ANTHROPIC_API_KEY",), network=True, deterministic=False)


@hookimpl
def sgforge_register_models(register: Register) -> None:
    """anthropic/claude-..."""
    register("anthropic", "sgforge_anthropic.messages:AnthropicProvider", config=ModelSettings, needs=_SDK)
