#include "backend/cpu/tune.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Rounds are interleaved, so that a disturbance hits all candidates alike; the least time counts.
 */
enum { ROUNDS = 5, MAX_CANDIDATES = 16 };

typedef struct hone_tuned {
    struct hone_tuned *next;
    hone_conv p;
    const hone_conv_kernel *kernel;
} hone_tuned;

/* One candidate with its packed weights and scratch memory. */
typedef struct trial {
    const hone_conv_kernel *kernel;
    float *packed;
    void *scratch;
    double best_ms;
} trial;

static void *aligned_memory(size_t bytes) {
    return aligned_alloc(64, (bytes + 127) / 64 * 64);
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

typedef struct workload {
    hone_conv p;
    float *x, *y, *weights;
    size_t n_x, n_y, n_weights;
} workload;

static bool workload_init(workload *w, const hone_conv *p) {
    w->p = *p;
    w->n_x = (size_t)(p->n * p->ih * p->iw * p->ldx);
    w->n_y = (size_t)(p->n * p->oh * p->ow * (p->ldy > p->ldr ? p->ldy : p->ldr));
    w->n_weights = (size_t)(p->oc * (p->ic / p->groups) * p->kh * p->kw);
    w->x = aligned_memory(w->n_x * sizeof(float));
    w->y = aligned_memory(w->n_y * sizeof(float));
    w->weights = aligned_memory(w->n_weights * sizeof(float));
    if (!w->x || !w->y || !w->weights)
        return false;
    fill(w->x, w->n_x);
    fill(w->y, w->n_y);
    fill(w->weights, w->n_weights);
    return true;
}

static void workload_deinit(workload *w) {
    free(w->x);
    free(w->y);
    free(w->weights);
}

static bool trial_init(trial *t, const workload *w, const hone_conv_kernel *kernel) {
    int64_t taps = w->p.kh * w->p.kw;
    hone_conv_weights weights = {.data = w->weights,
                                 .so = w->p.ic / w->p.groups * taps,
                                 .si = taps,
                                 .sky = w->p.kw,
                                 .skx = 1};
    t->kernel = kernel;
    t->packed = aligned_memory(kernel->packed_bytes(&w->p));
    t->scratch = aligned_memory(kernel->scratch_bytes(&w->p));
    t->best_ms = 1e30;
    if (!t->packed || !t->scratch)
        return false;
    kernel->pack(&w->p, &weights, t->packed);
    return true;
}

static void time_once(trial *t, const workload *w) {
    hone_conv_args args = {.x = w->x, .packed = t->packed, .residual = w->y, .y = w->y};
    int64_t n = t->kernel->n_tasks(&w->p);
    double start = now_ms();
    for (int64_t task = 0; task < n; ++task)
        t->kernel->run(&w->p, &args, task, t->scratch);
    double ms = now_ms() - start;
    if (ms < t->best_ms)
        t->best_ms = ms;
}

static int fastest(trial *trials, int n, const workload *w) {
    for (int round = 0; round < ROUNDS; ++round) {
        for (int i = 0; i < n; ++i)
            time_once(&trials[i], w);
    }
    int best = 0;
    for (int i = 1; i < n; ++i)
        best = trials[i].best_ms < trials[best].best_ms ? i : best;
    return best;
}

const hone_conv_kernel *hone_tune_conv(hone_tuner *t, const hone_conv *p,
                                       const hone_conv_kernel *const *candidates, int n) {
    for (hone_tuned *k = t->list; k; k = k->next) {
        if (memcmp(&k->p, p, sizeof *p) == 0)
            return k->kernel;
    }
    workload w;
    trial trials[MAX_CANDIDATES] = {{0}};
    n = n < MAX_CANDIDATES ? n : MAX_CANDIDATES;
    bool ok = workload_init(&w, p);
    for (int i = 0; i < n && ok; ++i)
        ok = trial_init(&trials[i], &w, candidates[i]);
    const hone_conv_kernel *chosen = candidates[ok && n > 1 ? fastest(trials, n, &w) : 0];
    for (int i = 0; i < n; ++i) {
        free(trials[i].packed);
        free(trials[i].scratch);
    }
    workload_deinit(&w);
    hone_tuned *entry = HONE_NEW(t->arena, hone_tuned);
    if (entry) {
        *entry = (hone_tuned){t->list, *p, chosen};
        t->list = entry;
    }
    return chosen;
}
