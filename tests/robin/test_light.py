"""Importing the plugin loads no framework."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_plugin_and_its_texts_loads_no_torch() -> None:
    heavy = "{'torch', 'transformers', 'tokenizers', 'safetensors', 'numpy'}"
    code = f"import sys, sgforge_robin, sgforge_robin.text; print(*sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
