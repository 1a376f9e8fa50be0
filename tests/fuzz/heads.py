"""The target `heads`: a request's head, the handshake that it may be, and the extensions that it may offer.

Input: flags, a step for the reads, then the bytes of a head and what follows it. The oracles are h11, which reads every
head that we accept, and `websockets`, which reads the same Sec-WebSocket-Extensions.
"""

from __future__ import annotations

import re

import h11
import reading
import wire
from websockets.exceptions import InvalidHeaderFormat
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension

from fastws.errors import RequestError
from fastws.http.framing import error_response
from fastws.http.head import RequestHead
from fastws.http.head_scan import DEFAULT_LIMITS, Limits
from fastws.websocket.deflate import negotiate
from fastws.websocket.handshake import UpgradeRequest, accept_response, read_upgrade

SMALL = Limits(target=40, fields=6, field_size=60, head=200)
STATUSES = {400, 405, 414, 417, 426, 431, 501, 505}

_token = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch
_value = re.compile(rb"(?:[\t -~\x80-\xff]*[!-~\x80-\xff])?").fullmatch


def run(data: bytes) -> None:
    if len(data) < 2:
        return
    flags, step, stream = data[0], data[1] % 16 + 1, data[2:]
    if flags & 2:
        check_extensions(stream)
        return
    limits = SMALL if flags & 1 else DEFAULT_LIMITS
    whole = outcome(stream, 0, limits)
    pieces = outcome(stream, step, limits)
    assert pieces == whole or either_fault(pieces, whole), f"{pieces!r} instead of {whole!r}"
    if isinstance(whole, tuple):
        head, _ = reading.receive_head(stream, limits=limits)
        check_head(head, limits)
        check_against_h11(head, stream)
        check_upgrade(head)


def outcome(stream: bytes, step: int, limits: Limits) -> tuple[object, ...] | int | None:
    """What the head is, the status that it gets, or None where it is not whole."""
    try:
        head, rest = reading.receive_head(stream, step=step, limits=limits)
    except reading.IncompleteHead:
        return None
    except RequestError as error:
        check_error(error)
        return error.status
    return (*reading.said(head), rest)


def either_fault(pieces: object, whole: object) -> bool:
    """A head with two faults gets the answer to the one that is seen first, which the reads decide."""
    return isinstance(pieces, int) and (isinstance(whole, int) or whole is None)


def check_error(error: RequestError) -> None:
    assert error.status in STATUSES, error
    response, rest = wire.read_response(error_response(error)) or (None, b"?")
    assert response is not None
    assert (response.status, rest) == (error.status, b"")
    assert response.headers[b"connection"] == b"close"


def check_head(head: RequestHead, limits: Limits) -> None:
    assert re.fullmatch("[A-Z-]+", head.method), head
    assert head.http_version in ("1.0", "1.1")
    assert len(head.target) <= limits.target
    assert len(head.headers) <= limits.fields
    assert head.path.encode() is not None
    assert b"?" not in head.raw_path
    assert head.path.startswith("/") or (head.path == "*" and head.method == "OPTIONS")
    for name, value in head.headers:
        assert _token(name), name
        assert _value(value), value
    assert not (head.chunked and head.content_length is not None)
    assert not (head.chunked and head.http_version == "1.0")


def check_against_h11(head: RequestHead, stream: bytes) -> None:
    """What passes here means the same to h11."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(stream)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        # It is stricter than RFC 9112 section 2.2 (empty lines first) and section 3.2 (Host in HTTP/1.0 may be twice).
        if stream.startswith(b"\r\n") or "more than 20 digits" in str(error) or "illegal header line" in str(error):
            return
        raise AssertionError(f"h11: {error} for {head!r}") from error
    assert isinstance(event, h11.Request), event
    assert (event.method, event.target) == (head.method.encode(), head.target)
    assert event.http_version.decode() == head.http_version
    assert [(name, value) for name, value in event.headers if name != b"transfer-encoding"] == [
        (name, value) for name, value in head.headers if name != b"transfer-encoding"
    ]


def check_upgrade(head: RequestHead) -> None:
    try:
        upgrade = read_upgrade(head)
    except RequestError as error:
        check_error(error)
        return
    if upgrade is None:
        return
    assert not head.has_body
    assert head.method == "GET"
    parameters = negotiate(upgrade.extensions)
    check_accept(upgrade, None, None if parameters is None else parameters.response())
    for subprotocol in upgrade.subprotocols:
        check_accept(upgrade, subprotocol, None)


def check_accept(upgrade: UpgradeRequest, subprotocol: str | None, extensions: bytes | None) -> None:
    response, rest = wire.read_response(
        accept_response(
            upgrade,
            subprotocol=subprotocol,
            extensions=extensions,
            default_headers=b"server: x\r\n",
            headers=[(b"a", b"b")],
        )
    ) or (None, b"?")
    assert response is not None
    assert (response.status, rest) == (101, b"")
    expected = 5 + (subprotocol is not None) + (extensions is not None)
    assert len(response.lines) == expected


def check_extensions(value: bytes) -> None:
    """Parse as `websockets` does, and agree with its server on which offers are good."""
    if not re.fullmatch(rb"[\t -~\x80-\xff]*", value):
        return  # httptools lets no other byte through
    parameters = negotiate([value])
    try:
        offers = parse_extension(value.decode("latin-1"))
    except InvalidHeaderFormat:
        offers = None
    if offers is None:
        # It takes no escape in a quoted string, and no white space at the start, at the end and around "=".
        assert parameters is None or b"\\" in value or re.search(rb"^[ \t]|[ \t]$|[ \t]=|=[ \t]", value), value
        return
    expected = None
    for name, offer in offers:
        if name != "permessage-deflate" or expected is not None:
            continue
        try:
            _, extension = ServerPerMessageDeflateFactory().process_request_params(offer, [])
        except Exception:
            continue
        if extension.local_max_window_bits > 8:
            expected = extension
    assert (parameters is None) == (expected is None), f"{parameters!r} and {expected!r} for {value!r}"
    if parameters is not None:
        response = parameters.response().decode()
        [(name, answer)] = parse_extension(response)
        assert build_extension([(name, answer)]) == response
        if parameters.client_max_window_bits > 8:  # its client offers no 8, since zlib cannot compress with it
            ClientPerMessageDeflateFactory(
                server_max_window_bits=None, client_max_window_bits=True
            ).process_response_params(answer, [])
