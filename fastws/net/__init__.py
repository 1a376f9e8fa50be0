"""One event loop: what listens, what accepts, one object a socket, one state a loop, one timer for all deadlines.

Knows the rooms of values below it, asyncio, sockets, TLS and the clock. It knows no ASGI: what answers a request is a
`Gateway` to it, and what the bytes of a connection mean is its handler's business.
"""
