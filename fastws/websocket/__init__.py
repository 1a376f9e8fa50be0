"""WebSocket on bytes and values, sans-IO: the handshake, the engines, compression, and what breaks the rules.

Knows `fastws.http`; like it, no event loop, no socket and no clock. The compiled frame codec, `fastws._codec`, belongs
here, too: only its place is at the top.

In reading order: events and failures (what an engine reports), engine (the seam), engines (three implementations behind
it; _sending is half of the compiled one), handshake, deflate, deflate_messages and deflate_backends
(permessage-deflate; _zlib is zlib without Python's module), rate_limit, text_size (compiled: _text).
"""
