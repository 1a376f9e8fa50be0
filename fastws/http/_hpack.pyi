from typing import Any, final

from fastws.http.header_blocks import Header

def is_field(name: bytes, value: bytes) -> bool: ...

@final
class Block:
    @property
    def fields(self) -> list[Header]: ...
    head: Any
    def __init__(self, fields: list[Header]) -> None: ...

@final
class BlockReader:
    def __init__(self, limit: int) -> None: ...
    def read(self, block: bytes) -> Block: ...
