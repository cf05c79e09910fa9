/* Every choice follows from the times in the cache alone, so that a second build with the same
 * cache chooses the same. */
#include "backend/cpu/tune.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/cpu/fuse.h"
#include "backend/cpu/tune_cache.h"
#include "kernels/vec.h"

/* A kernel replaces the default only when its time is shorter by this factor: less is noise. */
#define CLEARLY 0.98
/* A product leaves BF16 only for more than that: what reads its result pays for the wider data. */
#define WORTH_F32 0.95
/* Quick tuning leaves out problems that cost less than this share of all multiply-adds. */
#define QUICK_SHARE 0.01

typedef struct effort {
    hone_timing_budget budget; /* for one problem */
    double total_ms;           /* for all; afterwards the defaults are taken */
} effort;

static const effort efforts[] = {
    [HONE_TUNE_OFF] = {{0, 0, 0}, 0},
    [HONE_TUNE_QUICK] = {{60, 3, 30}, 15e3},
    [HONE_TUNE_FULL] = {{200, 5, 100}, 120e3},
};

enum { MAX_CANDIDATES = 16, CAST_ELEMENTS = 1 << 16, CAST_ROUNDS = 20 };

/* A problem of the model, and the nodes that have it. */
typedef struct problem {
    struct problem *next;
    char key[256];
    double macs; /* of all nodes; counted on FP32 data, whatever the nodes get */
    bool is_seen;
    const hone_conv_kernel *chosen;
} problem;

struct hone_tuner {
    const hone_lower_options *options;
    hone_arena arena;
    hone_tune_cache cache;
    hone_pool *pool; /* made when first needed */
    problem *problems;
    double macs, spent_ms;
    double weight_bytes;    /* of all nodes, as in the model */
    int n_expected, n_seen; /* problems */
    bool is_late;           /* said that time is over */
};

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void remark(const hone_tuner *t, const char *text) {
    if (t->options->remark)
        t->options->remark(t->options->remark_arg, text);
}

hone_tuner *hone_tuner_create(const hone_lower_options *options) {
    hone_tuner *t = calloc(1, sizeof *t);
    hone_error err = {.offset = -1};
    if (!t)
        return NULL;
    t->options = options;
    hone_arena_init(&t->arena, 0);
    bool is_off = options->tune == HONE_TUNE_OFF;
    if (hone_tune_cache_open(&t->cache, is_off ? NULL : options->tune_cache, &err) != HONE_OK)
        remark(t, err.message);
    return t;
}

void hone_tuner_destroy(hone_tuner *t) {
    hone_error err = {.offset = -1};
    if (!t)
        return;
    if (hone_tune_cache_save(&t->cache, &err) != HONE_OK)
        remark(t, err.message);
    hone_tune_cache_close(&t->cache);
    hone_pool_destroy(t->pool);
    hone_arena_deinit(&t->arena);
    free(t);
}

/* What decides the speed: all of the problem but the activation's parameters. */
static void print_key(const hone_tuner *t, const hone_conv *p, char *key, size_t size) {
    const int64_t v[] = {p->n,  p->ih, p->iw, p->ic, p->oh, p->ow, p->oc,  p->groups, p->kh, p->kw,
                         p->sh, p->sw, p->dh, p->dw, p->pt, p->pl, p->ldx, p->ldy,    p->ldr};
    int at = snprintf(key, size, "conv%s %s->%s %s act%d res%d threads%d",
                      p->is_planar ? " planar" : "", p->x_storage ? "bf16" : "f32",
                      p->y_storage ? "bf16" : "f32", hone_isa_name(t->options->isa), (int)p->act,
                      p->has_residual, t->options->n_threads);
    for (size_t i = 0; i < sizeof v / sizeof v[0]; ++i)
        at += snprintf(key + at, size - (size_t)at, " %" PRId64, v[i]);
}

static problem *find(const hone_tuner *t, const char *key) {
    problem *k = t->problems;
    while (k && strcmp(k->key, key) != 0)
        k = k->next;
    return k;
}

static problem *find_or_add(hone_tuner *t, const hone_conv *p) {
    char key[sizeof t->problems->key + 256];
    print_key(t, p, key, sizeof key);
    problem *k = find(t, key);
    if (k || strlen(key) >= sizeof k->key)
        return k;
    k = HONE_NEW(&t->arena, problem);
    if (k) {
        *k = (problem){.next = t->problems};
        memcpy(k->key, key, strlen(key));
        t->problems = k;
    }
    return k;
}

static hone_conv on_f32(const hone_conv *p) {
    hone_conv f = *p;
    f.x_storage = f.y_storage = HONE_ELEM_F32;
    return f;
}

void hone_tuner_expect(hone_tuner *t, const hone_conv *p) {
    const hone_conv f = on_f32(p);
    double macs = (double)(p->n * p->oh * p->ow) * (double)(p->oc * (p->ic / p->groups)) *
                  (double)(p->kh * p->kw);
    problem *k = t->options->tune == HONE_TUNE_OFF ? NULL : find_or_add(t, &f);
    if (k) {
        t->n_expected += k->macs > 0 ? 0 : hone_cpu_wants_bf16(t->options) ? 2 : 1;
        k->macs += macs;
        t->macs += macs;
        t->weight_bytes += (double)(p->oc * (p->ic / p->groups)) * (double)(p->kh * p->kw) * 4;
    }
}

static bool is_cheap(hone_tuner *t, const hone_conv *p) {
    const hone_conv f = on_f32(p);
    const problem *k = find_or_add(t, &f);
    return t->options->tune == HONE_TUNE_QUICK && k && k->macs < QUICK_SHARE * t->macs;
}

static bool is_cold(const hone_tuner *t) {
    return t->weight_bytes > (double)hone_cpu_l3_bytes();
}

typedef struct long_key {
    char text[sizeof((problem *)0)->key + 8];
} long_key;

/* Where weights come from matters to the speed, too. */
static long_key cache_key(const hone_tuner *t, const problem *k) {
    long_key key;
    snprintf(key.text, sizeof key.text, "%s%s", k->key, is_cold(t) ? " cold" : "");
    return key;
}

/* The times of all candidates as the entry has them; false when one is missing. */
static bool recall(const hone_tune_entry *e, const hone_conv_kernel *const *candidates, int n,
                   double *ms) {
    for (int i = 0; i < n; ++i) {
        ms[i] = 0;
        for (int k = 0; e && k < e->n_times; ++k) {
            if (strcmp(e->times[k].kernel, candidates[i]->name) == 0)
                ms[i] = e->times[k].ms;
        }
        if (!(ms[i] > 0))
            return false;
    }
    return true;
}

static int fastest(const double *ms, int n) {
    int best = 0;
    for (int i = 1; i < n; ++i) {
        double limit = best == 0 ? ms[0] * CLEARLY : ms[best];
        best = ms[i] < limit ? i : best;
    }
    return best;
}

static bool has_time(hone_tuner *t) {
    if (t->spent_ms < efforts[t->options->tune].total_ms)
        return true;
    if (!t->is_late)
        remark(t,
               "tuning took its time: the remaining nodes get their default kernels; build again "
               "with the same tuning cache to go on");
    t->is_late = true;
    return false;
}

/* Measure, and note the times in the cache. */
static bool measure(hone_tuner *t, const problem *k, const hone_conv *p,
                    const hone_conv_kernel *const *candidates, int n) {
    hone_timing timings[HONE_TIMING_MAX];
    hone_tune_time times[HONE_TIMING_MAX];
    hone_timing_budget budget = efforts[t->options->tune].budget;
    budget.is_cold = is_cold(t);
    double start = now_ms();
    if (!t->pool && t->options->n_threads != 1 &&
        hone_pool_create(t->options->n_threads, &t->pool, NULL) != HONE_OK)
        return false;
    bool ok = hone_time_kernels(t->pool, p, candidates, n, &budget, timings);
    for (int i = 0; i < n && ok; ++i)
        times[i] = (hone_tune_time){timings[i].kernel->name, timings[i].min_ms};
    if (ok)
        hone_tune_cache_add(&t->cache, cache_key(t, k).text, times, n);
    t->spent_ms += now_ms() - start;
    return ok;
}

/* Those between which there is a choice. With narrower registers a kernel is never faster: the best
 * family only. */
static int list_candidates(const hone_tuner *t, const hone_conv *p, const hone_conv_kernel **list) {
    int n = hone_conv_candidates(p, t->options->isa, t->options->is_exact, list, MAX_CANDIDATES);
    int n_level = n > 0;
    while (n_level < n && hone_isa_family(list[n_level]->isa) == hone_isa_family(list[0]->isa))
        ++n_level;
    return n_level;
}

static void report(hone_tuner *t, problem *k) {
    char what[64];
    if (k->is_seen || t->n_seen >= t->n_expected)
        return;
    k->is_seen = true;
    snprintf(what, sizeof what, "tuning %d of %d", t->n_seen + 1, t->n_expected);
    if (t->options->progress)
        t->options->progress(t->options->progress_arg, (double)t->n_seen / (double)t->n_expected,
                             what);
    ++t->n_seen;
}

/* The candidates' times, from the cache or measured now; false when they are not to be had. */
static bool times_of(hone_tuner *t, const hone_conv *p, const hone_conv_kernel *const *candidates,
                     int n, double *ms) {
    problem *k = t->options->tune == HONE_TUNE_OFF ? NULL : find_or_add(t, p);
    if (!k)
        return false;
    report(t, k);
    long_key key = cache_key(t, k);
    if (recall(hone_tune_cache_find(&t->cache, key.text), candidates, n, ms))
        return true;
    return !is_cheap(t, p) && has_time(t) && measure(t, k, p, candidates, n) &&
           recall(hone_tune_cache_find(&t->cache, key.text), candidates, n, ms);
}

const hone_conv_kernel *hone_tune_conv(hone_tuner *t, const hone_conv *p) {
    const hone_conv_kernel *list[MAX_CANDIDATES];
    double ms[MAX_CANDIDATES];
    problem *k = t->options->tune == HONE_TUNE_OFF ? NULL : find_or_add(t, p);
    if (k && k->chosen)
        return k->chosen;
    int n = list_candidates(t, p, list);
    const hone_conv_kernel *best = n > 0 ? list[0] : NULL;
    if (n > 1 && times_of(t, p, list, n, ms))
        best = list[fastest(ms, n)];
    if (k) {
        report(t, k);
        k->chosen = best;
    }
    return best;
}

/* The least time of the problem's candidates; 0 when it is not to be had. */
static double least_ms(hone_tuner *t, const hone_conv *p) {
    const hone_conv_kernel *list[MAX_CANDIDATES];
    double ms[MAX_CANDIDATES];
    int n = list_candidates(t, p, list);
    return n > 0 && times_of(t, p, list, n, ms) ? ms[fastest(ms, n)] : 0;
}

static double time_cast(const hone_vec_kernels *vec) {
    float *x = calloc(CAST_ELEMENTS, sizeof *x);
    uint16_t *y = calloc(CAST_ELEMENTS, sizeof *y);
    double best = 0;
    for (int i = 0; x && y && i < CAST_ROUNDS; ++i) {
        double start = now_ms();
        vec->f32_to_bf16(x, y, CAST_ELEMENTS);
        double ms = now_ms() - start;
        best = best > 0 && best < ms ? best : ms;
    }
    free(x);
    free(y);
    return best;
}

/* Of n elements; infinite when it is not to be had. One thread's time is an upper bound. */
static double cast_ms(hone_tuner *t, int64_t n) {
    char key[64];
    snprintf(key, sizeof key, "cast f32->bf16 %s", hone_isa_name(t->options->isa));
    const hone_tune_entry *e = hone_tune_cache_find(&t->cache, key);
    if (!e) {
        double ms = time_cast(hone_vec_kernels_for(t->options->isa));
        if (ms > 0)
            hone_tune_cache_add(&t->cache, key, &(hone_tune_time){"convert", ms}, 1);
        e = hone_tune_cache_find(&t->cache, key);
    }
    return e ? e->times[0].ms * (double)n / CAST_ELEMENTS : HUGE_VAL;
}

bool hone_tune_prefers_f32(hone_tuner *t, const hone_conv *p) {
    const hone_conv f = on_f32(p);
    double narrow = least_ms(t, p), wide = narrow > 0 ? least_ms(t, &f) : 0;
    if (!(wide > 0) || wide >= narrow * WORTH_F32)
        return false;
    int64_t elements = p->n * (p->ih * p->iw * p->ic + p->oh * p->ow * p->oc);
    return wide + cast_ms(t, elements) < narrow * WORTH_F32;
}
