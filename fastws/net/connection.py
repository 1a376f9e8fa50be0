# cython: nonecheck=False
"""One socket: a channel that asyncio, or our own transport, moves the bytes of.

A `Connection` is the asyncio protocol of a socket for its whole life: no transport ever changes its protocol, since
what the bytes mean is its handler's business. Bytes arrive in the receive buffer that all connections of a loop share:
a handler takes what it needs during the call.

The module is compiled by Cython where the extension was built (connection.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastws.net.channel import Channel

if TYPE_CHECKING:
    from fastws.net.loop_core import LoopCore

RESET = struct.pack("ii", 1, 0)
"""The value of SO_LINGER that makes the end of a connection a reset."""

LITTLE_BYTES = 16_384
"""What the system holds of a connection's bytes that are not sent yet, where only the latest is wanted."""


class Stream:
    """A transport of ours, that a connection reaches without looking its methods up: `fastws.net._sockets` has it."""

    def write(self, data: bytes) -> None:
        """As `asyncio.WriteTransport.write`."""
        raise NotImplementedError

    def writelines(self, chunks: list[bytes]) -> None:
        """As `asyncio.WriteTransport.writelines`."""
        raise NotImplementedError

    def start_tls(self, context: ssl.SSLContext, waiter: asyncio.Future[None] | None = None) -> None:
        """Begin TLS as the server, and tell `waiter` of the end of its handshake."""
        raise NotImplementedError


class Connection(Channel):
    """The asyncio protocol of one accepted socket; asyncio needs the subclass in loop_state.py."""

    def __init__(self, state: LoopCore) -> None:
        self._prepare(state)
        self.transport: asyncio.Transport | None = None
        self._stream: Stream | None = None  # the same, where it is one of ours
        # Whose connection it is, where that is counted.
        self.client: str | None = None
        self._eof: bool = False

    # What asyncio calls, with `pause_writing` and `resume_writing`.

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if isinstance(transport, Stream):
            self._stream = transport
        self._limit_writing(transport)
        self.state.connection_opened(self)

    def get_buffer(self, sizehint: int) -> Any:
        if self.allowance > 0:
            return self.state.receive_buffer[: self.allowance]
        return self.state.receive_buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received(nbytes)

    def received(self, nbytes: int) -> None:
        """Take `nbytes` from the receive buffer."""
        self.last_seen = self.state.now
        if self.allowance > 0:
            self.pause_reading_after(max(0, self.allowance - nbytes))
        if self.handler is not None:
            self.handler.bytes_received(self.state.receive_buffer, nbytes)

    def wanted(self) -> int:
        """As `Handler.wanted`."""
        return 0 if self.handler is None or self.allowance >= 0 else self.handler.wanted()

    def received_placed(self, nbytes: int) -> None:
        """Take `nbytes` that were read to `Handler.place`."""
        self.last_seen = self.state.now
        assert self.handler is not None
        self.handler.receive_placed(nbytes)

    def eof_received(self) -> bool:
        self._eof = True
        stays = self.handler is not None and self.handler.eof_received()
        if self.unfinished and not stays:
            self.abort()
        return stays

    def connection_lost(self, exc: BaseException | None) -> None:
        self.transport = None
        self._stream = None
        self.state.run_own(self._lost)  # a transport that an application's call has ended may be in its context

    def _lost(self) -> None:
        self.state.connection_closed(self)
        self.lost()

    async def start_tls(self, context: ssl.SSLContext, timeout: float | None) -> None:
        """Go on in TLS, as the server; its handshake may take `timeout` seconds.

        Raises OSError, of which ssl.SSLError is one, where it fails: the connection is then lost.
        """
        transport = self.transport
        assert transport is not None
        if self._stream is not None:
            waiter: asyncio.Future[None] = self.state.loop.create_future()
            self._stream.start_tls(context, waiter)
            await waiter
        else:
            try:
                encrypted = await self.state.loop.start_tls(
                    transport,
                    self,  # type: ignore[arg-type]  # a protocol by its methods
                    context,
                    server_side=True,
                    ssl_handshake_timeout=timeout,
                )
            except (OSError, asyncio.CancelledError):
                if self.transport is not None:
                    self.abort()
                    self.connection_lost(None)
                raise
            if self.transport is None or encrypted is None:  # lost meanwhile
                return
            self.transport = transport = encrypted
        self.allowance = -1
        self.reading_paused = False
        self._limit_writing(transport)

    def _limit_writing(self, transport: Any) -> None:
        high = self.state.write_high_water
        transport.set_write_buffer_limits(high=high, low=high // 4)

    # What it is.

    def peer_address(self) -> Any:
        return None if self.transport is None else self.transport.get_extra_info("peername")

    def local_address(self) -> Any:
        return None if self.transport is None else self.transport.get_extra_info("sockname")

    def tls(self) -> Any:
        return None if self.transport is None else self.transport.get_extra_info("ssl_object")

    def may_half_close(self) -> bool:
        return not self.state.secure  # a peer that ends its direction of TLS may take no more (RFC 5246 section 7.2.1)

    def is_gone(self) -> bool:
        return self.transport is None

    def is_closing(self) -> bool:
        return self.transport is None or self.transport.is_closing()

    # What handlers call.

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.burst += len(data)
            if self.writing_paused:
                self._stalled_unsent += len(data)
            if self._stream is not None:
                self._stream.write(data)
            else:
                self.transport.write(data)

    def write_all(self, chunks: list[bytes]) -> None:
        if self.transport is not None:
            for chunk in chunks:
                self.burst += len(chunk)
                if self.writing_paused:
                    self._stalled_unsent += len(chunk)
            stream = self._stream
            if stream is None:
                if len(chunks) == 1:
                    self.transport.write(chunks[0])
                else:
                    self.transport.writelines(chunks)
                    if not self.writing_paused and self.unsent() > self.state.write_high_water:
                        # asyncio 3.12.0 to 3.12.8 and 3.13.0 forget to look there; at new limits a transport does.
                        self._limit_writing(self.transport)
            elif len(chunks) == 1:
                stream.write(chunks[0])
            else:
                stream.writelines(chunks)

    def unsent(self) -> int:
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def keep_little_unsent(self) -> None:
        """Let the system take little more of its bytes than it can send at once, where the system has this.

        It would take megabytes for a peer that reads slowly, and nothing newer could replace them. What is on its way
        to the peer is not bounded by this: it costs no throughput.
        """
        sock = None if self.transport is None else self.transport.get_extra_info("socket")
        option: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if sock is not None and option is not None:
            with suppress(OSError):  # no TCP, or no connection any more
                sock.setsockopt(socket.IPPROTO_TCP, option, LITTLE_BYTES)

    def stop_reading(self) -> None:
        assert self.transport is not None
        self.transport.pause_reading()

    def start_reading(self) -> None:
        assert self.transport is not None
        if self._stream is not None:
            self.transport.resume_reading()
        else:  # asyncio's goes on to read in the context that there is
            self.state.run_own(self.transport.resume_reading)

    def close(self) -> None:
        if self.unfinished:
            self.abort()
        elif self.transport is not None and not self.transport.is_closing():  # asyncio's TLS breaks at a second close()
            self.transport.close()

    def abort(self) -> None:
        transport = self.transport
        if transport is None:
            return
        accepted = transport.get_extra_info("socket") if self.unfinished else None
        if accepted is not None:
            with suppress(OSError):
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        transport.abort()

    def write_eof(self) -> bool:
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        if self.unfinished:
            self.abort()
            return False
        if self._eof or not transport.can_write_eof():
            transport.close()
            return False
        self.resume_reading()
        transport.write_eof()
        return True
