/* Fixed-point arithmetic of TensorFlow Lite's integer kernels, bit for bit.
 * Sources: tflite/kernels/internal/common.cc and quantization_util.cc (LiteRT), and the description
 * of gemmlowp's fixed-point numbers (gemmlowp/fixedpoint/fixedpoint.h). */
#ifndef HONE_OPS_TFL_FIXED_H
#define HONE_OPS_TFL_FIXED_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* A positive factor as multiplier * 2^(shift - 31), multiplier in [2^30, 2^31) or 0. */
typedef struct tfl_factor {
    int32_t multiplier;
    int shift; /* -31 to 30 */
} tfl_factor;

static inline tfl_factor tfl_factor_of(double real) {
    tfl_factor f = {0, 0};
    if (!(real > 0) || real > 1e9)
        return f;
    int64_t fixed = (int64_t)round(frexp(real, &f.shift) * 2147483648.0);
    if (fixed == (int64_t)1 << 31) {
        fixed /= 2;
        f.shift++;
    }
    if (f.shift < -31)
        return (tfl_factor){0, 0};
    f.multiplier = (int32_t)fixed;
    return f;
}

/* (a * b) / 2^31, rounded to nearest, ties away from zero as gemmlowp does; saturating. */
static inline int32_t tfl_high_mul(int32_t a, int32_t b) {
    if (a == INT32_MIN && b == INT32_MIN)
        return INT32_MAX;
    int64_t ab = (int64_t)a * b;
    int64_t nudge = ab >= 0 ? (int64_t)1 << 30 : 1 - ((int64_t)1 << 30);
    return (int32_t)((ab + nudge) / ((int64_t)1 << 31));
}

/* (a * b) / 2^15, as above. */
static inline int16_t tfl_high_mul16(int16_t a, int16_t b) {
    if (a == INT16_MIN && b == INT16_MIN)
        return INT16_MAX;
    int32_t ab = (int32_t)a * b;
    return (int16_t)((ab + (ab >= 0 ? 1 << 14 : 1 - (1 << 14))) / (1 << 15));
}

/* x / 2^n, rounded to nearest, ties away from zero. n in [0, 31]. */
static inline int32_t tfl_divide_pot(int32_t x, int n) {
    int32_t mask = (int32_t)(((int64_t)1 << n) - 1);
    int32_t rest = x & mask, threshold = (mask >> 1) + (x < 0);
    return (x >> n) + (rest > threshold);
}

static inline int32_t tfl_wrap(int64_t v) {
    return (int32_t)(uint32_t)(uint64_t)v;
}

/* x times the factor, rounded twice: once at 31 bits, once at the shift. */
static inline int32_t tfl_scale(int32_t x, tfl_factor f) {
    int left = f.shift > 0 ? f.shift : 0, right = f.shift > 0 ? 0 : -f.shift;
    return tfl_divide_pot(
        tfl_high_mul(tfl_wrap((int64_t)((uint64_t)(int64_t)x << left)), f.multiplier), right);
}

/* For 64-bit sums (16-bit activations): a multiplier of 15 bits, rounded once. */
static inline int32_t tfl_scale_wide(int64_t x, tfl_factor f) {
    int32_t reduced = f.multiplier < 0x7FFF0000 ? (f.multiplier + (1 << 15)) >> 16 : 0x7FFF;
    int shift = 15 - f.shift;
    if (shift < 1)
        return 0; /* factors of 2^14 and more do not occur */
    int64_t limit = (int64_t)1 << 47;
    x = x < -limit ? -limit : x > limit ? limit : x;
    return tfl_wrap((x * reduced + ((int64_t)1 << (shift - 1))) >> shift);
}

static inline int64_t tfl_clamp(int64_t v, int64_t low, int64_t high) {
    return v < low ? low : v > high ? high : v;
}

static inline int32_t tfl_add(int32_t a, int32_t b) {
    return tfl_wrap((int64_t)a + b);
}

/* x * 2^n, saturating; n in [0, 31]. */
static inline int32_t tfl_shift_left(int32_t x, int n) {
    return (int32_t)tfl_clamp((int64_t)x * ((int64_t)1 << n), INT32_MIN, INT32_MAX);
}

/** 1 / (1 + x) for x in [0, 1), both Q0.31. */
int32_t tfl_reciprocal(int32_t x);
/** The logistic function of a number in Q3.12, in Q0.15. */
int16_t tfl_sigmoid16(int16_t x);
/** tanh of a number with `bits` integer bits (0 to 6), in Q0.15. */
int16_t tfl_tanh16(int16_t x, int bits);
/** 1 / sqrt(x) for x >= 0 (0 counts as 1). */
tfl_factor tfl_inverse_sqrt(int32_t x);

#endif
