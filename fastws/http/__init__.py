"""HTTP on bytes and values, sans-IO: what a head says, how a response is framed, who is believed about a client.

Knows `fastws.errors` and nothing else of fastws: no event loop, no socket, no TLS and no clock; time and input are
arguments. httptools parses what is not plain; this room decides what of it is accepted.

In reading order: head_reader (request heads, with _plain_heads), head_scan (where a head ends, and its limits), head
(what it means), response_head, framing (bodies, chunks, errors), repeats (what comes twice); origin, forwarded,
forwarded_fields and proxy_protocol (who says that he is whom); header_blocks with _hpack, block_writer (a table),
http2_frames with _frames, http2_head, http2_sending and http2_protocol (HTTP/2); escaped (what a peer sent, for a log);
pages (what the server answers by itself).
"""
