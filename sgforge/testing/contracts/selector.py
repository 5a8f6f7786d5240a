"""What holds for selectors: an answer for each image, in their order, that drops it or says what was chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import attrs

from sgforge.columns.declared import CORE_COLUMNS, fitted_edit
from sgforge.edits import Edit
from sgforge.graph import Sample, SceneGraph
from sgforge.stages import Answer, check_role
from sgforge.testing.contracts.answers import AnswersContract
from sgforge.testing.samples import tiny_samples

__all__ = ["SelectorContract"]


class SelectorContract(AnswersContract):
    """Contract of a selector."""

    kind = "selector"

    def samples(self, folder: Path) -> list[Sample]:
        """The images to choose among, two of each group; override to show what the component is made for."""
        tiny = tiny_samples(folder)
        return [
            attrs.evolve(sample, image_id=f"{sample.image_id}~{copy}", values={"group": sample.image_id})
            for sample in tiny
            for copy in range(2)
        ]

    def answers(self, folder: Path, samples: Sequence[Sample]) -> list[Answer]:
        """The answers of a new instance, to which the images are shown as the engine shows them."""
        with self.built(folder) as instance:
            return list(instance.select(_Shown(samples)))

    def test_one_image_alone(self, tmp_path: Path) -> None:
        assert len(self.answers(tmp_path, self.samples(tmp_path)[:1])) == 1

    def test_edits_drop_or_say_what_was_chosen(self, tmp_path: Path) -> None:
        samples = self.samples(tmp_path)
        for sample, answer in zip(samples, self.answers(tmp_path, samples), strict=True):
            if isinstance(answer, Edit):
                fault = check_role("select", answer, SceneGraph())
                assert fault is None, f"{sample.image_id}: {fault}"
                fitted_edit(answer, CORE_COLUMNS)


class _Shown(Sequence[Sample]):
    """Images that are no list: they can be counted, gone through and asked for by place."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = tuple(samples)

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> list[Sample]: ...
    def __getitem__(self, place: int | slice) -> Any:
        return list(self._samples[place]) if isinstance(place, slice) else self._samples[place]
