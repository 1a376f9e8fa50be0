"""Starlette: WebSockets, denial, streams, lifespan state, background tasks, middleware."""

from __future__ import annotations

import os

import httpx
import pytest
from polling import eventually
from served import Served, refusal
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

APP = "starlette_app"


def test_websocket_echoes_text_and_binary(served: Served) -> None:
    with connect(served.ws + "/echo", subprotocols=["v1", "v2"], max_size=None) as websocket:
        assert websocket.subprotocol == "v2"
        assert websocket.response is not None
        assert websocket.response.headers["x-hello"] == "there"
        for message in ("", "grüß dich", b"", os.urandom(1000), "x" * 1_000_000, os.urandom(1_000_000)):
            websocket.send(message)
            assert websocket.recv() == message


def test_websocket_fragments(served: Served) -> None:
    with connect(served.ws + "/echo") as websocket:
        websocket.send(["frag", "men", "ted"])
        assert websocket.recv() == "fragmented"


def test_websocket_json_and_lifespan_state(served: Served) -> None:
    with connect(served.ws + "/json") as websocket:
        websocket.send('{"a": [1, 2]}')
        assert websocket.recv() == '{"got":{"a":[1,2]},"answer":42}'


def test_websocket_receiver_and_sender_in_two_tasks(served: Served) -> None:
    with connect(served.ws + "/pushes") as websocket:
        for i in range(100):
            websocket.send(f"m{i}")
        assert [websocket.recv() for _ in range(100)] == [f"M{i}" for i in range(100)]


def test_websocket_denial_response(served: Served) -> None:
    failed = refusal(served.ws + "/denied")
    assert failed.status_code == 401
    assert failed.body == b'{"detail":"not you"}'


def test_websocket_refused(served: Served) -> None:
    assert refusal(served.ws + "/refused").status_code == 403


def test_websocket_closed_by_the_application(served: Served) -> None:
    with connect(served.ws + "/closes") as websocket, pytest.raises(ConnectionClosed) as closed:
        websocket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "enough")


def test_websocket_close_code_of_the_client(served: Served) -> None:
    with connect(served.ws + "/tells-code") as websocket:
        websocket.close(4002, "bye")
    eventually(lambda: httpx.get(served.http + "/state").json()["seen"].get("left") == [4002, "bye"])


def test_websocket_error_is_1011(served: Served) -> None:
    with connect(served.ws + "/fails") as websocket, pytest.raises(ConnectionClosed) as closed:
        websocket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011


def test_websocket_pings_are_answered(served: Served) -> None:
    with connect(served.ws + "/echo") as websocket:
        assert websocket.ping(b"hello").wait(15)


def test_lifespan_state(served: Served) -> None:
    assert httpx.get(served.http + "/state").json()["answer"] == 42


def test_background_tasks(served: Served) -> None:
    response = httpx.post(served.http + "/background/word")
    assert (response.status_code, response.text) == (202, "accepted")
    eventually(lambda: "word" in httpx.get(served.http + "/state").json()["seen"]["background"])


def test_base_http_middleware(served: Served) -> None:
    assert httpx.get(served.http + "/stream").headers["x-stamp"] == "/stream"


def test_streaming(served: Served) -> None:
    response = httpx.get(served.http + "/stream")
    assert response.text == "0\n1\n2\n3\n4\n"
    assert response.headers["transfer-encoding"] == "chunked"


def test_stream_whose_client_leaves(served: Served) -> None:
    left = httpx.get(served.http + "/state").json()["seen"]["streams_left"]
    with httpx.stream("GET", served.http + "/endless") as response:
        lines = response.iter_lines()
        assert next(lines) == "tick"
    eventually(lambda: httpx.get(served.http + "/state").json()["seen"]["streams_left"] == left + 1)


def test_form_upload(served: Served) -> None:
    content = os.urandom(300_000)
    files = {"file": ("a.bin", content)}
    response = httpx.post(served.http + "/upload", files=files, data={"note": "ü"})
    assert response.json() == {"name": "a.bin", "size": 300_000, "note": "ü"}


def test_request_body_in_chunks(served: Served) -> None:
    response = httpx.post(served.http + "/body", content=iter([b"x" * 10_000] * 50))
    assert response.json() == {"size": 500_000}


def test_files_and_ranges(served: Served) -> None:
    whole = httpx.get(served.http + "/file")
    part = httpx.get(served.http + "/file", headers={"range": "bytes=5-14"})
    assert (part.status_code, part.content) == (206, whole.content[5:15])


def test_head_requests(served: Served) -> None:
    response = httpx.head(served.http + "/file")
    assert response.status_code == 200
    assert int(response.headers["content-length"]) > 0
    assert response.content == b""


def test_error_is_500(served: Served) -> None:
    assert httpx.get(served.http + "/error").status_code == 500
    assert "on purpose" in served.output()
