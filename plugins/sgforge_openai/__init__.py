"""Model providers: openai/ (the vendor's SDK) and compat/ (any server that speaks its chat completions)."""

from __future__ import annotations

from sgforge.hookspecs import Register, hookimpl
from sgforge.models import ModelSettings
from sgforge.stages import Needs

_SDK = Needs(("openai",), "openai", env=("OPENAI_API_KEY",), network=True, deterministic=False)
_PLAIN = Needs(network=True, deterministic=False)


@hookimpl
def sgforge_register_models(register: Register) -> None:
    """openai/gpt-6.2-sol; compat/NAME with the base_url of vLLM, Ollama, SGLang or another server."""
    register("openai", "sgforge_openai.chat:OpenAIProvider", config=ModelSettings, needs=_SDK)
    register("compat", "sgforge_openai.compat:CompatProvider", config=ModelSettings, needs=_PLAIN)
