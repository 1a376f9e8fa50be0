/* The C headers of the codec against the plainest code that says the same: masking, UTF-8, and frame headers.
 *
 * test_c_headers.py builds this for the processor at hand and, with a cross compiler, for aarch64, where QEMU runs it.
 * It prints the kernels that it has tested, and exits with 1 at the first difference.
 */
#include "_frame.h"
#include "_mask.h"
#include "_utf8.h"
#include <stdio.h>
#include <stdlib.h>

enum { LONGEST = 300, MARGIN = 40 };

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf(__VA_ARGS__);                                                                                       \
            putchar('\n');                                                                                             \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static uint64_t seed = 1;

static uint8_t any_byte(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint8_t)(seed >> 56);
}

/* Each length, at each alignment, copied and in place; where all is ASCII but for one byte or none; and nothing around. */
static void test_mask(const fastws_named_kernel *each)
{
    uint8_t key[4], source[LONGEST + 2 * MARGIN], made[LONGEST + 2 * MARGIN], wanted[LONGEST + 2 * MARGIN];
    uint32_t word;
    int length, offset, i, high, in_place, where, said;

    for (length = 0; length <= LONGEST; length++)
        for (offset = 0; offset < 16; offset++)
            for (in_place = 0; in_place < 2; in_place++) {
                for (i = 0; i < 4; i++)
                    key[i] = any_byte();
                memcpy(&word, key, 4);
                where = length && (offset & 1) ? any_byte() % length : -1;
                for (i = 0; i < (int)sizeof(source); i++)
                    source[i] = made[i] = wanted[i] = any_byte();
                high = 0;
                for (i = 0; i < length; i++) {
                    uint8_t plain = any_byte() & (uint8_t)(i == where ? 0xFF : 0x7F);
                    source[offset + i] = plain ^ key[i % 4];
                    wanted[offset + i] = plain;
                    high |= plain & 0x80;
                }
                if (in_place)
                    memcpy(made + offset, source + offset, (size_t)length);
                said = each->kernel(made + offset, (in_place ? made : source) + offset, (size_t)length, word);
                CHECK(memcmp(made, wanted, sizeof(made)) == 0, "%s: length %d at %d", each->name, length, offset);
                CHECK(!said == !high, "%s: length %d at %d says %d of a high bit", each->name, length, offset, said);
            }
    for (i = 0; i < 9; i++) {
        uint8_t rotated[4];
        uint32_t turned = fastws_rotate_key(word, (uint64_t)i);
        memcpy(rotated, &turned, 4);
        for (length = 0; length < 4; length++)
            CHECK(rotated[length] == key[(length + i) % 4], "a key rotated by %d", i);
    }
}

/* Whether a code point of 1 to 4 bytes stands at `text`: its size, or 0 (RFC 3629 section 4). */
static int character(const uint8_t *text, int have)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t first = text[0];
    const int size = first < 0x80 ? 1 : (first & 0xE0) == 0xC0 ? 2 : (first & 0xF0) == 0xE0 ? 3 : (first & 0xF8) == 0xF0 ? 4 : 0;
    uint32_t point = size == 1 ? first : size ? first & (0x7Fu >> size) : 0;
    int i;

    if (size == 0 || size > have)
        return 0;
    for (i = 1; i < size; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
        point = (point << 6) | (text[i] & 0x3F);
    }
    return point >= least[size] && point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF) ? size : 0;
}

/* Each sequence of bytes of the edges, cut everywhere and behind ASCII, which is skipped in words. */
static void test_utf8(void)
{
    static const uint8_t edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2,
                                    0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF};
    enum { EDGES = sizeof(edges) };
    uint8_t text[16];
    uint32_t state;
    int number, i, at, size, valid, cut, before;

    for (number = 0; number < EDGES * EDGES * EDGES * EDGES; number++) {
        before = number % 10;
        memset(text, 'a', sizeof(text));
        for (i = 0, at = number; i < 4; i++, at /= EDGES)
            text[before + i] = edges[at % EDGES];
        for (valid = 1, at = 0; valid && at < before + 4; at += size)
            valid = (size = character(text + at, before + 4 - at)) > 0;
        for (cut = 0; cut < 5; cut++) {
            state = fastws_utf8_feed(FASTWS_UTF8_START, text, (size_t)(before + cut));
            if (state != FASTWS_UTF8_INVALID)
                state = fastws_utf8_feed(state, text + before + cut, (size_t)(4 - cut));
            CHECK((state == FASTWS_UTF8_START) == valid, "UTF-8 %02x %02x %02x %02x behind %d, cut at %d", text[before],
                  text[before + 1], text[before + 2], text[before + 3], before, cut);
        }
    }
}

/* What is written is read as it was meant, not before it is there; a length in a longer form than it needs is refused. */
static void test_frames(void)
{
    static const uint64_t lengths[] = {0, 1, 125, 126, 127, 255, 256, 65535, 65536, UINT64_C(0x0102030405060708)};
    uint8_t head[FASTWS_MAX_HEADER], *end;
    fastws_reader reader;
    ptrdiff_t size, have;
    size_t i;
    int j;

    for (i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        end = fastws_write_header(head, FASTWS_FIN | FASTWS_BINARY, (ptrdiff_t)lengths[i]);
        head[1] |= FASTWS_MASKED;
        size = end - head + 4;
        for (j = 0; j < 4; j++)
            end[j] = (uint8_t)(0x11 * (j + 1));
        for (have = 1; have <= size; have++) {
            memset(&reader, 0, sizeof(reader));
            reader.limit = reader.compressed_limit = UINT64_MAX;
            reader.max_empty_frames = 1;
            CHECK(fastws_read_header(&reader, head, have) == (have < size ? 0 : size), "a header of %d bytes at %d",
                  (int)size, (int)have);
        }
        CHECK(reader.frame_left == lengths[i] && reader.fin && reader.opcode == FASTWS_BINARY, "a frame's fields");
        CHECK(memcmp(&reader.key, end, 4) == 0, "a frame's key");
        memset(&reader, 0, sizeof(reader));
        reader.limit = lengths[i] ? lengths[i] - 1 : 0;
        CHECK(fastws_read_header(&reader, head, size) == (lengths[i] ? -FASTWS_TOO_BIG : -FASTWS_TOO_MANY_FRAGMENTS),
              "a limit below the length");
    }
    memcpy(head, "\x82\xFE\x00\x7D", 4);
    memset(&reader, 0, sizeof(reader));
    CHECK(fastws_read_header(&reader, head, 4) == -FASTWS_LENGTH_NOT_MINIMAL, "125 in two bytes");
    memcpy(head, "\x82\xFF\x80", 3);
    CHECK(fastws_read_header(&reader, head, 3) == -FASTWS_LENGTH_HIGH_BIT, "a length of 64 bits with the highest");
}

int main(void)
{
    fastws_named_kernel kernels[3];
    const int count = fastws_kernels(kernels);
    int i;

    for (i = 0; i < count; i++) {
        test_mask(&kernels[i]);
        printf("%s ", kernels[i].name);
    }
    test_utf8();
    test_frames();
    puts("passed");
    return 0;
}
