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
static size_t request_length, request_total; /* without its body, and with it */

/* Of heads that are to differ: where their number is, in each request of a window. */
static const char NUMBER[] = "00000000000000000000000000000000";
static size_t number_at;
static uint64_t next_number = 1;

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
    if (post) {
        memcpy(payload, "{\"text\": \"", 10);
        memcpy(payload + size - 2, "\"}", 2);
    }
    uint8_t first = (uint8_t)(0x80 | (deflate ? 0x40 : 0) | (binary ? BINARY : TEXT));
    if (mode == HTTP) {
        request_total = request_length + (post ? size : 0);
        window_length = request_total * window;
        window_bytes = allocate(window_length);
        for (unsigned i = 0; i < window; i++) {
            memcpy(window_bytes + i * request_total, request, request_length);
            if (post) memcpy(window_bytes + i * request_total + request_length, payload, size);
        }
        return;
    }
    window_length = 0;
    window_bytes = allocate((size + 14) * window);
    for (unsigned i = 0; i < window; i++) window_length += write_message(window_bytes + window_length, first, i);
    one_message = allocate(size + 14);
    one_length = write_message(one_message, first, 0);
}

/* Give each request of the window a number that no other has had. */
static void number_heads(void) {
    for (unsigned i = 0; i < window; i++) {
        uint8_t *digit = window_bytes + i * request_total + number_at + sizeof NUMBER - 2;
        for (uint64_t left = next_number++; left; left >>= 4) *digit-- = (uint8_t)"0123456789abcdef"[left & 15];
    }
}

static void build_request(void) {
    static const char BROWSER_FIELDS[] =
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n"
        "Accept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\n"
        "Cookie: session=5f1d7e8b9c0a4d2e8f3b6a7c9d0e1f2a; theme=dark\r\nX-Request-ID: %s\r\n";
    static const char upgrade[] =
        "User-Agent: fastws-load\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n";
    char fields[512] = "User-Agent: fastws-load\r\nAccept: */*\r\n", body[80] = "";
    if (mode != HTTP) snprintf(fields, sizeof fields, upgrade, KEY);
    if (browser) snprintf(fields, sizeof fields, BROWSER_FIELDS, NUMBER);
    if (post) snprintf(body, sizeof body, "Content-Type: application/json\r\nContent-Length: %zu\r\n", size);
    const char *extensions = deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "";
    int length = asprintf(&request, "%s %s HTTP/1.1\r\nHost: %s:%d\r\n%s%s%s\r\n", post ? "POST" : "GET", path, host, port,
                          fields, body, extensions);
    if (length < 0) die("out of memory");
    request_length = (size_t)length;
    if (browser) number_at = (size_t)(strstr(request, NUMBER) - request);
}

#endif
