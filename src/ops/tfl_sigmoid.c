/* QSigmoid and QTanh on 16 bits: from 256 values of the logistic function, with lines in between.
 * Attributes: x_scale; the output's scale is 1 / 32768. Source:
 * tflite/kernels/internal/reference/integer_ops/logistic.h and tanh.h (LiteRT). */
#include <stdlib.h>

#include "ops/tfl_quant.h"

enum { VALUES = 256 };

/* LiteRT's table of 65536 / (1 + exp(-i / 24)) is one above the nearest integer here and there. */
static const char above[VALUES + 1] =
    "0000100010001011110111100101111101110101110111100110001000000011"
    "1010000000000000001000100000010000001001000000001000100000000000"
    "0000000100000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000001";

typedef struct sigmoid_job {
    uint32_t value[VALUES];
    int32_t multiplier;
    int shift;
} sigmoid_job;

/* x times multiplier / 2^shift has 1 / (3 * 4096) for its unit. */
static void set_scale(sigmoid_job *j, double scale, int most_left) {
    if (!(scale > 1e-30) || scale > 1e30)
        return; /* not a scale: everything is 0 */
    float log2_scale = logf((float)scale) * (1 / logf(2.0f)), rounded = roundf(log2_scale);
    bool is_power = fabsf(log2_scale - rounded) < 1e-3f;
    int left = 12 + (int)rounded;
    if (is_power && left >= 0 && left <= most_left) {
        j->multiplier = 3 << left;
        return;
    }
    double multiplier = scale * 4096.0 * 3.0;
    for (; multiplier <= 32767.0 / 2.0 && j->shift <= 30; ++j->shift)
        multiplier *= 2.0;
    j->multiplier = multiplier < 2147483647.0 ? (int32_t)multiplier : INT32_MAX;
}

static sigmoid_job job_of(const hone_node *n, int most_left) {
    sigmoid_job j = {.shift = 0};
    for (int i = 0; i < VALUES; ++i)
        j.value[i] = (uint32_t)(floor(65536 / (1 + exp(-i / 24.0)) + 0.5) + (above[i] - '0'));
    set_scale(&j, tfl_param_of(n, "x").scale, most_left);
    return j;
}

static int32_t scaled(const sigmoid_job *j, int16_t x) {
    int64_t round = j->shift > 0 ? (int64_t)1 << (j->shift - 1) : 0;
    return (int32_t)tfl_clamp(((int64_t)x * j->multiplier + round) >> j->shift, -INT32_MAX,
                              INT32_MAX);
}

/* The function of a number >= 0, `bits` behind the point of the table's index, that many bits up.
 */
static uint32_t between(const sigmoid_job *j, uint32_t x, int bits, uint32_t most) {
    uint32_t i = x >> bits;
    if (i >= VALUES - 1)
        return most;
    return (j->value[i] << bits) + (x & ((1u << bits) - 1)) * (j->value[i + 1] - j->value[i]);
}

static int16_t sigmoid_of(const sigmoid_job *j, int16_t stored) {
    int32_t x = scaled(j, stored);
    uint32_t v = between(j, (uint32_t)abs(x), 9, 0x7FFFu << 10);
    v = x >= 0 ? v + (1 << 9) : (1u << 25) - v + (1 << 9) - 1;
    return (int16_t)(v >> 10);
}

static int16_t tanh_of(const sigmoid_job *j, int16_t stored) {
    int32_t x = scaled(j, stored), v = (int32_t)between(j, (uint32_t)abs(x), 8, 0xFFFFu << 8);
    v = x >= 0 ? v - (1 << 23) + (1 << 7) : -v + (1 << 23) + (1 << 7) - 1;
    return (int16_t)(v >> 8);
}

static hone_status run(hone_op_ctx *c, int most_left, int16_t (*of)(const sigmoid_job *, int16_t)) {
    const hone_tensor *x = hone_in(c, 0);
    sigmoid_job j = job_of(c->node, most_left);
    int16_t *y = hone_out(c, 0)->data;
    for (int64_t i = 0, n = hone_tensor_count(x); i < n; ++i)
        y[i] = of(&j, ((const int16_t *)x->data)[i]);
    return HONE_OK;
}

hone_status hone_ref_tfl_sigmoid(hone_op_ctx *c) {
    return run(c, 0, sigmoid_of);
}

hone_status hone_ref_tfl_tanh(hone_op_ctx *c) {
    return run(c, 1, tanh_of);
}
