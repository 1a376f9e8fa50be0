"""The incremental validation of UTF-8, against the interpreter's decoder, which is strict, and byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastws._codec import utf8_feed


def is_valid(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def can_go_on(data: bytes) -> bool:
    """The definition: whether some valid text begins with `data`."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        unfinished = data[error.start :]
        if error.end != len(data) or len(unfinished) > 3:
            return False
        tails = (b"", b"\x80", b"\x90", b"\xa0", b"\x80\x80", b"\x90\x80", b"\xa0\x80", b"\x80\x80\x80")
        tails += (b"\x90\x80\x80", b"\x8f\xbf\xbf")
        return any(is_valid(unfinished + tail) for tail in tails)
    return True


def check(data: bytes) -> None:
    state: int | None = 0
    for i in range(len(data)):
        assert state is not None
        assert utf8_feed(0, data[:i]) == state
        state = utf8_feed(state, data[i : i + 1])
        assert (state is not None) is can_go_on(data[: i + 1]), data[: i + 1]
        if state is None:
            assert utf8_feed(0, data) is None
            return
        assert (state == 0) is is_valid(data[: i + 1]), data[: i + 1]


@pytest.mark.slow
def test_every_pair_of_bytes() -> None:
    for first in range(256):
        for second in range(256):
            check(bytes([first, second]))


@pytest.mark.slow
def test_every_lead_with_bounds_of_what_follows() -> None:
    edges = (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF)
    for lead in range(0xC0, 0x100):
        for second in edges:
            for third in edges:
                for fourth in edges:
                    check(bytes([lead, second, third, fourth]))


def test_every_character() -> None:
    for start in range(0, 0x110000, 0x1000):
        text = "".join(chr(i) for i in range(start, start + 0x1000) if not 0xD800 <= i < 0xE000)
        assert utf8_feed(0, text.encode()) == 0
    for surrogate in range(0xD800, 0xE000):
        assert utf8_feed(0, chr(surrogate).encode(errors="surrogatepass")) is None


@given(st.text(max_size=60), st.binary(max_size=6), st.text("ab", max_size=30))
def test_text_with_something_in_it(text: str, something: bytes, more: str) -> None:
    check(text.encode() + something + more.encode())


@given(st.text(max_size=100), st.integers(0, 400))
def test_text_cut_anywhere(text: str, cut: int) -> None:
    data = text.encode()
    state = utf8_feed(0, data[:cut])
    assert state is not None
    assert utf8_feed(state, data[cut:]) == 0
