"""What an application sees: scopes, calls, the HTTP cycle, the WebSocket session, lifespan, loading.

Knows `fastws.net` and below. Topics, logs and metrics are above it: they come in by a seam each (subscriber, observer).

In reading order: application, scopes, calls and waiting (how an application is called, and waits; _awaitables is that
without coroutines); responder, http_cycle and http2_cycle (a response, and its request), request_id and request_text,
tls_extension. A WebSocket: states, opening, session, inbox, outbox, lifetime, closing, traffic. Then lifespan, loading
and tracing.
"""
