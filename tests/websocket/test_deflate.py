"""permessage-deflate: every parameter of the negotiation, and messages through zlib and back."""

from __future__ import annotations

import functools
import random
import sys
import tracemalloc
import zlib

import pytest
from engine_cases import deflated, deflated_final
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension

from fastws.errors import ConfigError
from fastws.websocket.deflate import DeflateParameters, Deflater, Deflaters, Inflater, negotiate
from fastws.websocket.deflate_backends import Backend, Decompressor, load_backend, load_decompressor
from fastws.websocket.events import Failure
from fastws.websocket.failures import INVALID_DEFLATE, TOO_BIG

# ---------------------------------------------------------------------------------------------------------- negotiation

PLAIN = b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def answer(*header_values: bytes, **preferences: bool | int) -> bytes | None:
    parameters = negotiate(header_values, **preferences)  # type: ignore[arg-type]
    return None if parameters is None else parameters.response()


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        (b"permessage-deflate", PLAIN),
        (b"permessage-deflate; client_max_window_bits", PLAIN),
        (b"permessage-deflate; server_no_context_takeover", PLAIN),
        (b"permessage-deflate;client_no_context_takeover", PLAIN),
        (b"permessage-deflate; client_max_window_bits=15", PLAIN),
        (b"permessage-deflate; client_max_window_bits=8", PLAIN + b"; client_max_window_bits=8"),
        (b"permessage-deflate; client_max_window_bits=10", PLAIN + b"; client_max_window_bits=10"),
        (b'permessage-deflate; client_max_window_bits="10"', PLAIN + b"; client_max_window_bits=10"),
        (b'permessage-deflate; client_max_window_bits="1\\0"', PLAIN + b"; client_max_window_bits=10"),
        (b"permessage-deflate; server_max_window_bits=9", PLAIN + b"; server_max_window_bits=9"),
        (b"permessage-deflate; server_max_window_bits=10", PLAIN + b"; server_max_window_bits=10"),
        (b"permessage-deflate; server_max_window_bits=15", PLAIN + b"; server_max_window_bits=12"),
        (b'permessage-deflate;server_max_window_bits = "11"\t', PLAIN + b"; server_max_window_bits=11"),
        (b"  permessage-deflate ,", PLAIN),
        (b", ,permessage-deflate", PLAIN),
        (b"permessage-deflate; unknown, permessage-deflate", PLAIN),
        (b"permessage-deflate; server_max_window_bits=8, permessage-deflate", PLAIN),
        (b"x-webkit-deflate-frame; a=b, other, permessage-deflate; client_max_window_bits", PLAIN),
    ],
)  # fmt: skip
def test_accepted(offer: bytes, expected: bytes) -> None:
    assert answer(offer) == expected


@pytest.mark.parametrize(
    "parameters",
    [
        b"unknown",
        b"unknown=1",
        b"server_no_context_takeover=1",
        b'server_no_context_takeover="true"',
        b"client_no_context_takeover=0",
        b"server_no_context_takeover; server_no_context_takeover",
        b"client_no_context_takeover; client_no_context_takeover",
        b"server_max_window_bits",
        b"server_max_window_bits=8",
        b"server_max_window_bits=7",
        b"server_max_window_bits=16",
        b"server_max_window_bits=010",
        b"server_max_window_bits=09",
        b"server_max_window_bits=+9",
        b"server_max_window_bits=1e1",
        b"server_max_window_bits=10; server_max_window_bits=10",
        b"client_max_window_bits=7",
        b"client_max_window_bits=16",
        b"client_max_window_bits=08",
        b'client_max_window_bits="08"',
        b"client_max_window_bits=x",
        b"client_max_window_bits; client_max_window_bits",
        b"client_max_window_bits=10; client_max_window_bits=9",
        b"Server_No_Context_Takeover",
    ],
)
def test_declined_alone(parameters: bytes) -> None:
    offer = b"permessage-deflate; " + parameters
    assert answer(offer) is None
    assert answer(offer + b", permessage-deflate") == PLAIN
    assert answer(offer, b"permessage-deflate") == PLAIN


@pytest.mark.parametrize(
    "malformed",
    [
        b";",
        b"permessage-deflate;",
        b"permessage-deflate; ;",
        b"permessage-deflate; =9",
        b"permessage-deflate; server_max_window_bits=",
        b'permessage-deflate; server_max_window_bits=""',
        b'permessage-deflate; server_max_window_bits="9',
        b'permessage-deflate; server_max_window_bits="9 "',
        b"permessage-deflate server_no_context_takeover",
        b"permessage-deflate=1",
        b"permessage-deflate; \xff",
        b'"permessage-deflate"',
        b"permessage-deflate; a b",
        b"permessage-deflate\x00",
        b'permessage-deflate; a="\x00"',
    ],
)
def test_malformed_is_ignored(malformed: bytes) -> None:
    assert answer(malformed) is None
    assert answer(malformed, b"permessage-deflate") == PLAIN
    assert answer(b"permessage-deflate, " + malformed) is None


def test_no_offer() -> None:
    assert negotiate([]) is None
    assert negotiate([b"", b" , "]) is None
    assert negotiate([b"permessage-deflates"]) is None


def test_the_first_offer_that_can_be_met() -> None:
    first, second = b"permessage-deflate; server_max_window_bits=9", b"permessage-deflate; server_max_window_bits=10"
    assert answer(first + b", " + second) == PLAIN + b"; server_max_window_bits=9"
    assert answer(second, first) == PLAIN + b"; server_max_window_bits=10"


def test_preferences() -> None:
    keep = {"server_no_context_takeover": False, "client_no_context_takeover": False}
    assert answer(b"permessage-deflate", **keep) == b"permessage-deflate"
    demand = b"permessage-deflate; server_no_context_takeover"
    assert answer(demand, **keep) == demand
    assert answer(b"permessage-deflate", client_max_window_bits=9) == PLAIN
    offer = b"permessage-deflate; client_max_window_bits"
    assert answer(offer, client_max_window_bits=9) == PLAIN + b"; client_max_window_bits=9"
    assert answer(offer + b"=8", client_max_window_bits=9) == PLAIN + b"; client_max_window_bits=8"
    parameters = negotiate([b"permessage-deflate"], server_max_window_bits=14)
    assert parameters == DeflateParameters(server_max_window_bits=14)
    for bad in (8, 16):
        with pytest.raises(ValueError, match="server_max_window_bits"):
            negotiate([], server_max_window_bits=bad)
    for bad in (7, 16):
        with pytest.raises(ValueError, match="client_max_window_bits"):
            negotiate([], client_max_window_bits=bad)


@given(
    st.booleans(), st.booleans(), st.none() | st.integers(9, 15), st.none() | st.just(True) | st.integers(9, 15),
    st.booleans(), st.integers(9, 15),
)  # fmt: skip
def test_the_client_of_websockets_takes_our_answer(
    server_no: bool, client_no: bool, server_bits: int | None, client_bits: int | bool | None, ours: bool, bits: int
) -> None:
    factory = ClientPerMessageDeflateFactory(server_no, client_no, server_bits, client_bits)
    offer = build_extension([("permessage-deflate", factory.get_request_params())]).encode()
    preferences = {"server_no_context_takeover": ours, "client_no_context_takeover": ours}
    response = answer(offer, server_max_window_bits=bits, **preferences)
    assert response is not None
    ((name, parameters),) = parse_extension(response.decode())
    assert name == "permessage-deflate"
    factory.process_response_params(parameters, [])


# ------------------------------------------------------------------------------------------------------------- messages


def inflate(inflater: Inflater, data: bytes, limit: int = 1 << 20) -> bytes | Failure:
    return inflater.decompress(data, last=True, max_length=limit)


both_decompressors = pytest.mark.parametrize("decompressor", [None, load_decompressor()], ids=["streams", "whole"])
both_backends = pytest.mark.parametrize("backend", [load_backend("zlib"), load_backend("isal")], ids=["zlib", "isal"])


def compress(deflater: Deflater, payload: bytes) -> bytes:
    compressed = deflater.compress(payload)
    assert compressed is not None
    return compressed


@both_decompressors
@pytest.mark.parametrize("takeover", [False, True])
@pytest.mark.parametrize("bits", [9, 10, 12, 15])
@both_backends
def test_there_and_back(bits: int, takeover: bool, backend: Backend, decompressor: Decompressor | None) -> None:
    deflater = Deflater(bits, context_takeover=takeover, threshold=0, backend=backend)
    inflater = Inflater(bits, context_takeover=takeover, decompressor=decompressor)
    for i in range(5):
        payload = b"many words, %d times; " % i * (i * 400 + 1)
        compressed = deflater.compress(payload)
        assert payload == (inflate(inflater, compressed) if compressed is not None else payload)


@both_decompressors
@both_backends
@given(st.lists(st.binary(max_size=200) | st.text("ab", max_size=500).map(str.encode), max_size=5), st.booleans())
@pytest.mark.slow
def test_there_and_back_generated(
    backend: Backend, decompressor: Decompressor | None, payloads: list[bytes], takeover: bool
) -> None:
    deflater = Deflater(context_takeover=takeover, threshold=1, backend=backend)
    inflater = Inflater(context_takeover=takeover, decompressor=decompressor)
    for payload in payloads:
        compressed = deflater.compress(payload)
        if compressed is None:
            assert not takeover or not payload
        else:
            assert inflate(inflater, compressed) == payload


@both_backends
def test_context_takeover_saves_bytes_and_none_does_not(backend: Backend) -> None:
    payload = bytes(range(256)) * 2
    keeping, forgetting = Deflater(context_takeover=True, backend=backend), Deflater(backend=backend)
    assert len(compress(keeping, payload)) > 3 * len(compress(keeping, payload))
    first = compress(forgetting, payload)
    compress(forgetting, b"something else " * 100)
    assert compress(forgetting, payload) == first


@both_backends
def test_a_shared_compressor_leaks_nothing(backend: Backend) -> None:
    """What one connection sent can be read by no other, and does not show in the length of what others get."""
    alone, shared = Deflater(backend=backend), Deflater(backend=backend)
    secret, guess = b"the secret is swordfish. " * 20, b"the secret is swordfish? " + bytes(range(240))
    compress(shared, secret)
    assert shared.compress(guess) == alone.compress(guess)


@both_backends
def test_a_broadcast_is_compressed_once(backend: Backend) -> None:
    deflater = Deflater(backend=backend)
    payload = b"to everybody " * 50
    assert compress(deflater, payload) is compress(deflater, bytes(bytearray(payload)))


@both_backends
def test_small_and_incompressible_go_plain(backend: Backend) -> None:
    deflater = Deflater(threshold=100, backend=backend)
    assert deflater.compress(b"x" * 99) is None
    assert deflater.compress(b"x" * 100) is not None
    assert deflater.compress(bytes(range(256))) is None
    assert deflater.compress(bytes(range(256))) is None


def test_deflaters_are_shared_by_window() -> None:
    deflaters = Deflaters()
    twelve, nine = DeflateParameters(server_max_window_bits=12), DeflateParameters(server_max_window_bits=9)
    assert deflaters.get(twelve) is deflaters.get(twelve)
    assert deflaters.get(twelve) is not deflaters.get(nine)
    assert deflaters.get(nine).window_bits == 9
    keeping = DeflateParameters(server_no_context_takeover=False)
    assert deflaters.get(keeping) is not deflaters.get(keeping)
    assert deflaters.get(keeping).context_takeover


@both_backends
@pytest.mark.parametrize("level", [1, 6, 7, 9])
def test_window_bits_are_kept_to(backend: Backend, level: int) -> None:
    """A peer with the smallest window can read it: no reference goes further back.

    In pieces, since zlib looks for what a reference means in all that it has just inflated, too.
    """
    words = b"".join(b"%d" % (i * i) for i in range(600))
    payload = b"".join(words[i : i + 700] * 2 for i in range(0, len(words), 700))
    for bits in range(9, 16):
        inflater = zlib.decompressobj(-bits)
        rest = compress(Deflater(bits, threshold=0, level=level, backend=backend), payload) + b"\x00\x00\xff\xff"
        plain = b""
        while rest:
            plain += inflater.decompress(rest, 16)
            rest = inflater.unconsumed_tail
        assert plain == payload


def test_backend_is_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_backend("auto").name == "isal"
    assert load_backend("auto", context_takeover=True).name == "zlib"
    assert load_backend("isal", context_takeover=True).name == "isal"
    monkeypatch.setitem(sys.modules, "isal", None)
    assert load_backend("auto").name == "zlib"
    with pytest.raises(ConfigError, match=r"--ws-deflate-backend: isal cannot be imported .*fastws-server\[isal\]"):
        load_backend("isal")


def test_deflaters_compress_by_their_backend() -> None:
    backend = load_backend("isal")
    deflaters = Deflaters(backend=backend)
    for parameters in (DeflateParameters(), DeflateParameters(server_no_context_takeover=False)):
        assert deflaters.get(parameters).backend is backend


@both_decompressors
def test_bounds_of_window_bits(decompressor: Decompressor | None) -> None:
    for bits in (8, 16):
        with pytest.raises(ValueError, match="window_bits"):
            Deflater(bits)
    for bits in (7, 16):
        with pytest.raises(ValueError, match="window_bits"):
            Inflater(bits, decompressor=decompressor)
    assert inflate(DeflateParameters(client_max_window_bits=8).inflater(), deflated(b"small window")) == b"small window"


@both_decompressors
@given(st.binary(max_size=300), st.integers(1, 20), st.booleans(), st.booleans())
def test_in_pieces(decompressor: Decompressor | None, payload: bytes, size: int, takeover: bool, final: bool) -> None:
    inflater = Inflater(context_takeover=takeover, decompressor=decompressor)
    compressed = deflated_final(payload) if final else deflated(payload)
    for _ in range(2):
        pieces = [compressed[i : i + size] for i in range(0, len(compressed), size)]
        plain = b""
        for i, piece in enumerate(pieces):
            result = inflater.decompress(piece, last=i == len(pieces) - 1, max_length=300)
            assert isinstance(result, bytes)
            plain += result
        assert plain == payload


@both_decompressors
@pytest.mark.parametrize("takeover", [False, True])
def test_bad_data(takeover: bool, decompressor: Decompressor | None) -> None:
    hello = deflated(b"Hello")
    for bad in (
        b"\xff\xff",  # reserved block type
        b"\x06",  # the same, at once
        hello[:-1],
        hello[:-2],
        hello[:3],
        hello + b"\x00\x05",  # a stored block that is cut short
        deflated_final(b"Hello") + b"\x00",
        deflated_final(b"Hello")[:-1] + b"\x01",
        deflated_final(b"Hello") + hello,
    ):
        assert inflate(Inflater(context_takeover=takeover, decompressor=decompressor), bad) == INVALID_DEFLATE, bad
        if len(bad) > 1:
            inflater = Inflater(context_takeover=takeover, decompressor=decompressor)
            first = inflater.decompress(bad[:-1], last=False, max_length=100)
            assert isinstance(first, Failure) or inflate(inflater, bad[-1:]) == INVALID_DEFLATE


@both_decompressors
def test_reference_beyond_the_message_without_takeover(decompressor: Decompressor | None) -> None:
    inflater = Inflater(decompressor=decompressor)
    assert inflate(inflater, bytes.fromhex("f248cdc9c90700")) == b"Hello"
    assert inflate(inflater, bytes.fromhex("f200110000")) == INVALID_DEFLATE


@both_decompressors
def test_limit(decompressor: Decompressor | None) -> None:
    for takeover in (False, True):
        made = functools.partial(Inflater, context_takeover=takeover, decompressor=decompressor)
        assert inflate(made(), deflated(bytes(1000)), 1000) == bytes(1000)
        assert inflate(made(), deflated(bytes(1001)), 1000) == TOO_BIG
        assert inflate(made(), deflated(b""), 0) == b""
        assert inflate(made(), deflated(b"x"), 0) == TOO_BIG
        assert inflate(made(), deflated_final(bytes(1001)), 1000) == TOO_BIG


@both_decompressors
def test_a_bomb_is_not_inflated(decompressor: Decompressor | None) -> None:
    bomb = deflated(bytes(50_000_000))
    tracemalloc.start()
    try:
        assert inflate(Inflater(decompressor=decompressor), bomb, 1_000_000) == TOO_BIG
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@both_decompressors
def test_no_stream_is_held_between_messages(decompressor: Decompressor | None) -> None:
    inflater = Inflater(decompressor=decompressor)
    tracemalloc.start()
    try:
        assert inflate(inflater, deflated(b"x" * 100)) == b"x" * 100
        assert tracemalloc.get_traced_memory()[0] < 2_000
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------------------------------------- zlib, whole messages

SIZES = [1, 1000, *(size + more for size in (16384, 65536, 131072, 262144) for more in (-1, 0, 1)), 1_000_000]
"""Around those at which room for what comes out grows."""


@both_decompressors
@pytest.mark.parametrize("size", SIZES)
def test_sizes_around_the_room_for_them(size: int, decompressor: Decompressor | None) -> None:
    for payload in (bytes(size), random.Random(size).randbytes(size)):
        inflater = Inflater(decompressor=decompressor)
        deflater = Deflater(threshold=0)
        for _ in range(2):
            compressed = compress(deflater, payload)
            assert zlib.decompressobj(-15).decompress(compressed) == payload
            assert not compressed.endswith(b"\x00\x00\xff\xff")
            assert inflate(inflater, compressed, size) == payload
            assert inflate(inflater, compressed, 1 << 40) == payload
        assert inflate(inflater, compressed, size - 1) == TOO_BIG


@pytest.mark.skipif(load_decompressor() is None, reason="not compiled")
def test_zlib_is_called_without_python_s_module_where_that_can_be() -> None:
    from fastws.websocket import _zlib

    assert isinstance(load_backend("zlib").make(1, 12, 5), _zlib.Compressor)
    assert isinstance(load_decompressor(), _zlib.Decompressor)


@pytest.mark.parametrize("level", [1, 6, 9])
@pytest.mark.parametrize("bits", [9, 12, 15])
def test_zlib_is_the_same_by_every_way(bits: int, level: int) -> None:
    deflater = Deflater(bits, level=level, mem_level=8, threshold=0)
    python = zlib.compressobj(level, zlib.DEFLATED, -bits, 8)
    for number in range(1, 20):
        payload = b"".join(b"%d of %d, " % (i * number, number) for i in range(10 * number))
        expected = python.compress(payload) + python.flush(zlib.Z_FULL_FLUSH)
        assert compress(deflater, payload) == expected[:-4]


@pytest.mark.parametrize("bits", [8, 15])
def test_connections_share_a_decompressor(bits: int) -> None:
    deflaters = Deflaters()
    parameters = DeflateParameters(client_max_window_bits=bits)
    inflaters = [parameters.inflater(deflaters.counts, deflaters.decompressor) for _ in range(3)]
    others = DeflateParameters().inflater(deflaters.counts, deflaters.decompressor)
    message = deflated(b"small window " * 10)
    half = len(message) // 2
    for inflater in inflaters:
        assert isinstance(inflater.decompress(message[:half], last=False, max_length=1000), bytes)
        assert inflate(others, deflated(bytes(100_000))) == bytes(100_000)
    for inflater in inflaters:
        begun = inflater.decompress(message[half:], last=True, max_length=1000)
        assert isinstance(begun, bytes)
        assert begun.endswith(b"small window ")
        assert inflate(inflater, message) == b"small window " * 10
        assert inflate(inflater, b"\x07") == INVALID_DEFLATE
    assert inflate(others, message) == b"small window " * 10
    assert deflaters.counts.plain_in == 130 * 3 * 2 + 100_000 * 3 + 130
