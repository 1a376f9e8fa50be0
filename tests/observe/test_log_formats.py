"""JSON lines, access logs in a format of the operator's, and request ids: what they say, and that none is forged."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import urllib.request
from typing import Any

import pytest
import wire
from driving import ACCEPT
from fake_loop import DrivenApp, FakeServer, on_fake_clock, settle
from serving import PATIENCE, serve, serve_process
from websockets.sync.client import connect

from fastws.asgi.observer import CLIENT, Observer, WebSocketEnd
from fastws.asgi.request_id import MAX_LENGTH, REQUEST_ID
from fastws.config import Config
from fastws.config.log_atoms import ATOMS, KINDS, RECORD_FIELDS
from fastws.errors import ConfigError
from fastws.http.response_head import response_head
from fastws.observe.access_format import FormattedAccessLog, clf_time
from fastws.observe.access_log import AccessLog
from fastws.observe.log_format import DefaultFormatter, JsonFormatter
from fastws.observe.log_setup import configure_logging

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "path": "/x y",
    "raw_path": b"/x%20y",
    "query_string": b"a=b",
    "http_version": "1.1",
    "client": ["192.0.2.7", 5000],
    "headers": [
        (b"host", b"test"),
        (b"user-agent", b'curl "8"\x1b[31m'),
        (b"referer", b"http://x/"),
        (b"authorization", b"Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        (b"x-many", b"one"),
        (b"x-many", b"two"),
    ],
}
END = WebSocketEnd(4000, 'say "hi"\n', CLIENT, 1.5, 1, 2, 3, 4)


class Kept(logging.Handler):
    """Keeps the records, and the lines that a formatter makes of them."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.formatter = formatter

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def kept(formatter: logging.Formatter | None = None) -> tuple[logging.Logger, list[str]]:
    """A logger like the access log's, and the lines that come of it."""
    handler = Kept(formatter or logging.Formatter("%(message)s"))
    logger = logging.Logger("fastws.access", logging.INFO)
    logger.addHandler(handler)
    return logger, handler.lines


# Formats.


def line(text: str, *, scope: dict[str, Any] | None = None, seconds: float = 1.25, size: int = 12) -> str:
    """The line of a request in this format."""
    logger, lines = kept()
    response = response_head(201, [(b"X-Answer", b"42"), (b"set-cookie", b"a"), (b"set-cookie", b"b")])
    FormattedAccessLog(text, logger).request(SCOPE if scope is None else scope, 201, size, seconds, response)
    [found] = lines
    return found


@pytest.mark.parametrize(
    ("atom", "value"),
    [
        ("h", "192.0.2.7"),
        ("l", "-"),
        ("u", "aladdin"),
        ("r", "GET /x%20y?a=b HTTP/1.1"),
        ("m", "GET"),
        ("U", "/x%20y"),
        ("q", "a=b"),
        ("H", "HTTP/1.1"),
        ("s", "201"),
        ("B", "12"),
        ("b", "12"),
        ("f", "http://x/"),
        ("a", 'curl \\"8\\"\\x1b[31m'),
        ("T", "1"),
        ("M", "1250"),
        ("D", "1250000"),
        ("L", "1.250000"),
        ("p", "<PID>"),  # of this process
        ("{X-Many}i", "one,two"),
        ("{x-none}i", "-"),
        ("{x-answer}o", "42"),
        ("{Set-Cookie}o", "a,b"),
        ("{x-none}o", "-"),
        ("{FASTWS_TEST_ATOM}e", "here"),
        ("{FASTWS_TEST_NONE}e", "-"),
        ("{close_code}x", "-"),
        ("{request_id}x", "-"),
    ],
)
def test_atoms(monkeypatch: pytest.MonkeyPatch, atom: str, value: str) -> None:
    monkeypatch.setenv("FASTWS_TEST_ATOM", "here")
    value = value.replace("PID", str(os.getpid()))  # here, since tests must have the same names in all processes
    assert line(f"[%({atom})s] 100%%") == f"[{value}] 100%"


def test_atoms_of_time_and_of_what_is_not_there() -> None:
    assert re.fullmatch(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", line("%(t)s"))
    assert "/Jan/1970:" in clf_time(86400 * 3)
    assert line("%(b)s %(B)s", size=0) == "- 0"
    bare = {**SCOPE, "headers": [(b"authorization", b"Basic !!")], "client": None, "query_string": b""}
    assert line("%(h)s %(u)s %(f)s %(a)s %(q)s", scope=bare) == "- - - - "
    assert line("%(s)5s|%(s)-5s|") == "  201|201  |"


def test_every_atom_has_a_test_and_a_description() -> None:
    [mark] = [each for each in test_atoms.pytestmark if each.name == "parametrize"]  # type: ignore[attr-defined]
    tested = {atom.rpartition("}")[2] for atom, _ in mark.args[1]}
    assert tested == {*ATOMS, *KINDS} - {"t"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%(z)s", "there is no atom %(z)s; there are h, l, u, t, "),
        ("%({x})s", "there is no atom %({x})s; "),
        ("%({x}z)s", "there is no atom %({x}z)s; "),
        ("%({path}x)s", "there is no field 'path'; there are request_id, close_code, "),
        ("100%", "a % must begin an atom such as %(h)s, or be doubled: '%'"),
        ("%h", "a % must begin an atom such as %(h)s, or be doubled: '%h'"),
        ("%(h)", "a % must begin an atom such as %(h)s, or be doubled: '%(h)'"),
        ("%(h)d", "a % must begin an atom such as %(h)s, or be doubled: '%(h)d'"),
    ],
)
def test_a_wrong_format_is_an_error_of_the_option(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config("a:b", access_log_format=text)
    assert str(caught.value).startswith(f"--access-log-format: {message}")


def test_a_websocket_is_one_line_at_its_end_or_when_it_is_denied() -> None:
    logger, lines = kept()
    fields = " ".join(f"%({{{name}}}x)s" for name in RECORD_FIELDS)
    log = FormattedAccessLog(f"%(r)s %(s)s %(B)s %(L)s {fields}", logger)
    scope = {name: value for name, value in SCOPE.items() if name != "method"}
    log.websocket_opened(scope, 101)
    assert lines == []
    log.websocket_opened(scope, 403)
    scope["state"] = {"request_id": "abc"}
    log.websocket_closed(scope, END)
    assert lines == [
        "GET /x%20y?a=b HTTP/1.1 403 0 0.000000 - - - - - - - -",
        'GET /x%20y?a=b HTTP/1.1 101 4 1.500000 abc 4000 say \\"hi\\"\\n client 1 2 3 4',
    ]


def test_a_format_on_the_command_line() -> None:
    with serve_process("process_apps:app", "--access-log-format", '%(h)s "%(r)s" %(s)s %({Host}i)s') as process:
        with urllib.request.urlopen(process.http_url + "/a?b", timeout=PATIENCE) as response:
            response.read()
        process.wait_for_line(rf'^127\.0\.0\.1 "GET /a\?b HTTP/1\.1" 200 127\.0\.0\.1:{process.port}$')


# JSON.


def test_json_of_a_request_and_of_a_websocket() -> None:
    logger, lines = kept(JsonFormatter())
    log = AccessLog(logger)
    log.request({**SCOPE, "raw_path": b'/"\n\xff'}, 200, 12, 0.1234567891)
    log.websocket_opened(SCOPE, 101)
    log.websocket_opened({**SCOPE, "state": {"request_id": "abc"}}, 403)
    log.websocket_closed(SCOPE, END)
    assert all("\n" not in each and each.isascii() for each in lines)
    request, accepted, denied, closed = map(json.loads, lines)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", request.pop("time"))
    assert request.pop("pid") == os.getpid()
    assert request == {
        "level": "INFO",
        "logger": "fastws.access",
        "message": '192.0.2.7:5000 - "GET /\\"\\n\\xff?a=b HTTP/1.1" 200',
        "client": "192.0.2.7:5000",
        "method": "GET",
        "path": '/\\"\\n\\xff?a=b',
        "http_version": "1.1",
        "status": 200,
        "reason": "OK",
        "duration": 0.123457,
        "body_bytes": 12,
    }
    assert (accepted["event"], accepted["status"], accepted["path"]) == ("accepted", 101, "/x%20y?a=b")
    assert (denied["event"], denied["status"], denied["request_id"]) == ("denied", 403, "abc")
    assert (accepted["reason"], denied["reason"]) == ("Switching Protocols", "Forbidden")
    assert {
        name: closed[name] for name in ("event", "status", "duration", "close_code", "close_reason", "closed_by")
    } == {
        "event": "closed",
        "status": 101,
        "duration": 1.5,
        "close_code": 4000,
        "close_reason": 'say \\"hi\\"\\n',
        "closed_by": "client",
    }
    assert [closed[name] for name in ("messages_in", "bytes_in", "messages_out", "bytes_out")] == [1, 2, 3, 4]


def test_json_of_exceptions_and_of_what_code_adds() -> None:
    logger, lines = kept(JsonFormatter())
    try:
        raise ValueError("line\nbreak")
    except ValueError:
        logger.exception("it %s", "failed", extra={"user": {"id": 3}, "odd": object, "level": "mine"})
    logger.info("plain", stack_info=True)
    failed, plain = map(json.loads, lines)
    assert (failed["message"], failed["level"], failed["user"]) == ("it failed", "ERROR", {"id": 3})
    assert failed["odd"] == str(object)
    assert failed["exception"].startswith("Traceback (most recent call last):\n")
    assert failed["exception"].endswith("ValueError: line\nbreak")
    assert "exception" not in plain
    assert plain["stack"].startswith("Stack (most recent call last):")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_the_options_make_of_the_configuration(log_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("logging.config.dictConfig", seen.append)
    configure_logging(Config("a:b", log_format=log_format, access_log_format="%(h)s", use_colors=False))
    configure_logging(Config("a:b", log_format=log_format, log_config={"formatters": {"own": {"format": "x"}}}))
    formatters = seen[0]["formatters"]
    if log_format == "json":
        assert formatters == {name: {"()": "fastws.observe.JsonFormatter"} for name in ("default", "access")}
    else:
        assert formatters["access"] == {"format": "%(message)s"}
        assert formatters["default"]["use_colors"] is False
    assert seen[1]["formatters"] == {"own": {"format": "x"}}


def test_json_on_the_command_line() -> None:
    with serve_process("process_apps:app", "--log-format", "json") as process:
        with urllib.request.urlopen(process.http_url + "/a", timeout=PATIENCE) as response:
            response.read()
        process.wait_for_line('"fastws.access"')
        assert process.stop() == 0
        for each in process.output.replace("the application shuts down\n", "").splitlines():
            assert {"time", "level", "logger", "message"} <= json.loads(each).keys()


# Request ids.


async def answer(call: Any, status: int = 200) -> None:
    await call.send({"type": "http.response.start", "status": status, "headers": [(b"date", b"now")]})
    await call.send({"type": "http.response.body", "body": b"x"})


def get(*fields: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: test\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


@pytest.mark.parametrize(
    ("peer", "given", "taken"),
    [
        ("192.0.2.1", b"from-proxy.1/2:3=", True),
        ("192.0.2.9", b"forged", False),
        ("192.0.2.1", b"a" * MAX_LENGTH, True),
        ("192.0.2.1", b"a" * (MAX_LENGTH + 1), False),
        ("192.0.2.1", b"two words", False),
        ("192.0.2.1", b'"quoted"', False),
        ("192.0.2.1", b"\xff", False),
        ("192.0.2.1", b"a\r\nX-Request-ID: b", False),
    ],
)
@on_fake_clock
async def test_an_id_is_taken_from_who_is_trusted_and_else_made_up(peer: str, given: bytes, taken: bool) -> None:
    app = DrivenApp()
    server = FakeServer(app, request_id_header="X-Request-ID", forwarded_allow_ips="192.0.2.1")
    client = server.connect((peer, 1))
    await client.send(get(b"X-Request-ID: " + given))
    [call] = app.calls
    found = call.scope["state"]["request_id"]
    assert (found == given.decode("latin-1")) == taken
    assert taken or re.fullmatch(r"[0-9a-f]{32}", found)
    await answer(call)
    response, _ = wire.read_response(client.take()) or (None, b"")
    assert response is not None
    assert response.headers[b"x-request-id"] == found.encode()


@on_fake_clock
async def test_each_request_of_a_connection_has_its_own_and_errors_too() -> None:
    app = DrivenApp()
    server = FakeServer(app, request_id_header="x-id")
    client = server.connect()
    seen = []
    for number in range(3):
        await client.send(get())
        if number == 2:
            app.calls[-1].end.set_exception(ZeroDivisionError())
            await settle()
        else:
            await answer(app.calls[-1])
        response, _ = wire.read_response(client.take()) or (None, b"")
        assert response is not None
        assert response.status == (500 if number == 2 else 200)
        assert response.headers[b"x-id"] == app.calls[-1].scope["state"]["request_id"].encode()
        seen.append(response.headers[b"x-id"])
    assert len(set(seen)) == 3


@on_fake_clock
async def test_websockets_have_one_however_they_are_answered() -> None:
    app = DrivenApp()
    server = FakeServer(app, request_id_header="x-id", ws_handshake_timeout=5.0)
    answers: list[list[dict[str, Any]]] = [
        [{**ACCEPT, "headers": [(b"x-own", b"1")]}],
        [ACCEPT],
        [{"type": "websocket.close"}],
        [{"type": "websocket.http.response.start", "status": 404, "headers": []},
         {"type": "websocket.http.response.body", "body": b"no"}],
        [],
    ]  # fmt: skip
    for events, status in zip(answers, (101, 101, 403, 404, 504), strict=True):
        client = server.connect()
        await client.send(wire.handshake())
        call = app.calls[-1]
        await call.receive()
        for event in events:
            await call.send(event)
        if not events:
            await asyncio.sleep(10)
        response, _ = wire.read_response(client.take()) or (None, b"")
        assert response is not None
        assert response.status == status
        assert response.headers[b"x-id"] == call.scope["state"]["request_id"].encode()


@on_fake_clock
async def test_bad_headers_of_an_accept_are_still_the_application_s_error() -> None:
    app = DrivenApp()
    server = FakeServer(app, request_id_header="x-id")
    client = server.connect()
    await client.send(wire.handshake())
    await app.calls[0].receive()
    for headers in (3, [3]):
        with pytest.raises(Exception, match=r"headers|header"):
            await app.calls[0].send({**ACCEPT, "headers": headers})


def test_the_log_has_the_id_of_its_request(caplog: pytest.LogCaptureFixture) -> None:
    inside: list[str | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        inside.append(REQUEST_ID.get())
        if scope["type"] == "websocket":
            await receive()
            await send(ACCEPT)
            await receive()
            return
        raise ZeroDivisionError

    logger = logging.getLogger("fastws")
    errors, accesses = Kept(DefaultFormatter("%(message)s", use_colors=False)), Kept(JsonFormatter())
    logger.addHandler(errors)
    logging.getLogger("fastws.access").addHandler(accesses)
    caplog.set_level(logging.INFO, "fastws.access")
    try:
        with serve(app, lifespan="off", request_id_header="X-Request-ID", access_log=True) as serving:
            request = urllib.request.Request(serving.http_url, headers={"X-Request-ID": "mine"})
            with pytest.raises(urllib.error.HTTPError, match="500") as caught:
                urllib.request.urlopen(request, timeout=PATIENCE)
            assert caught.value.headers["x-request-id"] == "mine"
            with connect(serving.ws_url) as socket:
                assert socket.response is not None
                generated = socket.response.headers["x-request-id"]
    finally:
        logger.removeHandler(errors)
        logging.getLogger("fastws.access").removeHandler(accesses)
    assert inside == ["mine", generated]
    [line] = [each.partition("\n")[0] for each in errors.lines if "Exception" in each]
    assert re.fullmatch(r'Exception in ASGI application \(127\.0\.0\.1:\d+ - "GET /"\) \[mine\]', line)
    assert [json.loads(each)["request_id"] for each in accesses.lines] == ["mine", generated, generated]


def test_an_id_that_the_application_changed_forges_no_line() -> None:
    logger, lines = kept(DefaultFormatter("%(message)s", use_colors=False))
    AccessLog(logger).request({**SCOPE, "state": {"request_id": "a]\nINFO: forged"}}, 200, 0, 0.0)
    assert len(lines[0].splitlines()) == 1
    logger, lines = kept()
    FormattedAccessLog("%({request_id}x)s", logger).request({**SCOPE, "state": {"request_id": "\n"}}, 200, 0, 0.0)
    assert lines == ["\\n"]


def test_without_the_option_nothing_has_an_id() -> None:
    class Told(Observer):
        scopes: list[Any] = []  # noqa: RUF012

        def request(self, scope: Any, *rest: Any) -> None:
            self.scopes.append(scope)

    @on_fake_clock
    async def run() -> None:
        app = DrivenApp()
        client = FakeServer(app, observer=Told()).connect()
        await client.send(get(b"X-Request-ID: abc"))
        await answer(app.calls[0])
        assert b"request-id" not in client.take()
        assert "request_id" not in app.calls[0].scope.get("state", {})

    run()
    assert len(Told.scopes) == 1


@pytest.mark.parametrize("name", ["", "a b", "x:", "é"])
def test_a_name_that_is_no_header_field_s(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--request-id-header: .* is no name of a header field"):
        Config("a:b", request_id_header=name)


@pytest.mark.usefixtures("own_logging")
def test_a_log_config_for_uvicorn_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    theirs = {"version": 1, "disable_existing_loggers": False, "loggers": {"uvicorn.error": {"level": "INFO"}}}
    configure_logging(Config("a:b", log_config=theirs))
    assert [record.getMessage() for record in caplog.records] == [
        "--log-config sets up the loggers of uvicorn; those of fastws are fastws.error and fastws.access"
    ]
    caplog.clear()
    configure_logging(Config("a:b", log_config={**theirs, "loggers": {"uvicorn": {}, "fastws": {}}}))
    assert caplog.records == []
