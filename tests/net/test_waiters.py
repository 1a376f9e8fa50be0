"""Futures of those who wait: who is cancelled is forgotten, however many they are."""

from __future__ import annotations

import asyncio

import pytest
from fake_loop import on_fake_clock

from fastws.net.waiters import LEAST, Waiters


@on_fake_clock
async def test_any_number_that_are_cancelled_are_not_kept() -> None:
    loop = asyncio.get_running_loop()
    waiters = Waiters()
    first = loop.create_future()
    waiters.add(first)
    most = 0
    for _ in range(300_000):
        waiter = loop.create_future()
        waiters.add(waiter)
        waiter.cancel()
        most = max(most, len(waiters))
    assert most <= LEAST
    waiters.wake()
    assert (len(waiters), first.done()) == (0, True)


@on_fake_clock
async def test_all_that_wait_are_woken_in_their_order() -> None:
    loop = asyncio.get_running_loop()
    waiters = Waiters()
    futures = [loop.create_future() for _ in range(100)]
    woken: list[int] = []
    for number, future in enumerate(futures):
        waiters.add(future)
        future.add_done_callback(lambda _, number=number: woken.append(number))
        if number % 3 == 0:
            future.cancel()
    waiters.wake()
    await asyncio.sleep(0)
    assert [number for number in woken if number % 3] == [number for number in range(100) if number % 3]


@on_fake_clock
async def test_each_gets_an_exception_of_its_own() -> None:
    loop = asyncio.get_running_loop()
    waiters = Waiters()
    futures = [loop.create_future() for _ in range(2)]
    for future in futures:
        waiters.add(future)
    waiters.fail(lambda: OSError("gone"))
    errors = []
    for future in futures:
        with pytest.raises(OSError, match="gone") as caught:
            await future
        errors.append(caught.value)
    assert errors[0] is not errors[1]
