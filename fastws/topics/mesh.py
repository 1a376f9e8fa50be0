"""The bus between the workers of one machine: each has a Unix stream to each other one. Needs no Redis.

The workers share a directory that only their user may open. Each has two files there: a socket to which the others
connect, and its interest, which they map (`fastws.topics.interest`). Whoever starts connects to all who are there, and
they connect back, so nobody watches the directory; a worker that ends, however it does, is a stream that ends. A worker
writes to the streams that it opened and reads from those that it accepted (`fastws.topics.mesh_streams`).

Not through the supervisor: it would stand in the way of every message, and could not be as simple and as sure as it has
to be; and gunicorn's workers have none. Not datagrams: the kernel takes ten of them and 208 KiB at the most.

This file is who is there, who is asked, and what becomes of a frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import logging
import os
import re
import secrets
import socket
import stat
from collections.abc import Iterator
from typing import Final

from fastws.errors import StartupError
from fastws.net.forking import descriptor_of, listening
from fastws.topics import mesh_frames
from fastws.topics.audience import Audience
from fastws.topics.bus import Local, Publication
from fastws.topics.interest import OwnInterest, map_interest, slot_of
from fastws.topics.losses import BusCounts
from fastws.topics.mesh_frames import ANSWER, BYTES, COUNT, COUNTS, HELLO, TEXT, Frame
from fastws.topics.mesh_streams import Accepted, Stream

logger: Final = logging.getLogger("fastws.error")

BACKLOG: Final = 1024
"""Workers that may connect at once."""
START_SECONDS: Final = 2.0
"""How long a worker that starts waits for those that are there; one that is stuck joins later."""
STOP_SECONDS: Final = 1.0
"""How long the others have, when a worker stops, to take what it has published."""
AGAIN_SECONDS: Final = 0.2
"""When to look whether a worker is still there whose stream has ended."""
COUNT_SECONDS: Final = 1.0
"""How long a worker has to say how many subscribers it has."""
MOST_QUESTIONS: Final = 1000
"""Questions for that at once; who asks more waits."""
NAME: Final = re.compile(r"[0-9]{1,10}-[0-9a-zA-Z]{1,32}", re.ASCII)
"""What a worker is called: its process id, and something that only it has."""


class Mesh:
    """The bus of one worker, in `directory`. `buffer_bytes` may wait for each other worker."""

    ordered_by_bus = False

    def __init__(self, directory: str | os.PathLike[str], buffer_bytes: int) -> None:
        self._directory = os.fspath(directory)
        self.buffer_bytes = buffer_bytes
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.loop: asyncio.AbstractEventLoop
        self._local: Local
        self._interest: OwnInterest | None = None
        self._server: asyncio.AbstractServer | None = None
        self._streams: dict[str, Stream] = {}
        self._streams_here: set[Accepted] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._greeted: dict[str, asyncio.Future[None]] = {}
        self._questions: dict[int, _Question] = {}
        self._question_room = asyncio.Semaphore(MOST_QUESTIONS)
        self._last_question = 0
        self.counts = BusCounts()

    # The bus.

    async def start(self, local: Local) -> None:
        """Join the workers that are there. Raises StartupError."""
        self.loop = asyncio.get_running_loop()
        self._local = local
        try:
            await self._listen()
        except OSError as error:
            raise StartupError(f"--topics-dir: cannot use {self._directory}: {error.strerror or error}") from None
        others = [name for each in self._files() if (name := _name_of(each)) != self.name]
        self._greeted = {name: self.loop.create_future() for name in others}
        for name in others:
            self._connect(name)
        if others:
            await asyncio.wait(self._greeted.values(), timeout=START_SECONDS)
        self._greeted = {}

    def publish(self, publication: Publication) -> None:
        """Give it to every other worker that has a subscriber."""
        streams = self._streams
        if not streams:
            return
        slot = slot_of(publication.topic)
        frame = None
        for stream in streams.values():
            if stream.interest[slot]:
                if frame is None:
                    frame = _frame_of(publication)
                stream.publish(frame)

    def subscribe(self, topic: str) -> None:
        """There is a subscriber here now; what the other workers publish from now on comes here."""
        if self._interest is not None:
            self._interest.add(topic)

    def coming(self, topic: str) -> None:
        """Nothing is to be waited for: the others see a subscription at once."""

    def unsubscribe(self, topic: str) -> None:
        """There is none any more."""
        if self._interest is not None:
            self._interest.remove(topic)

    def counted(self, topic: str, subscribers: int) -> None:
        """Not needed: whoever wants to know asks."""

    async def presence(self, topic: str) -> int:
        """How many subscribers the topic has in all workers."""
        return (await self.audience(topic)).subscribers

    async def audience(self, topic: str) -> Audience:
        """Who is subscribed in all workers. One that does not answer in a second counts as having nobody."""
        own = self._local.subscribers(topic)
        slot = slot_of(topic)
        asked = [stream for stream in self._streams.values() if stream.interest[slot]]
        if not asked:
            return Audience(own, int(own > 0))
        async with self._question_room:
            self._last_question = number = (self._last_question + 1) & 0xFFFFFFFF
            self._questions[number] = question = _Question(self.loop.create_future(), set(asked))
            frame = mesh_frames.encode(COUNT, topic, number.to_bytes(4, "big"))
            try:
                for stream in asked:
                    if not stream.ask(frame):
                        question.take(stream, 0)
                await asyncio.wait([question.answered], timeout=COUNT_SECONDS)
            finally:
                del self._questions[number]
        own = self._local.subscribers(topic)
        return Audience(own + question.subscribers, (own > 0) + question.processes)

    async def stop(self) -> None:
        """Leave the others. What was published is written first, as far as they take it."""
        for task in self._connecting:
            task.cancel()
        if self._server is not None:
            self._server.close()
        if self._interest is not None:
            self._interest.close()
            self._interest = None
            _remove(self._path("sock"), self._path("topics"))
        ends = [stream.end() for stream in self._streams.values()]
        if ends:
            await asyncio.wait(ends, timeout=STOP_SECONDS)
        for stream in self._streams.values():
            stream.abort()
        for accepted in list(self._streams_here):
            accepted.abort()

    def descriptors(self) -> Iterator[int]:
        """The descriptors of the socket and of the streams."""
        yield from listening(self._server)
        for stream in (*self._streams.values(), *self._streams_here):
            yield descriptor_of(stream.transport)

    @property
    def connected(self) -> bool:
        """Whether others can be reached, if there are any."""
        return self._interest is not None

    def tables(self) -> dict[str, int]:
        """How many entries each table has: for tests of what is left of what has gone."""
        return {
            "questions": len(self._questions),
            "streams": len(self._streams),
            "accepted": len(self._streams_here),
            "connecting": len(self._connecting),
            "waiting": sum(stream.waiting() for stream in self._streams.values()),
            "interest": 0 if self._interest is None else len(self._interest),
        }

    # Joining.

    def _path(self, suffix: str, name: str | None = None) -> str:
        return os.path.join(self._directory, f"{name or self.name}.{suffix}")

    def _files(self) -> list[str]:
        return glob.glob(os.path.join(glob.escape(self._directory), "*.sock"))

    async def _listen(self) -> None:
        self._interest = self._own_interest()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(self._path("new"))
            sock.setblocking(False)
            self._server = await self.loop.create_unix_server(lambda: Accepted(self), sock=sock, backlog=BACKLOG)
            os.rename(self._path("new"), self._path("sock"))  # whoever sees it can connect
        except OSError:
            sock.close()
            _remove(self._path("topics"), self._path("new"))
            if self._interest is not None:
                self._interest.close()
                self._interest = None
            raise

    def _own_interest(self) -> OwnInterest:
        for last in (False, True):
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            about = os.stat(self._directory)
            if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o077:
                raise OSError(0, "it must belong to the user of the server, and nobody else may open it (mode 700)")
            try:
                return OwnInterest(self._path("topics"))
            except FileNotFoundError:  # a worker that ended has just removed it
                if last:
                    raise
        raise AssertionError

    def _connect(self, name: str) -> None:
        if name in self._streams or name == self.name or self._interest is None:
            return
        self._streams[name] = stream = Stream(self, name)
        task = self.loop.create_task(self._open(stream))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open(self, stream: Stream) -> None:
        name = stream.name
        opened = False
        try:
            stream.interest = map_interest(self._path("topics", name))
            await self.loop.create_unix_connection(lambda: stream, self._path("sock", name))
            opened = True
        except (OSError, ValueError) as error:
            if isinstance(error, ConnectionRefusedError):  # it was killed, and could not tidy up
                _remove(self._path("sock", name), self._path("topics", name))
            elif not isinstance(error, FileNotFoundError):
                logger.warning("Topics: cannot reach worker %s: %s", name, error)
        except Exception:
            logger.exception("Topics: a fault in a stream to worker %s; it is forgotten", name)
        finally:
            if not opened:
                self._forget(stream)

    def lost(self, stream: Stream) -> None:
        """Its stream has ended: mostly the worker, too, and then its files are in the way."""
        self._forget(stream)
        if self._interest is not None:
            self.loop.call_later(AGAIN_SECONDS, self._connect, stream.name)

    def _forget(self, stream: Stream) -> None:
        """It is not there any more."""
        if self._streams.get(stream.name) is stream:
            del self._streams[stream.name]
        self._has_greeted(stream.name)
        for question in self._questions.values():
            question.take(stream, 0)

    def _has_greeted(self, name: str) -> None:
        greeted = self._greeted.get(name)
        if greeted is not None and not greeted.done():
            greeted.set_result(None)

    # What comes in.

    def accepted(self, accepted: Accepted) -> None:
        """Another worker has connected to us."""
        self._streams_here.add(accepted)

    def left(self, accepted: Accepted) -> None:
        """What it had opened has ended."""
        self._streams_here.discard(accepted)

    def received(self, accepted: Accepted, frame: Frame) -> None:
        """A frame of a worker that connected to us."""
        kind, message = frame.kind, frame.message
        if kind in (TEXT, BYTES):
            self.counts.received += 1
            self._local.deliver(Publication(frame.topic, message, frame.key))
        elif kind == COUNT and isinstance(message, bytes) and len(message) == 4:
            number = int.from_bytes(message, "big")
            accepted.answer(mesh_frames.encode(ANSWER, "", COUNTS.pack(number, self._local.subscribers(frame.topic))))
        elif kind == HELLO and isinstance(message, bytes) and NAME.fullmatch(message.decode(errors="replace")):
            accepted.name = message.decode()
            self._has_greeted(accepted.name)
            self._connect(accepted.name)
        else:
            raise ValueError(f"a frame of kind {kind} that says nothing")

    def answered(self, stream: Stream, frame: Frame) -> None:
        """A frame of a worker to which we connected."""
        if frame.kind == ANSWER and isinstance(frame.message, bytes) and len(frame.message) == COUNTS.size:
            number, subscribers = COUNTS.unpack(frame.message)
            question = self._questions.get(number)
            if question is not None:
                question.take(stream, subscribers)
        else:
            raise ValueError(f"a frame of kind {frame.kind} that answers nothing")


class _Question:
    """How many subscribers the others have, as far as they have answered."""

    def __init__(self, answered: asyncio.Future[None], asked: set[Stream]) -> None:
        self.answered = answered
        self.subscribers = self.processes = 0
        self._asked = asked

    def take(self, stream: Stream, subscribers: int) -> None:
        """One has answered, or will not."""
        if stream in self._asked:
            self._asked.remove(stream)
            self.subscribers += subscribers
            self.processes += subscribers > 0
            if not self._asked and not self.answered.done():
                self.answered.set_result(None)


def _frame_of(publication: Publication) -> bytes:
    message = publication.message
    if isinstance(message, str):
        return mesh_frames.encode(TEXT, publication.topic, message.encode(), publication.key)
    return mesh_frames.encode(BYTES, publication.topic, bytes(message), publication.key)


def _name_of(path: str) -> str:
    return os.path.basename(path).removesuffix(".sock")


def _remove(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)
