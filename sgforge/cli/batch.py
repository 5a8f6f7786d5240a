"""`sgforge batch submit|status|collect|cancel|forget CONFIG`: ask models through their vendors' batch endpoints."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import attrs

from sgforge.cli.requests import add_config_arguments, add_yes, build_request
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

if TYPE_CHECKING:
    from sgforge.engine.launch import Request
    from sgforge.models import Gateway
    from sgforge.models.batch.desk import BatchDesk, Collected
    from sgforge.models.batch.rows import BatchRow
    from sgforge.models.batch.submit import Submitted

_EXAMPLES = """\
examples:
  sgforge batch submit pipeline.toml         hand every request the cache cannot answer to the vendor; then exit
  sgforge batch status pipeline.toml         how the batches stand, in any later process
  sgforge batch collect pipeline.toml --wait 600     bring the answers in, looking every 600 seconds until all ended
  sgforge run pipeline.toml                  goes on with the collected answers; nothing is bought twice
  sgforge batch cancel pipeline.toml TAG     end a batch; what was done is still collected
  sgforge batch forget pipeline.toml TAG     let go of one that cannot be collected; its cost stays booked

A step that needs the answers of an earlier one gets its turn with the next submit. Expired and failed requests are
asked again by the next submit or run, alone."""
_OUTLINE: Final = ("tag", "model", "state", "status", "total", "waiting")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("action", choices=("submit", "status", "collect", "cancel", "forget"), help="what to do")
    add_config_arguments(parser, _EXAMPLES)
    add_yes(parser)
    parser.add_argument(
        "tags", nargs="*", metavar="TAG", help="batches to cancel (default: all open ones) or to forget"
    )
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="collect: look again until all have ended")


def run(args: argparse.Namespace) -> int:
    """Do one of the five."""
    request = build_request(args)
    if args.action == "submit":
        return _submit(args, request)
    action = {"status": _status, "collect": _collect, "cancel": _cancel, "forget": _forget}[args.action]
    asyncio.run(_at_desk(request, lambda desk: action(args, desk)))
    return 0


def _submit(args: argparse.Namespace, request: Request) -> int:
    """Run the pipeline with a gateway that spools calls in place of making them."""
    from sgforge.engine.launch import run as run_pipeline
    from sgforge.models.batch.submit import Spooler

    asyncio.run(_at_desk(request, _recover))
    spooler = Spooler()
    report = run_pipeline(attrs.evolve(request, watcher=spooler), progress=True)
    submitted = spooler.submitted
    if args.json:
        print(json.dumps([attrs.asdict(batch) for batch in submitted]))
    else:
        print("\n".join(_submitted_lines(submitted)))
    if report.status == "interrupted":
        print("sgforge: stopped; the same command submits the rest", file=sys.stderr)
        return report.exit_code
    return 0


def _submitted_lines(submitted: list[Submitted]) -> Iterator[str]:
    for batch in submitted:
        yield f"{batch.tag}: {counted(batch.requests, 'request')} to {batch.model}, {batch.bytes / 1e6:.1f} MB"
    if submitted:
        yield "images whose requests wait in a batch count as failed until it is collected"
    else:
        yield "nothing to submit: the cache answers everything that can be asked now, or it waits in a batch already"


async def _recover(desk: BatchDesk) -> None:
    for note in await desk.recover():
        print(note, file=sys.stderr)


async def _at_desk(request: Request, work: Callable[[BatchDesk], Awaitable[None]]) -> None:
    """Work on the batches of the responses file that a config names."""
    from sgforge.engine.models.providers import provider_resolver, typed_models
    from sgforge.models import Gateway
    from sgforge.models.batch.desk import BatchDesk
    from sgforge.plugins import load_plugins

    responses = request.responses or request.dataset / "responses.sqlite"
    async with Gateway.open(responses, request.gateway, provider_resolver(load_plugins())) as gateway:
        _bind(gateway, typed_models(request.models))
        await work(BatchDesk(gateway))


def _bind(gateway: Gateway, models: dict[str, Any]) -> None:
    for name, settings in models.items():
        gateway.bind(name, settings)


async def _status(args: argparse.Namespace, desk: BatchDesk) -> None:
    notes = await desk.recover()
    rows = await desk.status()
    if args.json:
        print(json.dumps([_outline(row) for row in rows]))
        return
    print("\n".join(notes + [_row_line(row) for row in rows] or ["no batches"]))


async def _collect(args: argparse.Namespace, desk: BatchDesk) -> None:
    notes = await desk.recover()
    found = await desk.collect()
    done = [entry for entry in found if entry.answers is not None]
    while args.wait is not None and any(entry.answers is None for entry in found):
        await asyncio.sleep(args.wait)
        found = await desk.collect()
        done += [entry for entry in found if entry.answers is not None]
    running = [entry for entry in found if entry.answers is None]
    if args.json:
        print(json.dumps([_collected_json(entry) for entry in (*done, *running)]))
    else:
        print("\n".join(notes + list(_collected_lines(done, running))))


async def _cancel(args: argparse.Namespace, desk: BatchDesk) -> None:
    tags = await desk.cancel(args.tags)
    if args.json:
        print(json.dumps(list(tags)))
        return
    print("\n".join([f"{tag}: cancelled; collect what was done" for tag in tags] or ["no open batches"]))


async def _forget(args: argparse.Namespace, desk: BatchDesk) -> None:
    forgotten = await desk.forget(args.tags)
    if args.json:
        print(json.dumps(dict(forgotten)))
        return
    for tag, freed in forgotten:
        print(f"{tag}: forgotten; {counted(freed, 'request')} may be asked again, their cost stays booked")


def _row_line(row: BatchRow) -> str:
    waiting = f", {row.waiting} waiting" if row.waiting else ""
    return f"{row.tag}  {row.model}  {row.state}  {counted(row.total, 'request')}{waiting}  {visible(row.status)}"


def _outline(row: BatchRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _OUTLINE}


def _collected_lines(done: list[Collected], running: list[Collected]) -> Iterator[str]:
    for entry in done:
        yield f"{entry.row.tag}: {entry.told}"
    yield from (f"{_row_line(entry.row)}: not ended" for entry in running)
    if not done and not running:
        yield "no open batches"


def _collected_json(entry: Collected) -> dict[str, Any]:
    return {**_outline(entry.row), "answers": entry.answers, "freed": entry.freed, **_unread(entry)}


def _unread(entry: Collected) -> dict[str, Any]:
    return {"skipped": entry.skipped, "left": entry.left}
