"""Batch mode: requests the cache cannot answer go to the vendor's batch endpoint, and their answers into the cache.

`spooler.Spooler` is the watcher of a run that only submits. `BatchDesk` does the rest, in any later process: find out
how batches stand, collect them, cancel them. What a batch leaves unanswered (expired, failed, cancelled) is simply
missing from the cache again, so the next submit or run asks for these requests alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from sgforge.errors import SgforgeError
from sgforge.models.batch.rows import (
    BatchRow,
    Item,
    batches,
    collect_items,
    drop_batch,
    find_items,
    free_items,
    set_state,
)
from sgforge.models.batch.spool import drop_orphans, read_spool, spool_folder
from sgforge.models.errors import ModelError, ProviderError
from sgforge.models.gateway import BoundModel, Gateway
from sgforge.models.money.ledger import StoredAnswer, find_answer
from sgforge.models.provider import UNREADABLE, BatchProvider, BatchResult
from sgforge.models.purchase import Bought
from sgforge.models.values import Usage
from sgforge.models.wire.api_keys import redact, redact_body
from sgforge.text.wording import counted

__all__ = ["BatchDesk", "Collected"]

_CHUNK: Final = 256


@attrs.frozen
class Collected:
    """What came of one batch: `answers` by outcome, `freed` by reason (to be asked again); None while it runs.

    `skipped`: lines of its results that could not be read. `left`: requests that stay in it, as no line could be.
    """

    row: BatchRow
    answers: Mapping[str, int] | None = None
    freed: Mapping[str, int] | None = None
    skipped: int = 0
    left: int = 0

    @property
    def told(self) -> str:
        """For people: what came, what is to be asked again, what could not be read."""
        answers, freed = _counts(self.answers or {}), _counts(self.freed or {})
        told = (answers or "no answers") + (f"; to be asked again: {freed}" if freed else "")
        told += f"; {counted(self.skipped, 'line')} could not be read" if self.skipped else ""
        if self.left:
            told += (
                f"; {counted(self.left, 'request')} left in it: collect again, or let go of it with "
                f"sgforge batch forget CONFIG {self.row.tag}"
            )
        return told


class BatchDesk:
    """What is done about batches that were submitted earlier, maybe by a process that is gone."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._store = gateway.store

    async def send(self, batch: int, model: BoundModel, tag: str, spool: Path) -> None:
        """Hand an entered batch to the vendor. A clear refusal drops it; an unclear end leaves the intent."""
        entries = await asyncio.to_thread(lambda: list(read_spool(spool)))
        try:
            remote_id = await _provider(model).submit_batch(entries, tag)
        except ProviderError as error:
            if error.status is not None and not error.maybe_billed:
                await self._drop(batch, "not_submitted")
                spool.unlink(missing_ok=True)
            raise _as_model_error(model, error, "submitting a batch") from error
        await self._store.write(set_state(batch, "submitted", remote_id))
        spool.unlink(missing_ok=True)

    async def recover(self) -> list[str]:
        """Settle intents whose submit never came back: adopt the vendor's batch, or submit again. Notes for people."""
        rows = [row for row in batches(self._store, open_only=True) if row.state == "intent"]
        drop_orphans(spool_folder(self._store.path), {row.spool for row in rows})
        return [await self._recover(row) for row in rows]

    async def status(self) -> list[BatchRow]:
        """All batches, those under way with the vendor's status of this moment."""
        for row in batches(self._store, open_only=True):
            if row.state == "submitted" and row.remote_id is not None:
                await self._look(row)
        return batches(self._store)

    async def collect(self) -> list[Collected]:
        """Bring in every batch that has ended. May be interrupted and repeated at any point."""
        found: list[Collected] = []
        for row in batches(self._store, open_only=True):
            ended = row.state == "submitted" and await self._look(row)
            found.append(await self._collect(row) if ended else Collected(row))
        return found

    async def cancel(self, tags: Sequence[str] = ()) -> list[str]:
        """Ask vendors to end these batches, all by default; what was done is still to be collected."""
        rows = [row for row in batches(self._store, open_only=True) if not tags or row.tag in tags]
        unknown = sorted(set(tags) - {row.tag for row in rows})
        if unknown:
            raise SgforgeError(f"no open batch {', '.join(unknown)}: see sgforge batch status")
        for row in rows:
            if row.remote_id is None:
                await self._drop(row.id, "cancelled")
                continue
            model = self._gateway.bind(row.model)
            try:
                await _provider(model).cancel_batch(row.remote_id)
            except ProviderError as error:
                raise _as_model_error(model, error, f"cancelling batch {row.remote_id}") from error
        return [row.tag for row in rows]

    async def forget(self, tags: Sequence[str]) -> list[tuple[str, int]]:
        """Let go of these open batches, whatever the vendor says of them: (tag, requests that are free again). Their
        cost stays booked at its worst case, as the vendor may bill it."""
        rows = {row.tag: row for row in batches(self._store, open_only=True)}
        unknown = sorted(set(tags) - set(rows))
        if unknown or not tags:
            named = ", ".join(unknown) or "named"
            raise SgforgeError(f"no open batch {named}: see sgforge batch status")
        forgotten = []
        for tag in dict.fromkeys(tags):
            freed = await self._free(rows[tag].id, "forgotten", maybe_billed=True)
            await self._store.write(set_state(rows[tag].id, "dropped", status="forgotten"))
            (spool_folder(self._store.path) / rows[tag].spool).unlink(missing_ok=True)
            forgotten.append((tag, freed))
        return forgotten

    async def _recover(self, row: BatchRow) -> str:
        model = self._gateway.bind(row.model)
        known = {other.remote_id for other in batches(self._store)}
        try:
            found = await _provider(model).find_batches(row.tag, row.at, row.total)
        except ProviderError as error:
            raise _as_model_error(model, error, "looking for a batch") from error
        candidates = [remote_id for remote_id in found if remote_id not in known]
        if len(candidates) > 1:
            candidates = [remote_id for remote_id in candidates if await self._may_be(row, model, remote_id)]
        if len(candidates) == 1:
            await self._store.write(set_state(row.id, "submitted", candidates[0]))
            return f"{row.tag}: found at the vendor as {candidates[0]}"
        if candidates:
            return f"{row.tag}: the vendor has {len(candidates)} batches like it; cancel it here to ask again"
        spool = spool_folder(self._store.path) / row.spool
        if spool.exists():
            await self.send(row.id, model, row.tag, spool)
            return f"{row.tag}: had not reached the vendor, submitted again"
        await self._drop(row.id, "not_submitted")
        return f"{row.tag}: had not reached the vendor, dropped; its requests will be asked again"

    async def _may_be(self, row: BatchRow, model: BoundModel, remote_id: str) -> bool:
        """Whether a batch at the vendor may be this one: of one that has ended the first readable line tells."""
        provider = _provider(model)
        try:
            if not (await provider.batch_state(remote_id)).ended:
                return True
            async for result in provider.batch_results(remote_id):
                if result.custom_id:
                    return bool(find_items(self._store, row.id, [result.custom_id]))
        except ProviderError as error:
            raise _as_model_error(model, error, f"looking into batch {remote_id}") from error
        return False

    async def _look(self, row: BatchRow) -> bool:
        """Note the vendor's status; True if the batch has ended."""
        model = self._gateway.bind(row.model)
        assert row.remote_id is not None
        try:
            state = await _provider(model).batch_state(row.remote_id)
        except ProviderError as error:
            raise _as_model_error(model, error, f"asking for batch {row.remote_id}") from error
        told = f"{state.status}: {state.succeeded} done, {state.failed} failed of {state.total}"
        await self._store.write(set_state(row.id, "submitted", status=told))
        return state.ended

    async def _collect(self, row: BatchRow) -> Collected:
        model = self._gateway.bind(row.model)
        answers: Counter[str] = Counter()
        freed: Counter[str] = Counter()
        chunk: list[BatchResult] = []
        assert row.remote_id is not None
        try:
            async for result in _provider(model).batch_results(row.remote_id):
                chunk.append(result)
                if len(chunk) == _CHUNK:
                    await self._take(row, model, chunk, answers, freed)
                    chunk = []
        except ProviderError as error:
            raise _as_model_error(model, error, f"collecting batch {row.remote_id}") from error
        await self._take(row, model, chunk, answers, freed)
        # A file without one line that can be read is none: what the batch holds may still come, and is paid.
        skipped = freed.pop(UNREADABLE, 0)
        if skipped and not answers and not freed:
            left = len(self._store.read("SELECT 1 FROM batch_item WHERE batch = ?", (row.id,)))
            collected = Collected(row, answers=answers, freed=freed, skipped=skipped, left=left)
            await self._store.write(set_state(row.id, "submitted", status=collected.told))
            return collected
        missing = await self._free(row.id, "missing", maybe_billed=skipped > 0)
        freed.update({"missing": missing} if missing else {})
        collected = Collected(row, answers, freed, skipped)
        await self._store.write(set_state(row.id, "collected", status=collected.told))
        return collected

    async def _take(
        self,
        row: BatchRow,
        model: BoundModel,
        results: Sequence[BatchResult],
        answers: Counter[str],
        freed: Counter[str],
    ) -> None:
        """One chunk of results in one transaction each for answers and for failures."""
        items = find_items(self._store, row.id, [result.custom_id for result in results])
        settled: list[tuple[Item, StoredAnswer, Usage, int | None]] = []
        failed: list[tuple[Item, str]] = []
        for result in results:
            item = items.pop(result.custom_id, None)
            if not result.custom_id:
                freed[UNREADABLE] += 1
            if item is None:
                continue  # collected before an interruption, or none of ours
            try:
                settled.append(self._settle(item, model, result))
            except ModelError as error:
                failed.append((item, error.reason))
        await self._store.write(collect_items(settled))
        await self._store.write(free_items(failed))
        self._gateway.waiting.difference_update(entry[0].key for entry in settled)
        self._gateway.waiting.difference_update(entry[0].key for entry in failed)
        answers.update(answer.outcome for _, answer, _, _ in settled)
        freed.update(reason for _, reason in failed)

    def _settle(
        self, item: Item, model: BoundModel, result: BatchResult
    ) -> tuple[Item, StoredAnswer, Usage, int | None]:
        if result.raw is None:
            raise ModelError(result.reason, result.detail)
        raw = redact_body(result.raw)
        try:
            reply = model.caller.read(raw)
        except ProviderError as error:
            raise ModelError(_reason(error), redact(str(error))) from error
        usage = reply.usage or Usage(input=item.terms.input_bound, output=item.terms.max_tokens)
        bought = Bought(
            raw=raw,
            reply=reply,
            usage=usage,
            cost_nano=model.caller.cost(usage, batch=True),
            notes=item.terms.notes,
        )
        stored = find_answer(self._store, item.key)
        faulty = stored if stored is not None and stored.outcome == "unrepaired" else None
        answer = model.caller.judge(item.key, item.terms.request(), bought, faulty, item.terms.base)
        return item, answer, usage, bought.cost_nano

    async def _drop(self, batch: int, reason: str) -> None:
        await self._free(batch, reason)
        await self._store.write(set_state(batch, "dropped", status=reason))

    async def _free(self, batch: int, reason: str, maybe_billed: bool = False) -> int:
        """Let what still waits in a batch be asked again; how much that was."""
        freed = await self._store.write(drop_batch(batch, reason, maybe_billed))
        left = {row[0] for row in self._store.read("SELECT key FROM batch_item")}
        self._gateway.waiting.intersection_update(left)
        return freed


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _provider(model: BoundModel) -> BatchProvider:
    provider = model.caller.provider
    if not isinstance(provider, BatchProvider):
        raise ModelError("no_batch", f"{model.name} has no batch endpoint")
    return provider


def _reason(error: ProviderError) -> str:
    return error.reason if error.status is None else f"http_{error.status}"


def _as_model_error(model: BoundModel, error: ProviderError, doing: str) -> ModelError:
    status = f"HTTP {error.status}: " if error.status is not None else ""
    return ModelError(
        _reason(error),
        f"{model.name}, {doing}: {status}{redact(str(error))}",
    )
