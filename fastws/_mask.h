/* XOR of a payload with its masking key (RFC 6455 section 5.3), fused with the copy to its final place.
 *
 * Contract of every kernel: dst[i] = src[i] ^ key[i % 4] for i < length, from and to any alignment. dst may be src
 * (in place) but may not overlap it otherwise. `key` is the key as it lies in memory, already rotated for the first
 * byte (fastws_rotate_key). Returns non-zero iff a byte that was written has its high bit set, so that ASCII text
 * needs no second pass. Temporal stores only: the payload is read again at once.
 *
 * The portable kernel works on 8-byte words; the others do the same with wider ones. The codec picks
 * (fastws_kernels) the widest that the processor has, once, at import. No Python here.
 */
#ifndef FASTWS_MASK_H
#define FASTWS_MASK_H

#include <stdint.h>
#include <stddef.h>
#include <string.h>

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define FASTWS_X86 1
#include <immintrin.h>
#elif defined(__aarch64__) && !defined(__AARCH64EB__)
#define FASTWS_NEON 1
#include <arm_neon.h>
#endif

typedef int (*fastws_kernel)(uint8_t *dst, const uint8_t *src, size_t length, uint32_t key);

/* The key that begins at byte `offset` of the payload: bytes key[offset % 4], key[(offset + 1) % 4] ... */
static inline uint32_t fastws_rotate_key(uint32_t key, uint64_t offset)
{
    uint8_t from[4], to[4];
    unsigned i;

    if ((offset & 3) == 0)
        return key;
    memcpy(from, &key, 4);
    for (i = 0; i < 4; i++)
        to[i] = from[(i + offset) & 3];
    memcpy(&key, to, 4);
    return key;
}

/* Words of 8 bytes, then 4, then single ones. `high` is what the caller has gathered so far. */
static inline int fastws_mask_tail(uint8_t *dst, const uint8_t *src, size_t length, uint32_t key, uint64_t high)
{
    const uint64_t wide = ((uint64_t)key << 32) | key;
    uint64_t word;
    uint32_t half;
    uint8_t bytes[4];
    size_t i;

    while (length >= 8) {
        memcpy(&word, src, 8);
        word ^= wide;
        high |= word;
        memcpy(dst, &word, 8);
        src += 8;
        dst += 8;
        length -= 8;
    }
    if (length >= 4) {
        memcpy(&half, src, 4);
        half ^= key;
        high |= half;
        memcpy(dst, &half, 4);
        src += 4;
        dst += 4;
        length -= 4;
    }
    memcpy(bytes, &key, 4);
    for (i = 0; i < length; i++) {
        dst[i] = src[i] ^ bytes[i];
        high |= dst[i];
    }
    return (high & UINT64_C(0x8080808080808080)) != 0;
}

static int fastws_mask_portable(uint8_t *dst, const uint8_t *src, size_t length, uint32_t key)
{
    return fastws_mask_tail(dst, src, length, key, 0);
}

#ifdef FASTWS_X86
static int fastws_mask_sse2(uint8_t *dst, const uint8_t *src, size_t length, uint32_t key)
{
    const __m128i wide = _mm_set1_epi32((int)key);
    __m128i high = _mm_setzero_si128(), a, b;

    while (length >= 32) {
        a = _mm_xor_si128(_mm_loadu_si128((const __m128i *)src), wide);
        b = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(src + 16)), wide);
        _mm_storeu_si128((__m128i *)dst, a);
        _mm_storeu_si128((__m128i *)(dst + 16), b);
        high = _mm_or_si128(high, _mm_or_si128(a, b));
        src += 32;
        dst += 32;
        length -= 32;
    }
    return fastws_mask_tail(dst, src, length, key, _mm_movemask_epi8(high) ? UINT64_C(0x80) : 0);
}

__attribute__((target("avx2"))) static int fastws_mask_avx2(uint8_t *dst, const uint8_t *src, size_t length,
                                                            uint32_t key)
{
    const __m256i wide = _mm256_set1_epi32((int)key);
    __m256i high = _mm256_setzero_si256(), a, b, c, d;
    uint64_t any;

    while (length >= 128) {
        a = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)src), wide);
        b = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(src + 32)), wide);
        c = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(src + 64)), wide);
        d = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(src + 96)), wide);
        _mm256_storeu_si256((__m256i *)dst, a);
        _mm256_storeu_si256((__m256i *)(dst + 32), b);
        _mm256_storeu_si256((__m256i *)(dst + 64), c);
        _mm256_storeu_si256((__m256i *)(dst + 96), d);
        high = _mm256_or_si256(high, _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d)));
        src += 128;
        dst += 128;
        length -= 128;
    }
    while (length >= 32) {
        a = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)src), wide);
        _mm256_storeu_si256((__m256i *)dst, a);
        high = _mm256_or_si256(high, a);
        src += 32;
        dst += 32;
        length -= 32;
    }
    any = _mm256_movemask_epi8(high) ? UINT64_C(0x80) : 0;
    return fastws_mask_tail(dst, src, length, key, any);
}
#endif

#ifdef FASTWS_NEON
static int fastws_mask_neon(uint8_t *dst, const uint8_t *src, size_t length, uint32_t key)
{
    const uint8x16_t wide = vreinterpretq_u8_u32(vdupq_n_u32(key));
    uint8x16_t high = vdupq_n_u8(0), a, b;

    while (length >= 32) {
        a = veorq_u8(vld1q_u8(src), wide);
        b = veorq_u8(vld1q_u8(src + 16), wide);
        vst1q_u8(dst, a);
        vst1q_u8(dst + 16, b);
        high = vorrq_u8(high, vorrq_u8(a, b));
        src += 32;
        dst += 32;
        length -= 32;
    }
    return fastws_mask_tail(dst, src, length, key, vmaxvq_u8(high) & 0x80);
}
#endif

typedef struct {
    const char *name;
    fastws_kernel kernel;
} fastws_named_kernel;

/* Those this processor can run, best last. Returns how many were written; `kernels` has room for 3. */
static inline int fastws_kernels(fastws_named_kernel *kernels)
{
    int count = 0;

    kernels[count].name = "portable";
    kernels[count++].kernel = fastws_mask_portable;
#ifdef FASTWS_X86
    kernels[count].name = "sse2";
    kernels[count++].kernel = fastws_mask_sse2;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        kernels[count].name = "avx2";
        kernels[count++].kernel = fastws_mask_avx2;
    }
#endif
#ifdef FASTWS_NEON
    kernels[count].name = "neon";
    kernels[count++].kernel = fastws_mask_neon;
#endif
    return count;
}

#endif
