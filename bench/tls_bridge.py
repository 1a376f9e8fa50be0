"""A bridge for clients that speak no TLS to a server that does: `python bench/tls_bridge.py PORT` prints its own port.

Each client that connects gets a connection of TLS to the server, from the client's own address. Bytes are carried as
they are. The end of one side is the end of the other: FIN and close_notify, and a reset is a reset. What one side does
not take is not read from the other. Ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

READ_SIZE = 65536
RESET = struct.pack("ii", 1, 0)


@contextlib.contextmanager
def tls_bridged(port: int) -> Iterator[int]:
    """The port of a bridge to the server on `port`, in a process of its own, while the block runs."""
    command = [sys.executable, str(Path(__file__)), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield int(process.stdout.readline())
        process.stdin.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection at once, and so that its peer notices."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All bytes from one side to the other, and then the end."""
    while data := await reader.read(READ_SIZE):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def send(near: asyncio.StreamReader, away: asyncio.StreamWriter) -> None:
    """What the client says, as long as the server takes it: what that has answered is of interest all the same."""
    with contextlib.suppress(OSError):
        await carry(near, away)
    while await near.read(READ_SIZE):
        pass


async def bridge(port: int, context: ssl.SSLContext, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
    """One client's connection."""
    try:
        address = back.get_extra_info("peername")[0]
        far, away = await asyncio.open_connection(
            *("127.0.0.1", port), ssl=context, server_hostname="127.0.0.1", local_addr=(address, 0), limit=READ_SIZE
        )
    except (OSError, asyncio.TimeoutError):
        reset(back)
        return
    sending = asyncio.ensure_future(send(near, away))
    sending.add_done_callback(lambda task: task.cancelled() or (task.exception() and reset(away)))
    try:
        await carry(far, back)
        away.close()
        await sending  # its bytes would make a reset of our end, else
        back.close()
    except OSError:
        reset(back)
    finally:
        sending.cancel()


async def serve(port: int) -> None:
    """Serve until standard input ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)  # who resets does so on purpose

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await bridge(port, context, reader, writer)

    server = await asyncio.start_server(on_client, "127.0.0.1", 0, limit=READ_SIZE, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    asyncio.run(serve(int(sys.argv[1])))
