/* Frame headers (RFC 6455 section 5.2): what a peer's says and whether it may, and how ours are written.
 *
 * A header is judged byte by byte, as far as it came, in the order of its bytes: the fault does not depend on how the
 * reads cut it. Lengths are compared as unsigned 64-bit numbers, before anything is allocated. No Python here; the
 * texts of the faults are in websocket/failures.py.
 */
#ifndef FASTWS_FRAME_H
#define FASTWS_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    FASTWS_TEXT = 1,
    FASTWS_BINARY = 2,
    FASTWS_CONTROL = 8, /* the bit that control opcodes share */
    FASTWS_CLOSE = 8,
    FASTWS_PING = 9,
    FASTWS_PONG = 10,
    FASTWS_FIN = 0x80,
    FASTWS_RSV1 = 0x40,
    FASTWS_RSV = 0x70,
    FASTWS_MASKED = 0x80,
    FASTWS_MAX_HEADER = 14,
};

enum fastws_fault {
    FASTWS_RESERVED_BITS = 1,
    FASTWS_RESERVED_OPCODE,
    FASTWS_FRAGMENTED_CONTROL,
    FASTWS_LONG_CONTROL,
    FASTWS_NO_MESSAGE_TO_CONTINUE,
    FASTWS_MESSAGE_INSIDE_MESSAGE,
    FASTWS_UNMASKED,
    FASTWS_LENGTH_NOT_MINIMAL,
    FASTWS_LENGTH_HIGH_BIT,
    FASTWS_CLOSE_TOO_SHORT,
    FASTWS_CLOSE_CODE,
    FASTWS_INVALID_UTF8,
    FASTWS_TOO_MANY_FRAGMENTS,
    FASTWS_TOO_BIG,
};

typedef struct {
    /* bounds */
    uint64_t limit;            /* bytes of a message */
    uint64_t compressed_limit; /* the same, as it comes over the wire */
    uint32_t max_empty_frames; /* in one message */
    /* the frame */
    uint32_t key;        /* rotated for the next byte */
    uint64_t frame_left; /* bytes of payload still to come */
    uint8_t opcode;
    /* the message; a control frame inside it changes none of this */
    uint8_t fin;        /* whether the frame is its last */
    uint8_t message;    /* FASTWS_TEXT, FASTWS_BINARY, or 0 between messages */
    uint8_t compressed; /* RSV1 of its first frame */
    uint8_t may_compress;
    uint32_t empty_frames;
    uint64_t received; /* bytes, as they came over the wire; never over the limit that applies */
} fastws_reader;

static inline uint64_t fastws_big_endian(const uint8_t *data, int size)
{
    uint64_t value = 0;

    while (size--)
        value = (value << 8) | *data++;
    return value;
}

/* The size of the header at `data`, which has 1 byte or more; 0 where bytes are missing; a fault, negative. */
static inline ptrdiff_t fastws_read_header(fastws_reader *reader, const uint8_t *data, ptrdiff_t have)
{
    const uint8_t first = data[0], opcode = first & 0x0F, control = opcode & FASTWS_CONTROL;
    uint64_t length, room;
    ptrdiff_t size = 6;

    if (first & FASTWS_RSV) {
        if ((first & FASTWS_RSV) != FASTWS_RSV1 || !reader->may_compress)
            return -FASTWS_RESERVED_BITS;
        if (opcode != FASTWS_TEXT && opcode != FASTWS_BINARY)
            return -FASTWS_RESERVED_BITS;
    }
    if (opcode == FASTWS_TEXT || opcode == FASTWS_BINARY) {
        if (reader->message)
            return -FASTWS_MESSAGE_INSIDE_MESSAGE;
    } else if (opcode == 0) {
        if (!reader->message)
            return -FASTWS_NO_MESSAGE_TO_CONTINUE;
    } else if (opcode < FASTWS_CLOSE || opcode > FASTWS_PONG) {
        return -FASTWS_RESERVED_OPCODE;
    } else if (!(first & FASTWS_FIN)) {
        return -FASTWS_FRAGMENTED_CONTROL;
    }
    if (have < 2)
        return 0;
    if (!(data[1] & FASTWS_MASKED))
        return -FASTWS_UNMASKED;
    length = data[1] & 0x7F;
    if (length > 125) {
        if (control)
            return -FASTWS_LONG_CONTROL;
        if (length == 126) {
            if (have < 4)
                return 0;
            length = fastws_big_endian(data + 2, 2);
            if (length < 126)
                return -FASTWS_LENGTH_NOT_MINIMAL;
            size = 8;
        } else {
            if (have > 2 && data[2] & 0x80)
                return -FASTWS_LENGTH_HIGH_BIT;
            if (have < 10)
                return 0;
            length = fastws_big_endian(data + 2, 8);
            if (length < 65536)
                return -FASTWS_LENGTH_NOT_MINIMAL;
            size = 14;
        }
    }
    if (!control) {
        room = (opcode ? first & FASTWS_RSV1 : reader->compressed) ? reader->compressed_limit : reader->limit;
        if (length > room - reader->received)
            return -FASTWS_TOO_BIG;
        if (length == 0 && reader->empty_frames == reader->max_empty_frames)
            return -FASTWS_TOO_MANY_FRAGMENTS;
    }
    if (have < size)
        return 0;
    memcpy(&reader->key, data + size - 4, 4);
    reader->frame_left = length;
    reader->opcode = opcode;
    if (!control) {
        reader->fin = first & FASTWS_FIN;
        reader->empty_frames += length == 0;
        if (opcode) {
            reader->message = opcode;
            reader->compressed = first & FASTWS_RSV1;
        }
    }
    return size;
}

static inline ptrdiff_t fastws_header_size(ptrdiff_t length)
{
    return length < 126 ? 2 : length < 65536 ? 4 : 10;
}

/* Write an unmasked header and return where its payload goes. */
static inline uint8_t *fastws_write_header(uint8_t *place, uint8_t first, ptrdiff_t length)
{
    const ptrdiff_t size = fastws_header_size(length);
    uint64_t rest = (uint64_t)length;
    ptrdiff_t i;

    place[0] = first;
    place[1] = size == 2 ? (uint8_t)length : size == 4 ? 126 : 127;
    for (i = size - 1; i > 1; i--) {
        place[i] = (uint8_t)rest;
        rest >>= 8;
    }
    return place + size;
}

#endif
