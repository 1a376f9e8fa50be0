"""Request heads through the real httptools, whole and byte by byte; response heads from well and badly behaved apps."""

from __future__ import annotations

from http import HTTPStatus

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import receive_head, refusal

from fastws.errors import ApplicationError, RequestError
from fastws.http.head import RequestHead, read_request
from fastws.http.head_scan import Limits
from fastws.http.response_head import response_head

STEPS = pytest.mark.parametrize("step", [0, 1, 7], ids=["whole", "byte by byte", "by seven"])


def get(
    target: str = "/", *lines: str, method: str = "GET", version: str = "HTTP/1.1", host: str | None = "a"
) -> bytes:
    head = [f"{method} {target} {version}", *([] if host is None else [f"Host: {host}"]), *lines, "", ""]
    return "\r\n".join(head).encode("latin-1")


def read(*args: str, **options: str | None) -> RequestHead:
    return receive_head(get(*args, **options))[0]  # type: ignore[arg-type]


REFUSED = {
    # RFC 9112 section 2.2, 3: the request line
    "two spaces before the target": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two spaces before the version": (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space after the version": (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    "space before the method": (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "tabs for spaces": (b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space in the target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "control character in the target": (b"GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "NUL in the target": (b"GET /a\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a byte over 127 in the target": (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "bare LF before": (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "bare CR before": (b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no target": (b"GET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "unknown method": (get(method="MUX"), 501),
    "unknown method with a known beginning": (get(method="GETS"), 501),
    "unknown method of all characters": (get(method="~!#$%&'*+-.^_`|9"), 501),
    "method in lower case": (get(method="get"), 501),
    "method of RTSP": (get(method="SETUP"), 501),
    "method of a preface": (get(method="PRI"), 501),
    "method that is no token": (get(method="G@T"), 400),
    "method with a colon": (get(method="GET:"), 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    # RFC 9112 section 2.3: versions
    "HTTP/0.9 without a version": (b"GET /\r\n\r\n", 400),
    "HTTP/0.9 with a version": (get(version="HTTP/0.9"), 400),
    "HTTP/1.2": (get(version="HTTP/1.2"), 505),
    "HTTP/2.0": (get(version="HTTP/2.0"), 505),
    "HTTP/3.0": (get(version="HTTP/3.0"), 505),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/2": (get(version="HTTP/2"), 400),
    "HTTP/1.10": (get(version="HTTP/1.10"), 400),
    "http/1.1": (get(version="http/1.1"), 400),
    "RTSP": (get(version="RTSP/1.0", method="OPTIONS"), 400),
    "ICE": (get(version="ICE/1.0", method="SOURCE"), 400),
    # RFC 9112 section 3.2: targets
    "GET *": (get("*"), 400),
    "M-SEARCH *": (get("*", method="M-SEARCH"), 400),
    "OPTIONS *x": (get("*x", method="OPTIONS"), 400),
    "CONNECT": (get("a:80", method="CONNECT"), 501),
    "CONNECT with a path": (get("/", method="CONNECT"), 501),
    "authority": (get("a:80"), 400),
    "relative": (get("foo"), 400),
    "only a query": (get("?x"), 400),
    "fragment": (get("/#a"), 400),
    "fragment behind the query": (get("/?a#b"), 400),
    "fragment of an absolute target": (get("http://a/#b"), 400),
    "fragment of an absolute target without a path": (get("http://a#b"), 400),
    "fragment of everything": (get("*#b", method="OPTIONS"), 400),
    "absolute, other host": (get("http://b/"), 400),
    "absolute, other port": (get("http://a:81/"), 400),
    "absolute, the other scheme's port": (get("http://a:443/"), 400),
    "absolute, other scheme": (get("ftp://a/"), 400),
    "absolute, no host": (get("http:///x"), 400),
    "absolute, only a port": (get("http://:80/x", host=":80"), 400),
    "absolute, user": (get("http://u:p@a/"), 400),
    "absolute, user like Host": (get("http://u@a/", host="u@a"), 400),
    # RFC 9112 section 5: fields
    "obs-fold": (get("/", "X: a", " b"), 400),
    "obs-fold by tab": (get("/", "X: a", "\tb"), 400),
    "obs-fold of an empty value": (get("/", "X:", " b"), 400),
    "space before the first name": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    "space before a name": (get("/", " X: a"), 400),
    "space before the colon": (get("/", "X : a"), 400),
    "tab before the colon": (get("/", "X\t: a"), 400),
    "space in a name": (get("/", "X Y: a"), 400),
    "empty name": (get("/", ": a"), 400),
    "no colon": (get("/", "abc"), 400),
    "parenthesis in a name": (get("/", "a(b: x"), 400),
    "control character in a name": (get("/", "a\x01b: x"), 400),
    "a byte over 127 in a name": (get("/", "a\xe9b: x"), 400),
    "NUL in a value": (get("/", "x: a\0b"), 400),
    "control character in a value": (get("/", "x: a\x01b"), 400),
    "vertical tab in a value": (get("/", "x: a\x0bb"), 400),
    "DEL in a value": (get("/", "x: a\x7fb"), 400),
    "bare CR in a value": (get("/", "x: a\rb"), 400),
    "bare LF after a value": (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
    "bare LF after the request line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare LF for the empty line": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    "bare CR for the empty line": (b"GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n\r\n", 400),
    "CR CR LF": (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
    # RFC 9110 section 7.2: Host
    "no Host": (get(host=None), 400),
    "two Hosts": (get("/", "host: b"), 400),
    "the same Host twice": (get("/", "Host: a"), 400),
    "two Hosts in HTTP/1.0": (get("/", "host: b", version="HTTP/1.0"), 400),
    "Host with a list": (get(host="a, b"), 400),
    "Host with a comma": (get(host="a,b"), 400),
    "Host with a space": (get(host="a b"), 400),
    "Host with a path": (get(host="a/b"), 400),
    "Host with a user": (get(host="u@a"), 400),
    "Host with a bad port": (get(host="a:b"), 400),
    "Host with two ports": (get(host="a:1:2"), 400),
    "Host with an unbracketed IPv6 address": (get(host="::1"), 400),
    "Host with an open bracket": (get(host="[::1"), 400),
    "Host with a bad escape": (get(host="a%zz"), 400),
    "Host over 127": (get(host="\xe9"), 400),
    "long malformed Host": (get(host="a" * 100 + "/"), 400),
    "malformed Host in HTTP/1.0": (get(host="a/b", version="HTTP/1.0"), 400),
    # RFC 9112 section 6: framing
    "Content-Length twice": (get("/", "Content-Length: 3", "Content-Length: 3"), 400),
    "two Content-Lengths": (get("/", "Content-Length: 3", "content-length: 4"), 400),
    "Content-Length with a list": (get("/", "Content-Length: 3, 3"), 400),
    "Content-Length with a plus": (get("/", "Content-Length: +3"), 400),
    "Content-Length with a minus": (get("/", "Content-Length: -3"), 400),
    "Content-Length in hexadecimal": (get("/", "Content-Length: 0x3"), 400),
    "Content-Length with a space": (get("/", "Content-Length: 3 3"), 400),
    "Content-Length with an underscore": (get("/", "Content-Length: 1_0"), 400),
    "empty Content-Length": (get("/", "Content-Length:"), 400),
    "Content-Length over 64 bits": (get("/", f"Content-Length: {2**64}"), 400),
    "Content-Length over 63 bits": (get("/", f"Content-Length: {2**63}"), 400),
    "Content-Length, then Transfer-Encoding": (get("/", "Content-Length: 3", "Transfer-Encoding: chunked"), 400),
    "Transfer-Encoding, then Content-Length": (get("/", "Transfer-Encoding: chunked", "Content-Length: 3"), 400),
    "Transfer-Encoding in HTTP/1.0": (get("/", "Transfer-Encoding: chunked", version="HTTP/1.0"), 400),
    "gzip": (get("/", "Transfer-Encoding: gzip"), 501),
    "gzip, chunked": (get("/", "Transfer-Encoding: gzip, chunked"), 501),
    "chunked, gzip": (get("/", "Transfer-Encoding: chunked, gzip"), 501),
    "chunked twice": (get("/", "Transfer-Encoding: chunked, chunked"), 501),
    "chunked in two lines": (get("/", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 501),
    "identity": (get("/", "Transfer-Encoding: identity"), 501),
    "xchunked": (get("/", "Transfer-Encoding: xchunked"), 501),
    "chunked with a parameter": (get("/", "Transfer-Encoding: chunked;a=b"), 501),
    "vertical tab and chunked": (get("/", "Transfer-Encoding: \x0bchunked"), 400),
    # RFC 9110 section 10.1.1
    "unknown Expect": (get("/", "Expect: 200-ok"), 417),
    "two Expects": (get("/", "Expect: 100-continue", "Expect: x"), 417),
}


@STEPS
@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
def test_a_bad_head_is_refused(data: bytes, status: int, step: int) -> None:
    error = refusal(data, step=step)
    assert error is not None
    assert error.status == status
    assert error.detail.isascii()
    assert error.detail.isprintable()


@STEPS
def test_a_head_says_what_was_asked(step: int) -> None:
    data = get("/a%20b/%C3%A9?x=%20y", "X-B: \t1 \t ", "x-a:", "X-B: \xff", "Cookie: a", host="A.example:8000")
    head, rest = receive_head(data + b"more", step=step)
    assert rest[-4:] == b"more"
    assert (head.method, head.http_version, head.target) == ("GET", "1.1", b"/a%20b/%C3%A9?x=%20y")
    assert (head.path, head.raw_path, head.query_string) == ("/a b/é", b"/a%20b/%C3%A9", b"x=%20y")
    assert head.headers == [
        (b"host", b"A.example:8000"),
        (b"x-b", b"1"),
        (b"x-a", b""),
        (b"x-b", b"\xff"),
        (b"cookie", b"a"),
    ]
    assert head.fields[b"x-b"] == b"1, \xff"
    assert (head.content_length, head.chunked, head.has_body, head.expect_continue) == (None, False, False, False)
    assert head.keep_alive
    assert head.connection_tokens == frozenset()
    assert repr(head) == "<RequestHead GET b'/a%20b/%C3%A9?x=%20y' HTTP/1.1>"


TARGETS = [
    ("/", "/", b"/", b""),
    ("/?", "/", b"/", b""),
    ("/?a?b", "/", b"/", b"a?b"),
    ("//a/b", "//a/b", b"//a/b", b""),
    ("/../a", "/../a", b"/../a", b""),
    ("/%2f%00", "//\0", b"/%2f%00", b""),
    ("/%", "/%", b"/%", b""),
    ("/%zz%4", "/%zz%4", b"/%zz%4", b""),
    ("/%ff", "/\ufffd", b"/%ff", b""),
    ('/"<>\\^`{|}', '/"<>\\^`{|}', b'/"<>\\^`{|}', b""),
    ("http://a", "/", b"/", b""),
    ("http://a/", "/", b"/", b""),
    ("HTTP://A/x?y", "/x", b"/x", b"y"),
    ("http://a?x/y", "/", b"/", b"x/y"),
    ("http://a:80/x", "/x", b"/x", b""),
    ("http://a:/x", "/x", b"/x", b""),
    ("https://a:443/x", "/x", b"/x", b""),
]


@pytest.mark.parametrize(("target", "path", "raw_path", "query_string"), TARGETS)
def test_targets(target: str, path: str, raw_path: bytes, query_string: bytes) -> None:
    head = read(target)
    assert (head.path, head.raw_path, head.query_string) == (path, raw_path, query_string)


def test_the_star_is_for_options() -> None:
    assert read("*", method="OPTIONS").path == "*"
    assert read("http://a", method="OPTIONS").raw_path == b"*"
    assert read("http://a/", method="OPTIONS").raw_path == b"/"


@pytest.mark.parametrize(
    "host",
    ["a", "A.b", "a:80", "a:", "", "127.0.0.1:8000", "[::1]", "[::1]:80", "[v1.x:y]", "a_b-c~%41!$&'()*+;=", "x" * 100],
)
def test_valid_hosts(host: str) -> None:
    assert read(host=host).fields[b"host"] == host.encode()


def test_http_1_0_needs_no_host() -> None:
    assert read(version="HTTP/1.0", host=None).http_version == "1.0"
    assert read("http://a/x", version="HTTP/1.0", host=None).path == "/x"


KEEP_ALIVE = [
    ("HTTP/1.1", (), True),
    ("HTTP/1.1", ("close",), False),
    ("HTTP/1.1", ("Close",), False),
    ("HTTP/1.1", ("keep-alive",), True),
    ("HTTP/1.1", ("keep-alive, close",), False),
    ("HTTP/1.1", ("keep-alive", "close"), False),
    ("HTTP/1.1", ("x-close",), True),
    ("HTTP/1.1", (",\tclose ,",), False),
    ("HTTP/1.0", (), False),
    ("HTTP/1.0", ("keep-alive",), True),
    ("HTTP/1.0", ("Keep-Alive",), True),
    ("HTTP/1.0", ("x, keep-alive",), True),
    ("HTTP/1.0", ("keep-alive", "close"), False),
    ("HTTP/1.0", ("x" * 100,), False),
]


@pytest.mark.parametrize(("version", "values", "keep_alive"), KEEP_ALIVE)
def test_keep_alive(version: str, values: tuple[str, ...], keep_alive: bool) -> None:
    assert read("/", *(f"Connection: {value}" for value in values), version=version).keep_alive is keep_alive


BODIES = [
    ((), None, False),
    (("Content-Length: 0",), 0, False),
    (("Content-Length: 3 ",), 3, False),
    (("Content-Length: 003",), 3, False),
    ((f"Content-Length: {10**18 - 1}",), 10**18 - 1, False),
    (("Transfer-Encoding: chunked",), None, True),
    (("transfer-encoding: ChunkeD ",), None, True),
]


@pytest.mark.parametrize(("lines", "length", "chunked"), BODIES)
def test_how_the_body_is_delimited(lines: tuple[str, ...], length: int | None, chunked: bool) -> None:
    head = read("/", *lines, method="POST")
    assert (head.content_length, head.chunked) == (length, chunked)
    assert head.has_body is (chunked or bool(length))


EXPECTATIONS = [
    ("HTTP/1.1", "Content-Length: 3", True),
    ("HTTP/1.1", "Transfer-Encoding: chunked", True),
    ("HTTP/1.1", "Content-Length: 0", False),
    ("HTTP/1.1", "X: y", False),
    ("HTTP/1.0", "Content-Length: 3", False),
]


@pytest.mark.parametrize(("version", "line", "expected"), EXPECTATIONS)
def test_expect_continue(version: str, line: str, expected: bool) -> None:
    assert read("/", line, "Expect: 100-Continue", version=version, method="PUT").expect_continue is expected


def test_trailers_are_announced() -> None:
    assert not read().te_trailers
    assert read("/", "TE: gzip;q=0.5, Trailers").te_trailers
    assert not read("/", "TE: gzip").te_trailers


def test_limits_of_what_was_parsed() -> None:
    limits = Limits(target=10, fields=3)
    fields = [(b"Host", b"a"), (b"X", b"y"), (b"X", b"y")]
    assert read_request(b"GET", b"/" * 10, "1.1", fields, limits).headers[1] == (b"x", b"y")
    with pytest.raises(RequestError, match="414"):
        read_request(b"GET", b"/" * 11, "1.1", fields, limits)
    with pytest.raises(RequestError, match="431"):
        read_request(b"GET", b"/", "1.1", [*fields, (b"X", b"y")], limits)


def test_framing_is_checked_even_if_httptools_let_it_pass() -> None:
    host = (b"Host", b"a")
    for fields, status in [
        ([(b"Content-Length", b"3"), (b"content-length", b"3")], 400),
        ([(b"Content-Length", b"3, 3")], 400),
        ([(b"Content-Length", b"9" * 21)], 400),
        ([(b"Content-Length", b"\xb2")], 400),
        ([(b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")], 400),
        ([(b"Transfer-Encoding", b"chunked, chunked")], 501),
    ]:
        with pytest.raises(RequestError) as caught:
            read_request(b"POST", b"/", "1.1", [host, *fields])
        assert caught.value.status == status


FIELD_VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)
NAMES = st.from_regex(r"\AX-[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


@given(st.lists(st.tuples(NAMES, FIELD_VALUES), max_size=20), st.integers(0, 9))
@pytest.mark.slow
def test_fields_arrive_as_sent(fields: list[tuple[str, str]], step: int) -> None:
    head, _ = receive_head(get("/", *(f"{name}: {value}" for name, value in fields)), step=step)
    assert head.headers[1:] == [(name.lower().encode(), value.encode("latin-1")) for name, value in fields]
    assert set(head.fields) == {name for name, _ in head.headers}


# --- Responses --------------------------------------------------------------------------------------------------------


def test_a_response_head_is_written() -> None:
    head = response_head(200, [(b"Content-Type", b"text/plain"), (b"set-cookie", b"a"), (b"set-cookie", b"b")])
    assert head.lines == b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nset-cookie: a\r\nset-cookie: b\r\n"
    assert head.fields == b"Content-Type: text/plain\r\nset-cookie: a\r\nset-cookie: b\r\n"
    assert (head.status, head.content_length, head.close) == (200, None, False)
    assert (head.has_date, head.has_server) == (False, False)


def test_headers_may_be_any_iterable_of_pairs() -> None:
    pairs = [[b"x", b"y"], (b"z", b"\xff")]
    expected = b"HTTP/1.1 404 Not Found\r\nx: y\r\nz: \xff\r\n"
    assert response_head(404, pairs).lines == expected  # type: ignore[arg-type]
    assert response_head(HTTPStatus.NOT_FOUND, iter(pairs)).lines == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(("status", "line"), [(299, b"HTTP/1.1 299 \r\n"), (999, b"HTTP/1.1 999 \r\n")])
def test_an_unknown_status_has_an_empty_phrase(status: int, line: bytes) -> None:
    assert response_head(status, ()).lines == line


def test_what_the_server_must_know_is_told() -> None:
    head = response_head(
        200,
        [(b"Date", b"d"), (b"server", b"s"), (b"Content-Length", b"12"), (b"content-length", b"12"), (b"x", b"y")],
    )
    assert (head.has_date, head.has_server, head.content_length) == (True, True, 12)
    assert head.lines == b"HTTP/1.1 200 OK\r\nDate: d\r\nserver: s\r\nContent-Length: 12\r\nx: y\r\n"


@pytest.mark.parametrize("name", [b"transfer-encoding", b"Transfer-Encoding"])
def test_the_transfer_encoding_of_the_app_is_dropped(name: bytes) -> None:
    assert response_head(200, [(name, b"chunked")]).lines == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("status", [101, 103, 204])
def test_where_no_body_may_be_there_is_no_content_length(status: int) -> None:
    head = response_head(status, [(b"content-length", b"0")])
    assert b"content-length" not in head.lines


CONNECTIONS = [
    ([b"close"], True, b""),
    ([b"Keep-Alive"], False, b""),
    ([b"keep-alive, Close"], True, b""),
    ([b"upgrade"], False, b"connection: upgrade\r\n"),
    ([b"upgrade, close"], True, b"connection: upgrade\r\n"),
    ([b"close", b"keep-alive"], True, b""),
]


@pytest.mark.parametrize(("values", "close", "lines"), CONNECTIONS)
def test_connection_is_read(values: list[bytes], close: bool, lines: bytes) -> None:
    head = response_head(200, [(b"connection", value) for value in values])
    assert (head.close, head.fields) == (close, lines)


BAD_HEADERS = [
    ([(b"x", b"a\r\nSet-Cookie: b")], "CR, LF or NUL"),
    ([(b"x", b"a\n b")], "CR, LF or NUL"),
    ([(b"x", b"a\r")], "CR, LF or NUL"),
    ([(b"x", b"\0")], "CR, LF or NUL"),
    *(([(b"x", b"a%cb" % control)], "control character") for control in (*range(0x09), *range(0x0A, 0x20), 0x7F)),
    ([(b"x\r\ny", b"a")], "token"),
    ([(b"x ", b"a")], "token"),
    ([(b"x:", b"a")], "token"),
    ([(b"", b"a")], "token"),
    ([(b"\xe9", b"a")], "token"),
    ([("x", b"a")], "must be bytes, not str: 'x'"),
    ([(b"x", "a")], "value of the response header b'x' must be bytes, not str"),
    ([(b"x", None)], "must be bytes, not NoneType"),
    ([(b"x", 1)], "must be bytes, not int"),
    ([(None, b"a")], "must be bytes, not NoneType"),
    ([([], b"a")], "must be"),
    ([(b"connection", "close")], "must be bytes, not str"),
    ([(b"x",)], r"one is \(b'x',\)"),
    ([(b"x", b"y", b"z")], "pairs"),
    ([b"xy"], "must be bytes, not int"),
    ([None], "pairs"),
    (None, "not NoneType"),
    (5, "not int"),
    (iter([None]), "pairs"),
    ({b"xx": b"y"}, "must be bytes, not int"),
    ([(b"content-length", b"-1")], "Content-Length"),
    ([(b"content-length", b"")], "Content-Length"),
    ([(b"content-length", b"1 ")], "Content-Length"),
    ([(b"content-length", b"9" * 30)], "Content-Length"),
    ([(b"content-length", "1")], "Content-Length"),
    ([(b"content-length", 1)], "Content-Length"),
    ([(b"content-length", b"1"), (b"Content-Length", b"2")], "differ"),
]


@pytest.mark.parametrize(("headers", "message"), BAD_HEADERS)
def test_a_bad_response_header_is_the_apps_error(headers: object, message: str) -> None:
    with pytest.raises(ApplicationError, match=message):
        response_head(200, headers)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [0, 99, 1000, -200, "200", None, True, 200.5, [200]])
def test_a_bad_status_is_the_apps_error(status: object) -> None:
    with pytest.raises(ApplicationError, match="status"):
        response_head(status, ())  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=12)), max_size=4))
def test_nothing_can_be_injected(headers: list[tuple[bytes, bytes]]) -> None:
    try:
        head = response_head(200, headers)
    except ApplicationError:
        return
    lines = head.lines.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert lines[-1] == b""
    written = [tuple(line.split(b": ", 1)) for line in lines[1:-1]]
    assert written == headers
    assert not any(byte in head.lines.replace(b"\r\n", b"") for byte in b"\r\n\0")


@given(st.lists(st.tuples(NAMES, FIELD_VALUES), max_size=8), st.integers(200, 599))
def test_a_peer_reads_what_was_written(fields: list[tuple[str, str]], status: int) -> None:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in fields]

    class Callbacks:
        def __init__(self) -> None:
            self.read: list[tuple[bytes, bytes]] = []

        def on_header(self, name: bytes, value: bytes) -> None:
            self.read.append((name, value))

    callbacks = Callbacks()
    parser = httptools.HttpResponseParser(callbacks)
    parser.feed_data(response_head(status, headers).lines + b"\r\n")
    assert parser.get_status_code() == status
    assert callbacks.read == headers
