"""Clients of all kinds: text, binary, 1 MiB, fragments, pings, a close with a code from either side, and coming back.

Each conversation does what its client can do, twice: the second time is the coming back. It ends with Close 4002 "bye"
from the client, which the application must be told of.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import httpx
import httpx_ws
import picows
import pytest
import websocket
import websockets.asyncio.client
import websockets.sync.client
from polling import PATIENCE, eventually
from served import Serve
from websockets.exceptions import ConnectionClosed

sys.path.append(str(Path(__file__).parents[1] / "support"))
from browser import chromium  # the tests' own

HERE = Path(__file__).parent
LARGE = b"0123456789abcdef" * 65536
TEXTS = ("Grüße, 世界", "", LARGE.decode())
BINARIES = (b"\x00\x01\xfe\xff", b"", LARGE)


def websockets_threads(url: str) -> None:
    with websockets.sync.client.connect(url, subprotocols=["chat"], max_size=None) as client:  # type: ignore[list-item]
        assert client.subprotocol == "chat"
        for message in (*TEXTS, *BINARIES):
            client.send(message)
            assert client.recv() == message
        client.send(["frag", "men", "ted"])
        assert client.recv() == "fragmented"
        assert client.ping(b"x" * 125).wait(PATIENCE)
        client.close(4002, "bye")
    with websockets.sync.client.connect(url) as client:
        client.send("close")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "asked to")


def websockets_asyncio(url: str) -> None:
    async def main() -> None:
        async with websockets.asyncio.client.connect(url, max_size=None) as client:
            for message in (*TEXTS, *BINARIES):
                await client.send(message)
                assert await client.recv() == message
            await client.send([LARGE[:1], LARGE[1:100_000], LARGE[100_000:]])
            assert await client.recv() == LARGE
            await (await client.ping())
            await client.close(4002, "bye")
        async with websockets.asyncio.client.connect(url) as client:
            await client.send("close")
            with pytest.raises(ConnectionClosed, match="4001"):
                await client.recv()

    asyncio.run(main())


def aiohttp_client(url: str) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(url, compress=15, protocols=["chat"], max_msg_size=0) as client:
                assert client.protocol == "chat"
                for text in TEXTS:
                    await client.send_str(text)
                    assert await client.receive_str() == text
                for data in BINARIES:
                    await client.send_bytes(data)
                    assert await client.receive_bytes() == data
                await client.ping(b"hello")
                await client.send_str("after the ping")
                assert await client.receive_str() == "after the ping"
                await client.close(code=4002, message=b"bye")
            async with session.ws_connect(url) as client:
                await client.send_str("close")
                message = await client.receive()
                assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 4001, "asked to")

    asyncio.run(main())


def httpx_client(url: str) -> None:
    with httpx.Client() as session:
        with httpx_ws.connect_ws(url, session, max_message_size_bytes=2**21, subprotocols=["chat"]) as client:
            assert client.subprotocol == "chat"
            for text in TEXTS:
                client.send_text(text)
                assert client.receive_text() == text
            for data in BINARIES:
                client.send_bytes(data)
                assert client.receive_bytes() == data
            assert client.ping(b"hello").wait(PATIENCE)
            client.close(4002, "bye")
        with httpx_ws.connect_ws(url, session) as client:
            client.send_text("close")
            with pytest.raises(httpx_ws.WebSocketDisconnect) as closed:
                client.receive_text()
        assert (closed.value.code, closed.value.reason) == (4001, "asked to")


def websocket_client(url: str) -> None:
    client = websocket.create_connection(url, timeout=PATIENCE, subprotocols=["chat"])
    assert client.getsubprotocol() == "chat"
    for text in TEXTS:
        client.send(text)
        assert client.recv() == text
    for data in BINARIES:
        client.send_binary(data)
        assert client.recv() == data
    for opcode, part, fin in ((websocket.ABNF.OPCODE_TEXT, "frag", 0), (websocket.ABNF.OPCODE_CONT, "mented", 1)):
        client.send_frame(websocket.ABNF.create_frame(part, opcode, fin))
    assert client.recv() == "fragmented"
    client.ping("hello")
    opcode, frame = client.recv_data_frame(control_frame=True)
    assert (opcode, frame.data) == (websocket.ABNF.OPCODE_PONG, b"hello")
    client.close(4002, b"bye")
    client = websocket.create_connection(url, timeout=PATIENCE)
    client.send("close")
    opcode, data = client.recv_data()
    assert (opcode, data) == (websocket.ABNF.OPCODE_CLOSE, b"\x0f\xa1asked to")
    client.close()


def picows_client(url: str) -> None:
    class Listener(picows.WSListener):  # type: ignore[misc]
        def __init__(self) -> None:
            self.messages: asyncio.Queue[object] = asyncio.Queue()

        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.msg_type == picows.WSMsgType.CLOSE:
                self.messages.put_nowait((int(frame.get_close_code()), bytes(frame.get_close_message())))
                transport.send_close(frame.get_close_code())
                transport.disconnect()
            elif frame.msg_type == picows.WSMsgType.TEXT:
                self.messages.put_nowait(frame.get_payload_as_utf8_text())
            else:
                self.messages.put_nowait(frame.get_payload_as_bytes())

    async def main() -> None:
        transport, listener = await picows.ws_connect(Listener, url)
        for text in TEXTS:
            transport.send(picows.WSMsgType.TEXT, text.encode())
            assert await listener.messages.get() == text
        for data in BINARIES:
            transport.send(picows.WSMsgType.BINARY, data)
            assert await listener.messages.get() == data
        transport.send_ping(b"hello")
        assert await listener.messages.get() == b"hello"
        transport.send_close(4002, b"bye")
        await listener.messages.get()
        await transport.wait_disconnected()
        transport, listener = await picows.ws_connect(Listener, url)
        transport.send(picows.WSMsgType.TEXT, b"close")
        assert await listener.messages.get() == (4001, b"asked to")
        await transport.wait_disconnected()

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def node(script: str) -> Callable[[str], None]:
    def run(url: str) -> None:
        done = subprocess.run(
            ["node", HERE / "node" / script, url],
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        assert done.stdout == "done\n", done.stdout + done.stderr

    return run


def chromium_page(url: str) -> None:
    with chromium() as browser:
        browser.driver.set_script_timeout(2 * PATIENCE)
        browser.driver.get(url.replace("ws", "http", 1))  # an empty page may not connect
        script = (HERE / "node" / "conversation.js").read_text()
        call = "const tell = arguments[1]; converse(WebSocket, arguments[0]).then(tell, (e) => tell(e.message));"
        assert browser.driver.execute_async_script(script + call, url) == "done"


CLIENTS = {
    "websockets (asyncio)": websockets_asyncio,
    "websockets (threads)": websockets_threads,
    "aiohttp": aiohttp_client,
    "httpx-ws": httpx_client,
    "websocket-client": websocket_client,
    "picows": picows_client,
    "npm ws": node("ws.cjs"),
    "npm undici": node("undici.cjs"),
    "Chromium": chromium_page,
}


@pytest.mark.parametrize("client", CLIENTS)
def test_client(serve: Serve, client: str) -> None:
    served = serve("clients_app")
    path = "/" + client.replace(" ", "-").strip("()")
    CLIENTS[client](served.ws + path)
    eventually(lambda: [path, 4002, "bye"] in httpx.get(served.http + "/left").json())
    eventually(lambda: any(end[:2] == [path, 4001] for end in httpx.get(served.http + "/left").json()))


@pytest.mark.parametrize("transports", ["polling", "websocket", "polling,websocket"])
def test_socket_io_client(serve: Serve, transports: str) -> None:
    url = serve("socketio_app").http
    done = subprocess.run(
        ["node", HERE / "node" / "socket_io.cjs", url, transports], capture_output=True, text=True, timeout=2 * PATIENCE
    )
    assert done.stdout == "done\n", done.stdout + done.stderr


def test_curl(serve: Serve) -> None:
    url = serve("clients_app").http
    for options in (["--http1.1"], ["--http1.0"], ["--http2"], ["--head"]):
        done = subprocess.run(["curl", "-sS", "-w", "%{http_code}", *options, url], capture_output=True, text=True)
        assert done.stdout.endswith("200"), done.stdout + done.stderr
