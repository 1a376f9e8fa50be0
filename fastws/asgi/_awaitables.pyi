from typing import Any

from fastws.asgi.http_cycle import HttpCycle
from fastws.asgi.session import Session

async def receive(self: Session | HttpCycle) -> dict[str, Any]: ...
async def send(self: Session | HttpCycle, event: dict[str, Any]) -> None: ...
