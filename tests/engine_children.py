"""A toy executor: whatever may leave the driver works in child processes, over pipes; and components that meet trouble.

The module is a plugin, so that the children find it too. A message is its length, a letter, a number and its bytes.
"""

from __future__ import annotations

import asyncio
import io
import os
import signal
import struct
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import attrs
import msgpack
from engine_toys import StageOptions, ToyTeacher, log
from support.waiting import wait_until

import sgforge
from sgforge.edits import Edit
from sgforge.engine.executors.answering import Outcome
from sgforge.engine.executors.crew import Crew, Lane
from sgforge.engine.executors.error_messages import error_fields, error_of
from sgforge.engine.executors.file_messages import DistantFiles
from sgforge.engine.executors.local import LocalExecutor
from sgforge.engine.executors.model_messages import DistantModel, answer_question
from sgforge.engine.executors.picture_messages import DistantRoots
from sgforge.engine.executors.station import Station, open_station, pack_asked, unpack_answers
from sgforge.engine.executors.work import Work
from sgforge.engine.executors.work_messages import pack_work, unpack_work
from sgforge.errors import SgforgeError, StepError
from sgforge.graph import Relation, Sample
from sgforge.models import ChatRequest, Message, TextPart
from sgforge.plugins import load_plugins
from sgforge.stages import Failure, Needs, Resources

HEAD = struct.Struct("<IcI")
WORK, READY, BROKEN, SAMPLES, OUTCOMES, QUESTION, ANSWER, STOP, CLOSE = (letter.encode() for letter in "WRBSOQAXC")


@attrs.frozen
class ChildOptions:
    """`shares_roots`: whether children are told the folders of pictures. `refuses`: why there can be no child."""

    shares_roots: bool = True
    refuses: str = ""


class ChildExecutor:
    """Opens crews whose workers are child processes; the processes of a training are children of such a one."""

    trains = True

    def __init__(self, options: ChildOptions = ChildOptions()) -> None:
        self.options = options
        self.opened: list[Work] = []

    async def open(self, work: Work, /) -> Crew:
        self.opened.append(work)
        if self.options.refuses:
            raise StepError(f"no child: {self.options.refuses}")
        shares = self.options.shares_roots
        if work.answers == "checkpoint" and not shares:
            # A training may read pictures by their paths.
            return await LocalExecutor().open(work)
        count = work.workers or 1
        batch = 1 if work.answers == "checkpoint" else work.batch
        crew = ChildCrew([ChildWorker(work.of_worker(number, count), shares) for number in range(count)], batch)
        started = await asyncio.gather(*(worker.process() for worker in crew.workers), return_exceptions=True)
        for error in started:
            if isinstance(error, BaseException):
                await crew.close()
                raise error
        return crew


class ChildCrew:
    def __init__(self, workers: Sequence[ChildWorker], batch: int) -> None:
        self.workers = workers
        self.lanes = [Lane(worker.answer, batch, 2) for worker in workers]

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()

    async def close(self) -> None:
        for worker in self.workers:
            await worker.close()

    def abandon(self) -> None:
        for worker in self.workers:
            worker.kill()


class LostError(Exception):
    """A child ended while it was asked."""


class ChildWorker:
    """One child after the other: a batch whose child was lost is given to the next, once."""

    def __init__(self, work: Work, shares_roots: bool) -> None:
        self._work = work
        self._shares_roots = shares_roots
        self._child: Child | None = None
        self._starting = asyncio.Lock()
        self._is_stopped = False

    async def process(self) -> Child:
        async with self._starting:
            if self._child is None or self._child.is_lost:
                self._child = await Child.open(self._work, self._shares_roots)
                await self._child.ready()
            return self._child

    async def answer(self, asked: Sequence[Any]) -> list[Outcome]:
        message = pack_asked(self._work, asked)
        why = ""
        for _ in range(2):
            if self._is_stopped:
                return []
            child = await self.process()
            try:
                return unpack_answers(self._work, await child.ask(message))
            except LostError as error:
                why = str(error)
        raise StepError(f"{self._work.spec.name}: two workers were lost over the same images, the last {why}")

    def stop(self) -> None:
        self._is_stopped = True
        if self._child is not None:
            self._child.tell(STOP)

    async def close(self) -> None:
        if self._child is not None:
            self._child.tell(CLOSE)
            await self._child.ended()

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()


class Child:
    """One child process, from the driver's side."""

    def __init__(self, work: Work, process: asyncio.subprocess.Process) -> None:
        self._work = work
        self._process = process
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {0: asyncio.get_running_loop().create_future()}
        self._questions: set[asyncio.Task[None]] = set()
        self._reading = asyncio.create_task(self._read())
        self.is_lost = False

    @classmethod
    async def open(cls, work: Work, shares_roots: bool) -> Child:
        """A process that gets ready; `ready` waits until it is."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "engine_children", stdin=pipe, stdout=pipe, start_new_session=True
        )
        child = cls(work, process)
        child.tell(WORK, 0, pack_work(work, shares_roots=shares_roots))
        return child

    async def ready(self) -> None:
        await self._waiting[0]

    async def ask(self, message: bytes) -> bytes:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self.tell(SAMPLES, number, message)
        try:
            return await self._waiting[number]
        finally:
            self._waiting.pop(number, None)

    def tell(self, letter: bytes, number: int = 0, body: bytes = b"") -> None:
        assert self._process.stdin is not None
        if not self.is_lost:
            self._process.stdin.write(HEAD.pack(len(body), letter, number) + body)

    async def ended(self) -> None:
        await self._process.wait()
        await self._reading

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def _read(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            while True:
                size, letter, number = HEAD.unpack(await self._process.stdout.readexactly(HEAD.size))
                self._take(letter, number, await self._process.stdout.readexactly(size))
        except asyncio.IncompleteReadError:
            self.is_lost = True
            self._process.stdin.close()
            code = await self._process.wait()
            why = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(LostError(why))

    def _take(self, letter: bytes, number: int, body: bytes) -> None:
        if letter == QUESTION:
            task = asyncio.create_task(self._answer_question(number, body))
            self._questions.add(task)
            task.add_done_callback(self._questions.discard)
        elif letter == BROKEN:
            self._waiting[0].set_exception(error_of(msgpack.unpackb(body)))
        elif number in self._waiting:
            self._waiting[number].set_result(body)

    async def _answer_question(self, number: int, question: bytes) -> None:
        resources, images = self._work.resources, self._work.images
        self.tell(ANSWER, number, await answer_question(resources.models, question, resources.files, images))


def _work(link: Link) -> Work:
    return unpack_work(
        link.work, load_plugins(), link.lend, files=DistantFiles(link.send), images=DistantRoots(link.send)
    )


class Link:
    """The child's end of the pipes: a thread reads, whoever has something to say writes."""

    def __init__(self) -> None:
        # What a component prints must not get among the messages.
        self._out = os.dup(1)
        os.dup2(2, 1)
        self._writing = threading.Lock()
        self._numbers = count(1)
        self._asked: dict[int, Future[bytes]] = {}
        self.batches: SimpleQueue[tuple[int, bytes] | None] = SimpleQueue()
        self.station: Station | None = None
        _, _, self.work = self._message()
        threading.Thread(target=self._read, daemon=True).start()

    def lend(self, fields: Mapping[str, object]) -> DistantModel:
        return DistantModel.of(fields, self.send)

    def send(self, question: bytes) -> Future[bytes]:
        number, future = next(self._numbers), Future[bytes]()
        self._asked[number] = future
        self.tell(QUESTION, number, question)
        return future

    def tell(self, letter: bytes, number: int = 0, body: bytes = b"") -> None:
        data = memoryview(HEAD.pack(len(body), letter, number) + body)
        with self._writing:
            while data:
                data = data[os.write(self._out, data) :]

    def _message(self) -> tuple[bytes, int, bytes]:
        size, letter, number = HEAD.unpack(self._exactly(HEAD.size))
        return letter, number, self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = os.read(0, size - len(data))
            if not more:  # the driver is gone, and what it wanted with it
                os._exit(1)
            data += more
        return data

    def _read(self) -> None:
        while True:
            letter, number, body = self._message()
            if letter == ANSWER:
                self._asked.pop(number).set_result(body)
            elif letter == STOP and self.station is not None:
                self.station.stop()
            elif letter == SAMPLES:
                self.batches.put((number, body))
            elif letter == CLOSE:
                self.batches.put(None)


def main() -> None:
    """Work as the first message says until the driver has enough."""
    link = Link()
    try:
        station = link.station = open_station(_work(link))
    except SgforgeError as error:
        link.tell(BROKEN, 0, msgpack.packb(error_fields(error)))
        return
    link.tell(READY)
    while (batch := link.batches.get()) is not None:
        number, message = batch
        link.tell(OUTCOMES, number, station.answer(message))
    station.close()


@attrs.frozen
class DeadlyOptions(StageOptions):
    kills: str = attrs.field(default="", eq=False)
    times: int = 1


class DeadlyTeacher(ToyTeacher):
    """The toy teacher, whose process is killed at the image "00007" as often as it is told to be."""

    options: DeadlyOptions

    def answer(self, sample: Sample) -> Edit:
        kills = Path(self.options.kills)
        if sample.image_id == "00007" and len(list(kills.iterdir())) < self.options.times:
            (kills / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(sample)


class HoldingTeacher(ToyTeacher):
    """Holds its first batch until the file `until` is there."""

    def complete(self, samples: Sequence[Sample]) -> list[Edit | Failure]:
        log(self.options.begins, "begins")
        wait_until(lambda: Path(self.options.until).exists(), "the end of the hold")
        return self.batch(samples)


class LookingTeacher(ToyTeacher):
    """Says how red the first pixel is."""

    def answer(self, sample: Sample) -> Edit:
        assert sample.image is not None
        size, red = sample.image.size(), sample.image.array()[0, 0, 0]
        return Edit.set("region", 0, descriptions=(f"red {red}", f"{size[0]} x {size[1]}"))


class Painter:
    """A picture as red as its image's number."""

    def setup(self, resources: Resources) -> None:
        self.files = resources.files

    def render(self, samples: Sequence[Sample]) -> list[Edit]:
        from PIL import Image

        edits = []
        for sample in samples:
            stream = io.BytesIO()
            Image.new("RGB", (64, 64), (int(sample.image_id), 0, 0)).save(stream, "PNG")
            assert self.files is not None
            edits.append(Edit(image=self.files.put(stream.getvalue(), ".png")))
        return edits


@attrs.frozen
class AskingOptions(StageOptions):
    model: str = "toy/one"


class AskingTeacher(ToyTeacher):
    """Sync: asks the model for a predicate, with a fresh event loop for every question."""

    options: AskingOptions

    def complete(self, samples: Sequence[Sample]) -> list[Edit | Failure]:
        log(self.options.log, "asks in", os.getpid())
        return [asyncio.run(self._ask(sample)) for sample in samples]

    async def _ask(self, sample: Sample) -> Edit:
        assert self.resources is not None
        assert self.resources.model is not None
        request = ChatRequest(messages=(Message("user", (TextPart(f"what of {sample.image_id}"),)),), max_tokens=10)
        response = await self.resources.model.complete(request)
        return Edit.add(Relation(2, response.text, 1))


@sgforge.hookimpl
def sgforge_register_executors(register) -> None:
    register("children", ChildExecutor, config=ChildOptions)


@sgforge.hookimpl
def sgforge_register_renderers(register) -> None:
    register("painting", Painter)


@sgforge.hookimpl
def sgforge_register_teachers(register) -> None:
    register("deadly", DeadlyTeacher, config=DeadlyOptions)
    register("holding", HoldingTeacher, config=StageOptions)
    register("looking", LookingTeacher, config=StageOptions)
    register("asking", AskingTeacher, config=AskingOptions, needs=Needs(model=True, deterministic=False))


def install(folder: Path) -> None:
    """Make this module an installed plugin for processes that have `folder` on their path."""
    info = folder / "engine_children-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: engine-children\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sgforge]\nchildren = engine_children\n")


if __name__ == "__main__":
    main()
