"""permessage-deflate (RFC 7692): its negotiation, and what the connections of a loop share of it.

Sans-IO, and the same for all engines. What becomes of messages is in deflate_messages.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fastws.websocket.deflate_backends import ZLIB, Backend, Decompressor, load_decompressor
from fastws.websocket.deflate_messages import MAX_BITS, MIN_DEFLATE_BITS, DeflateCounts, Deflater, Inflater

EXTENSION: Final = b"permessage-deflate"


# ---------------------------------------------------------------------------------------------------------- negotiation


@dataclass(frozen=True)
class DeflateParameters:
    """What both sides agreed on (RFC 7692 section 7.1). Window bits are 8 to 15, the server's 9 to 15."""

    server_no_context_takeover: bool = True
    client_no_context_takeover: bool = True
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15
    server_bits_offered: bool = False
    """Whether the client asked for a bound of the server's window, so that the answer names it."""

    def response(self) -> bytes:
        """The value of Sec-WebSocket-Extensions in the answer."""
        parts = [EXTENSION]
        if self.server_no_context_takeover:
            parts.append(b"server_no_context_takeover")
        if self.client_no_context_takeover:
            parts.append(b"client_no_context_takeover")
        if self.server_bits_offered:
            parts.append(b"server_max_window_bits=%d" % self.server_max_window_bits)
        if self.client_max_window_bits < MAX_BITS:
            parts.append(b"client_max_window_bits=%d" % self.client_max_window_bits)
        return b"; ".join(parts)

    def inflater(self, counts: DeflateCounts | None = None, decompressor: Decompressor | None = None) -> Inflater:
        """A new decompressor for a connection with these parameters, as `Inflater`."""
        takeover = not self.client_no_context_takeover
        return Inflater(
            self.client_max_window_bits, context_takeover=takeover, counts=counts, decompressor=decompressor
        )


def negotiate(
    header_values: Sequence[bytes],
    *,
    server_no_context_takeover: bool = True,
    client_no_context_takeover: bool = True,
    server_max_window_bits: int = 12,
    client_max_window_bits: int = 15,
) -> DeflateParameters | None:
    """The parameters for the first acceptable offer in the client's Sec-WebSocket-Extensions values, or None.

    The keywords are what the server would like: whether each side forgets its context after a message (the server does
    it too if the client demands it), and the largest windows, in bits: 9 to 15 for the server's, 8 to 15 for the
    client's. An offer with an unknown, repeated or invalid parameter is declined alone; a value that is no list of
    extensions is ignored (RFC 7692 section 5.1, RFC 6455 section 9.1). `server_max_window_bits=8` is declined: zlib
    cannot honour it. Raises ValueError for window bits out of these bounds.
    """
    if not MIN_DEFLATE_BITS <= server_max_window_bits <= MAX_BITS:
        raise ValueError(f"server_max_window_bits must be 9 to 15, not {server_max_window_bits}")
    if not 8 <= client_max_window_bits <= MAX_BITS:
        raise ValueError(f"client_max_window_bits must be 8 to 15, not {client_max_window_bits}")
    for header_value in header_values:
        for name, parameters in _parse_extensions(header_value):
            if name != EXTENSION:
                continue
            offer = _read_offer(parameters)
            if offer is None or offer.get("server_max_window_bits", MAX_BITS) < MIN_DEFLATE_BITS:
                continue
            # Without the client's word that it knows the parameter, its window may not be bounded (section 7.1.2.2).
            client_bits = min(offer["client_max_window_bits"], client_max_window_bits) if _CLIENT_BITS in offer else 15
            return DeflateParameters(
                server_no_context_takeover or "server_no_context_takeover" in offer,
                client_no_context_takeover or "client_no_context_takeover" in offer,
                min(offer.get("server_max_window_bits", MAX_BITS), server_max_window_bits),
                client_bits,
                "server_max_window_bits" in offer,
            )
    return None


_CLIENT_BITS: Final = "client_max_window_bits"

# RFC 6455 section 9.1; a quoted value must be a token once unquoted, so it needs no escapes, but may have them.
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\.)*)"'
_PARAMETER: Final = re.compile(
    rb"[ \t]*;[ \t]*(%(token)b)(?:[ \t]*=[ \t]*(?:(%(token)b)|%(quoted)b))?" % {b"token": _TOKEN, b"quoted": _QUOTED}
)
_NAME: Final = re.compile(rb"[ \t]*(" + _TOKEN + rb")")
_SEPARATOR: Final = re.compile(rb"[ \t]*(?:,|$)")
_EMPTY_ELEMENTS: Final = re.compile(rb"[ \t,]*")
_WINDOW_BITS: Final = re.compile(r"8|9|1[0-5]")

_Parameters = list[tuple[str, str | None]]


def _parse_extensions(header_value: bytes) -> list[tuple[bytes, _Parameters]]:
    """The extensions in one header value, with their parameters; none at all where it is malformed."""
    try:
        return list(_extensions(header_value))
    except ValueError:
        return []


def _extensions(header_value: bytes) -> Iterator[tuple[bytes, _Parameters]]:
    end = len(_EMPTY_ELEMENTS.match(header_value)[0])  # type: ignore[index]  # it matches nothing, too
    while end < len(header_value):
        name = _NAME.match(header_value, end)
        if name is None:
            raise ValueError("no extension name")
        end = name.end()
        parameters: _Parameters = []
        while found := _PARAMETER.match(header_value, end):
            parameters.append((found[1].decode(), _value(found)))
            end = found.end()
        separator = _SEPARATOR.match(header_value, end)
        if separator is None:
            raise ValueError("no end of the extension")
        yield name[1], parameters
        end = _EMPTY_ELEMENTS.match(header_value, separator.end()).end()  # type: ignore[union-attr]


def _value(parameter: re.Match[bytes]) -> str | None:
    if parameter[3] is None:
        return None if parameter[2] is None else parameter[2].decode()
    unquoted = re.sub(rb"\\(.)", rb"\1", parameter[3])
    if not re.fullmatch(_TOKEN, unquoted):
        raise ValueError("a quoted value is no token")
    return unquoted.decode()


def _read_offer(parameters: _Parameters) -> dict[str, int] | None:
    """The parameters of one offer by name, with their window bits, or None where one of them makes it invalid."""
    offer: dict[str, int] = {}
    for name, value in parameters:
        if name in offer:
            return None
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                return None
            offer[name] = 1
        elif name == _CLIENT_BITS and value is None:
            offer[name] = MAX_BITS
        elif name in (_CLIENT_BITS, "server_max_window_bits") and value and _WINDOW_BITS.fullmatch(value):
            offer[name] = int(value)
        else:
            return None
    return offer


# ----------------------------------------------------------------------------------------------------- shared by a loop


class Deflaters:
    """The compression that a server wants, and what connections without context takeover share.

    The arguments are those of `Deflater`, as preferences: a client may demand a smaller window and no context takeover.
    """

    def __init__(
        self,
        window_bits: int = 12,
        *,
        context_takeover: bool = False,
        threshold: int = 256,
        level: int = 1,
        mem_level: int = 5,
        backend: Backend = ZLIB,
    ) -> None:
        self.window_bits = window_bits
        self.context_takeover = context_takeover
        self.threshold = threshold
        self.level = level
        self.mem_level = mem_level
        self.backend = backend
        self.counts = DeflateCounts()
        self.decompressor = load_decompressor()
        self._shared: dict[int, Deflater] = {}

    def negotiate(self, header_values: Sequence[bytes]) -> DeflateParameters | None:
        """What `negotiate` makes of the client's offers with these preferences."""
        return negotiate(
            header_values,
            server_no_context_takeover=not self.context_takeover,
            client_no_context_takeover=not self.context_takeover,
            server_max_window_bits=self.window_bits,
        )

    def get(self, parameters: DeflateParameters) -> Deflater:
        """The compressor for a connection with these parameters: its own only where the server keeps its context."""
        bits = parameters.server_max_window_bits
        if not parameters.server_no_context_takeover:
            return self._make(bits, context_takeover=True)
        if bits not in self._shared:
            self._shared[bits] = self._make(bits, context_takeover=False)
        return self._shared[bits]

    def _make(self, bits: int, context_takeover: bool) -> Deflater:
        return Deflater(
            bits,
            context_takeover=context_takeover,
            threshold=self.threshold,
            level=self.level,
            mem_level=self.mem_level,
            backend=self.backend,
            counts=self.counts,
        )
