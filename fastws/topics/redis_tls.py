"""Whether a Redis with TLS refuses a client's certificate, or that it has none: it says so only to who listens.

With TLS 1.3 a client learns that after the handshake; who has sent a command by then gets a reset, often before it has
read why.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import NamedTuple


class Own(NamedTuple):
    """The certificate of a client, as files."""

    certificate: str
    key: str | None = None
    password: str | None = None


class _Listener(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(error)


async def refusal(host: str, port: int, own: Own | None, seconds: float) -> str | None:
    """Connect, send nothing, and look for so long whether the certificate is refused: what to say of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # nothing is told to it
    context.verify_mode = ssl.CERT_NONE
    error: BaseException | None
    try:
        if own is not None:
            context.load_cert_chain(*own)
        connecting = asyncio.get_running_loop().create_connection(_Listener, host, port, ssl=context)
        transport, protocol = await asyncio.wait_for(connecting, seconds)
        try:
            await asyncio.wait([protocol.lost], timeout=seconds)
            error = protocol.lost.result() if protocol.lost.done() else None
        finally:
            transport.abort()
    except (OSError, asyncio.TimeoutError) as problem:
        error = problem
    if not isinstance(error, ssl.SSLError):
        return None
    if own is not None and "ALERT" in str(error).upper():
        return f"it refuses the certificate in ssl_certfile: {error}"
    if own is None and "CERTIFICATE" in str(error).upper():
        return "it wants a certificate: ssl_certfile and ssl_keyfile in the URL"
    return None
