"""Blocks as one connection sends them: whatever hpack keeps of them, it reads what was to be sent."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastws.http.block_writer import LARGEST_ENTRY, TABLE_BYTES, BlockWriter, integer
from fastws.http.header_blocks import Header, fields_block, status_field

STATUS = (b":status", b"200")
FIELDS = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"content-length", b"13"),
    (b"server", b"fastws"),
    (b"x-app", b"some"),
]


class Peer:
    """Who reads the blocks, in order."""

    def __init__(self) -> None:
        self.writer = BlockWriter()
        self.decoder = hpack.Decoder()

    def send(self, fields: list[Header]) -> bytes:
        """What is sent for a response with `fields`, which has been read again."""
        block = self.writer.write(status_field(200) + fields_block(fields))
        read = [(bytes(name), bytes(value)) for name, value in self.decoder.decode(block, raw=True)]
        assert read == [STATUS, *fields]
        assert self.decoder.header_table._current_size <= self.decoder.header_table_size
        return block

    def allow(self, size: int) -> None:
        """Tell that a table of `size` bytes is kept: hpack refuses what uses more."""
        self.decoder.max_allowed_table_size = size
        self.writer.limit_table(size)


def test_what_comes_a_second_time_enters_the_table_and_is_a_byte_from_then_on() -> None:
    peer = Peer()
    first, second, third, fourth = (peer.send(FIELDS) for _ in range(4))
    assert first == status_field(200) + fields_block(FIELDS)
    assert len(second) == len(first) - 3  # indices of three names have six bits there
    assert third == b"\x88\xc1\xc0\xbf\xbe"
    assert fourth == third


def test_one_other_field_leaves_the_others_in_the_table() -> None:
    peer = Peer()
    for date in (b"1", b"1", b"1", b"2", b"2"):
        peer.send([*FIELDS, (b"date", date)])
    assert len(peer.send([*FIELDS, (b"date", b"2")])) == 6
    assert len(peer.send([*FIELDS, (b"date", b"3")])) == 5 + len(b"\x0f\x12\x013")


def test_what_never_comes_again_pushes_nothing_out() -> None:
    peer = Peer()
    for _ in range(3):
        peer.send(FIELDS)
    for number in range(1000):
        peer.send([*FIELDS, (b"x-request-id", b"%040d" % number)])
    assert len(peer.send(FIELDS)) == 5


def test_what_is_secret_enters_no_table() -> None:
    peer = Peer()
    sent = {peer.send([(b"set-cookie", b"session=1"), (b"authorization", b"x")]) for _ in range(5)}
    assert len(sent) == 1
    assert not peer.decoder.header_table.dynamic_entries


def test_a_field_that_would_take_most_of_the_table_stays_out() -> None:
    peer = Peer()
    for _ in range(5):
        peer.send([*FIELDS, (b"x-large", bytes(LARGEST_ENTRY).replace(b"\0", b"a"))])
    assert len(peer.decoder.header_table.dynamic_entries) == len(FIELDS)


def test_more_fields_than_the_table_holds_come_and_go() -> None:
    peer = Peer()
    for _ in range(3):
        for number in range(200):
            for _ in range(3):
                peer.send([(b"x-%d" % number, b"%0100d" % number)])
    assert peer.decoder.header_table._current_size > TABLE_BYTES - 200


@pytest.mark.parametrize(
    "sizes", [[0], [100], [0, 4096], [65536], [200, 100, 4096], [0, 100], [4096], [200, 0, 150, 100]]
)
def test_a_peer_that_keeps_less_is_told_that_ours_is_smaller(sizes: list[int]) -> None:
    peer = Peer()
    for _ in range(3):
        peer.send(FIELDS)
    for size in sizes:
        peer.allow(size)
    for _ in range(5):
        last = peer.send(FIELDS)
    assert (len(last) == 5) is (sizes[-1] >= 4096)
    if sizes[-1] == 0:
        assert not peer.decoder.header_table.dynamic_entries


names = st.sampled_from([b"a", b"content-type", b"date", b"x" * 130, b"www-authenticate", b"set-cookie", b":status"])
values = st.sampled_from([b"", b"1", b"2", b"v" * 126, b"v" * 127, b"v" * 255, b"v" * 900, b"w" * 5000])
responses = st.lists(st.tuples(names, values), max_size=6)


@given(st.lists(st.one_of(responses, st.integers(0, 5000)), max_size=60))
def test_hpack_reads_what_was_to_be_sent(steps: list[list[Header] | int]) -> None:
    peer = Peer()
    for step in steps:
        if isinstance(step, int):
            peer.allow(step)
        else:
            for _ in range(2):
                peer.send(step)


@pytest.mark.parametrize("value", [0, 1, 30, 31, 32, 158, 159, 4096, 100000])
def test_integers(value: int) -> None:
    from hpack.hpack import decode_integer, encode_integer

    for mark, bits in ((0x20, 5), (0x80, 7)):
        made = integer(mark, 2**bits - 1, value)
        assert made[0] & mark
        assert decode_integer(made, bits) == (value, len(made))
        assert bytes([made[0] & ~mark, *made[1:]]) == bytes(encode_integer(value, bits))
