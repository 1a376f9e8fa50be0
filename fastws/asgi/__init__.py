"""What an application sees: scopes, calls, the HTTP cycle, the WebSocket session, lifespan, loading.

Knows `fastws.net` and below. Topics, logs and metrics are above it: they come in by a seam each (subscriber, observer).
"""
