/* zlib's shared library, found when the module is imported, so that building needs none of zlib's headers.
 *
 * What is declared here is zlib's stable binary interface (zlib.h, all versions 1.x). Each stream is made with the size of
 * this struct and the version that the library says it has, which it compares with its own.
 */
#ifndef FASTWS_ZLIB_H
#define FASTWS_ZLIB_H

#include <dlfcn.h>

typedef struct {
    const unsigned char *next_in;
    unsigned int avail_in;
    unsigned long total_in;
    unsigned char *next_out;
    unsigned int avail_out;
    unsigned long total_out;
    const char *msg;
    void *state;
    void *zalloc;
    void *zfree;
    void *opaque;
    int data_type;
    unsigned long adler;
    unsigned long reserved;
} fastws_stream;

typedef int (*fastws_step)(fastws_stream *, int);

static struct {
    const char *(*version)(void);
    int (*deflate_init)(fastws_stream *, int, int, int, int, int, const char *, int);
    fastws_step deflate;
    int (*deflate_end)(fastws_stream *);
    int (*inflate_init)(fastws_stream *, int, const char *, int);
    int (*inflate_reset)(fastws_stream *, int);
    fastws_step inflate;
    int (*inflate_end)(fastws_stream *);
} fastws_zlib;

/* Load the library; NULL, or what went wrong. */
static const char *fastws_load_zlib(void) {
    void *library = dlopen("libz.so.1", RTLD_NOW);
    if (library == NULL) return dlerror();
    const struct { void *place; const char *name; } symbols[] = {
        {&fastws_zlib.version, "zlibVersion"},       {&fastws_zlib.deflate_init, "deflateInit2_"},
        {&fastws_zlib.deflate, "deflate"},           {&fastws_zlib.deflate_end, "deflateEnd"},
        {&fastws_zlib.inflate_init, "inflateInit2_"}, {&fastws_zlib.inflate_reset, "inflateReset2"},
        {&fastws_zlib.inflate, "inflate"},           {&fastws_zlib.inflate_end, "inflateEnd"},
    };
    for (unsigned int i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(library, symbols[i].name);
        if (found == NULL) return dlerror();
        *(void **)symbols[i].place = found;
    }
    return NULL;
}

static int fastws_deflate_init(fastws_stream *stream, int level, int window_bits, int memory_level) {
    return fastws_zlib.deflate_init(stream, level, 8, -window_bits, memory_level, 0, fastws_zlib.version(), sizeof *stream);
}

static int fastws_inflate_init(fastws_stream *stream, int window_bits) {
    return fastws_zlib.inflate_init(stream, -window_bits, fastws_zlib.version(), sizeof *stream);
}

#endif
