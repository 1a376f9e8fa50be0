import asyncio

from typing_extensions import disjoint_base

from fastws.net.connection import Stream
from fastws.net.loop_core import LoopCore

@disjoint_base
class Poller:
    patience: int
    def __init__(self, loop: asyncio.AbstractEventLoop, state: LoopCore) -> None: ...

@disjoint_base
class Polled(Stream): ...
