/* How the compiled modules were built: what the compiler says of itself, and the flags that setup.py gave it. */
#ifndef FASTWS_BUILD_H
#define FASTWS_BUILD_H

#if defined(__clang__)
#define FASTWS_COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define FASTWS_COMPILER "gcc " __VERSION__
#else
#define FASTWS_COMPILER "another compiler"
#endif

#ifndef FASTWS_FLAGS
#define FASTWS_FLAGS ""
#endif

#endif
