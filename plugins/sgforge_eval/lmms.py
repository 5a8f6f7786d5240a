"""lmms-eval runs an sgforge student: a model named `sgforge` behind its entry-point group `lmms_eval.models`.

    lmms_eval --model sgforge --model_args student=NAME,checkpoint=FOLDER --tasks gqa

Written against the interface of lmms-eval 0.7: a subclass of `lmms` with `generate_until` and `loglikelihood`, and a
`ModelManifest` that names it. That package pins a torch build that does not install beside the CPU one, so this module
is tested against a stand-in with that interface, not against the package itself.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sgforge.images import Roots
from sgforge.stages import Failure
from sgforge_eval.tasks.ask import Prompt, open_student

__all__ = ["SgforgeModel", "manifest"]


def _base() -> Any:
    """lmms-eval's base class; a plain object where the package is absent, so that this module can still be read."""
    try:
        return importlib.import_module("lmms_eval.api.model").lmms
    except ImportError:
        return object


def manifest() -> Any:
    """What the entry point answers: lmms-eval's ModelManifest for the model `sgforge`."""
    registry = importlib.import_module("lmms_eval.models.registry_v2")
    return registry.ModelManifest(model_id="sgforge", simple_class_path="sgforge_eval.lmms.SgforgeModel")


class SgforgeModel(_base()):  # type: ignore[misc]
    """A student with a method `answer(prompts)` as a model of lmms-eval."""

    def __init__(
        self,
        student: str,
        checkpoint: str | None = None,
        device: str = "cpu",
        batch_size: int | str = 1,
        **_: Any,
    ) -> None:
        super().__init__()
        self._student = open_student(student, None if checkpoint is None else Path(checkpoint), device)
        self._batch = max(1, int(batch_size))

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """One text per request; a question that cannot be answered is an empty text, which scores as wrong."""
        answers: list[str] = []
        for start in range(0, len(requests), self._batch):
            with tempfile.TemporaryDirectory() as folder:
                prompts = list(self._prompts(requests[start : start + self._batch], Path(folder)))
                found = self._student.answer(prompts)
            answers += ["" if isinstance(answer, Failure) else answer for answer in found]
        return answers

    def _prompts(self, requests: Sequence[Any], folder: Path) -> Iterator[Prompt]:
        """Contexts with their first image; lmms-eval gives pictures in memory, students read files."""
        roots = Roots({"lmms": folder})
        for number, request in enumerate(requests):
            context, _, doc_to_visual, doc_id, task, split = request.args
            visuals = doc_to_visual(self.task_dict[task][split][doc_id]) or []
            if not visuals:
                yield Prompt(context)
                continue
            visuals[0].convert("RGB").save(folder / f"{number}.png")
            yield Prompt(context, roots.image(f"lmms:{number}.png"))

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not offered: students answer in text."""
        raise NotImplementedError("an sgforge student answers in text: choose tasks of the kind generate_until")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not offered: students answer one question."""
        raise NotImplementedError("an sgforge student answers one question at a time")
