import asyncio
import ssl
from typing import final

from typing_extensions import disjoint_base

from fastws.net._transport import SocketTransport
from fastws.net.handshakes import Handshakes

@disjoint_base
class TlsPipes:
    def __init__(self, handshakes: Handshakes) -> None: ...

@final
class TlsTransport(SocketTransport):
    def start_tls(self, context: ssl.SSLContext, waiter: asyncio.Future[None] | None = None) -> None: ...
    def cancel(self) -> None: ...
