/* Softmax and log-softmax of a dense [outer, n, inner] array over n. */
#ifndef HONE_KERNELS_SOFTMAX_H
#define HONE_KERNELS_SOFTMAX_H

#include <stdbool.h>
#include <stdint.h>

/** Lines [begin, end) of the outer * inner lines of n elements. y may be x. A line with NaN or
 * infinity, or of nothing but -infinity, becomes NaN, as the formula has it. Relative error
 * 1e-6 + 6e-8 (max(x) - x), the second part from rounding that difference; log: absolute error
 * 4e-7 max(1, |y|). */
typedef void hone_softmax_fn(const float *x, float *y, int64_t n, int64_t inner, bool is_log,
                             int64_t begin, int64_t end);

#endif
