/* Floats to 8 bits at run time, a slice at a time, as LiteRT's layers with quantised weights and float
 * activations do it. Source: tflite/kernels/internal/reference/portable_tensor_utils.cc (LiteRT). */
#include <string.h>

#include "ops/tfl_quant.h"

typedef struct range {
    float low, high;
} range;

static range range_of(const float *x, int64_t n) {
    range r = {x[0], x[0]};
    for (int64_t i = 1; i < n; ++i) {
        r.low = x[i] < r.low ? x[i] : r.low;
        r.high = x[i] > r.high ? x[i] : r.high;
    }
    return r;
}

/* NaN becomes the least number. */
static int16_t rounded(float v, float low, float high, int16_t zero) {
    v = roundf(v);
    v = !(v > low) ? low : v > high ? high : v;
    return (int16_t)((int16_t)v - zero);
}

static float symmetric(const float *x, int64_t n, int16_t *out) {
    range r = range_of(x, n);
    float most = fmaxf(fabsf(r.low), fabsf(r.high));
    if (!(most > 0) || isinf(most)) {
        memset(out, 0, (size_t)n * sizeof *out);
        return 1;
    }
    float inverse = 127 / most;
    for (int64_t i = 0; i < n; ++i)
        out[i] = rounded(x[i] * inverse, -127, 127, 0);
    return most / 127;
}

static float asymmetric(const float *x, int64_t n, int16_t *out) {
    range r = range_of(x, n);
    double low = (double)fminf(0, r.low), high = (double)fmaxf(0, r.high);
    if (!(low < high) || isinf(high - low)) {
        memset(out, 0, (size_t)n * sizeof *out);
        return 1;
    }
    double scale = (high - low) / 255;
    double from_low = -128 - low / scale, from_high = 127 - high / scale;
    bool is_low_better = 128 + fabs(low / scale) < 127 + fabs(high / scale);
    double zero = round(is_low_better ? from_low : from_high);
    zero = zero < -128 ? -128 : zero > 127 ? 127 : zero;
    float narrow = (float)scale, inverse = 1.0f / narrow;
    for (int64_t i = 0; i < n; ++i)
        out[i] = rounded((float)zero + x[i] * inverse, -128, 127, (int16_t)zero);
    return narrow;
}

void tfl_quantise_rows(const float *x, int64_t n_rows, int64_t n, bool is_symmetric, int16_t *out,
                       float *scale) {
    for (int64_t i = 0; i < n_rows; ++i)
        scale[i] = (is_symmetric ? symmetric : asymmetric)(x + i * n, n, out + i * n);
}
