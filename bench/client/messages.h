/* What the load client sends, built once before it starts: a request, one message, a window of messages. */
#ifndef FASTWS_BENCH_MESSAGES_H
#define FASTWS_BENCH_MESSAGES_H

#include "measure.h"
#include "options.h"
#include "wire.h"

#include <errno.h>

static uint8_t *payload, *window_bytes, *one_message;
static size_t window_length, one_length;
static char *request;
static size_t request_length;

static void *allocate(size_t bytes) {
    void *memory = calloc(1, bytes ? bytes : 1);
    if (!memory) die("out of memory for %zu bytes", bytes);
    return memory;
}

/* Compressed messages, different ones: of the same one a server may keep what it made of it. Each is behind its length,
 * a big-endian number of 4 bytes. */
enum { MAX_COMPRESSED = 64 };
static const uint8_t *compressed[MAX_COMPRESSED];
static size_t compressed_size[MAX_COMPRESSED], compressed_count;

static void read_compressed(void) {
    FILE *file = fopen(payload_file, "rb");
    if (!file) die("cannot read %s: %s", payload_file, strerror(errno));
    payload = allocate(1 << 24);
    size_t left = fread(payload, 1, 1 << 24, file);
    fclose(file);
    for (const uint8_t *at = payload; left > 4 && compressed_count < MAX_COMPRESSED; compressed_count++) {
        size_t length = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
        if (length > left - 4) die("%s ends within a message", payload_file);
        compressed[compressed_count] = at + 4;
        compressed_size[compressed_count] = length;
        size = size > length ? size : length;
        at += 4 + length;
        left -= 4 + length;
    }
    if (!compressed_count) die("%s has no message", payload_file);
}

static size_t write_message(uint8_t *at, uint8_t first, unsigned number) {
    if (!deflate) return write_frame(at, first, payload, size);
    return write_frame(at, first, compressed[number % compressed_count], compressed_size[number % compressed_count]);
}

static void build_messages(void) {
    if (payload_file) {
        if (!payload) {
            size = 0;
            read_compressed();
        }
    } else {
        payload = allocate(size);
        for (size_t i = 0; i < size; i++) payload[i] = (uint8_t)(binary ? random_next() : 'a' + random_next() % 26);
    }
    uint8_t first = (uint8_t)(0x80 | (deflate ? 0x40 : 0) | (binary ? BINARY : TEXT));
    if (mode == HTTP) {
        window_bytes = allocate(request_length * window);
        for (unsigned i = 0; i < window; i++) memcpy(window_bytes + i * request_length, request, request_length);
        window_length = request_length * window;
        return;
    }
    window_length = 0;
    window_bytes = allocate((size + 14) * window);
    for (unsigned i = 0; i < window; i++) window_length += write_message(window_bytes + window_length, first, i);
    one_message = allocate(size + 14);
    one_length = write_message(one_message, first, 0);
}

static void build_request(void) {
    static const char upgrade[] =
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n";
    char fields[512] = "Accept: */*\r\n";
    if (mode != HTTP) snprintf(fields, sizeof fields, upgrade, KEY);
    const char *extensions = deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "";
    int length = asprintf(&request, "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUser-Agent: fastws-load\r\n%s%s\r\n", path, host, port,
                          fields, extensions);
    if (length < 0) die("out of memory");
    request_length = (size_t)length;
}

#endif
