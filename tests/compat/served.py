"""An application that is served, as the tests of this directory see it; `conftest.py` starts it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response
from websockets.sync.client import connect


@dataclass
class Served:
    """An application that is served: where, and what its server has printed."""

    host: str
    port: int
    process: subprocess.Popen[str]
    log: Path

    @property
    def http(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://{self.host}:{self.port}"

    def output(self) -> str:
        return self.log.read_text()


Serve: TypeAlias = Callable[..., Served]
"""The fixture `serve`: takes the name of a module in apps/, and options of the server."""


def refusal(url: str) -> Response:
    """The answer to a handshake that is refused."""
    with pytest.raises(InvalidStatus) as failed, connect(url):
        pass
    return failed.value.response
