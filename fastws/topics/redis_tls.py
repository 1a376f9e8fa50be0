"""Whether a Redis with TLS wants a certificate of its clients: it says so only to who listens.

With TLS 1.3 a client learns that its certificate is missing after the handshake; who has sent a command by then gets a
reset, often before it has read why.
"""

from __future__ import annotations

import asyncio
import ssl


class _Listener(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(error)


async def wants_certificate(host: str, port: int, seconds: float) -> bool:
    """Connect without one, send nothing, and look what is said, for so long at the most."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # nothing is told to it
    context.verify_mode = ssl.CERT_NONE
    try:
        connecting = asyncio.get_running_loop().create_connection(_Listener, host, port, ssl=context)
        transport, protocol = await asyncio.wait_for(connecting, seconds)
        try:
            await asyncio.wait([protocol.lost], timeout=seconds)
            error = protocol.lost.result() if protocol.lost.done() else None
        finally:
            transport.abort()
    except (OSError, asyncio.TimeoutError) as problem:
        error = problem
    return isinstance(error, ssl.SSLError) and "CERTIFICATE" in str(error).upper()
