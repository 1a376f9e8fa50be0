"""The raw bytes of a head: where it ends, its sizes, and what httptools would forget."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import IncompleteHead, receive_head, refusal

from fastws.errors import RequestError
from fastws.http.head_scan import Limits, parse_failure, scan_head

HEAD = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
STEPS = pytest.mark.parametrize("step", [0, 1, 7], ids=["whole", "byte by byte", "by seven"])


@pytest.mark.parametrize("before", [b"", b"\r\n", b"\r\n\r\n\r\n"])
@pytest.mark.parametrize("after", [b"", b"\r\n\r\n", b"GET"])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_the_end_is_found(before: bytes, after: bytes, kind: type[bytes | bytearray]) -> None:
    data = before + HEAD
    assert scan_head(kind(data + after)) == len(data)
    assert scan_head(kind(b"xxxxx" + data + after), 5) == len(data) + 5
    for size in range(len(data)):
        assert scan_head(kind(data[:size])) == -1


def test_a_head_without_fields() -> None:
    data = b"GET / HTTP/1.0\r\n\r\n"
    assert scan_head(data) == len(data)
    assert scan_head(data, 0, Limits(field_size=1)) == len(data)


LIMITS = Limits(target=100, fields=5, field_size=200, head=600)


def field(size: int) -> bytes:
    return b"x: " + b"y" * (size - 3)


def head(*fields: bytes, target: bytes = b"/") -> bytes:
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: a", *fields, b"", b""])


SIZES = {
    "a target at its limit": (head(target=b"/" * 100), None),
    "a target over it": (head(target=b"/" * 101), 414),
    "a target far over it": (head(target=b"/" * 1000), 414),
    "an endless target": (b"GET /" + b"x" * 1000, 414),
    "an endless method": (b"G" * 1000, 414),
    "a field at its limit": (head(field(200)), None),
    "a field over it": (head(field(201)), 431),
    "a field over it before others": (head(field(201), field(20)), 431),
    "an endless field": (b"GET / HTTP/1.1\r\nx: " + b"y" * 1000, 431),
    "an endless name": (b"GET / HTTP/1.1\r\n" + b"y" * 1000, 431),
    "blanks count": (head(b"x:" + b" " * 198 + b"y"), 431),
    "fields at their limit": (head(*[field(5)] * 4), None),
    "a field more": (head(*[field(5)] * 5), 431),
    "a head at its limit": (head(field(200), field(200), field(600 - 18 - 9 - 404 - 2)), None),
    "a head over it": (head(field(200), field(200), field(600 - 18 - 9 - 404 - 1)), 431),
    "an endless head": (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 1000, 431),
    "endless empty lines": (b"\r\n" * 1000, 431),
}


@STEPS
@pytest.mark.parametrize(("data", "status"), SIZES.values(), ids=SIZES)
def test_sizes(data: bytes, status: int | None, step: int) -> None:
    error = refusal(data, step=step, limits=LIMITS)
    assert (error.status if error else None) == status


def test_the_limit_counts_one_head_only() -> None:
    assert scan_head(HEAD + b"x" * 1000, 0, LIMITS) == len(HEAD)
    assert scan_head(b"x" * 1000 + HEAD, 1000, LIMITS) == 1000 + len(HEAD)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01",
        b"\n",
        b" ",
        b"\0",
        b"\r\n\x80",
        b"\rG",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\nHost: a\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET / RTSP/1.0\r\n",
    ],
)
def test_what_can_become_no_head_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(RequestError, match="400"):
        scan_head(data)


def test_another_version_is_refused_before_its_head_is_complete() -> None:
    with pytest.raises(RequestError, match="505"):
        scan_head(b"PRI * HTTP/2.0\r\n")


@given(st.binary(max_size=60), st.integers(0, 5))
def test_any_bytes_are_a_refusal_or_wait(data: bytes, step: int) -> None:
    with contextlib.suppress(RequestError, IncompleteHead):
        receive_head(data, step=step)


@given(st.data())
def test_the_split_changes_nothing(data: st.DataObject) -> None:
    whole = bytearray(b"\r\n" + head(b"X: y", b"Connection: close"))
    for _ in range(data.draw(st.integers(0, 2))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.sampled_from(b"\r\n \t\0:x/1\xff"))
    # The end of the head may have been damaged: another one follows, as an attacker's would.
    stream = bytes(whole) + head()
    outcomes = []
    for step in (0, 1, data.draw(st.integers(2, 20))):
        try:
            request, _ = receive_head(stream, step=step)
            outcomes.append((request.target, request.headers))
        except RequestError:
            outcomes.append((b"refused", []))  # of two faults the reads decide which is seen first, and so the status
    assert outcomes[0] == outcomes[1] == outcomes[2]


FAILURES = [
    ("Invalid HTTP version", "1.2", 505),
    ("Invalid HTTP version", "3.0", 505),
    ("Invalid HTTP version", "0.8", 400),
    ("Pause on PRI/Upgrade", "2.0", 505),
    ("Request has invalid `Transfer-Encoding`", "1.1", 501),
    ("Invalid `Transfer-Encoding` header value", "1.1", 501),
    ("Transfer-Encoding can't be present with Content-Length", "1.1", 400),
    ("Content-Length can't be present with Transfer-Encoding", "1.1", 400),
    ("Invalid method encountered", "0.0", 400),
]


@pytest.mark.parametrize(("message", "version", "status"), FAILURES)
def test_what_httptools_refused_gets_a_status(message: str, version: str, status: int) -> None:
    assert parse_failure(message, version).status == status
