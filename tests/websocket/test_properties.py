"""What holds for every message: frames and compression, there and back, on every engine, however cut."""

from __future__ import annotations

import zlib

import cutting
import wire
from engine_cases import frame
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fastws.websocket.deflate import DeflateParameters, Deflater, Deflaters, Inflater, negotiate
from fastws.websocket.engine import Engine
from fastws.websocket.engines import load_engine
from fastws.websocket.events import Ping, Pong

LIMIT = 1 << 20
# The fixture `engine` is a name: it needs no reset between examples.
quick = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.text(st.characters(codec="utf-8"), max_size=300) | st.builds(
    lambda unit, n: unit * n, st.text(max_size=5), st.just(9000)
)
binaries = st.binary(max_size=300) | st.builds(lambda unit, n: unit * n, st.binary(max_size=5), st.just(20_000))
messages = st.lists(texts.filter(lambda text: text.isascii() or _encodes(text)) | binaries, max_size=6)
windows = st.integers(9, 15)


def _encodes(text: str) -> bool:
    try:
        return text.encode() is not None
    except UnicodeEncodeError:
        return False


def _as_client(output: bytes) -> bytes:
    """The server's frames with masks on them, as if a client had sent the same."""
    return b"".join(
        wire.frame(each.opcode, each.payload, fin=each.fin, rsv1=each.rsv1, mask=b"\x01\xfe\x80\x7f")
        for each in wire.read_frames(output)
    )


def _send(engine: Engine, message: str | bytes) -> None:
    if isinstance(message, str):
        engine.send_text(message)
    else:
        engine.send_bytes(message)


@quick
@given(messages, st.integers(0, 255))
def test_what_is_sent_is_received(engine: str, sent: list[str | bytes], seed: int) -> None:
    sender, receiver = load_engine(engine)(LIMIT), load_engine(engine)(LIMIT)
    for message in sent:
        _send(sender, message)
    stream = _as_client(b"".join(sender.data_to_send()))
    received = cutting.read(receiver, cutting.at_random(stream, seed))
    assert cutting.same(received, list(sent))


@quick
@given(messages, st.integers(0, 255), windows, st.booleans())
@example(["\x80\U00010000\U00010000" * 9000] * 4, 1, 9, False)  # over INFLATE_BUDGET in one read
def test_what_is_compressed_is_received(
    engine: str, sent: list[str | bytes], seed: int, bits: int, takeover: bool
) -> None:
    make = load_engine(engine)
    sender = make(LIMIT, None, Deflater(bits, context_takeover=takeover, threshold=20))
    receiver = make(LIMIT, Inflater(bits, context_takeover=takeover))
    for message in sent:
        _send(sender, message)
    stream = _as_client(b"".join(sender.data_to_send()))
    received = cutting.read(receiver, cutting.at_random(stream, seed))
    assert cutting.same(received, list(sent))


@quick
@given(
    st.lists(st.binary(max_size=200), min_size=1, max_size=5), st.binary(max_size=125), st.booleans(), st.integers(0, 9)
)
def test_fragments_are_one_message(engine: str, parts: list[bytes], ping: bytes, compress: bool, level: int) -> None:
    whole = b"".join(parts)
    if compress:
        stream = zlib.compressobj(level, wbits=-15)
        squeezed = (stream.compress(whole) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
        parts = [squeezed[i::] if i == len(parts) - 1 else squeezed[i : i + 1] for i in range(len(parts))]
    data = b"".join(
        frame(0 if i else wire.BINARY, part, fin=i == len(parts) - 1, rsv=4 if compress and not i else 0)
        + (frame(wire.PING, ping) if i < len(parts) - 1 else frame(wire.PONG, ping))
        for i, part in enumerate(parts)
    )
    receiver = load_engine(engine)(LIMIT, Inflater())
    received = cutting.read(receiver, cutting.byte_by_byte(data))
    assert cutting.same(received, [*[Ping(ping)] * (len(parts) - 1), whole, Pong(ping)])


@quick
@given(st.lists(binaries, max_size=5), st.booleans(), st.booleans(), st.none() | windows, st.none() | windows)
def test_what_was_negotiated_is_kept(
    sent: list[bytes], server_forgets: bool, client_forgets: bool, server_bits: int | None, client_bits: int | None
) -> None:
    """The client's own zlib reads what the server sends, with no more window than was agreed on; and the other way."""
    offer = b"permessage-deflate"
    offer += b"; server_no_context_takeover" * server_forgets + b"; client_no_context_takeover" * client_forgets
    offer += b"" if server_bits is None else b"; server_max_window_bits=%d" % server_bits
    offer += b"" if client_bits is None else b"; client_max_window_bits=%d" % client_bits
    parameters = negotiate([offer], server_no_context_takeover=False, client_no_context_takeover=False)
    assert isinstance(parameters, DeflateParameters)
    assert server_bits is None or parameters.server_max_window_bits <= server_bits
    deflater, inflater = Deflaters().get(parameters), parameters.inflater()
    theirs = zlib.decompressobj(-parameters.server_max_window_bits)
    ours = zlib.compressobj(wbits=-parameters.client_max_window_bits)
    for message in sent:
        squeezed = deflater.compress(message)
        if squeezed is not None:
            assert theirs.decompress(squeezed + b"\x00\x00\xff\xff") == message
            if parameters.server_no_context_takeover:
                theirs = zlib.decompressobj(-parameters.server_max_window_bits)
        squeezed = (ours.compress(message) + ours.flush(zlib.Z_SYNC_FLUSH))[:-4]
        assert inflater.decompress(squeezed, last=True, max_length=LIMIT) == message
        if parameters.client_no_context_takeover:
            ours = zlib.compressobj(wbits=-parameters.client_max_window_bits)
