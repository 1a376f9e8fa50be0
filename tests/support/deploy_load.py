"""Load during a deploy, and what it cost: requests that failed, messages that were lost, closes that were not clean.

HTTP clients keep their connection and ask without a pause. WebSocket clients number their messages, count what was
written before they answered the server's Close as sent, and come back as soon as they are told to go. The application
(deploy_app.py) records each message that it is given: what was sent and is not there was lost.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PAUSE = 0.05
"""Seconds between two messages of a client; also between its attempts to connect."""
PATIENCE = 90.0


@dataclass
class Report:
    """What the clients of one load have seen."""

    requests: int = 0
    failed: list[str] = field(default_factory=list)
    sent: set[tuple[int, int]] = field(default_factory=set)
    closes: int = 0
    unclean: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    longest_gap: float = 0.0
    """Seconds in which a WebSocket client got no answer, at most: over a Close and the way back."""
    gap_before: float = 0.0
    """The same before anything happened: what the machine is good for under this load."""

    def lost(self, record: Path) -> set[tuple[int, int]]:
        """The messages that were sent and are not in the `record` of deploy_app.py."""
        recorded = set()
        for line in record.read_text().splitlines():
            client, _, number = line.partition(" ")
            recorded.add((int(client), int(number)))
        return self.sent - recorded

    def lines(self, record: Path) -> list[str]:
        """The report, as `make deploy-test` prints it."""
        lines = [
            f"requests failed {len(self.failed)} of {self.requests}",
            f"messages lost {len(self.lost(record))} of {len(self.sent)}",
            f"closes that were not clean {len(self.unclean)} of {self.closes}",
            f"WebSockets refused {len(self.refused)}",
            f"longest gap {self.longest_gap * 1000:.0f} ms; {self.gap_before * 1000:.0f} ms before the deploy",
        ]
        return lines + sorted({*self.failed, *self.unclean, *self.refused})

    def clean(self, record: Path) -> bool:
        """Whether nobody has noticed anything but the Closes."""
        return not (self.failed or self.unclean or self.refused or self.lost(record))


class Load:
    """`websockets` and `requesters` clients of `host` and `port`, over TLS where `trusted` says whom to trust."""

    def __init__(
        self, host: str, port: int, *, websockets: int, requesters: int = 0, trusted: ssl.SSLContext | None = None
    ) -> None:
        self.report = Report()
        self._host, self._port, self._trusted = host, port, trusted
        self._counts = websockets, requesters
        self._ending = False
        self._tasks: list[asyncio.Task[None]] = []
        self._answered = [0] * websockets

    async def __aenter__(self) -> Load:
        websockets, requesters = self._counts
        self._tasks = [asyncio.create_task(self._talk(client)) for client in range(websockets)]
        self._tasks += [asyncio.create_task(self._ask(number)) for number in range(requesters)]
        await self.until(lambda: all(self._answered))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def look(self, seconds: float) -> None:
        """See how long clients wait for answers while nothing happens."""
        self.report.longest_gap = 0.0
        await asyncio.sleep(seconds)
        self.report.gap_before, self.report.longest_gap = self.report.longest_gap, 0.0

    async def stop(self) -> None:
        """Let every client end, and wait for it."""
        self._ending = True
        await asyncio.wait_for(asyncio.gather(*self._tasks), PATIENCE)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition()` holds."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not condition():
            for task in self._tasks:
                if task.done():
                    task.result()  # or its error
            assert asyncio.get_running_loop().time() < deadline, "\n".join(map(str, self.report.failed[-5:]))
            await asyncio.sleep(0.01)

    # WebSockets.

    async def _talk(self, client: int) -> None:
        scheme = "ws" if self._trusted is None else "wss"
        url = f"{scheme}://{self._host}:{self._port}/record?{client}"
        number = 0
        loop = asyncio.get_running_loop()
        answered = loop.time()
        while not self._ending:
            try:
                websocket = await connect(url, ssl=self._trusted, compression=None, proxy=None)
            except Exception as error:
                self.report.refused.append(f"WebSocket refused: {error!r:.200}")
                await asyncio.sleep(PAUSE)
                continue
            reading = asyncio.create_task(self._read(websocket, client, answered))
            try:
                while not self._ending:
                    number += 1
                    await websocket.send(str(number))
                    self.report.sent.add((client, number))
                    await asyncio.sleep(PAUSE)
                await websocket.close(1000)
            except ConnectionClosed:
                pass
            answered = await reading
            self.report.closes += 1
            received = websocket.protocol.close_rcvd
            if received is None or received.code not in (1000, 1012):
                self.report.unclean.append(f"not a clean close: {received}")

    async def _read(self, websocket: ClientConnection, client: int, answered: float) -> float:
        """Take the answers; returns when the last one came."""
        loop = asyncio.get_running_loop()
        try:
            async for _ in websocket:
                now = loop.time()
                self.report.longest_gap = max(self.report.longest_gap, now - answered)
                answered = now
                self._answered[client] += 1
        except ConnectionClosed:
            pass
        return answered

    # Requests.

    async def _ask(self, number: int) -> None:
        """Ask again and again, on one connection for as long as the server keeps it; every third request has a body."""
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        count = 0
        while not self._ending:
            count += 1
            self.report.requests += 1
            body = b"x" * 1000 if count % 3 == 0 else b""
            path = b"/slow" if count % 10 == 0 else b"/"
            method = b"POST" if body else b"GET"
            try:
                if streams is None:
                    streams = await asyncio.open_connection(self._host, self._port, ssl=self._trusted)
                reader, writer = streams
                writer.write(
                    b"%b %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
                    % (method, path, len(body), body)
                )
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                answer = await reader.readexactly(length)
                if not head.startswith(b"http/1.1 200 ") or (body and answer != body):
                    self.report.failed.append(f"request failed: {head[:80]!r}")
                if b"connection: close" in head:
                    writer.close()
                    streams = None
            except Exception as error:
                self.report.failed.append(f"request failed: {error!r:.200}")
                if streams is not None:
                    streams[1].close()
                streams = None
            await asyncio.sleep(PAUSE)
        if streams is not None:
            streams[1].close()
