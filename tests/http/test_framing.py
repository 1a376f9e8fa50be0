"""How response bodies are delimited, in one table; chunks and error responses as httptools reads them."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastws.errors import ApplicationError, RequestError
from fastws.http.framing import LAST_CHUNK, Framing, encode_chunk, error_response, frame_response, last_chunk
from fastws.http.head import Header
from fastws.http.response_head import response_head

NONE, LENGTH, CHUNKED, CLOSE = Framing.NONE, Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE
L5 = b"content-length: 5\r\n"
TE = b"transfer-encoding: chunked\r\n"
CC = b"connection: close\r\n"
KA = b"connection: keep-alive\r\n"

# method, version, keep-alive, status, the app's Content-Length, size of the whole body: framing, keep-alive, lines
FRAMING = [
    ("GET", "1.1", True, 200, None, None, (CHUNKED, True, TE)),
    ("GET", "1.1", True, 200, None, 5, (LENGTH, True, L5)),
    ("GET", "1.1", True, 200, 5, None, (LENGTH, True, b"")),
    ("GET", "1.1", True, 200, 5, 5, (LENGTH, True, b"")),
    ("GET", "1.1", True, 200, None, 0, (LENGTH, True, b"content-length: 0\r\n")),
    ("GET", "1.1", False, 200, None, None, (CHUNKED, False, TE + CC)),
    ("GET", "1.1", False, 200, None, 5, (LENGTH, False, L5 + CC)),
    ("GET", "1.1", False, 200, 5, None, (LENGTH, False, CC)),
    ("GET", "1.0", True, 200, None, None, (CLOSE, False, CC)),
    ("GET", "1.0", True, 200, None, 5, (LENGTH, True, L5 + KA)),
    ("GET", "1.0", True, 200, 5, None, (LENGTH, True, KA)),
    ("GET", "1.0", False, 200, None, None, (CLOSE, False, CC)),
    ("GET", "1.0", False, 200, 5, None, (LENGTH, False, CC)),
    ("HEAD", "1.1", True, 200, None, None, (NONE, True, b"")),
    ("HEAD", "1.1", True, 200, None, 0, (NONE, True, b"")),
    ("HEAD", "1.1", True, 200, 5, 0, (NONE, True, b"")),
    ("HEAD", "1.0", True, 200, None, None, (NONE, True, KA)),
    ("HEAD", "1.1", False, 200, None, None, (NONE, False, CC)),
    ("GET", "1.1", True, 204, None, None, (NONE, True, b"")),
    ("GET", "1.1", True, 204, None, 0, (NONE, True, b"")),
    ("GET", "1.1", True, 205, None, None, (NONE, True, b"content-length: 0\r\n")),
    ("GET", "1.1", True, 205, 5, 5, (NONE, True, b"content-length: 0\r\n")),
    ("HEAD", "1.1", True, 205, 5, 0, (NONE, True, b"content-length: 0\r\n")),
    ("GET", "1.0", False, 205, None, None, (NONE, False, b"content-length: 0\r\n" + CC)),
    ("GET", "1.1", True, 304, None, 0, (NONE, True, b"")),
    ("GET", "1.1", True, 304, 5, 0, (NONE, True, b"")),
    ("GET", "1.0", True, 304, None, None, (NONE, True, KA)),
    ("POST", "1.1", True, 404, None, 5, (LENGTH, True, L5)),
    ("PUT", "1.1", True, 500, None, None, (CHUNKED, True, TE)),
]


@pytest.mark.parametrize(("method", "version", "keep_alive", "status", "length", "body", "expected"), FRAMING)
def test_framing(
    method: str,
    version: str,
    keep_alive: bool,
    status: int,
    length: int | None,
    body: int | None,
    expected: tuple[Framing, bool, bytes],
) -> None:
    head = response_head(status, [] if length is None else [(b"content-length", b"%d" % length)])
    assert frame_response(method, version, keep_alive, head, body) == expected


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_app_may_close(version: str) -> None:
    head = response_head(200, [(b"connection", b"close")])
    assert frame_response("GET", version, True, head, 5) == (LENGTH, False, L5 + CC)


class Response:
    """What httptools reads from a response."""

    def __init__(self, data: bytes) -> None:
        self.body = b""
        self.headers: list[Header] = []
        self.complete = False
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.complete = True


@given(st.lists(st.binary(max_size=40)))
def test_chunks_are_read_back(parts: list[bytes]) -> None:
    head = response_head(200, ())
    _, _, lines = frame_response("GET", "1.1", True, head)
    response = Response(head.lines + lines + b"\r\n" + b"".join(map(encode_chunk, parts)) + LAST_CHUNK)
    assert response.body == b"".join(parts)
    assert response.complete


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_chunk(kind: type) -> None:
    assert encode_chunk(kind(b"x" * 26)) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert encode_chunk(kind(b"")) == b""


@pytest.mark.parametrize("value", [b"", b"-1", b"5 ", b"0x5", b"1" * 19, "5", 5])
def test_a_content_length_that_is_none(value: object) -> None:
    with pytest.raises(ApplicationError, match="up to 18 digits"):
        response_head(200, [(b"content-length", value)])  # type: ignore[list-item]


def test_the_largest_content_length() -> None:
    assert response_head(200, [(b"content-length", b"9" * 18)]).content_length == 10**18 - 1


def test_trailers() -> None:
    assert last_chunk([]) == LAST_CHUNK
    trailers = [(b"x-sum", b"1"), (b"content-length", b"5"), (b"transfer-encoding", b"chunked"), (b"y", b"2")]
    assert last_chunk(trailers) == b"0\r\nx-sum: 1\r\ny: 2\r\n\r\n"
    with pytest.raises(ApplicationError):
        last_chunk([(b"x", b"a\r\n\r\n")])


def test_an_error_response() -> None:
    error = RequestError(426, "No.", ((b"sec-websocket-version", b"13"),))
    response = Response(error_response(error, b"date: d\r\n"))
    assert response.parser.get_status_code() == 426
    assert response.headers == [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"4"),
        (b"sec-websocket-version", b"13"),
        (b"date", b"d"),
        (b"connection", b"close"),
    ]
    assert response.body == b"No.\n"
    assert response.complete
    assert error_response(error, head_only=True).endswith(b"\r\n\r\n")
