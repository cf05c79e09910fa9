/* Functions of fixed-point numbers that take more than a few steps. */
#include "ops/tfl_fixed.h"

/* Three steps of Newton's method on Q2.29. */
int32_t tfl_reciprocal(int32_t x) {
    const int32_t c48_17 = 1515870810, c32_17 = -1010580540; /* 48/17 and -32/17 */
    int64_t sum = (int64_t)x + INT32_MAX;
    int32_t half = (int32_t)((sum + (sum >= 0 ? 1 : -1)) / 2); /* (1 + x) / 2 */
    int32_t v = tfl_add(c48_17, tfl_high_mul(half, c32_17));
    for (int i = 0; i < 3; ++i) {
        int32_t missing = tfl_add(1 << 29, -tfl_high_mul(half, v));
        v = tfl_add(v, tfl_shift_left(tfl_high_mul(v, missing), 2));
    }
    return tfl_shift_left(v, 1);
}
