"""The PROXY protocol, versions 1 and 2: what a proxy says of a connection before the first byte of its client.

Sans-IO, and the rules of HAProxy's proxy-protocol.txt (2020/03/05). Version 1 is a line of text, version 2 is binary
with TLVs behind the addresses, of which two mean something here: a checksum, and whether the client came over TLS. A
header says what it likes about addresses, so whoever asks here must know that its sender is trusted.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple, TypeAlias

Address: TypeAlias = tuple[str, int | None]
"""Host and port, or the path of a unix socket and None."""

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
SHORTEST: Final = len(b"PROXY UNKNOWN\r\n")
"""Bytes of the shortest header of any version."""
LONGEST_LINE: Final = 107
"""Bytes of a header of version 1, with its CRLF."""
LONGEST_REST: Final = 4096
"""Bytes that may follow the first 16 of a header of version 2: addresses and TLVs. Real ones have some hundred."""

_FIXED: Final = 16
_LOCAL, _PROXY = 0x20, 0x21
_INET, _INET6, _UNIX, _UNSPEC = 0x11, 0x21, 0x31, 0x00
_ADDRESS_BYTES: Final = {_INET: 12, _INET6: 36, _UNIX: 216}
_TLV_CRC32C, _TLV_SSL = 0x03, 0x20
_OVER_TLS: Final = 0x01
_LINE: Final = re.compile(
    rb"PROXY (?:TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})"
).fullmatch


class ProxyProtocolError(ValueError):
    """What came is no PROXY header; the connection must end, since nothing is known of where it comes from."""


class ProxyHeader(NamedTuple):
    """A header of `size` bytes. Without addresses (LOCAL, UNKNOWN) the connection is the proxy's own."""

    size: int
    source: Address | None = None
    destination: Address | None = None
    secure: bool = False
    """Whether the client came to the proxy over TLS (version 2 only)."""


def read_proxy_header(data: bytes) -> ProxyHeader | int:
    """Read the header at the start of `data`, or say how many more bytes surely belong to it.

    That number is never too great: who reads no more than that has nothing of what follows, and may go on with TLS.
    Raises ProxyProtocolError.
    """
    if data[:1] == b"P":
        return _read_line(data)
    if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
        raise ProxyProtocolError("no PROXY header")
    if len(data) < _FIXED:
        return _FIXED - len(data) if data else SHORTEST
    command, family = data[12], data[13]
    if command not in (_LOCAL, _PROXY):
        raise ProxyProtocolError(f"an unknown version or command, {command:#04x}")
    rest = int.from_bytes(data[14:16], "big")
    if rest > LONGEST_REST:
        raise ProxyProtocolError(f"a header of {rest} bytes is too long")
    size = _FIXED + rest
    if len(data) < size:
        return size - len(data)
    if command == _LOCAL:
        return ProxyHeader(size)
    return _read_addresses(data[:size], family)


def _read_line(data: bytes) -> ProxyHeader | int:
    """Version 1 (section 2.1)."""
    if not data.startswith(b"PROXY "[: len(data)]):
        raise ProxyProtocolError("no PROXY header")
    line, found, _ = data[:LONGEST_LINE].partition(b"\r\n")
    if not found:
        if len(data) >= LONGEST_LINE:
            raise ProxyProtocolError("the line is too long")
        if len(data) < SHORTEST:
            return SHORTEST - len(data)
        return 1 if data.endswith(b"\r") else 2
    size = len(line) + 2
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return ProxyHeader(size)
    match = _LINE(line)
    if match is None:
        raise ProxyProtocolError("the line is malformed")
    kind = IPv4Address if line[6:10] == b"TCP4" else IPv6Address
    try:
        hosts = [str(kind(match[index].decode("ascii"))) for index in (1, 2)]
    except ValueError:
        raise ProxyProtocolError("an address in the line is malformed") from None
    ports = [int(match[index]) for index in (3, 4)]
    if max(ports) > 65535:
        raise ProxyProtocolError("a port in the line is too great")
    return ProxyHeader(size, (hosts[0], ports[0]), (hosts[1], ports[1]))


def _read_addresses(data: bytes, family: int) -> ProxyHeader:
    """The command PROXY of version 2 (section 2.2); `data` is the whole header."""
    if family & 0xF0 == _UNSPEC:
        return ProxyHeader(len(data))
    size = _ADDRESS_BYTES.get(family)
    if size is None:
        raise ProxyProtocolError(f"the family or transport {family:#04x} is not that of a stream")
    end = _FIXED + size
    if len(data) < end:
        raise ProxyProtocolError("the addresses are cut short")
    secure = _read_tlvs(data, end)
    source: Address
    destination: Address
    if family == _UNIX:
        source, destination = ((_path(data[at : at + 108]), None) for at in (_FIXED, _FIXED + 108))
    else:
        kind, width = (IPv4Address, 4) if family == _INET else (IPv6Address, 16)
        first, second, ports = _FIXED, _FIXED + width, _FIXED + 2 * width
        source = str(kind(data[first:second])), int.from_bytes(data[ports : ports + 2], "big")
        destination = str(kind(data[second:ports])), int.from_bytes(data[ports + 2 : ports + 4], "big")
    return ProxyHeader(len(data), source, destination, secure)


def _path(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _read_tlvs(data: bytes, position: int) -> bool:
    """Check the TLVs from `position` on; whether one says that the client came over TLS."""
    secure = False
    while position < len(data):
        begin = position + 3
        position = begin + int.from_bytes(data[position + 1 : begin], "big")
        if begin > len(data) or position > len(data):
            raise ProxyProtocolError("a TLV is cut short")
        kind = data[begin - 3]
        if kind == _TLV_CRC32C:
            whole = data[:begin] + bytes(4) + data[position:]
            if position - begin != 4 or int.from_bytes(data[begin:position], "big") != crc32c(whole):
                raise ProxyProtocolError("the checksum is wrong")
        elif kind == _TLV_SSL and position > begin:
            secure = bool(data[begin] & _OVER_TLS)
    return secure


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def crc32c(data: bytes) -> int:
    """CRC-32C (RFC 9260 appendix A) of a header's few bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
