"""Plain heads, read in C; that they are read as httptools reads them, `reading.receive_head` checks in every test."""

from __future__ import annotations

import pytest
from reading import said

from fastws.http.head_reader import HeadReader
from fastws.http.head_scan import DEFAULT_LIMITS, Limits

plain_heads = pytest.importorskip("fastws.http._plain_heads", reason="nothing is compiled here")

BROWSER = (
    b"GET /a%%20b/c?d=%%20 HTTP/1.1\r\nHost: example.org:8000\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*;q=0.8\r\n"
    b"Connection: keep-alive\r\nX-Own: \t1 \r\nCookie: session=12345678\r\nX-Request-ID: %08d\r\n\r\n"
)
PLAIN = [
    BROWSER % 1,
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"PATCH / HTTP/1.1\r\nHost: [::1]:80\r\nTE: trailers\r\n\r\n",
    b"DELETE / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"HEAD / HTTP/1.0\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: b\r\nX-Forwarded-Proto: https\r\n\r\n",
    b"OPTIONS / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n",
]


@pytest.mark.parametrize("data", PLAIN)
def test_what_clients_send_is_plain(data: bytes) -> None:
    plain, strict = plain_heads.PlainHeads(DEFAULT_LIMITS), HeadReader(DEFAULT_LIMITS, strict=True)
    expected = strict.read(data, 0)
    assert expected is not None
    for _ in range(4):
        for behind in (b"", b"GET /"):
            head = plain.read(b"\r\n" + data + behind, 2)
            assert head is not None
            assert said(head) == said(expected)
            assert plain.end == 2 + strict.end == 2 + len(data)


@pytest.mark.parametrize("data", PLAIN)
def test_what_is_not_whole_is_not_read(data: bytes) -> None:
    plain = plain_heads.PlainHeads(DEFAULT_LIMITS)
    for size in range(len(data)):
        assert plain.read(data[:size], 0) is None


def test_lines_that_come_again_are_known_but_for_secrets() -> None:
    plain = plain_heads.PlainHeads(DEFAULT_LIMITS)
    for number in range(2):
        plain.read(BROWSER % number, 0)
    first, second = ({pair[0]: pair for pair in plain.read(BROWSER % number, 0).headers} for number in (3, 4))
    known = {name for name, pair in first.items() if pair is second[name]}
    assert known == {b"host", b"user-agent", b"accept", b"connection", b"x-own"}
    assert all(name is other for name, other in zip(first, second, strict=True))


def test_what_an_application_does_to_its_list_is_its_own() -> None:
    plain = plain_heads.PlainHeads(DEFAULT_LIMITS)
    heads = [plain.read(BROWSER % 1, 0).headers for _ in range(4)]
    heads[0].append((b"x-mine", b"1"))
    del heads[1][0]
    assert heads[2] == heads[3]
    assert len(heads[3]) == 7


def test_limits_are_left_to_the_others() -> None:
    def fits(**limits: int) -> bool:
        return plain_heads.PlainHeads(Limits(**limits)).read(BROWSER % 1, 0) is not None

    size = len(BROWSER % 1)
    for name, least in (("target", 14), ("fields", 7), ("field_size", 24), ("head", size)):
        assert fits(**{name: least})
        assert not fits(**{name: least - 1})
