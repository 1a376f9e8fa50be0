/* RFC 6455 as the load client writes it: opcodes, masked frames, and the key of its one handshake. */
#ifndef FASTWS_BENCH_WIRE_H
#define FASTWS_BENCH_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

static const char KEY[] = "dGhlIHNhbXBsZSBub25jZQ=="; /* RFC 6455 section 1.3, with the answer it gives there */
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

static uint32_t random_state = 2463534242u;
static inline uint32_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    return random_state ^= random_state << 5;
}

/* One client frame with a random mask; returns its length (at most length + 14). */
static inline size_t write_frame(uint8_t *to, uint8_t first, const uint8_t *data, size_t length) {
    size_t at = 0;
    to[at++] = first;
    if (length < 126) {
        to[at++] = (uint8_t)(0x80 | length);
    } else {
        unsigned width = length < 65536 ? 2 : 8;
        to[at++] = (uint8_t)(0x80 | (width == 2 ? 126 : 127));
        for (unsigned i = width; i--;) to[at++] = (uint8_t)(length >> (8 * i));
    }
    uint32_t mask = random_next();
    memcpy(to + at, &mask, 4);
    const uint8_t *key = to + at;
    at += 4;
    for (size_t i = 0; i < length; i++) to[at + i] = data[i] ^ key[i & 3];
    return at + length;
}

#endif
