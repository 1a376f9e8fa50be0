"""The control socket of a worker: what `fastws status`, `close`, `publish` and `drain` talk to.

A Unix domain socket that only its user may open, at the path of --control-socket with a dot and the process id behind:
each worker has its own, whoever started it, and the command finds all of them by the path. One request is one JSON
object on a line, ``{"do": "status"}``; the answer is one object a line, the last of which has ``ok``. Who can open the
socket may do everything that it does: there are no other rights.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import glob
import json
import os
import platform
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from fastws.asgi.http_cycle import HttpCycle
from fastws.asgi.session import Session
from fastws.errors import ApplicationError, StartupError
from fastws.net.channel import Channel
from fastws.net.forking import descriptor_of, listening
from fastws.net.http2_handler import Http2Handler
from fastws.net.http2_stream import Http2Stream
from fastws.net.http_handler import HttpHandler
from fastws.net.loop_state import LoopState
from fastws.observe.metrics import resident_memory, waiting
from fastws.topics.events import check_key, check_message, check_topic

PATIENCE: Final = 10.0
"""Seconds in which a request must come, and an answer be read."""
SLICE: Final = 200
"""Connections that are described in one turn of the loop."""


class Control:
    """The socket of one worker; `drain` begins its graceful shutdown."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        state: LoopState,
        drain: Callable[[], None],
        *,
        version: str,
        engine: str,
        loop: str,
    ) -> None:
        self._base = os.fspath(path)
        self.path = f"{self._base}.{os.getpid()}"
        self._state = state
        self._version = version
        self._engine = engine
        self._loop_name = loop
        self._drain = drain
        self._began = state.loop.time()
        self._server: asyncio.AbstractServer | None = None
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Listen. Raises StartupError."""
        remove_stale(self._base)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(sock.fileno(), 0o600)  # Linux makes the file with this mode: nobody else can be earlier
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            sock.bind(self.path)
            os.chmod(self.path, 0o600)
        except OSError as error:
            sock.close()
            raise StartupError(f"--control-socket: cannot listen on {self.path}: {error.strerror}") from error
        self._server = await asyncio.start_unix_server(self._connected, sock=sock)

    def stop(self) -> None:
        """Listen no more, and remove the file."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        for task in self._tasks:
            task.cancel()

    def descriptors(self) -> Iterator[int]:
        """The descriptors of the socket, and of who has connected."""
        yield from listening(self._server)
        yield from (descriptor_of(writer.transport) for writer in self._tasks.values())

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = writer
        try:
            while line := await asyncio.wait_for(reader.readline(), PATIENCE):
                async for answer in self._answer(line):
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await asyncio.wait_for(writer.drain(), PATIENCE)
        except (OSError, ValueError, asyncio.TimeoutError, asyncio.CancelledError):
            pass  # a client that is gone, sends no line or does not read; or we end
        finally:
            del self._tasks[task]
            writer.close()

    async def _answer(self, line: bytes) -> AsyncIterator[dict[str, Any]]:
        try:
            request = json.loads(line)
            do = request.get("do")
        except (ValueError, AttributeError):
            do = None
        if do == "status":
            yield {"ok": True, "status": self._status()}
        elif do == "connections":
            connections = sorted(self._state.channels(), key=lambda each: each.number)
            for index, connection in enumerate(connections):
                if index % SLICE == SLICE - 1:
                    await asyncio.sleep(0)
                if not connection.is_gone():
                    yield {"connection": describe(connection, self._state.loop.time())}
            yield {"ok": True}
        elif do == "close":
            yield self._close(request.get("id"), request.get("code", 1001), request.get("reason", ""))
        elif do == "publish":
            yield await self._publish(request)
        elif do == "drain":
            yield {"ok": True}
            self._drain()
        else:
            yield {"ok": False, "error": "no such request: do is one of status, connections, close, publish, drain"}

    async def _publish(self, request: dict[str, Any]) -> dict[str, Any]:
        """Publish as the application would, and say how many have subscribed."""
        hub = self._state.topics
        try:
            topic, key = check_topic(request.get("topic")), check_key(request.get("key"))
            text, data = request.get("text"), request.get("base64")
            message = check_message(base64.b64decode(data) if isinstance(data, str) else text)
            hub.publish(topic, message, key)
        except (TypeError, ValueError) as error:
            return {"ok": False, "error": str(error)}
        audience = await hub.audience(topic)
        return {"ok": True, "subscribers": audience.subscribers, "processes": audience.processes}

    def _close(self, number: object, code: object, reason: object) -> dict[str, Any]:
        """Close the connection whose id is of this worker."""
        if not isinstance(code, int) or not isinstance(reason, str):
            return {"ok": False, "error": "the code must be a number and the reason a text"}
        for connection in self._state.channels():
            if connection_id(connection) == number:
                handler = connection.handler
                if not isinstance(handler, Session):
                    connection.abort()
                    return {"ok": True}
                try:
                    handler.close(code, reason)
                except ApplicationError:
                    return {"ok": False, "error": f"code {code} or its reason cannot be sent"}
                return {"ok": True}
        return {"ok": False, "error": f"there is no connection {number}"}

    def _status(self) -> dict[str, Any]:
        state, counts = self._state, self._state.counts
        times = os.times()
        gauges = {name: samples[""] for name, samples in waiting(state).items()}
        return {
            "worker": os.getpid(),
            "state": "draining" if state.shutting_down else "serving",
            "version": self._version,
            "python": platform.python_version(),
            "engine": self._engine,
            "loop": self._loop_name,
            "time": time.time(),
            "uptime": state.loop.time() - self._began,
            "cpu_seconds": times.user + times.system,
            "memory_bytes": resident_memory(),
            "loop_lag": counts.last_lag,
            "connections": len(state.connections),
            "websockets": gauges["fastws_websockets"],
            "http2_connections": gauges["fastws_http2_connections"],
            "http2_streams": gauges["fastws_http2_streams"],
            "requests": state.requests,
            "requests_total": state.requests_total,
            "messages_in": counts.messages_in,
            "bytes_in": counts.bytes_in,
            "messages_out": counts.messages_out,
            "bytes_out": counts.bytes_out,
            "queue_messages": gauges["fastws_websocket_queue_messages"],
            "queue_bytes": gauges["fastws_websocket_queue_bytes"],
            "unsent_bytes": gauges["fastws_write_buffer_bytes"],
            "reading_paused": gauges["fastws_reading_paused"],
            "writing_paused": gauges["fastws_writing_paused"],
        }


def connection_id(connection: Channel) -> str:
    """What `fastws close` calls a connection: the worker's process id and the connection's number in it.

    A stream of HTTP/2 has its own number behind that.
    """
    name = f"{os.getpid()}-{connection.number}"
    return f"{name}.{connection.stream.stream_id}" if isinstance(connection, Http2Stream) else name


def describe(connection: Channel, now: float) -> dict[str, Any]:
    """A connection as `fastws status --connections` shows it. Texts are as the peer sent them."""
    peer, handler = connection.peer_address(), connection.handler
    found: dict[str, Any] = {
        "id": connection_id(connection),
        "kind": "http",
        "http": "2" if isinstance(connection, Http2Stream) or isinstance(handler, Http2Handler) else "1.1",
        "state": "idle",
        "age": now - connection.since,
        "client": f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unix",
        "path": "",
        "messages_in": 0,
        "bytes_in": 0,
        "messages_out": 0,
        "bytes_out": 0,
        "queue_messages": 0,
        "queue_bytes": 0,
        "unsent_bytes": connection.unsent(),
        "reading_paused": connection.reading_paused,
        "writing_paused": connection.writing_paused,
    }
    scope = None
    if isinstance(handler, Session):
        found["kind"] = "websocket"
        found["state"] = handler.state.name.lower()
        found["queue_messages"], found["queue_bytes"] = handler.queued()
        traffic = handler.traffic()
        if traffic is not None:
            scope = traffic.scope
            for name in ("messages_in", "bytes_in", "messages_out", "bytes_out"):
                found[name] = getattr(traffic, name)
    elif isinstance(handler, Http2Handler):
        found["state"] = "serving" if handler.protocol.streams else "idle"
    elif isinstance(handler, HttpHandler):
        exchange = handler.exchange()
        if isinstance(exchange, HttpCycle):
            found["state"] = "request"
            scope = exchange.scope
    if scope is not None:
        found["path"] = scope["path"]
        if scope["client"] and scope["client"][0]:
            found["client"] = ":".join(str(part) for part in scope["client"] if part is not None)
        request_id = (scope.get("state") or {}).get("request_id")
        if isinstance(request_id, str):
            found["request_id"] = request_id
    return found


def remove_stale(base: str) -> None:
    """Remove the sockets of workers that have ended without doing so."""
    for path in glob.glob(f"{glob.escape(base)}.*"):
        pid = path.rpartition(".")[2]
        if pid.isdecimal() and not _exists(int(pid)) and not _answers(path):
            with contextlib.suppress(OSError):
                os.unlink(path)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _answers(path: str) -> bool:
    """Whether somebody listens there: a worker in another container has a process id that we cannot see."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True
