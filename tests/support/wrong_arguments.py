"""Gives all that is public in a compiled module None and wrong types: `python -O wrong_arguments.py MODULE FILE`.

Instances are made by the class's own call where that takes what it is given, by `__new__` alone, and by what `GOOD`
says; their attributes are also set to what they take. Those of a WebSocket that is open are taken from there, as they
are: the modules of `TRUSTING` are compiled without checks for None, so that what is half made must not get to them.
Each call is named in FILE before it is made, so that a process that dies says in which. What is raised is of no
interest.
"""

from __future__ import annotations

import asyncio
import faulthandler
import importlib
import itertools
import os
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

MOST = 4
"""Arguments of a method; a class is made with twice as many at most."""

HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE

INSTANCES = 6
"""Ways to make an instance, for each of which all methods are called."""

GOOD = {
    "CythonEngine": ["CythonEngine(100)", "CythonEngine(100, None, Deflater(threshold=0))"],
    "Compressor": ["Compressor(1, 12, 5)"],
    "Deflater": ["Deflater(threshold=0)", "Deflater(threshold=0, context_takeover=True)"],
    "Inflater": ["Inflater()", "Inflater(context_takeover=True)"],
    "Outgoing": ["Outgoing('text')", "Outgoing(b'bytes', 'key')"],
    "Kind": ["Kind(None)"],
    "Repeats": ["Repeats(4)"],
}

TRUSTING = {"fastws.asgi.inbox", "fastws.asgi.outbox", "fastws.net.channel", "fastws.net.connection"}
TRUSTING |= {"fastws.topics.member"}

OPEN = {
    "Connection": "connection",
    "Channel": "connection",
    "Session": "session",
    "Closing": "session",
    "Lifetime": "session",
    "Inbox": "session",
    "Outbox": "session",
    "Member": "member",
    "Hub": "hub",
    "LoopCore": "state",
}
"""By class, what of an open WebSocket is one."""

SHARED = 10
"""Calls that one of those is used for: what is wrong must do no harm to what is called next, either."""


class OpenWebSockets:
    """Makes the parts of WebSockets that are open."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda loop, context: None)
        self.left = 0
        self.parts: dict[str, Any] = {}

    def make(self, part: str) -> Any:
        """A part of the last WebSocket or of a new one."""
        if not self.left:
            self.left = SHARED
            self.parts = self.loop.run_until_complete(self.open())
        self.left -= 1
        return self.parts[part]

    async def open(self) -> dict[str, Any]:
        """Open one that has subscribed to a topic."""
        from topics_sockets import Sockets

        sockets = Sockets("cython")
        _, peer = await sockets.open("room")
        session = peer.connection.handler
        parts = {"connection": peer.connection, "session": session, "member": session.subscriber}
        return parts | {"hub": sockets.hub, "state": sockets.server.state}


def values() -> list[Any]:
    """What is given: of each kind one, and of buffers those that are no plain bytes."""
    released = memoryview(bytearray(8))
    released.release()
    texts: list[Any] = [None, b"", b"8 bytes.", "", "text", "\udc80", bytearray(8)]
    numbers: list[Any] = [0, -1, 8, 1 << 70, 1.5]
    buffers: list[Any] = [released, memoryview(bytearray(8))[::2], memoryview(b"8 bytes.")]
    return [*texts, *numbers, *buffers, [], [None], (), (None,), {}, {"type": "websocket.send"}, object(), int, len]


def argument_lists(chance: random.Random, most: int) -> Iterator[tuple[Any, ...]]:
    """Lists of up to `most` arguments: all the same, and some of different kinds."""
    given = values()
    yield ()
    for count in range(1, most + 1):
        yield from ((value,) * count for value in given)
    for count in range(2, most + 1):
        yield from (tuple(chance.choice(given) for _ in range(count)) for _ in range(30))


class Caller:
    """Calls, each named before it is made."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT)

    def call(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function` returns, or None where it raises."""
        line = f"{name}({', '.join(type(each).__name__ for each in arguments)})"
        os.pwrite(self.file, line.ljust(400).encode(), 0)
        try:
            result = function(*arguments)
            if hasattr(result, "cr_frame"):
                result.close()
        except BaseException:
            return None
        return result


def makers(caller: Caller, chance: random.Random, cls: type, module: Any) -> list[Callable[[], Any]]:
    """Ways to make an instance of `cls`."""
    trusting = any(each.__module__ in TRUSTING for each in cls.__mro__)
    found: list[Callable[[], Any]] = [] if trusting else [lambda: cls.__new__(cls)]
    names = {**vars(module)}
    if any("Deflater" in text for text in GOOD.get(cls.__name__, ())):
        names |= vars(importlib.import_module("fastws.websocket.deflate_messages"))
    found += [lambda text=text: eval(text, names) for text in GOOD.get(cls.__name__, ())]  # type: ignore[misc]
    for arguments in argument_lists(chance, 2 * MOST):
        if len(found) < INSTANCES and isinstance(caller.call(cls.__name__, cls, *arguments), cls):
            found.append(lambda arguments=arguments: cls(*arguments))  # type: ignore[misc]
    return [make for make in found if isinstance(caller.call(cls.__name__, make), cls)]


def call_methods(
    caller: Caller, chance: random.Random, cls: type, make: Callable[[], Any], attributes: bool = True
) -> None:
    """Give each public method of an instance what is wrong, and each attribute, if `attributes`."""
    for name in sorted(name for name in dir(cls) if not name.startswith("_")):
        title = f"{cls.__name__}.{name}"
        if not callable(getattr(cls, name)):
            caller.call(title, getattr, make(), name)
            continue
        for arguments in argument_lists(chance, MOST):
            instance = caller.call(cls.__name__, make)
            method = caller.call(title, getattr, instance, name)
            if method is not None:
                caller.call(title, method, *arguments)
    if not attributes:
        return
    settable = [name for name in dir(cls) if hasattr(getattr(cls, name), "__set__") and not name.startswith("_")]
    methods = [name for name in dir(cls) if callable(getattr(cls, name)) and not name.startswith("_")]
    for attribute, name in itertools.product(settable, methods):
        for value in (None, b"", "text", 1, {}):
            instance = caller.call(cls.__name__, make)
            caller.call(f"{cls.__name__}.{attribute}", setattr, instance, attribute, value)
            for arguments in ((), (b"x" * 300,), ("x" * 300,), ({},), (None, None), (b"x" * 300, True, 1000)):
                caller.call(f"{cls.__name__}.{attribute} set, {name}", getattr(instance, name, len), *arguments)


def main(module_name: str, path: str) -> None:
    """Try all that is public in the module."""
    faulthandler.enable()
    module = importlib.import_module(module_name)
    caller, chance = Caller(path), random.Random(module_name)
    for name, each in sorted(vars(module).items()):
        if getattr(each, "__module__", None) != module_name:
            continue
        if isinstance(each, type) and each.__flags__ & HEAP_TYPE:
            continue  # interpreted, whatever module it is in
        if isinstance(each, type):
            for make in makers(caller, chance, each, module):
                call_methods(caller, chance, each, make)
            if each.__name__ in OPEN:
                sockets, part = OpenWebSockets(), OPEN[each.__name__]
                call_methods(caller, chance, each, lambda: sockets.make(part), attributes=False)  # noqa: B023
        elif callable(each) and not name.startswith("_"):
            for arguments in argument_lists(chance, 6):
                caller.call(name, each, *arguments)
    os._exit(0)  # what is half made may not be fit to end


if __name__ == "__main__":
    main(*sys.argv[1:])
