"""Long responses: server-sent events whose client leaves, the Model Context Protocol."""

from __future__ import annotations

import asyncio

import httpx
from mcp.client.client import Client
from polling import eventually
from served import Serve


def test_events(serve: Serve) -> None:
    response = httpx.get(serve("sse_app").http + "/few")
    assert [line for line in response.text.splitlines() if line.startswith("data")] == ["data: 0", "data: 1", "data: 2"]


def test_events_end_when_their_client_leaves(serve: Serve) -> None:
    served = serve("sse_app")
    with httpx.stream("GET", served.http + "/silent") as response:
        lines = response.iter_lines()
        assert next(lines) == "data: hello"
        assert httpx.get(served.http + "/left").json() == []
    eventually(lambda: httpx.get(served.http + "/left").json() == ["silent"])


def test_model_context_protocol(serve: Serve) -> None:
    async def add() -> object:
        async with Client(serve("mcp_app").http + "/mcp") as client:
            tools = await client.list_tools()
            assert [tool.name for tool in tools.tools] == ["add"]
            result = await client.call_tool("add", {"a": 1, "b": 2})
            return result.structured_content

    assert asyncio.run(add()) == {"result": 3}
