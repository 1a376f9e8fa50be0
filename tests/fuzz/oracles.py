"""The oracles of the target `differential`: `websockets` and `wsproto` themselves, and where we mean to differ.

Both packages are used as they are: `ServerProtocol` in its OPEN state, and wsproto's `Connection`. Where an oracle and
we judge a stream differently, that must be one of `DIFFERENCES`, each with its reason; what came before the difference
must be the same all the same.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close as WebsocketsClose
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as WsprotoPing
from wsproto.events import Pong as WsprotoPong
from wsproto.extensions import PerMessageDeflate as WsprotoDeflate

from fastws.websocket import failures
from fastws.websocket.events import Close, Event, Failure, Ping, Pong

_silent = logging.getLogger("fuzz.oracle")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False
_silent.setLevel(logging.CRITICAL + 1)


@dataclass
class Reading:
    """What a stream meant: its events, the peer's Close among them, and the close code of what was wrong with it."""

    events: list[Event]
    failure: int | None = None
    why: str = ""
    """The oracle's own words for its failure."""
    lost: bool = False
    """The oracle is known to read what follows wrongly, and was asked no further."""


def read_websockets(pieces: list[bytes], limit: int, deflate: bool, takeover: bool) -> Reading:
    """`websockets` leaves it to its user to join fragments and to decode text: so do we here."""
    protocol = ServerProtocol(state=State.OPEN, max_size=limit, logger=_silent)
    extension = PerMessageDeflate(not takeover, not takeover, 15, 15)
    if deflate:
        protocol.extensions = [extension]
        if takeover:
            pieces = [bytes([byte]) for piece in pieces for byte in piece]
    reading = Reading([])
    parts: list[bytes] = []
    opcode = Opcode.CONT
    for piece in pieces:
        protocol.receive_data(piece)
        protocol.data_to_send()
        for frame in protocol.events_received():
            payload = bytes(frame.data)
            if frame.opcode is Opcode.PING:
                reading.events.append(Ping(payload))
            elif frame.opcode is Opcode.PONG:
                reading.events.append(Pong(payload))
            elif frame.opcode is Opcode.CLOSE:
                close = WebsocketsClose.parse(payload)
                reading.events.append(Close(int(close.code), close.reason))
            else:
                if frame.opcode is not Opcode.CONT:
                    opcode = frame.opcode
                parts.append(payload)
                if frame.fin:
                    message = b"".join(parts)
                    parts.clear()
                    try:
                        reading.events.append(message.decode() if opcode is Opcode.TEXT else message)
                    except UnicodeDecodeError as error:
                        reading.failure = 1007
                        reading.why = str(error)
                        return reading
        if deflate and takeover and extension.decoder.eof:
            reading.lost = True  # after a block with BFINAL set, every later message is empty to it
            return reading
        if protocol.parser_exc is not None:
            assert protocol.close_sent is not None
            reading.failure = int(protocol.close_sent.code)
            reading.why = str(protocol.parser_exc)
            return reading
    return reading


def read_wsproto(pieces: list[bytes], limit: int, deflate: bool, takeover: bool) -> Reading:
    """wsproto knows no limit, and gives messages in the pieces they came in."""
    extension = WsprotoDeflate(client_no_context_takeover=not takeover, server_no_context_takeover=not takeover)
    extension.finalize("permessage-deflate")
    connection = Connection(ConnectionType.SERVER, [extension] if deflate else [])
    if deflate and takeover:
        pieces = [bytes([byte]) for piece in pieces for byte in piece]
    reading = Reading([])
    text: list[str] = []
    data: list[bytes] = []
    for piece in pieces:
        if connection.state is not ConnectionState.OPEN:
            break
        connection.receive_data(piece)
        for event in connection.events():
            if isinstance(event, TextMessage):
                text.append(event.data)
                if event.message_finished:
                    reading.events.append("".join(text))
                    text.clear()
            elif isinstance(event, BytesMessage):
                data.append(bytes(event.data))
                if event.message_finished:
                    reading.events.append(b"".join(data))
                    data.clear()
            elif isinstance(event, WsprotoPing):
                reading.events.append(Ping(bytes(event.payload)))
            elif isinstance(event, WsprotoPong):
                reading.events.append(Pong(bytes(event.payload)))
            else:
                assert isinstance(event, CloseConnection)
                if connection.state is ConnectionState.OPEN:  # its own error; after the peer's Close it is not open
                    reading.failure = int(event.code)
                    reading.why = event.reason or ""
                    return reading
                reading.events.append(Close(int(event.code), event.reason or ""))
        if takeover and extension._decompressor is not None and extension._decompressor.eof:
            reading.lost = True  # after a block with BFINAL set, every later message is an error to it
            return reading
    return reading


ORACLES = {"websockets": read_websockets, "wsproto": read_wsproto}


@dataclass(frozen=True)
class Difference:
    """`oracle` judges with one of `theirs` what we answer with one of `ours`; None: nothing is found wrong."""

    oracle: str
    ours: tuple[Failure | None, ...]
    theirs: tuple[int | None, ...]
    reason: str
    why: str = ""
    """A regular expression that the oracle's own words match."""
    deflate: bool = False
    """Only where permessage-deflate was negotiated."""


ANY = (None, *(each for each in vars(failures).values() if isinstance(each, Failure)))

DIFFERENCES = (
    Difference(
        "websockets", (failures.LENGTH_NOT_MINIMAL, failures.LONG_CONTROL), (None, 1002, 1007, 1009),
        "It accepts a length in more bytes than it needs, also for control frames; RFC 6455 section 5.2 demands the "
        "fewest. And it compares the length of a control frame with the limit of a message first.",
    ),
    Difference(
        "websockets", (failures.LENGTH_HIGH_BIT,), (1009,),
        "It takes such a length for a large one; section 5.2 forbids it, which is a protocol error.",
    ),
    Difference(
        "websockets",
        (
            failures.RESERVED_BITS, failures.FRAGMENTED_CONTROL, failures.NO_MESSAGE_TO_CONTINUE,
            failures.MESSAGE_INSIDE_MESSAGE, failures.CLOSE_TOO_SHORT, failures.CLOSE_CODE,
        ),
        (1009,),
        "It compares the length with the limit before it looks at anything else of a frame.",
        why="exceeds|over size limit",
    ),
    Difference(
        "websockets", ANY, (1009,),
        "It counts what is there of a fragmented message against a control frame inside it.",
        why="after reading [0-9]+ bytes exceeds",
    ),
    Difference(
        "websockets", (failures.CLOSE_CODE,), (1007,),
        "It decodes the reason of a Close before it looks at the code.",
    ),
    Difference(
        "websockets", (failures.INVALID_UTF8,), (None, 1002, 1007, 1009),
        "Text is decoded when the message is whole; we end at its first impossible byte, whatever would have followed.",
    ),
    Difference(
        "websockets", (None,), (1002,),
        "It refuses a Close inside a fragmented message; section 5.4 allows control frames there.",
        why="incomplete fragmented message",
    ),
    Difference(
        "websockets", (failures.INVALID_DEFLATE,), (None, 1002, 1007, 1009),
        "It does not notice that a compressed message ends inside a deflate block, nor what follows a final block, and "
        "waits for the whole frame before it inflates; bad data is a protocol error to it, and 1007 to us.",
        deflate=True,
    ),
    Difference(
        "websockets", (failures.TOO_BIG,), (None, 1002, 1007),
        "It does not notice that a fragment inflates to more than is left, where zlib has taken all of its bytes.",
        deflate=True,
    ),
    Difference(
        "wsproto", (failures.MESSAGE_INSIDE_MESSAGE, failures.NO_MESSAGE_TO_CONTINUE), (1007,),
        "It inflates a frame before it asks whether the frame may come now.",
        deflate=True,
    ),
    Difference(
        "wsproto", (failures.TOO_BIG, failures.TOO_MANY_FRAGMENTS), (None, 1002, 1007),
        "It has no limits.",
    ),
    Difference(
        "wsproto", (failures.INVALID_DEFLATE,), (None, 1002, 1007),
        "It does not notice that a compressed message ends inside a deflate block, nor what follows a final block.",
        deflate=True,
    ),
    Difference(
        "wsproto", (failures.INVALID_UTF8,), (None, 1002),
        "Python's incremental decoder waits for the whole of an encoded surrogate, whose second byte is impossible.",
    ),
    Difference(
        "wsproto", (None, failures.INVALID_UTF8), (1002,),
        "It knows no close code above 1013 in the range of the registry (section 7.4.2), where 1014 is.",
        why="CLOSE with unknown reserved code",
    ),
)  # fmt: skip
