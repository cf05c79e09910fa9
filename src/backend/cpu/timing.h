/* Timing of kernels on made-up data. */
#ifndef HONE_BACKEND_CPU_TIMING_H
#define HONE_BACKEND_CPU_TIMING_H

#include "base/pool.h"
#include "kernels/conv.h"

enum { HONE_TIMING_MAX = 32 }; /* candidates of one problem */

/* How to measure: rounds until max_ms are over, but min_rounds at least. */
typedef struct hone_timing_budget {
    double max_ms;
    int min_rounds, max_rounds;
    bool is_cold; /* the weights come from memory: those of the whole model exceed the caches */
} hone_timing_budget;

typedef struct hone_timing {
    const hone_conv_kernel *kernel;
    double min_ms, median_ms;
} hone_timing;

/** Time each of the n candidates (at most HONE_TIMING_MAX) on the problem with the pool's threads
 * (NULL: one). Rounds are interleaved, so that a disturbance hits all alike, and caches are as they
 * are within a network: second-level caches hold other things, the input has just been written.
 * False: not enough memory to find out. */
bool hone_time_kernels(hone_pool *pool, const hone_conv *p,
                       const hone_conv_kernel *const *candidates, int n,
                       const hone_timing_budget *budget, hone_timing *out);

#endif
