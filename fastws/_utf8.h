/* Incremental validation of UTF-8 (RFC 3629), which fails at the first byte that no valid text could have there.
 *
 * The state is what may come next: how many continuation bytes are due, and the bounds of the first of them, which are
 * narrower than 80..BF after E0 (overlong), ED (surrogates), F0 (overlong) and F4 (above U+10FFFF). 0 is the state
 * between characters: text may end only there. Building the str is left to the interpreter.
 */
#ifndef FASTWS_UTF8_H
#define FASTWS_UTF8_H

#include <stdint.h>
#include <stddef.h>
#include <string.h>

#define FASTWS_UTF8_START 0u
#define FASTWS_UTF8_INVALID 0xFFFFFFFFu
#define FASTWS_UTF8_STATE(due, low, high) (((uint32_t)(due) << 16) | ((uint32_t)(low) << 8) | (uint32_t)(high))

static inline uint32_t fastws_utf8_lead(uint8_t byte)
{
    if (byte < 0x80)
        return FASTWS_UTF8_START;
    if (byte < 0xC2)
        return FASTWS_UTF8_INVALID;
    if (byte < 0xE0)
        return FASTWS_UTF8_STATE(1, 0x80, 0xBF);
    if (byte < 0xF0)
        return FASTWS_UTF8_STATE(2, byte == 0xE0 ? 0xA0 : 0x80, byte == 0xED ? 0x9F : 0xBF);
    if (byte < 0xF5)
        return FASTWS_UTF8_STATE(3, byte == 0xF0 ? 0x90 : 0x80, byte == 0xF4 ? 0x8F : 0xBF);
    return FASTWS_UTF8_INVALID;
}

/* The state after `length` more bytes, or FASTWS_UTF8_INVALID. */
static inline uint32_t fastws_utf8_feed(uint32_t state, const uint8_t *data, size_t length)
{
    const uint8_t *end = data + length;
    uint64_t word;
    uint32_t due;

    while (data < end) {
        if (state == FASTWS_UTF8_START) {
            while (end - data >= 8) {
                memcpy(&word, data, 8);
                if (word & UINT64_C(0x8080808080808080))
                    break;
                data += 8;
            }
            if (data == end)
                break;
            state = fastws_utf8_lead(*data++);
            if (state == FASTWS_UTF8_INVALID)
                return state;
        } else {
            if (*data < ((state >> 8) & 0xFF) || *data > (state & 0xFF))
                return FASTWS_UTF8_INVALID;
            data++;
            due = (state >> 16) - 1;
            state = due ? FASTWS_UTF8_STATE(due, 0x80, 0xBF) : FASTWS_UTF8_START;
        }
    }
    return state;
}

#endif
