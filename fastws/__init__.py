"""The ASGI server for WebSocket services."""

__version__ = "0.1.0"
