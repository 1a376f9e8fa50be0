/* Coverage of gcc's build for libFuzzer: `-include`d in each extension that is built for `make fuzz`.
 *
 * libFuzzer reads counters as clang lays them out; gcc has only -fsanitize-coverage=trace-pc, a call at each edge. The
 * call counts in a table of this file, by a hash of where it came from, and the table is given to libFuzzer as if clang
 * had made it. gcc's trace-cmp calls go to libFuzzer as they are. Needs libFuzzer's symbols in the process, globally.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

#define COVERAGE_BITS 14
#define COVERAGE_SIZE (1 << COVERAGE_BITS)
#define UNCOVERED __attribute__((no_sanitize_coverage))

static uint8_t coverage_counters[COVERAGE_SIZE];
static uintptr_t coverage_places[COVERAGE_SIZE][2]; /* an address, and flags: what the counter stands for */

UNCOVERED __attribute__((visibility("hidden"))) void __sanitizer_cov_trace_pc(void)
{
    const uint32_t place = (uint32_t)((uintptr_t)__builtin_return_address(0) - (uintptr_t)coverage_counters);

    coverage_counters[(uint32_t)(place * UINT32_C(2654435761)) >> (32 - COVERAGE_BITS)]++;
}

/* libFuzzer has none for comparisons of floats. */
UNCOVERED __attribute__((visibility("hidden"))) void __sanitizer_cov_trace_cmpf(float left, float right)
{
    (void)left, (void)right;
}

UNCOVERED __attribute__((visibility("hidden"))) void __sanitizer_cov_trace_cmpd(double left, double right)
{
    (void)left, (void)right;
}

UNCOVERED __attribute__((constructor)) static void coverage_begin(void)
{
    void (*counters)(uint8_t *, uint8_t *) = (void (*)(uint8_t *, uint8_t *))dlsym(RTLD_DEFAULT, "__sanitizer_cov_8bit_counters_init");
    void (*places)(uintptr_t *, uintptr_t *) = (void (*)(uintptr_t *, uintptr_t *))dlsym(RTLD_DEFAULT, "__sanitizer_cov_pcs_init");
    int i;

    if (!counters || !places)
        return;
    for (i = 0; i < COVERAGE_SIZE; i++)
        coverage_places[i][0] = (uintptr_t)&coverage_counters[i];
    counters(coverage_counters, coverage_counters + COVERAGE_SIZE);
    places(coverage_places[0], coverage_places[COVERAGE_SIZE]);
}
