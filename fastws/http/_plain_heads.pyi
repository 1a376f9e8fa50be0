from typing import final

from fastws.http.head import RequestHead
from fastws.http.head_scan import Limits

@final
class PlainHeads:
    @property
    def end(self) -> int: ...
    def __new__(cls, limits: Limits) -> PlainHeads: ...
    def read(self, data: bytes, start: int) -> RequestHead | None: ...
