"""One event loop: what listens, what accepts, one object a socket, one state a loop, one timer for all deadlines.

Knows the rooms of values below it, asyncio, sockets, TLS and the clock. It knows no ASGI: what answers a request is a
`Gateway` to it, and what the bytes of a connection mean is its handler's business.

In reading order: channel (the seam above sockets), connection (one socket), loop_core and loop_state (what connections
share), sweep (deadlines), loop_counts, client_counts, log_limit, waiters, copying with _copying; http_handler,
http1_reader and http1_handler (what the bytes mean), http2_stream, http2_request and http2_handler (HTTP/2),
proxy_preamble; listeners, activation, descriptors and accepting; _sockets, _poller, _transport and _writing (sockets in
C), _tls_transport and handshakes (TLS on them); tls and tls_reason; event_loop, forking, standard_descriptors (the
process around a loop); tracing.
"""
