/* Reductions of a dense [outer, n, inner] array over n. */
#ifndef HONE_KERNELS_REDUCE_H
#define HONE_KERNELS_REDUCE_H

#include <stdint.h>

/* Over no elements: 0, NaN, -infinity, infinity, 0, 0, 1. */
typedef enum hone_reduce_op {
    HONE_REDUCE_SUM,
    HONE_REDUCE_MEAN,
    HONE_REDUCE_MAX, /* NaN if any is */
    HONE_REDUCE_MIN, /* NaN if any is */
    HONE_REDUCE_SUMSQ,
    HONE_REDUCE_SUMABS,
    HONE_REDUCE_PROD,
    HONE_REDUCE_OP_COUNT
} hone_reduce_op;

/** y[i] for i in [begin, end) of [outer * inner]. The order of the additions depends on n and
 * inner == 1 only, so any split gives the same bits. Sums are blocked: the error is about
 * (n / 128 + 128) half ulp of the sum of magnitudes at worst. */
typedef void hone_reduce_fn(hone_reduce_op op, const float *x, int64_t n, int64_t inner, float *y,
                            int64_t begin, int64_t end);

/** The same on BF16, SUM, MEAN, MAX and MIN only; sums are FP32 and rounded at the end. */
typedef void hone_reduce_bf16_fn(hone_reduce_op op, const uint16_t *x, int64_t n, int64_t inner,
                                 uint16_t *y, int64_t begin, int64_t end);

#endif
