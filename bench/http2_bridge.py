"""A bridge for WebSocket clients of HTTP/1.1 to a server of HTTP/2 (RFC 8441), on cleartext and by prior knowledge.

Every client that connects gets a stream of the one HTTP/2 connection: its handshake becomes an extended CONNECT, the
answer a 101, and from then on the bridge carries bytes that it does not look at. The end of one side is the end of the
other: FIN and END_STREAM, a reset and RST_STREAM. What a client does not take is not credited to the server, and what
the server gives no credit for is not read from the client. The library h2 plays the client of HTTP/2.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
EXTENDED_CONNECT = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL
NOT_FORWARDED = ("host", "connection", "upgrade", "sec-websocket-key")
"""Fields that are HTTP/1.1's; `:authority` says what `host` does."""
CONNECTION_WINDOW = 1 << 24
"""So that a client that takes nothing does not hold up the others."""
READ_SIZE = 65536
PATIENCE = 10.0


class BridgeError(Exception):
    """The server takes no WebSockets over HTTP/2, or has ended the connection."""


class Carried:
    """One client and its stream: what has come on the stream and is not written yet, and room to send."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        """Events of h2; None when the connection has ended."""
        self.room = asyncio.Event()
        """Set when a window may have opened, or the stream has ended."""


class Bridge:
    """One HTTP/2 connection to a server, and the streams on it; `bridged` makes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        self._reader, self._writer = reader, writer
        self._authority = f"127.0.0.1:{port}"
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="latin-1", validate_outbound_headers=False)
        )
        self._streams: dict[int, Carried] = {}
        self._clients: set[asyncio.Task[None]] = set()
        self._settled = asyncio.Event()
        self.ended = False
        self.streams = 0
        """How many there were so far."""
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW)
        self._flush()

    async def settle(self) -> None:
        """Wait for the server's settings. BridgeError where they do not offer WebSockets (RFC 8441 section 3)."""
        with contextlib.suppress(asyncio.TimeoutError):  # the builtin only since 3.11
            await asyncio.wait_for(self._settled.wait(), PATIENCE)
        if not self._h2.remote_settings.get(EXTENDED_CONNECT):
            raise BridgeError("offers no WebSockets over HTTP/2")

    async def receive(self) -> None:
        """Take frames for as long as the connection lasts, and give each to its stream."""
        try:
            while data := await self._reader.read(READ_SIZE):
                for event in self._h2.receive_data(data):
                    self._take(event)
                self._flush()
        except (OSError, h2.exceptions.ProtocolError):
            pass
        finally:
            self.ended = True
            self._settled.set()
            for carried in self._streams.values():
                carried.events.put_nowait(None)
                carried.room.set()
            self._writer.close()

    def _take(self, event: Any) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self._settled.set()
        if isinstance(event, (h2.events.RemoteSettingsChanged, h2.events.WindowUpdated)):
            for carried in self._streams.values():
                carried.room.set()
        elif isinstance(event, h2.events.ConnectionTerminated):
            raise h2.exceptions.ProtocolError(f"GOAWAY with {event.error_code}")
        elif (its := self._streams.get(getattr(event, "stream_id", None) or 0)) is not None:
            its.events.put_nowait(event)
            if isinstance(event, h2.events.StreamReset):
                its.room.set()

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._writer.write(data)

    # A client.

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one client, from its handshake until both sides have ended."""
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if not self.ended:
                await self._carry(head, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._clients.discard(task)

    async def _carry(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path, headers = read_head(head)
        fields = [
            *((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path)),
            (":authority", self._authority),
            *((name, value) for name, value in headers if name not in NOT_FORWARDED),
        ]
        stream: int = self._h2.get_next_available_stream_id()
        carried = self._streams[stream] = Carried()
        self.streams += 1
        self._h2.send_headers(stream, fields)
        self._flush()
        sending: asyncio.Task[None] | None = None
        try:
            while (event := await carried.events.get()) is not None:
                if isinstance(event, h2.events.ResponseReceived):
                    answer: Any = event.headers  # of strings, by `header_encoding`
                    accepted = dict(answer)[":status"] == "200"
                    key = dict(headers).get("sec-websocket-key", "") if accepted else None
                    writer.write(response_head(answer, key))
                    if accepted:
                        sending = asyncio.create_task(self._send(stream, carried, reader))
                elif isinstance(event, h2.events.DataReceived):
                    writer.write(event.data)
                    await writer.drain()
                    self._credit(stream, event.flow_controlled_length)
                elif isinstance(event, h2.events.StreamEnded):
                    if sending is None:
                        return  # no WebSocket, and `connection: close`
                    writer.write_eof()
                    await sending
                    return
                elif isinstance(event, h2.events.StreamReset):
                    writer.transport.abort()
                    return
            writer.transport.abort()  # the whole connection has ended
        finally:
            if sending is not None:
                sending.cancel()
            self._reset(stream)
            del self._streams[stream]

    async def _send(self, stream: int, carried: Carried, reader: asyncio.StreamReader) -> None:
        """What the client sends, until its end, as the windows allow."""
        try:
            while data := await reader.read(READ_SIZE):
                while data:
                    room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
                    if room <= 0:
                        carried.room.clear()
                        await carried.room.wait()
                        continue
                    self._h2.send_data(stream, data[:room])
                    data = data[room:]
                    self._flush()
                    await self._writer.drain()
            self._h2.end_stream(stream)
            self._flush()
        except ConnectionError:  # the client's reset; the server's are h2's
            self._reset(stream)
        except h2.exceptions.ProtocolError:
            pass

    def _credit(self, stream: int, size: int) -> None:
        if size and not self.ended:
            with contextlib.suppress(h2.exceptions.StreamClosedError):
                self._h2.acknowledge_received_data(size, stream)
            self._flush()

    def _reset(self, stream: int) -> None:
        """End a stream that has not ended in both directions."""
        if not self.ended:
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self._h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            self._flush()

    async def close(self) -> None:
        """Let go of the clients that are still there."""
        for task in self._clients:
            task.cancel()
        if self._clients:
            await asyncio.wait(self._clients)


def read_head(head: bytes) -> tuple[str, Sequence[tuple[str, str]]]:
    """Target and fields of a client's handshake; names in small letters."""
    request, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return request.split(" ")[1], [(name.lower(), value.strip()) for name, _, value in pairs]


def response_head(headers: Sequence[tuple[str, str]], key: str | None) -> bytes:
    """The answer over HTTP/1.1: 101 to this key, or what the server says instead where `key` is None."""
    status = HTTPStatus(int(dict(headers)[":status"]) if key is None else 101)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers if not name.startswith(":")]
    if key is None:
        lines.append("connection: close")
    else:
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
        lines += ["upgrade: websocket", "connection: Upgrade", f"sec-websocket-accept: {accept}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@contextlib.asynccontextmanager
async def bridged(port: int) -> AsyncIterator[tuple[Bridge, int]]:
    """A bridge to the server on this port, and the port where it takes clients. BridgeError as `settle` has it."""
    bridge = Bridge(*await asyncio.open_connection("127.0.0.1", port), port)
    receiving = asyncio.create_task(bridge.receive())
    try:
        await bridge.settle()
        listener = await asyncio.start_server(bridge.serve, "127.0.0.1", 0)
        try:
            yield bridge, listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
            await bridge.close()
    finally:
        receiving.cancel()
        await asyncio.wait([receiving])
