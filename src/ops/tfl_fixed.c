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

/* ---- 16 bits ----------------------------------------------------------------------------------
 */

static int16_t clamp16(int32_t v) {
    return (int16_t)tfl_clamp(v, INT16_MIN, INT16_MAX);
}

static int16_t add16(int16_t a, int16_t b) {
    return (int16_t)(uint16_t)(a + b);
}

static int16_t shift_left16(int16_t x, int n) {
    return clamp16(tfl_shift_left(x, n));
}

/* A constant of 32 bits in 16. */
static int16_t narrow(int32_t v) {
    return (int16_t)tfl_divide_pot(v, 16);
}

/* exp of a number of (-1/4, 0] in Q0.15: as in 32 bits (tfl_softmax.c). */
static int16_t exp_quarter16(int16_t a) {
    const int16_t exp_eighth = narrow(1895147668), third = narrow(715827883);
    int16_t x = add16(a, 1 << 12);
    int16_t x2 = tfl_high_mul16(x, x), x3 = tfl_high_mul16(x2, x), x4 = tfl_high_mul16(x2, x2);
    int16_t x4_4 = (int16_t)tfl_divide_pot(x4, 2);
    int16_t tail = (int16_t)tfl_divide_pot(add16(tfl_high_mul16(add16(x4_4, x3), third), x2), 1);
    return clamp16(exp_eighth + tfl_high_mul16(exp_eighth, add16(x, tail)));
}

/* exp of a number <= 0 with `bits` integer bits, in Q0.15. */
static int16_t exp_negative16(int16_t a, int bits) {
    static const int32_t powers[] = {1672461947, 1302514674, 790015084, 290630308,
                                     39332535,   720401,     242}; /* exp(-1/4), -1/2, ... -16 */
    int fraction = 15 - bits;
    int16_t quarter = (int16_t)(1 << (fraction - 2));
    if (a == 0)
        return INT16_MAX;
    if (bits > 5 && a < -(1 << (20 - bits)))
        return 0;
    int16_t rest = (int16_t)((a & (quarter - 1)) - quarter), left = (int16_t)(rest - a);
    int16_t v = exp_quarter16(shift_left16(rest, bits));
    for (int e = -2; e < 5 && e < bits; ++e) {
        if (left & (1 << (fraction + e)))
            v = tfl_high_mul16(v, narrow(powers[e + 2]));
    }
    return v;
}

/* 2 / (1 + x) for x in (0, 1), Q0.15, as Q2.13. */
static int16_t twice_reciprocal16(int16_t x) {
    int32_t sum = (int32_t)x + INT16_MAX;
    int16_t half = (int16_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
    int16_t v = add16(narrow(1515870810), tfl_high_mul16(half, narrow(-1010580540)));
    for (int i = 0; i < 3; ++i) {
        int16_t missing = (int16_t)((1 << 13) - tfl_high_mul16(half, v));
        v = add16(v, shift_left16(tfl_high_mul16(v, missing), 2));
    }
    return v;
}

int16_t tfl_sigmoid16(int16_t x) {
    if (x == 0)
        return 1 << 14;
    int16_t e = exp_negative16(x > 0 ? (int16_t)-x : x, 3);
    int16_t v = shift_left16(twice_reciprocal16(e), 1);
    return x > 0 ? v : (int16_t)(INT16_MAX - v);
}

int16_t tfl_tanh16(int16_t x, int bits) {
    if (x == 0)
        return 0;
    int16_t e = exp_negative16(x > 0 ? (int16_t)-x : x, bits + 1);
    int16_t v = shift_left16((int16_t)(twice_reciprocal16(e) - (1 << 13)), 2);
    return x > 0 ? v : (int16_t)-v;
}

/* Newton's method on Q3.28 from 1. */
tfl_factor tfl_inverse_sqrt(int32_t x) {
    const int32_t three_halves = (1 << 28) + (1 << 27), half_sqrt_2 = 1518500250;
    if (x <= 1)
        return (tfl_factor){INT32_MAX, 0};
    int right = 11;
    for (; x >= 1 << 29; ++right)
        x /= 4;
    int pairs = (__builtin_clz((uint32_t)x) - 1) / 2 - 1;
    right -= pairs;
    x <<= 2 * pairs;
    int32_t in = x >> 1, half = tfl_divide_pot(in, 1), v = 1 << 28;
    for (int i = 0; i < 5; ++i) {
        int32_t cube = tfl_shift_left(tfl_high_mul(tfl_high_mul(v, v), v), 6);
        v = tfl_shift_left(
            tfl_wrap((int64_t)tfl_high_mul(three_halves, v) - tfl_high_mul(half, cube)), 3);
    }
    v = tfl_high_mul(v, half_sqrt_2);
    if (right < 0) {
        v = tfl_wrap((int64_t)((uint64_t)(int64_t)v << -right));
        right = 0;
    }
    return (tfl_factor){v, -right};
}
