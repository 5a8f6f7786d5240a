"""A fake model provider: a real server on the loopback that speaks the vendors' wire formats, scripted by a callable.

    with FakeProvider(script=lambda request: FakeAnswer("yes")) as fake:
        ModelSettings(base_url=fake.openai_url)         # openai/ and compat/; fake.anthropic_url for anthropic/
        ...
        assert fake.ledger.answered == 3

It serves chat completions, messages, both batch APIs and files. `FakeSettings` has the knobs: latency, rate limit with
Retry-After, 500 and 529, malformed and truncated JSON, refusals, resets in mid-body, hangs, unordered, failing and
expiring batches. Every request stands in its ledger with what a vendor would have billed. Without a script it answers
a JSON schema with a valid instance, always the same for the same request.

`python -m sgforge.testing.fake_provider --port 8800` runs it in a process of its own.
"""

from __future__ import annotations

from sgforge.testing.fake_provider.faults import FAULTS, FakeSettings
from sgforge.testing.fake_provider.ledger import Entry, Ledger
from sgforge.testing.fake_provider.messages import FakeAnswer, FakeRequest, Script
from sgforge.testing.fake_provider.server import FakeProvider

__all__ = ["FAULTS", "Entry", "FakeAnswer", "FakeProvider", "FakeRequest", "FakeSettings", "Ledger", "Script"]
