"""Starting a run: the plan is checked first, then the engine works on an event loop in a thread of its own.

So a run works the same in a script, in a server and in a notebook whose loop is running already, and Ctrl-C, which
reaches the main thread, can let the engine finish what is in flight.
"""

from __future__ import annotations

import asyncio
import json
import platform
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import attrs

from sgforge.config import Fault, Places
from sgforge.dataset.folder import check_branch
from sgforge.engine.context import Context, options_json
from sgforge.engine.executors.door import open_door
from sgforge.engine.models.run_models import open_models
from sgforge.engine.planning.anew import Consent
from sgforge.engine.planning.plan import LOCAL, Plan
from sgforge.engine.planning.resolve import resolve
from sgforge.engine.process.gc_pacing import seldom_collecting
from sgforge.engine.process.signals import calling_on
from sgforge.engine.reporting.events import RunFinished, RunStarted
from sgforge.engine.reporting.progress import Progress, choose_progress
from sgforge.engine.reporting.report import EXIT_CODES, RunReport, RunStatus
from sgforge.engine.session import Session
from sgforge.errors import ConfigError
from sgforge.file_refs import FILES_ROOT
from sgforge.images import Roots
from sgforge.plugins import Registry, load_plugins
from sgforge.steps import SourceStep, Step
from sgforge.text.blame import words_of

if TYPE_CHECKING:
    from sgforge.models import GatewaySettings
    from sgforge.models.gateway import Watcher

__all__ = ["Request", "named_sources", "run"]

_DRAINING: Final = "finishing what is in flight; Ctrl-C again cancels it"
_LOOK_EVERY: Final = 0.1
"""Seconds after which the main thread wakes from its wait: a signal that comes right before the wait begins is noted,
but its handler runs only when the main thread does."""


@attrs.frozen
class Request:
    """Everything that a run is asked to do. `responses`: the file of paid answers, None for the dataset's own.
    `keeps_larger`: with a limit, a branch whose version has more images stays where it is. `watcher`: what stands
    before calls that would be bought. `verify_files`: sources and pictures are read though they look as they were.
    `executor`: the name of one, or an instance. `consent`: whether answers may be bought anew. `faults`, `places`: what
    is wrong with the file that this was read from, and where in it things stand; a step or source that cannot be read
    is None."""

    steps: tuple[Step | None, ...]
    sources: Mapping[str, SourceStep | None]
    dataset: Path
    roots: Roots
    gateway: GatewaySettings
    models: Mapping[str, Any] = attrs.field(factory=dict)
    responses: Path | None = None
    limit: int | None = None
    branch: str = "main"
    seed: int = 0
    keeps_larger: bool = False
    verify_files: bool = False
    watcher: Watcher | None = None
    executor: Any = LOCAL
    consent: Consent = Consent()  # noqa: RUF009
    faults: tuple[Fault, ...] = ()
    places: Places | None = None

    def __attrs_post_init__(self) -> None:
        if self.limit is not None and (type(self.limit) is not int or self.limit < 1):
            raise ConfigError(f"limit must be a whole number from 1, not {self.limit!r}")
        if type(self.seed) is not int:
            raise ConfigError(f"seed must be a whole number, not {self.seed!r}")
        if FILES_ROOT in self.roots:
            raise ConfigError(f"root {FILES_ROOT!r} is the folder of files that steps make: give yours another name")
        check_branch(self.branch)

    def resolve(self, registry: Registry) -> Plan:
        """The checked plan; all faults in one error."""
        return resolve(
            registry,
            self.steps,
            self.sources,
            models=self.models,
            seed=self.seed,
            roots=self.roots,
            gateway=self.gateway,
            executor=self.executor,
            faults=self.faults,
            places=self.places,
        )


def named_sources(source: Any) -> dict[str, SourceStep]:
    """Sources by name: one alone is called "source"; an instance stands for its `SourceStep`."""
    from sgforge.config import DEFAULT_SOURCE

    given = source if isinstance(source, Mapping) else {DEFAULT_SOURCE: source}
    return {name: one if isinstance(one, SourceStep) else SourceStep(one) for name, one in given.items()}


def run(
    request: Request,
    progress: Progress | bool | None = None,
    signals: Sequence[signal.Signals] = (signal.SIGINT,),
) -> RunReport:
    """Do what is asked; whatever does not concern a single image is raised.

    The first of `signals` lets what is in flight finish and is answered with a report of status "interrupted"; a
    second one cancels and becomes KeyboardInterrupt; a third does not even wait for that.
    """
    registry = load_plugins()
    plan = request.resolve(registry)
    runner = _Runner(request, plan, registry, choose_progress(progress))
    with calling_on(signals, runner.interrupt):
        runner.start()
        runner.wait()
    return runner.result()


class _Runner:
    """The thread with the engine's event loop."""

    def __init__(self, request: Request, plan: Plan, registry: Registry, progress: Progress) -> None:
        self._request = request
        self._plan = plan
        self._registry = registry
        self._progress = progress
        self._thread = threading.Thread(target=self._main, name="sgforge-engine", daemon=True)
        # True for an interrupt, False for the end of the run. A signal's handler may put into no other queue.
        self._news: SimpleQueue[bool] = SimpleQueue()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[RunReport] | None = None
        self._stop: asyncio.Event | None = None
        self._report: RunReport | None = None
        self._error: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def interrupt(self) -> None:
        """Take note of a Ctrl-C; `wait` acts on it."""
        self._news.put(True)

    def wait(self) -> None:
        """Until the run has ended; a second interrupt cancels it and is raised."""
        interrupts = 0
        while self._next():
            interrupts += 1
            if interrupts > 2:
                # Whatever holds the engine up, the user has the last word; its threads are daemons.
                break
            # Between the start of the thread and its event loop there is nothing to stop yet.
            self._ready.wait()
            if interrupts == 1:
                sys.stderr.write(f"{_DRAINING}\n")
                sys.stderr.flush()
                if self._stop is not None:
                    self._soon(self._stop.set)
            elif self._task is not None:
                self._soon(self._task.cancel)
        if interrupts > 1:
            raise KeyboardInterrupt

    def _next(self) -> bool:
        while True:
            with suppress(Empty):
                return self._news.get(timeout=_LOOK_EVERY)

    def _soon(self, action: Callable[[], object]) -> None:
        """Call `action` on the engine's loop, if that has not ended in this moment."""
        # Set once and never taken back, so it may be looked at from here; that it is closed may not.
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(action)

    def result(self) -> RunReport:
        if self._error is not None:
            raise self._error
        assert self._report is not None
        return self._report

    def _main(self) -> None:
        try:
            self._report = asyncio.run(self._run())
        except BaseException as error:
            self._error = error
        finally:
            # Also when there never was a loop: nobody may wait for one.
            self._ready.set()
            self._news.put(False)

    async def _run(self) -> RunReport:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._stop = asyncio.Event()
        self._ready.set()
        request, plan = self._request, self._plan
        responses = request.responses or request.dataset / "responses.sqlite"
        try:
            from sgforge.dataset import DatasetWriter

            for note in plan.notes:
                self._progress.note(note)
            with (
                tempfile.TemporaryDirectory(prefix="sgforge-") as scratch,
                DatasetWriter.open(request.dataset) as writer,
            ):
                for note in writer.states().notes():
                    self._progress.note(note)
                async with (
                    open_models(
                        plan.model_names(),
                        plan.models,
                        registry=self._registry,
                        responses=responses,
                        settings=request.gateway,
                        watcher=request.watcher,
                        tell=self._progress.note,
                    ) as models,
                    open_door(plan.executor) as door,
                ):
                    context = Context(
                        run_id=_new_run_id(),
                        plan=plan,
                        writer=writer,
                        states=writer.states(),
                        models=models,
                        roots=request.roots.with_files(writer.files.folder),
                        scratch=Path(scratch),
                        events=self._registry.events,
                        progress=self._progress,
                        stop=self._stop,
                        door=door,
                        branch=request.branch,
                        consent=request.consent,
                        asks_again=request.gateway.retry_failed,
                    )
                    async with models.halted_by(self._stop), seldom_collecting():
                        return await _with_events(context, request, self._registry)
        finally:
            self._progress.close()


async def _with_events(context: Context, request: Request, registry: Registry) -> RunReport:
    """The run between its first and its last event."""
    from sgforge.dataset import RunRecord

    started = time.time()
    config = _config_json(context.plan, request)
    stamp = datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds")
    context.writer.begin_run(RunRecord(context.run_id, config, _versions(registry), stamp))
    names = tuple(step.name for step in context.plan.steps)
    context.events.sgforge_run_started(
        event=RunStarted(
            run_id=context.run_id,
            dataset=request.dataset,
            branch=request.branch,
            steps=names,
            started=started,
            config=config,
        )
    )
    session = Session(
        context,
        request.limit,
        keeps_larger=request.keeps_larger,
        verify_files=request.verify_files,
    )
    status: RunStatus = "failed"
    message = ""
    try:
        report = await session.run()
        status, message = report.status, report.message
        return report
    except BaseException as error:
        message = f"{type(error).__name__}: {words_of(error)}"
        raise
    finally:
        counts = {report.name: report.counts for report in session.reports}
        context.events.sgforge_run_finished(
            event=RunFinished(
                run_id=context.run_id,
                status=status,
                exit_code=EXIT_CODES[status],
                counts=counts,
                seconds=time.time() - started,
                message=message,
            )
        )


def _new_run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def _versions(registry: Registry) -> dict[str, str]:
    from sgforge import __version__

    found = {"python": platform.python_version(), "sgforge": __version__}
    for report in registry.reports:
        owner = report.owner
        if owner.distribution is not None and owner.version is not None:
            found[owner.distribution] = owner.version
    return found


def _config_json(plan: Plan, request: Request) -> str:
    """The run's pipeline as JSON, without secrets and without paths of this machine."""
    sources = {name: {"use": spec.name, **json.loads(options_json(spec))} for name, spec in plan.sources.items()}
    for name, copies in plan.copies.items():
        sources[name]["copies"] = copies
    steps = [
        {
            step.verb.name: step.spec.name,
            "name": step.name,
            "on": {"source": step.on.sources, "split": step.on.splits},
            "weights": step.weights,
            **json.loads(options_json(step.spec)),
        }
        for step in plan.steps
    ]
    return json.dumps({"sources": sources, "step": steps, "seed": plan.seed, "limit": request.limit}, sort_keys=True)
