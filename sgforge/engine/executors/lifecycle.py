"""The life of a component: built and set up with its parts, at work, and closed whatever it did."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import attrs

from sgforge.engine.executors.daemon_thread import DaemonThread
from sgforge.engine.executors.faces import InBatches, LoopThread, OneByOne, is_async_part
from sgforge.engine.executors.work import DEFAULT_BATCH
from sgforge.engine.planning.components import ComponentSpec
from sgforge.errors import SgforgeError, StepError
from sgforge.stages import Part, Resources
from sgforge.text.blame import told

__all__ = ["Entered", "Seat", "build", "close_parts", "current_task", "is_leaving", "open_parts", "standing"]

_log = logging.getLogger("sgforge.engine")


@attrs.frozen(eq=False)
class Entered:
    """A component that is set up with `resources`, and its parts, which are closed after it, the last one first."""

    instance: Any
    resources: Resources
    parts: tuple[Seat, ...] = ()

    def close(self) -> None:
        """Close a sync component; one that fails at it is told in the log, and its answers stay."""
        with _surviving(self.instance):
            closing = getattr(self.instance, "close", None)
            if closing is not None:
                closing()
        for part in reversed(self.parts):
            part.close()

    async def close_async(self) -> None:
        """Close a component on the event loop; its `close` may be a coroutine."""
        with _surviving(self.instance):
            closing = getattr(self.instance, "close", None)
            if closing is not None:
                done = closing()
                if asyncio.iscoroutine(done):
                    await done
        for part in reversed(self.parts):
            await part.close_async()


def build(spec: ComponentSpec, resources: Resources, *, is_async: bool = False) -> Entered:
    """An instance with its parts, set up; what fails there is a `StepError`, and nothing stays open.

    `is_async`: whether the method that will be called is; its parts are seen the same way.
    """
    seats: list[Seat] = []
    try:
        instance = spec.build()
        setup = getattr(instance, "setup", None)
        resources = open_parts(spec, resources, seats, is_async=is_async)
        if setup is not None:
            setup(resources)
    except (SgforgeError, KeyboardInterrupt):
        close_parts(seats)
        raise
    except BaseException as error:  # sys.exit() in a library's import, too, would else end a worker without a word
        close_parts(seats)
        raise StepError(f"{spec.kind} {spec.name!r} could not be set up: {told(error)}") from error
    return Entered(instance, resources, tuple(seats))


def open_parts(spec: ComponentSpec, resources: Resources, seats: list[Seat], *, is_async: bool = False) -> Resources:
    """The resources with parts that are set up; `seats` gets each as soon as it is to be closed."""
    built: dict[str, tuple[Part, ...]] = {}
    for option, held in spec.parts.items():
        found = []
        for given, part in zip(held, resources.parts[option], strict=True):
            seats.append(_sit(given.spec, part.resources, is_async))
            found.append(attrs.evolve(part, component=seats[-1].face))
        built[option] = tuple(found)
    return attrs.evolve(resources, parts=built) if built else resources


def close_parts(seats: Sequence[Seat]) -> None:
    """Close parts where no event loop runs, the last one first."""
    for seat in reversed(seats):
        if isinstance(seat, _Beside):
            asyncio.run(seat.close_async())
        else:
            seat.close()


class Seat(Protocol):
    """A part where it lives: how its holder sees it, and how it is closed."""

    @property
    def face(self) -> Any: ...

    def close(self) -> None: ...

    async def close_async(self) -> None: ...


def _sit(spec: ComponentSpec, resources: Resources, is_async: bool) -> Seat:
    if is_async_part(spec) == is_async:
        return _Beside(build(spec, resources, is_async=is_async))
    return _OnThread(spec, resources) if is_async else _OnLoop(spec, resources)


@attrs.frozen(eq=False)
class _Beside:
    """A part that works as its holder does, where that works."""

    entered: Entered

    @property
    def face(self) -> Any:
        return self.entered.instance

    def close(self) -> None:
        self.entered.close()

    async def close_async(self) -> None:
        await self.entered.close_async()


class _OnLoop:
    """An async part of a sync holder."""

    def __init__(self, spec: ComponentSpec, resources: Resources) -> None:
        self._entered = build(spec, resources, is_async=True)
        self._loop = LoopThread(f"sgforge-{spec.name}")
        self.face = InBatches(self._entered.instance, spec.kind, self._loop)

    def close(self) -> None:
        self._loop.run(self._entered.close_async())
        self._loop.end()

    async def close_async(self) -> None:
        await asyncio.to_thread(self.close)


class _OnThread:
    """A sync part of an async holder."""

    def __init__(self, spec: ComponentSpec, resources: Resources) -> None:
        self._thread = DaemonThread(f"sgforge-{spec.name}")
        try:
            self._entered = self._thread.call(build, spec, resources).result()
        except BaseException:
            self._thread.end()
            raise
        most = 1 if resources.models else DEFAULT_BATCH
        self.face = OneByOne(self._entered.instance, spec.kind, self._thread, most)

    def close(self) -> None:
        self._thread.call(self._entered.close).result()
        self._thread.end()

    async def close_async(self) -> None:
        await asyncio.wrap_future(self._thread.call(self._entered.close))
        self._thread.end()


@contextmanager
def standing(spec: ComponentSpec, resources: Resources) -> Iterator[tuple[Any, Resources]]:
    """A sync component, set up, and its resources with the parts, for as long as the block lasts; closed at its end."""
    entered = build(spec, resources)
    try:
        yield entered.instance, entered.resources
    finally:
        entered.close()


@contextmanager
def _surviving(instance: Any) -> Iterator[None]:
    """All that a component had to answer it has answered: its last breath may not cost the step that it did."""
    task = current_task()
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # On the event loop the engine's own end comes through here too.
        if is_leaving(error, task):
            raise
        _log.warning("%s could not be closed: %s", type(instance).__name__, told(error))


def is_leaving(error: BaseException, task: asyncio.Task[Any] | None) -> bool:
    """Whether an exception ends `task` from outside, rather than being what a component raised in it.

    A coroutine that is closed gets GeneratorExit while no task, or another one, runs; one that raises it runs itself.
    """
    if isinstance(error, asyncio.CancelledError):
        return task is not None and task.cancelling() > 0
    return isinstance(error, GeneratorExit) and task is not None and current_task() is not task


def current_task() -> asyncio.Task[Any] | None:
    """The task that runs in this thread now, if any."""
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return None
