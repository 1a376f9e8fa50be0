"""A client of HTTP/2 over a real socket, for servers and for proxies in front of them; the library h2 plays it.

It blocks: `request` until the response is whole, a `Http2WebSocket` until the frame is there. For bytes that h2 would
never send there is http2_peer.py.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Sequence
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import wire
from http2_peer import split_frames
from serving import PATIENCE

from fastws.http.http2_frames import GOAWAY, frame

EXTENDED_CONNECT = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL


class Http2Client:
    """One connection to a port of this machine, over TLS where `trusted` says whom to trust."""

    def __init__(self, port: int, trusted: ssl.SSLContext | None = None) -> None:
        self.scheme = "http" if trusted is None else "https"
        self.authority = f"localhost:{port}"
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        if trusted is not None:
            trusted.set_alpn_protocols(["h2"])
            secure = trusted.wrap_socket(self._sock, server_hostname="localhost")
            assert secure.selected_alpn_protocol() == "h2"
            self._sock = secure
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False)
        )
        self._events: dict[int, list[Any]] = {}
        self._settled = False
        self._rest = b""
        self.goaways: list[int] = []
        self._h2.initiate_connection()
        self.flush()

    def __enter__(self) -> Http2Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def begin(self, fields: Sequence[tuple[str, str]], body: bytes | None = None, *, ends: bool = True) -> int:
        """Begin a stream with these fields, and end it behind its `body` where `ends`; returns its number."""
        stream: int = self._h2.get_next_available_stream_id()
        self._events[stream] = []
        self._h2.send_headers(stream, list(fields), end_stream=ends and body is None)
        if body is not None:
            self.send(stream, body, ends=ends)
        self.flush()
        return stream

    def send(self, stream: int, data: bytes, *, ends: bool = False) -> None:
        """Send as windows allow, and wait for them."""
        while data:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                self.receive()
                continue
            self._h2.send_data(stream, data[:room])
            data = data[room:]
            self.flush()
        if ends:
            self._h2.end_stream(stream)
        self.flush()

    def flush(self) -> None:
        self._sock.sendall(self._h2.data_to_send())

    def receive(self) -> None:
        """Take what comes next; raises EOFError where nothing does."""
        data = self._sock.recv(65536)
        if not data:
            raise EOFError("the connection has ended")
        for event in self._h2.receive_data(self._without_goaway(data)):
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if isinstance(event, h2.events.RemoteSettingsChanged):
                self._settled = True
            if (stream := getattr(event, "stream_id", None)) in self._events:
                self._events[stream].append(event)
        self.flush()

    def _without_goaway(self, data: bytes) -> bytes:
        """Whole frames of what came until now; the last streams of GOAWAYs go into a list, since h2 takes nothing more
        behind one."""
        frames, self._rest = split_frames(self._rest + data)
        kept = b""
        for kind, flags, stream, payload in frames:
            if kind == GOAWAY:
                self.goaways.append(int.from_bytes(payload[:4], "big"))
            else:
                kept += frame(kind, flags, stream, payload)
        return kept

    def may_connect(self) -> bool:
        """Whether the server offers WebSockets over HTTP/2 (RFC 8441 section 3), waiting for its settings."""
        while not self._settled:
            self.receive()
        return bool(self._h2.remote_settings.get(EXTENDED_CONNECT))

    def wait_for(self, stream: int, kind: type[Any]) -> Any:
        """The next event of that kind on the stream, which is then forgotten. A reset fails, unless it is asked for."""
        while True:
            for event in self._events[stream]:
                if isinstance(event, kind):
                    self._events[stream].remove(event)
                    return event
                if isinstance(event, h2.events.StreamReset):
                    raise ConnectionResetError(f"the stream was reset with {event.error_code}")
            self.receive()

    def request(self, method: str, path: str, body: bytes | None = None, *more: tuple[str, str]) -> tuple[int, bytes]:
        """Status and body of a response."""
        stream = self.begin([*self._fields(method, path), *more], body)
        status = int(dict(self.wait_for(stream, h2.events.ResponseReceived).headers)[":status"])
        self.wait_for(stream, h2.events.StreamEnded)
        events = self._events.pop(stream)
        return status, b"".join(each.data for each in events if isinstance(each, h2.events.DataReceived))

    def websocket(self, path: str, *more: tuple[str, str]) -> Http2WebSocket:
        """An extended CONNECT, whose answer has come."""
        assert self.may_connect()
        fields = [*self._fields("CONNECT", path), (":protocol", "websocket"), ("sec-websocket-version", "13"), *more]
        stream = self.begin(sorted(fields, key=lambda each: each[0][0] != ":"), ends=False)
        headers = dict(self.wait_for(stream, h2.events.ResponseReceived).headers)
        return Http2WebSocket(self, stream, headers)

    def _fields(self, method: str, path: str) -> list[tuple[str, str]]:
        return [(":method", method), (":scheme", self.scheme), (":path", path), (":authority", self.authority)]


class Http2WebSocket:
    """A WebSocket on a stream; `headers` are the answer's, with `:status`."""

    def __init__(self, client: Http2Client, stream: int, headers: dict[str, str]) -> None:
        self.headers = headers
        self._client = client
        self._stream = stream
        self._received = b""

    def send(self, frames: bytes) -> None:
        """Send frames, as `wire` makes them."""
        self._client.send(self._stream, frames)

    def receive(self) -> wire.Frame:
        """The next frame."""
        while (found := wire.read_frame(self._received)) is None:
            self._received += self._client.wait_for(self._stream, h2.events.DataReceived).data
        frame, self._received = found
        return frame

    def echo(self, text: str) -> None:
        """Send it, and see that it comes back."""
        self.send(wire.text(text))
        assert self.receive() == wire.Frame(wire.TEXT, text.encode())

    def scope(self) -> dict[str, Any]:
        """What deploy_app.py knows of it."""
        self.send(wire.text("scope"))
        known: dict[str, Any] = json.loads(self.receive().payload)
        return known

    def close(self, code: int = 1000) -> None:
        """Close, with the handshake, and end the stream as the server does."""
        self.send(wire.close(code))
        assert self.receive() == wire.closing(code)
        self._client.wait_for(self._stream, h2.events.StreamEnded)
        with contextlib.suppress(h2.exceptions.StreamClosedError):  # Envoy has reset it: it wants nothing more
            self._client.send(self._stream, b"", ends=True)

    def answer_close(self, code: int) -> None:
        """Answer the server's Close, and end the stream."""
        self._client.send(self._stream, wire.close(code), ends=True)
