"""Header blocks as we write them, read by hpack; and what is no block."""

from __future__ import annotations

import contextlib

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastws.http.header_blocks import STATIC_NAMES, BlockError, BlockReader, field, fields_block, status_field
from fastws.http.http2_frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM


def read(block: bytes) -> list[tuple[bytes, bytes]]:
    decoder = hpack.Decoder(max_header_list_size=1 << 20)
    found = [tuple(each) for each in decoder.decode(block, raw=True)]
    assert decoder.header_table.dynamic_entries.__len__() == 0, "a block must not depend on those before it"
    return found


@pytest.mark.parametrize("status", [100, 103, 200, 204, 206, 299, 304, 400, 404, 431, 500, 999])
def test_a_status_is_read_back(status: int) -> None:
    assert read(status_field(status)) == [(b":status", b"%d" % status)]


@pytest.mark.parametrize("name", [*STATIC_NAMES, b"x-other", b"x" * 126, b"x" * 127, b"x" * 128, b"x" * 400])
@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 256, 16_510, 16_511, 70_000])
def test_a_field_is_read_back(name: bytes, size: int) -> None:
    assert read(field(name, b"v" * size)) == [(name, b"v" * size)]


@given(st.lists(st.tuples(st.from_regex(rb"[a-zA-Z0-9_-]{1,20}", fullmatch=True), st.binary(max_size=300))))
def test_fields_are_read_back_in_small_letters(fields: list[tuple[bytes, bytes]]) -> None:
    dropped = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
    lowered = [(name.lower(), value.strip(b" \t")) for name, value in fields]
    assert read(fields_block(fields)) == [each for each in lowered if each[0] not in dropped]


def test_what_is_secret_enters_no_table_of_a_proxy() -> None:
    [found] = hpack.Decoder().decode(field(b"set-cookie", b"a=1"), raw=True)
    assert isinstance(found, hpack.NeverIndexedHeaderTuple)


@pytest.mark.parametrize("block", [b"\x80", b"\xff\xff\x03", b"\x40\x05ab", b"\x00\x81\x00\x00", b"\x3f\xff\xff\x03"])
def test_what_is_no_block_is_an_error_of_compression(block: bytes) -> None:
    with pytest.raises(BlockError) as caught:
        BlockReader(1000).read(block)
    assert caught.value.code == COMPRESSION_ERROR


def test_a_list_that_is_too_long_is_an_error_of_its_own() -> None:
    with pytest.raises(BlockError) as caught:
        BlockReader(1000).read(field(b"a", b"v" * 2000))
    assert caught.value.code == ENHANCE_YOUR_CALM


@given(st.binary(max_size=60))
def test_any_bytes_are_a_block_or_an_error(data: bytes) -> None:
    with contextlib.suppress(BlockError):
        assert isinstance(BlockReader(1000).read(data), list)
