"""Header blocks as we write them, read by hpack; and what is no block."""

from __future__ import annotations

import contextlib

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastws.http import header_blocks
from fastws.http.header_blocks import STATIC_NAMES, BlockReader, field, fields_block, is_field, status_field
from fastws.http.http2_frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Http2Error


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
    with pytest.raises(Http2Error) as caught:
        BlockReader(1000).read(block)
    assert caught.value.code == COMPRESSION_ERROR


def test_a_list_that_is_too_long_is_an_error_of_its_own() -> None:
    with pytest.raises(Http2Error) as caught:
        BlockReader(1000).read(field(b"a", b"v" * 2000))
    assert caught.value.code == ENHANCE_YOUR_CALM


@given(st.binary(max_size=60))
def test_any_bytes_are_a_block_or_an_error(data: bytes) -> None:
    with contextlib.suppress(Http2Error):
        assert isinstance(BlockReader(1000).read(data).fields, list)


# The compiled reader beside the library's, which is all there is where nothing is compiled.


class Oracle:
    """hpack's decoder, and what our errors should be."""

    def __init__(self, limit: int) -> None:
        self.decoder = hpack.Decoder(max_header_list_size=limit)

    def read(self, block: bytes) -> list[tuple[bytes, bytes]] | int:
        try:
            return [(bytes(name), bytes(value)) for name, value in self.decoder.decode(block, raw=True)]
        except hpack.OversizedHeaderListError:
            return ENHANCE_YOUR_CALM
        except (hpack.HPACKError, ValueError, IndexError):
            return COMPRESSION_ERROR


def found_or_code(reader: BlockReader, block: bytes) -> list[tuple[bytes, bytes]] | int:
    try:
        return list(reader.read(block).fields)
    except Http2Error as error:
        return error.code


TEXT = st.one_of(st.binary(max_size=40), st.sampled_from([b"", b"/", b"cookie", b":path", b"a" * 300, b"\xff" * 70]))
FIELDS = st.lists(st.tuples(TEXT, TEXT, st.booleans()), max_size=12)


@given(
    st.lists(
        st.tuples(FIELDS, st.booleans(), st.sampled_from([None, None, 0, 64, 300, 4096]), st.integers(1, 3)), max_size=8
    )
)
@pytest.mark.slow
def test_what_an_encoder_writes_is_read_as_the_library_reads_it(
    blocks: list[tuple[list[tuple[bytes, bytes, bool]], bool, int | None, int]],
) -> None:
    """Tables that grow, shrink and are emptied, Huffman's code or none, and blocks that come again."""
    encoder, reader, oracle = hpack.Encoder(), BlockReader(100_000), Oracle(100_000)
    for fields, huffman, size, times in blocks:
        if size is not None:
            encoder.header_table_size = size
        for _ in range(times):
            block = encoder.encode(fields, huffman=huffman)
            assert found_or_code(reader, block) == oracle.read(block) == [(name, value) for name, value, _ in fields]


@given(
    st.lists(
        st.one_of(st.binary(max_size=30), st.sampled_from([b"\x40\x01a\x01b", b"\xbe", b"\x82", b"\x3f\xe1\x1f"])),
        max_size=6,
    )
)
def test_any_bytes_are_read_as_the_library_reads_them(blocks: list[bytes]) -> None:
    reader, oracle = BlockReader(1000), Oracle(1000)
    for block in blocks:
        found, expected = found_or_code(reader, block), oracle.read(block)
        if found == COMPRESSION_ERROR and isinstance(expected, list) and has_long_integer(block):
            return  # longer than anything here may be; the library counts on
        assert found == expected
        if isinstance(found, int):
            return  # the connection ends there


def has_long_integer(block: bytes) -> bool:
    """Whether an integer in it may have more than four bytes behind its prefix."""
    run = 0
    for byte in block:
        run = run + 1 if byte & 0x80 else 0
        if run >= 4:
            return True
    return False


@pytest.mark.parametrize("digits", [4, 5, 20, 4000])
def test_an_integer_without_an_end_is_no_work(digits: int) -> None:
    with pytest.raises(Http2Error) as caught:
        BlockReader(1000).read(b"\xff" + b"\x80" * digits + b"\x01")
    assert caught.value.code == COMPRESSION_ERROR


def test_a_block_that_comes_again_is_the_same_until_the_table_changes() -> None:
    encoder, reader = hpack.Encoder(), BlockReader(1000)
    asked = [(b":path", b"/a"), (b"x-id", b"1")]
    reader.read(encoder.encode(asked))
    block = encoder.encode(asked)
    assert reader.read(block).fields == reader.read(block).fields == asked
    reader.read(encoder.encode([(b"x-id", b"2")]))
    assert reader.read(block).fields != asked  # its indices now lead elsewhere
    assert reader.read(encoder.encode(asked)).fields == asked


def test_what_is_remembered_of_a_connection_is_bounded() -> None:
    reader = BlockReader(100_000)
    for number in range(3000):  # literals that enter no table
        assert reader.read(field(b"x-id", b"%d" % number)).fields == [(b"x-id", b"%d" % number)]
        assert reader.read(field(b"x-id", b"v" * 300)).fields == [(b"x-id", b"v" * 300)]


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_what_a_field_may_be_is_the_same_compiled_and_interpreted(name: bytes, value: bytes) -> None:
    plain = header_blocks._NAME(name) is not None and header_blocks._BAD_VALUE(value) is None
    assert is_field(name, value) == plain


@pytest.mark.parametrize("byte", range(256))
def test_each_byte_of_a_field(byte: int) -> None:
    one = bytes((byte,))
    token = one in [bytes((each,)) for each in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"]
    assert is_field(b"a" + one, b"v") == token
    assert is_field(b"a", b"v" + one + b"v") == (byte == 9 or (byte >= 32 and byte != 127))
    assert is_field(b"a", b"v" + one) == (byte > 32 and byte != 127)
