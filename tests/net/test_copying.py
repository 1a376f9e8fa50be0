"""Bytes out of a receive buffer: compiled and interpreted, they are the same."""

from __future__ import annotations

import array
from typing import Any

import pytest

from fastws.net.copying import copied


@pytest.mark.parametrize("size", [0, 1, 7, 8])
def test_the_first_bytes_are_copied(size: int) -> None:
    memory = bytearray(b"abcdefgh")
    made = copied(memoryview(memory), size)
    memory[:] = bytes(8)
    assert type(made) is bytes
    assert made == b"abcdefgh"[:size]


@pytest.mark.parametrize(
    "buffer",
    [memoryview(b"abcdefgh"), memoryview(b"abcdefgh")[2:], memoryview(b"abcdefgh")[::-2], b"abcdefgh", bytearray(9)],
)
@pytest.mark.parametrize("size", [0, 2, 100, -1])
def test_of_whatever_buffer_as_a_slice_has_it(buffer: Any, size: int) -> None:
    assert copied(buffer, size) == bytes(buffer[:size])


def test_of_elements_that_are_no_bytes() -> None:
    numbers = array.array("i", range(4))
    assert copied(memoryview(numbers), 2) == bytes(memoryview(numbers)[:2])
