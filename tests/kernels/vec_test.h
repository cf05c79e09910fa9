/* Shared by the tests of the vector kernels: every ISA level of the machine, guarded buffers at odd
 * addresses, and error checks against double references. */
#ifndef HONE_TESTS_VEC_TEST_H
#define HONE_TESTS_VEC_TEST_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/vec.h"

static int n_failures;

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            if (++n_failures <= 30) {                                                              \
                printf("%s:%d: ", __FILE__, __LINE__);                                             \
                printf(__VA_ARGS__);                                                               \
                printf("\n");                                                                      \
            }                                                                                      \
        }                                                                                          \
    } while (0)

static uint64_t random_state = 88172645463325252u;

static inline uint32_t random_u32(void) { /* xorshift64* */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)(random_state * 2685821657736338717u >> 32);
}
static inline float random_f32(float low, float high) {
    return low + (high - low) * ((float)(random_u32() >> 8) * 0x1p-24f);
}

/* A buffer of n bytes aligned to 4 but not to 8, between two guards. */
typedef struct guarded {
    unsigned char *base, *p;
    size_t n;
} guarded;

enum { GUARD = 68 };

static inline guarded guarded_new(size_t n) {
    unsigned char *base = malloc(n + 2 * GUARD);
    if (!base)
        exit(2);
    memset(base, 0xa5, n + 2 * GUARD);
    return (guarded){base, base + GUARD, n};
}
static inline void guarded_free(guarded *g, const char *what) {
    for (size_t i = 0; i < GUARD; ++i)
        CHECK(g->base[i] == 0xa5 && g->p[g->n + i] == 0xa5, "%s writes outside its buffer", what);
    free(g->base);
}
static inline float *random_array(int64_t n, float low, float high) {
    float *x = malloc((size_t)(n + 1) * sizeof *x);
    if (!x)
        exit(2);
    for (int64_t i = 0; i < n; ++i)
        x[i] = random_f32(low, high);
    return x;
}
static inline void *scratch_new(size_t n) {
    void *p = aligned_alloc(64, (n + 127) / 64 * 64);
    if (!p)
        exit(2);
    return p;
}

/* Distance in units of the last place of `want` rounded to float. */
static inline double ulp_error(float got, double want) {
    float rounded = (float)want;
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got) ? 0 : INFINITY;
    if (got == rounded)
        return 0;
    if (isinf(rounded) || isinf(got))
        return INFINITY;
    double unit = fmax(ldexp(1, ilogb(rounded == 0 ? 0x1p-126f : rounded) - 23), 0x1p-149);
    return fabs((double)got - want) / unit;
}

static inline void check_close(const float *got, const double *want, int64_t n, double bound,
                               const char *what, const char *isa) {
    for (int64_t i = 0; i < n; ++i) {
        bool same = isnan(want[i]) ? isnan(got[i])
                                   : (double)got[i] == want[i] || fabs(got[i] - want[i]) <= bound;
        CHECK(same, "%s %s [%lld of %lld]: %g, not %g", isa, what, (long long)i, (long long)n,
              (double)got[i], want[i]);
    }
}

/* Runs fn for every level that this CPU has. */
static inline int for_each_isa(void (*fn)(const hone_vec_kernels *k, const char *isa)) {
    for (hone_isa isa = HONE_ISA_REF; isa <= hone_cpu_isa(); ++isa) {
        if (hone_vec_kernels_for(isa)->isa == isa)
            fn(hone_vec_kernels_for(isa), hone_isa_name(isa));
    }
    if (n_failures)
        printf("%d failures\n", n_failures);
    return n_failures != 0;
}

static inline double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const int64_t awkward[] = {0, 1, 2, 7, 8, 15, 16, 17, 31, 33, 67, 131, 1021, 1031, 4099};
enum { N_AWKWARD = sizeof awkward / sizeof *awkward };

#endif
