"""The echo of apps.py on picows, which is no ASGI server: what remains when ASGI is left out. `picows_echo.py PORT`."""

from __future__ import annotations

import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

DATA = (WSMsgType.TEXT, WSMsgType.BINARY)
members: set[WSTransport] = set()


class Echo(WSListener):
    """Sends each message back."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame, which the load client never divides a message into."""
        if frame.msg_type in DATA:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()


class Fanout(WSListener):
    """Sends each message to everybody, in a loop as apps.py has it."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """One more member."""
        members.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """One less."""
        members.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame to pass on."""
        if frame.msg_type in DATA:
            payload = frame.get_payload_as_bytes()
            for member in list(members):
                member.send(frame.msg_type, payload)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


def listener(request: WSUpgradeRequest) -> WSListener:
    """By path."""
    return Fanout() if request.path == b"/fanout" else Echo()


async def serve(port: int) -> None:
    """Serve until killed."""
    server = await ws_create_server(listener, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
