"""What holds for components whose options hold others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from sgforge.stages import Part, Resources
from sgforge.testing.contracts.base import ComponentContract

__all__ = ["HolderContract"]


class _Watched:
    """A part that notes who sets it up or closes it; for the rest it is itself."""

    def __init__(self, component: Any, ended: list[str], name: str) -> None:
        self._component = component
        self._ended = ended
        self._name = name

    def setup(self, resources: Resources) -> None:
        self._ended.append(f"{self._name}.setup")

    def close(self) -> None:
        self._ended.append(f"{self._name}.close")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._component, name)


class HolderContract(ComponentContract):
    """Contract of a component that has others in its options, beside the contract of its kind.

        class TestPanel(HolderContract, FilterContract): ...

    `options` must name at least one part, unless one stands there by default.
    """

    ended: list[str]

    @contextmanager
    def with_parts(self, folder: Path) -> Iterator[Resources]:
        """The resources; whoever sets up or closes a part beside the engine is noted in `ended`."""
        self.ended = []

        def watch(part: Part) -> Part:
            return attrs.evolve(part, component=_Watched(part.component, self.ended, part.name))

        with super().with_parts(folder) as resources:
            watched = {option: tuple(map(watch, held)) for option, held in resources.parts.items()}
            yield attrs.evolve(resources, parts=watched)

    def test_its_parts_are_there(self, tmp_path: Path) -> None:
        with self.with_parts(tmp_path) as resources:
            assert any(resources.parts.values()), "its options hold no component: name one in `options`"

    def test_it_leaves_the_life_of_its_parts_to_the_engine(self, tmp_path: Path) -> None:
        with self.built(tmp_path):
            pass
        assert not self.ended, f"it called {', '.join(self.ended)}: parts are set up before it, and closed after it"
