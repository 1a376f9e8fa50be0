from typing import final

from fastws.websocket.events import Failure

@final
class Compressor:
    def __init__(self, level: int, window_bits: int, mem_level: int) -> None: ...
    def message(self, data: bytes, mode: int) -> bytes: ...

@final
class Decompressor:
    def message(self, data: bytes, window_bits: int, limit: int) -> bytes | Failure: ...
