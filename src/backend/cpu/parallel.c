#include "backend/cpu/impl.h"

typedef struct range_job {
    int64_t n, grain;
    hone_range_fn fn;
    void *arg;
} range_job;

static void range_task(void *arg, int64_t task, int worker) {
    const range_job *j = arg;
    int64_t begin = task * j->grain, end = begin + j->grain < j->n ? begin + j->grain : j->n;
    j->fn(j->arg, begin, end, worker);
}

void hone_parallel_range(hone_pool *pool, int64_t n, int64_t grain, hone_range_fn fn, void *arg) {
    if (n <= 0)
        return;
    grain = grain < 1 ? 1 : grain;
    if (hone_pool_threads(pool) == 1 || n <= grain) {
        fn(arg, 0, n, 0);
        return;
    }
    range_job j = {n, grain, fn, arg};
    hone_pool_run(pool, (n + grain - 1) / grain, range_task, &j);
}
