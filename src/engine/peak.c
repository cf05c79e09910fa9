#include "engine/peak.h"

#include <stdlib.h>
#include <time.h>

enum { TRIALS = 20, TRIAL_NS = 4000000, MAX_WORKERS = 1024 };

typedef struct trial {
    hone_peak_fn *fn;
    int64_t rounds;
    float sink[MAX_WORKERS];
    int64_t n_fma[MAX_WORKERS];
} trial;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void run_task(void *arg, int64_t task, int worker) {
    trial *t = arg;
    (void)worker;
    t->n_fma[task] = t->fn(t->rounds, &t->sink[task]);
}

/* Rounds that take about TRIAL_NS on one thread. */
static int64_t calibrate(hone_peak_fn *fn) {
    float sink;
    int64_t rounds = 1000, start, took;
    do {
        rounds *= 2;
        start = now_ns();
        (void)fn(rounds, &sink);
        took = now_ns() - start;
    } while (took < TRIAL_NS / 4 && rounds < ((int64_t)1 << 32));
    return rounds * 4;
}

double hone_peak_ops(hone_pool *pool, hone_peak_fn *fn) {
    int n = hone_pool_threads(pool) < MAX_WORKERS ? hone_pool_threads(pool) : MAX_WORKERS;
    trial t = {.fn = fn};
    double best = 0;
    t.rounds = calibrate(t.fn);
    for (int i = 0; i < TRIALS; ++i) {
        int64_t start = now_ns(), total = 0;
        hone_pool_run(pool, n, run_task, &t);
        int64_t took = now_ns() - start;
        for (int k = 0; k < n; ++k)
            total += t.n_fma[k];
        double rate = took > 0 ? 2.0 * (double)total / ((double)took * 1e-9) : 0;
        best = rate > best ? rate : best;
    }
    return best;
}

double hone_peak_flops(hone_pool *pool) {
    return hone_peak_ops(pool, hone_vec_kernels_for(hone_cpu_isa())->peak);
}

/* ---- read bandwidth ---- */

enum { READ_BYTES = 128 << 20, READ_TRIALS = 6, READ_LANES = 8 };

typedef struct reading {
    const uint64_t *data; /* READ_BYTES for each task */
    uint64_t sink[MAX_WORKERS];
} reading;

static void read_task(void *arg, int64_t task, int worker) {
    reading *r = arg;
    (void)worker;
    const size_t n = READ_BYTES / sizeof *r->data;
    const uint64_t *at = r->data + (size_t)task * n;
    uint64_t sum[READ_LANES] = {0};
    for (size_t i = 0; i < n; i += READ_LANES) {
        for (int k = 0; k < READ_LANES; ++k)
            sum[k] += at[i + (size_t)k];
    }
    for (int k = 1; k < READ_LANES; ++k)
        sum[0] += sum[k];
    r->sink[task] = sum[0];
}

double hone_peak_read(hone_pool *pool) {
    enum { MAX_READERS = 16 };
    int n = hone_pool_threads(pool) < MAX_READERS ? hone_pool_threads(pool) : MAX_READERS;
    size_t total = (size_t)n * READ_BYTES;
    uint64_t *data = malloc(total);
    double best = 0;
    if (!data)
        return 0;
    for (size_t i = 0; i < total / sizeof *data; ++i) /* zeros could share one page */
        data[i] = i;
    reading r = {.data = data};
    for (int i = 0; i < READ_TRIALS; ++i) {
        int64_t start = now_ns();
        hone_pool_run(pool, n, read_task, &r);
        int64_t took = now_ns() - start;
        double rate = took > 0 ? (double)total / ((double)took * 1e-9) : 0;
        best = rate > best ? rate : best;
    }
    free(data);
    return best;
}
