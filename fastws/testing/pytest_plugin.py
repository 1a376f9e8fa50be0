"""The pytest plugin that comes with fastws: the fixture `fastws_server`, which serves applications while a test runs.

Pytest finds it by itself, in every project where fastws is installed, so it imports nothing until a test asks for the
fixture. fastws does not need pytest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastws.testing import RunningServer


@pytest.fixture
def fastws_server() -> Iterator[Callable[..., RunningServer]]:
    """As `fastws.testing.serve`: `fastws_server(app, **options)` returns a server that runs until the test ends."""
    from fastws.testing import serve

    with contextlib.ExitStack() as servers:

        def start(app: str | Callable[..., Any], **options: Any) -> RunningServer:
            return servers.enter_context(serve(app, **options))

        yield start
