#include "engine/peak.h"

#include <time.h>

#include "kernels/vec.h"

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

double hone_peak_flops(hone_pool *pool) {
    int n = hone_pool_threads(pool) < MAX_WORKERS ? hone_pool_threads(pool) : MAX_WORKERS;
    trial t = {.fn = hone_vec_kernels_for(hone_cpu_isa())->peak};
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
