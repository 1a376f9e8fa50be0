"""A server of the Model Context Protocol, over streamable HTTP."""

from __future__ import annotations

from mcp.server import MCPServer

server = MCPServer("compat")


@server.tool()
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


app = server.streamable_http_app()
