#include "backend/cpu/timing.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_ROUNDS = 256, MAX_WORK_BYTES = 1 << 30 };

/* The data that all candidates work on. */
typedef struct workload {
    hone_conv p;
    float *x, *y, *weights;
    unsigned char *other; /* what else the caches hold */
    size_t n_x, n_y, n_weights, n_other;
    hone_pool *pool;
} workload;

/* One candidate with its packed weights and scratch memory. */
typedef struct trial {
    const workload *w;
    const hone_conv_kernel *kernel;
    float *packed;
    unsigned char *scratch;
    size_t scratch_bytes; /* of each thread */
    double ms[MAX_ROUNDS];
} trial;

static void *aligned_memory(size_t bytes) {
    return bytes <= MAX_WORK_BYTES ? aligned_alloc(64, (bytes + 127) / 64 * 64) : NULL;
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Small numbers, all different: denormals and zeros would change the speed. */
static void fill(float *x, size_t n) {
    for (size_t i = 0; i < n; ++i)
        x[i] = (float)((i * 2654435761u >> 16) & 1023) * 0x1p-10f - 0.5f;
}

/* The same as BF16, in the room of as many floats. */
static void fill_bf16(float *x, size_t n) {
    uint16_t *h = (uint16_t *)(void *)x;
    for (size_t i = 0; i < n; ++i)
        h[i] = (uint16_t)(0x3e00u | (i * 2654435761u >> 16 & 0x80ffu));
}

static void fill_elems(float *x, size_t n, hone_elem elem) {
    if (elem == HONE_ELEM_F32)
        fill(x, n);
    else
        fill_bf16(x, n);
}

static bool workload_init(workload *w, const hone_conv *p, hone_pool *pool) {
    w->p = *p;
    w->pool = pool;
    w->n_x = (size_t)(p->n * p->ih * p->iw * (p->ldx > p->ldx2 ? p->ldx : p->ldx2));
    w->n_y = (size_t)(p->n * p->oh * p->ow * (p->ldy > p->ldr ? p->ldy : p->ldr));
    w->n_weights = (size_t)(p->oc * (p->ic / p->groups) * p->kh * p->kw);
    w->n_other = 2 * (size_t)hone_cpu_l2_bytes();
    w->x = aligned_memory(w->n_x * sizeof(float));
    w->y = aligned_memory(w->n_y * sizeof(float));
    w->weights = aligned_memory(w->n_weights * sizeof(float));
    w->other = aligned_memory(w->n_other);
    if (!w->x || !w->y || !w->weights || !w->other)
        return false;
    fill_elems(w->x, w->n_x, p->x_storage);
    fill_elems(w->y, w->n_y, p->y_storage);
    fill(w->weights, w->n_weights);
    return true;
}

static void workload_deinit(workload *w) {
    free(w->x);
    free(w->y);
    free(w->weights);
    free(w->other);
}

static bool trial_init(trial *t, const workload *w, const hone_conv_kernel *kernel) {
    int64_t taps = w->p.kh * w->p.kw;
    hone_conv_weights weights = {.data = w->weights,
                                 .so = w->p.ic / w->p.groups * taps,
                                 .si = taps,
                                 .sky = w->p.kw,
                                 .skx = 1};
    t->w = w;
    t->kernel = kernel;
    t->scratch_bytes = (kernel->scratch_bytes(&w->p) + 63) / 64 * 64;
    t->packed = aligned_memory(kernel->packed_bytes(&w->p));
    t->scratch = aligned_memory(t->scratch_bytes * (size_t)hone_pool_threads(w->pool));
    if (!t->packed || !t->scratch)
        return false;
    kernel->pack(&w->p, &weights, t->packed);
    return true;
}

static void run_task(void *arg, int64_t task, int worker) {
    const trial *t = arg;
    const workload *w = t->w;
    hone_conv_args args = {.x = w->x, .x2 = w->x, .packed = t->packed, .residual = w->y, .y = w->y};
    t->kernel->run(&w->p, &args, task, t->scratch + (size_t)worker * t->scratch_bytes);
}

/* Out of all caches, where there is an instruction for it. */
static void evict(const float *p, size_t bytes) {
#if defined(__x86_64__)
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_ia32_clflush((const char *)p + i);
    __builtin_ia32_mfence();
#else
    (void)p;
    (void)bytes;
#endif
}

static void time_once(trial *t, int round, bool is_cold) {
    const workload *w = t->w;
    memset(w->other, round, w->n_other);
    if (is_cold)
        evict(t->packed, t->kernel->packed_bytes(&w->p));
    memmove(w->x, w->x + 1, (w->n_x - 1) * sizeof(float));
    double start = now_ms();
    hone_pool_run(w->pool, t->kernel->n_tasks(&w->p), run_task, t);
    t->ms[round] = now_ms() - start;
}

static int run_rounds(trial *trials, int n, const hone_timing_budget *budget) {
    int max = budget->max_rounds < MAX_ROUNDS ? budget->max_rounds : MAX_ROUNDS, round = 0;
    double end = now_ms() + budget->max_ms;
    while (round < max && (round < budget->min_rounds || now_ms() < end)) {
        for (int i = 0; i < n; ++i)
            time_once(&trials[i], round, budget->is_cold);
        ++round;
    }
    return round;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bool hone_time_kernels(hone_pool *pool, const hone_conv *p,
                       const hone_conv_kernel *const *candidates, int n,
                       const hone_timing_budget *budget, hone_timing *out) {
    workload w = {.n_x = 0};
    trial *trials = calloc((size_t)n, sizeof *trials);
    bool ok = trials && workload_init(&w, p, pool);
    for (int i = 0; i < n && ok; ++i)
        ok = trial_init(&trials[i], &w, candidates[i]);
    int n_rounds = ok ? run_rounds(trials, n, budget) : 0;
    for (int i = 0; i < n && n_rounds > 0; ++i) {
        qsort(trials[i].ms, (size_t)n_rounds, sizeof *trials[i].ms, by_value);
        out[i] = (hone_timing){candidates[i], trials[i].ms[0], trials[i].ms[n_rounds / 2]};
    }
    for (int i = 0; trials && i < n; ++i) {
        free(trials[i].packed);
        free(trials[i].scratch);
    }
    free(trials);
    workload_deinit(&w);
    return n_rounds > 0;
}
