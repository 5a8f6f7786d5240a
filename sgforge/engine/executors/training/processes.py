"""The processes of one training: started together, ended together, each told which of them it is.

They are one process group, so that whatever one of them started ends with all, and each has a pipe from the engine as
its standard input: when that closes the engine is gone, and whoever notices ends the group. No agent stands between:
one would have to be killed too, and torch's starts its workers in sessions of their own, which outlive it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from sgforge.steps import RunSettings

__all__ = ["Ended", "leave_process_group", "run_together", "surroundings"]

_MODULE: Final = "sgforge.engine.executors.training.child"
_LOOPBACK: Final = "127.0.0.1"


@attrs.frozen(kw_only=True)
class Ended:
    """How the processes of a training ended. `codes`: by rank, negative for a signal.

    `failed`: the ranks that had ended badly of themselves before the others were made to. `why`: what ended it.
    """

    codes: tuple[int, ...]
    failed: tuple[int, ...] = ()
    why: Literal["done", "failed", "stopped", "timeout"] = "done"


Orders = Mapping[str, Any]


async def run_together(
    orders: Sequence[Orders],
    logs: Sequence[Path],
    run: RunSettings,
    stop: asyncio.Event,
    has_answered: Callable[[int], bool],
) -> Ended:
    """Run one process per rank to their ends, each with its orders and its log; one that fails ends all.

    `has_answered`: whether a rank has left a good answer. Then its code is 0, whatever it met while it was taken apart:
    threads of `torch.distributed` may abort a process that is done. The orders, to which the number of the process
    group is added, go through a pipe and never to a disk, so that nobody can leave them there.
    """
    processes: list[Process] = []
    environment = surroundings(len(logs))
    try:
        for rank, log in enumerate(logs):
            try:
                processes.append(await _start(rank, log, environment, processes))
            except (PermissionError, ProcessLookupError):
                if not processes:
                    raise
                # The first has died already, and its group with it: there is nothing to join.
                _signal(processes[0].pid, signal.SIGKILL)
                return Ended(codes=(await processes[0].wait() or 1,), failed=(0,), why="failed")
        return await _follow(processes, orders, run, stop, has_answered)
    finally:
        # Cancelled or done: no second training may begin in this folder while anything of this one still writes to it.
        if processes:
            _signal(processes[0].pid, signal.SIGKILL)
            await asyncio.gather(*(process.wait() for process in processes))


def leave_process_group() -> None:
    """End what a training may have begun of `torch.distributed`, which asks for that."""
    found = sys.modules.get("torch.distributed")
    if found is not None and found.is_available() and found.is_initialized():
        found.destroy_process_group()


async def _start(rank: int, log: Path, environment: Mapping[str, str], before: Sequence[Process]) -> Process:
    with log.open("ab") as stream:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            _MODULE,
            stdin=asyncio.subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            process_group=before[0].pid if before else 0,
        )


def surroundings(world: int) -> dict[str, str]:
    """The environment of every process, but for its rank: what `torch.distributed` reads, and what torchrun sets."""
    # What an agent around the whole run had set would point these processes to its own store.
    found = {key: value for key, value in os.environ.items() if not key.startswith("TORCHELASTIC_")}
    size = str(world)
    found |= {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": _LOOPBACK, "MASTER_PORT": str(_free_port())}
    # Threads that wait for each other in busy loops take the cores from whatever else runs, and from each other.
    found.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if world > 1:
        # Each would else take every core, and they would wait for each other.
        found.setdefault("OMP_NUM_THREADS", "1")
    return found


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((_LOOPBACK, 0))
        port: int = one.getsockname()[1]
        return port


async def _follow(
    processes: Sequence[Process],
    orders: Sequence[Orders],
    run: RunSettings,
    stop: asyncio.Event,
    has_answered: Callable[[int], bool],
) -> Ended:
    """Until all have ended, one has failed, `stop` is set or the time is over; none is left then."""
    group = processes[0].pid
    ends = [
        asyncio.ensure_future(_lead(process, {**given, "group": group}, partial(has_answered, rank)))
        for rank, (process, given) in enumerate(zip(processes, orders, strict=True))
    ]
    stopped = asyncio.ensure_future(stop.wait())
    failed: tuple[int, ...] = ()
    try:
        why = await _wait(ends, stopped, run.timeout_s)
        if why == "failed":
            failed = tuple(rank for rank, end in enumerate(ends) if end.done() and end.result())
        elif why != "done":
            # The whole group: loaders and helpers of the training end with it.
            _signal(group, signal.SIGTERM)
            await asyncio.wait(ends, timeout=run.grace_s)
        _signal(group, signal.SIGKILL)
        return Ended(codes=tuple(await asyncio.gather(*ends)), failed=failed, why=why)
    finally:
        for future in (stopped, *ends):
            future.cancel()


async def _wait(
    ends: Sequence[asyncio.Future[int]], stopped: asyncio.Future[Literal[True]], timeout: float | None
) -> Literal["done", "failed", "stopped", "timeout"]:
    loop = asyncio.get_running_loop()
    over = None if timeout is None else loop.time() + timeout
    pending: set[asyncio.Future[int]] = set(ends)
    while pending:
        left = None if over is None else max(over - loop.time(), 0)
        awaited: set[asyncio.Future[Any]] = {*pending, stopped}
        done, _ = await asyncio.wait(awaited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        pending -= done
        if any(end.done() and end.result() for end in ends):
            return "failed"
        if pending and stopped.done():
            return "stopped"
        if not done:
            return "timeout"
    return "done"


async def _lead(process: Process, orders: Orders, has_answered: Callable[[], bool]) -> int:
    """Give a process its orders and wait for its end; its exit code, 0 where it has answered."""
    assert process.stdin is not None
    process.stdin.write(json.dumps(orders).encode() + b"\n")
    with suppress(ConnectionError):  # it has ended already, and will be asked why
        await process.stdin.drain()
    code = await process.wait()
    return 0 if has_answered() else code


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
