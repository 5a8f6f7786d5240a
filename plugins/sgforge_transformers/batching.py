"""Calls that arrive close together become one batch of the device."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import attrs

__all__ = ["Asked", "Batcher", "Sampling"]

_GATHER_S: Final = 0.01


@attrs.frozen
class Sampling:
    """How to generate; only calls with the same one can share a batch."""

    max_tokens: int
    temperature: float | None
    top_p: float | None
    seed: int | None


@attrs.frozen(eq=False)
class Asked:
    """One conversation to be continued."""

    conversation: Sequence[Mapping[str, Any]]
    sampling: Sampling
    choices: tuple[str, ...]


@attrs.define(eq=False)
class _Waiting:
    asked: Asked
    future: asyncio.Future[bytes]


class Batcher:
    """Gathers calls for a moment, runs those of one sampling together, at most `batch_size`; one batch at a time.

    A call with a seed runs alone: what it draws must not depend on its neighbours.
    """

    def __init__(self, run: Callable[[list[Asked]], Awaitable[list[bytes]]], batch_size: int) -> None:
        self._run = run
        self._batch_size = batch_size
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, asked: Asked) -> bytes:
        """The answer of one call."""
        waiting = _Waiting(asked, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await waiting.future

    def close(self) -> None:
        """Take no more batches."""
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        while self._waiting:
            if len(self._waiting) < self._batch_size:
                await asyncio.sleep(_GATHER_S)
            batch = self._take()
            if not batch:
                continue
            try:
                answers = await self._run([waiting.asked for waiting in batch])
            except Exception as error:
                for waiting in batch:
                    if not waiting.future.done():
                        waiting.future.set_exception(error)
                continue
            for waiting, answer in zip(batch, answers, strict=True):
                if not waiting.future.done():
                    waiting.future.set_result(answer)

    def _take(self) -> list[_Waiting]:
        """The oldest call and what can run with it."""
        self._waiting = [waiting for waiting in self._waiting if not waiting.future.done()]
        if not self._waiting:
            return []
        sampling = self._waiting[0].asked.sampling
        most = 1 if sampling.seed is not None else self._batch_size
        batch = [waiting for waiting in self._waiting if waiting.asked.sampling == sampling][:most]
        self._waiting = [waiting for waiting in self._waiting if waiting not in batch]
        return batch
