"""What a source gave, sorted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

from sgforge import Sample
from sgforge.stages import SourceFailure


@attrs.frozen
class Result:
    """What a source gave: samples by id, and its failures."""

    samples: dict[str, Sample]
    failures: list[SourceFailure]

    @property
    def reasons(self) -> Counter[str]:
        return Counter(failure.reason for failure in self.failures)


def sort_out(items: Any) -> Result:
    found = list(items)
    samples = {item.image_id: item for item in found if isinstance(item, Sample)}
    return Result(samples, [item for item in found if isinstance(item, SourceFailure)])
