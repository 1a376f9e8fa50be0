/* What the load client measures with: clocks, the CPU time of other processes, and a latency histogram.
 *
 * Everything is in nanoseconds. Nothing here knows about sockets.
 */
#ifndef FASTWS_BENCH_MEASURE_H
#define FASTWS_BENCH_MEASURE_H

#include <dirent.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

_Noreturn static void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Say what is wrong on standard error and stop: a benchmark that goes on after an error measures the error. */
_Noreturn static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static inline uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
static inline uint64_t own_cpu_ns(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

/* How long a process was on a CPU, user and system, and how long it was kept waiting for one by others. */
typedef struct {
    uint64_t on_cpu, waited;
} Spent;

/* Add what all living threads of a process have spent. Linux keeps it to the nanosecond, and it is exact while the
 * process sleeps: which is why the client drains before it reads it. */
static inline void add_spent(Spent *spent, int pid) {
    char path[320];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks) die("no process %d: did the server stop?", pid);
    for (struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, task->d_name);
        FILE *file = fopen(path, "r");
        if (!file) continue; /* the thread ended meanwhile */
        unsigned long long on_cpu = 0, waited = 0;
        if (fscanf(file, "%llu %llu", &on_cpu, &waited) == 2) {
            spent->on_cpu += on_cpu;
            spent->waited += waited;
        }
        fclose(file);
    }
    closedir(tasks);
}

/* A log-linear histogram: 64 steps in each power of two, so that a percentile is right within 1.6 %. */
enum { STEPS_LOG2 = 6, STEPS = 1 << STEPS_LOG2, BUCKETS = 64 * STEPS };
typedef struct {
    uint64_t counts[BUCKETS], total, maximum;
} Histogram;

static inline void histogram_add(Histogram *histogram, uint64_t value) {
    unsigned index = (unsigned)value;
    if (value >= STEPS) {
        unsigned shift = 63u - (unsigned)__builtin_clzll(value) - STEPS_LOG2;
        index = (shift + 1) * STEPS + (unsigned)(value >> shift) - STEPS;
    }
    histogram->counts[index]++;
    histogram->total++;
    if (value > histogram->maximum) histogram->maximum = value;
}

/* The upper edge of the bucket that holds this quantile (0 to 1); 0 when nothing was recorded. */
static inline uint64_t histogram_quantile(const Histogram *histogram, double quantile) {
    uint64_t wanted = (uint64_t)(quantile * (double)histogram->total), seen = 0;
    for (unsigned index = 0; index < BUCKETS; index++) {
        seen += histogram->counts[index];
        if (seen > wanted || (seen == histogram->total && seen)) {
            if (index < STEPS) return index;
            unsigned shift = index / STEPS - 1;
            uint64_t edge = (((uint64_t)(index % STEPS) + STEPS + 1) << shift) - 1;
            return edge < histogram->maximum ? edge : histogram->maximum;
        }
    }
    return 0;
}

#endif
