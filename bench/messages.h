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

static void build_messages(void) {
    if (payload_file) {
        FILE *file = fopen(payload_file, "rb");
        if (!file) die("cannot read %s: %s", payload_file, strerror(errno));
        payload = allocate(1 << 24);
        size = fread(payload, 1, 1 << 24, file);
        fclose(file);
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
    window_bytes = allocate((size + 14) * window);
    for (unsigned i = 0; i < window; i++) window_length += write_frame(window_bytes + window_length, first, payload, size);
    one_message = allocate(size + 14);
    one_length = write_frame(one_message, first, payload, size);
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
