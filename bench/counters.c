/* Counts in a running Python: where callgrind begins and ends to count, and how often Python's allocators are asked.
 *
 * Built and loaded by driver.py (ctypes.PyDLL). Allocations are those of Python's three domains (raw memory, memory,
 * objects), a realloc among them; what Python serves from its free lists, and malloc calls of other libraries, are none.
 * Outside valgrind its requests do nothing.
 */
#include <Python.h>
#include <valgrind/callgrind.h>

static PyMemAllocatorEx originals[3];
static unsigned long long calls, bytes;

static void *count_malloc(void *context, size_t size) {
    PyMemAllocatorEx *original = context;
    calls++;
    bytes += size;
    return original->malloc(original->ctx, size);
}

static void *count_calloc(void *context, size_t number, size_t size) {
    PyMemAllocatorEx *original = context;
    calls++;
    bytes += number * size;
    return original->calloc(original->ctx, number, size);
}

static void *count_realloc(void *context, void *place, size_t size) {
    PyMemAllocatorEx *original = context;
    calls++;
    bytes += size;
    return original->realloc(original->ctx, place, size);
}

static void pass_free(void *context, void *place) {
    PyMemAllocatorEx *original = context;
    original->free(original->ctx, place);
}

/* From now on: what is freed may be older, which is why blocks must not be told from others. */
void count_allocations(void) {
    for (int domain = 0; domain < 3; domain++) {
        PyMem_GetAllocator((PyMemAllocatorDomain)domain, &originals[domain]);
        PyMemAllocatorEx counting = {&originals[domain], count_malloc, count_calloc, count_realloc, pass_free};
        PyMem_SetAllocator((PyMemAllocatorDomain)domain, &counting);
    }
}

unsigned long long allocations(void) { return calls; }

unsigned long long allocated_bytes(void) { return bytes; }

void start_instrumentation(void) { CALLGRIND_START_INSTRUMENTATION; }

void zero_stats(void) { CALLGRIND_ZERO_STATS; }

void toggle_collect(void) { CALLGRIND_TOGGLE_COLLECT; }

void dump_stats(void) { CALLGRIND_DUMP_STATS; }
