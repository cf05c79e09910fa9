/* QSoftmax on 16 bits: exp and the reciprocal from tables of 513 values with lines in between. */
#include "ops/tfl_quant.h"
#include "ops/tfl_softmax.h"

static double reciprocal(double v) {
    return 1.0 / (1.0 + v);
}

typedef struct tables {
    int16_t exp[TFL_LINES + 1], reciprocal[TFL_LINES + 1];
    tfl_factor factor;
} tables;

static void softmax_row(const tables *t, const int16_t *x, int64_t n, int16_t *y) {
    int16_t most = INT16_MIN;
    int32_t sum = 0;
    for (int64_t i = 0; i < n; ++i)
        most = x[i] > most ? x[i] : most;
    for (int64_t i = 0; i < n; ++i) {
        int64_t d = (int64_t)tfl_scale(x[i] - most, t->factor) + 32767;
        y[i] = tfl_line(t->exp, (int16_t)tfl_clamp(d, INT16_MIN, INT16_MAX));
        sum = tfl_add(sum, y[i]);
    }
    int headroom = sum > 0 ? __builtin_clz((uint32_t)sum) : 31;
    int64_t shifted = (((int64_t)sum << (headroom - 1 > 0 ? headroom - 1 : 0)) + (1 << 13)) >> 14;
    shifted -= (1 << 15) + (1 << 16);
    int64_t scale = tfl_line(t->reciprocal, (int16_t)tfl_clamp(shifted, INT16_MIN, INT16_MAX));
    int right = 31 - headroom;
    for (int64_t i = 0; i < n; ++i) {
        int64_t v = (y[i] * scale + (right > 0 ? (int64_t)1 << (right - 1) : 0)) >> right;
        y[i] = (int16_t)tfl_clamp(v, 0, 32767);
    }
}

void tfl_softmax16(const hone_tensor *x, hone_tensor *y, double scale, int64_t n) {
    const double range = 65535;
    tables t = {.factor = tfl_factor_of(scale / (10.0 / range))};
    tfl_fill_lines(exp, 10.0 / range, 32767, 2.0 / range, t.exp);
    tfl_fill_lines(reciprocal, 1.0 / range, -32768, 2.0 / range, t.reciprocal);
    for (int64_t at = 0; at < hone_tensor_count(x); at += n)
        softmax_row(&t, (const int16_t *)x->data + at, n, (int16_t *)y->data + at);
}

/* Where a line between two values misses the function in the middle, both ends move by half of
 * that. Source: LUTPopulate and LUTLookup of tflite/kernels/internal/common.h (LiteRT). */
void tfl_fill_lines(double (*of)(double), double x_scale, int32_t x_zero, double y_scale,
                    int16_t *line) {
    double low = x_scale * (-32768 - x_zero), high = x_scale * (32767 - x_zero),
           step = (high - low) / TFL_LINES;
    double inverse = 65536 / (y_scale * 65535);
    for (int i = 0; i < TFL_LINES; ++i) {
        double at = round(of(low + i * step) * inverse), next = of(low + (i + 1) * step) * inverse;
        double middle = round(of(low + i * step + step / 2) * inverse);
        double v = at - round((round((next + at) / 2) - middle) / 2);
        line[i] = (int16_t)(v < -32768 ? -32768 : v > 32767 ? 32767 : v);
    }
    double last = round(of(high) * inverse);
    line[TFL_LINES] = (int16_t)(last < -32768 ? -32768 : last > 32767 ? 32767 : last);
}

int16_t tfl_line(const int16_t *line, int16_t x) {
    int i = 256 + (x >> 7);
    int16_t slope = (int16_t)(line[i + 1] - line[i]);
    return (int16_t)(line[i] + ((slope * (x & 127) + 64) >> 7));
}
