/* Quantisation: between stored and real values, and from one quantisation to another. */
#include <math.h>
#include <string.h>

#include "ops/tfl_fixed.h"
#include "tflite/import_impl.h"

static hone_value *list_of(tfr_import *im, hone_dtype d, int rank, int n, void **data) {
    hone_tensor *t = HONE_NEW(im->g->arena, hone_tensor);
    *data = hone_arena_alloc(im->g->arena, hone_dtype_bytes(d, n));
    if (!t || !*data) {
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
        return NULL;
    }
    *t = hone_tensor_view(d, rank, (int64_t[]){n}, *data);
    hone_value *v = hone_graph_constant(im->g, "quantisation", t);
    if (!v)
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
    return v;
}

static bool has_zero_points(const tfr_quant *q) {
    for (int i = 0; i < q->n_scales; ++i) {
        if (q->zero_point[i])
            return true;
    }
    return false;
}

/* Scales [rows, blocks] of a weight [rows, columns], as halves or floats, in a tensor of their own.
 */
static hone_value *dequantise_blocks(tfr_import *im, hone_value *v, const tfr_tensor *t) {
    const tfr_tensor *s = &im->sub->tensors[t->quant.scales_tensor];
    if (t->quant.zeros_tensor >= 0 || !s->data || t->rank != 2 || s->rank != 2 ||
        !hone_dtype_in(s->dtype, HONE_T(F16) | HONE_T(F32))) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "this form of blockwise quantisation is not supported");
        return NULL;
    }
    tfr_import at = *im;
    tfr_op op = {.in = &t->quant.scales_tensor, .n_in = 1};
    at.op = &op;
    hone_value *scales = tfr_in_float(&at, 0);
    hone_value *y = tfr_binary(im, "DequantizeLinear", v, scales);
    tfr_int(im, y, "axis", 1);
    tfr_int(im, y, "block_size", t->quant.block);
    return y;
}

hone_value *tfr_dequantise(tfr_import *im, hone_value *v, const tfr_tensor *t) {
    const tfr_quant *q = &t->quant;
    if (im->status != HONE_OK || !v)
        return NULL;
    if (q->block)
        return dequantise_blocks(im, v, t);
    if (q->n_scales > 1 && (q->axis < 0 || q->axis >= t->rank || t->dims[q->axis] != q->n_scales)) {
        tfr_fail(im, HONE_E_FORMAT, "%d scales do not fit a tensor's axis %d", q->n_scales,
                 q->axis);
        return NULL;
    }
    int rank = q->n_scales > 1;
    void *data;
    hone_value *in[3] = {v};
    in[1] = list_of(im, HONE_DTYPE_F32, rank, q->n_scales, &data);
    if (!in[1])
        return NULL;
    memcpy(data, q->scale, (size_t)q->n_scales * sizeof(float));
    bool has_zero = has_zero_points(q);
    if (has_zero) {
        in[2] = list_of(im, t->dtype, rank, q->n_scales, &data);
        for (int i = 0; in[2] && i < q->n_scales; ++i)
            hone_store_i64(t->dtype, data, i, q->zero_point[i]);
    }
    hone_value *y = tfr_make(im, "DequantizeLinear", in, has_zero ? 3 : 2);
    if (rank)
        tfr_int(im, y, "axis", q->axis);
    return y;
}

static bool has_one_scale(tfr_import *im, const tfr_tensor *t) {
    bool is_one = t && t->quant.n_scales == 1 &&
                  hone_dtype_in(t->dtype, HONE_T(I8) | HONE_T(U8) | HONE_T(I16) | HONE_T(I32));
    if (!is_one)
        tfr_fail(im, HONE_E_UNSUPPORTED,
                 "activations must have 8 or 16 bits and one scale, these have %d",
                 t ? t->quant.n_scales : 0);
    return is_one;
}

void tfr_param(tfr_import *im, hone_value *v, const char *name, const tfr_tensor *t) {
    if (!has_one_scale(im, t))
        return;
    const char *scale = hone_arena_printf(im->g->arena, "%s_scale", name);
    const char *zero = hone_arena_printf(im->g->arena, "%s_zero", name);
    if (!scale || !zero) {
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
        return;
    }
    tfr_float(im, v, scale, t->quant.scale[0]);
    tfr_int(im, v, zero, t->quant.zero_point[0]);
}

hone_value *tfr_quantise(tfr_import *im, hone_value *v, const tfr_tensor *t) {
    hone_value *y = tfr_unary(im, "QQuantize", v);
    tfr_param(im, y, "y", t);
    tfr_int(im, y, "to", t->dtype);
    return y;
}

hone_value *tfr_rescale(tfr_import *im, hone_value *v, const tfr_tensor *from,
                        const tfr_tensor *to) {
    if (!has_one_scale(im, from) || !has_one_scale(im, to))
        return NULL;
    if (from->dtype == to->dtype && from->quant.scale[0] == to->quant.scale[0] &&
        from->quant.zero_point[0] == to->quant.zero_point[0])
        return v;
    hone_value *y = tfr_unary(im, "QRescale", v);
    tfr_param(im, y, "x", from);
    tfr_param(im, y, "y", to);
    tfr_int(im, y, "to", to->dtype);
    return y;
}

/* Halves are rounded away from zero; the division is in float. */
static int64_t quantised(const tfr_tensor *y, float real) {
    float v = roundf(real / y->quant.scale[0]);
    int64_t q = !(v > -1e9f) ? -1000000000 : v > 1e9f ? 1000000000 : (int64_t)v;
    return q + y->quant.zero_point[0];
}

void tfr_limits(tfr_import *im, hone_value *v, int64_t activation, const tfr_tensor *y) {
    if (!has_one_scale(im, y) || activation == TFL_ACT_NONE)
        return;
    if (activation != TFL_ACT_RELU && activation != TFL_ACT_RELU6 &&
        activation != TFL_ACT_RELU_N1_TO_1) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "fused activation %d on integers", (int)activation);
        return;
    }
    tfr_int(im, v, "low", quantised(y, activation == TFL_ACT_RELU_N1_TO_1 ? -1.0f : 0.0f));
    if (activation != TFL_ACT_RELU)
        tfr_int(im, v, "high", quantised(y, activation == TFL_ACT_RELU6 ? 6.0f : 1.0f));
}

bool tfr_runs_on_integers(tfr_import *im, bool both) {
    uint32_t types = HONE_T(I8) | HONE_T(U8) | HONE_T(I16);
    const tfr_tensor *list[3] = {tfr_in_tensor(im, 0), tfr_out_tensor(im, 0),
                                 both ? tfr_in_tensor(im, 1) : tfr_in_tensor(im, 0)};
    for (int i = 0; i < 3; ++i) {
        if (!tfr_is_quantised(list[i]) || !hone_dtype_in(list[i]->dtype, types) ||
            list[i]->quant.n_scales != 1)
            return false;
    }
    return true;
}

hone_value *tfr_rescale_within(tfr_import *im, hone_value *v, const tfr_tensor *from,
                               const tfr_tensor *to, int64_t activation) {
    hone_value *y = tfr_unary(im, "QRescale", v);
    tfr_param(im, y, "x", from);
    tfr_param(im, y, "y", to);
    tfr_int(im, y, "to", to->dtype);
    tfr_int(im, y, "in_float", 1);
    tfr_limits(im, y, activation, to);
    return y;
}

/* ---- rules ------------------------------------------------------------------------------------
 */

void tfr_build_quantize(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0), *y = tfr_out_tensor(im, 0);
    hone_value *v = tfr_in_raw(im, 0);
    if (!x || !y)
        tfr_fail(im, HONE_E_FORMAT, "an input or output is missing");
    else if (tfr_is_quantised(x))
        tfr_out_raw(im, 0, tfr_rescale(im, v, x, y));
    else
        tfr_out_raw(im, 0, tfr_quantise(im, v, y));
}

void tfr_build_dequantize(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0), *y = tfr_out_tensor(im, 0);
    hone_value *v = tfr_in_raw(im, 0);
    if (!x || !y)
        tfr_fail(im, HONE_E_FORMAT, "an input or output is missing");
    else if (tfr_is_quantised(x))
        tfr_out_raw(im, 0, tfr_dequantise(im, v, x));
    else
        tfr_out_raw(im, 0, tfr_cast(im, v, y->dtype));
}

/* ---- tables -----------------------------------------------------------------------------------
 */

static float sigmoid(float v) {
    return 1.0f / (1.0f + expf(-v));
}

static float elu(float v) {
    return v < 0 ? expm1f(v) : v;
}

static float gelu(float v) {
    return v * 0.5f * (1.0f + erff(v * 0.70710678118654752f));
}

static float gelu_tanh(float v) {
    const float factor = 0.79788456080286536f; /* sqrt(2 / pi) */
    return 0.5f * v * (1.0f + tanhf(factor * (v + 0.044715f * v * v * v)));
}

typedef struct function {
    int code;
    float (*of)(float);
} function;

static const function functions[] = {
    {TFL_LOGISTIC, sigmoid}, {TFL_TANH, tanhf}, {TFL_ELU, elu}, {TFL_EXP, expf}, {TFL_LOG, logf},
};

/* The output for a stored value, as LiteRT fills its tables: rounded in float. */
static int64_t table_entry(const tfr_tensor *x, const tfr_tensor *y, float (*of)(float),
                           int stored) {
    float real = x->quant.scale[0] * (float)(stored - x->quant.zero_point[0]);
    float v = roundf(of(real) * (1 / y->quant.scale[0]));
    v += (float)y->quant.zero_point[0];
    return !(v > -1e6f) ? -1000000 : v > 1e6f ? 1000000 : (int64_t)v;
}

/* ReLUs rescale in fixed point. */
static int64_t rescaled_entry(const tfr_tensor *x, const tfr_tensor *y, int stored) {
    tfl_factor f = tfl_factor_of((double)(x->quant.scale[0] / y->quant.scale[0]));
    return tfl_scale((int32_t)(stored - x->quant.zero_point[0]), f) + y->quant.zero_point[0];
}

static void relu_range(int code, const tfr_tensor *y, int64_t *low, int64_t *high) {
    float least = code == TFL_RELU_N1_TO_1 ? -1.0f : 0.0f;
    float most = code == TFL_RELU6 ? 6.0f : 1.0f;
    int64_t a = quantised(y, least), b = code == TFL_RELU ? *high : quantised(y, most);
    *low = a > *low ? a : *low;
    *high = b < *high ? b : *high;
}

/* A multiplier of 31 bits in 15. */
static int16_t narrow(int32_t multiplier) {
    return multiplier >= INT32_MAX - (1 << 15) ? INT16_MAX
                                               : (int16_t)((multiplier + (1 << 15)) >> 16);
}

static int16_t clamp16(int64_t v) {
    return (int16_t)tfl_clamp(v, INT16_MIN, INT16_MAX);
}

/* In 16 bits: x on the output's scale, times (x + 3) / 6 as far as that lies in [0, 1]. */
static int64_t hard_swish_entry(const tfr_tensor *x, const tfr_tensor *y, int stored) {
    float fine = (1.0f / 128) * x->quant.scale[0];
    tfl_factor out = tfl_factor_of((double)(fine / y->quant.scale[0]));
    tfl_factor gate = tfl_factor_of((double)(fine / (3.0f / 32768)));
    int16_t v = clamp16((stored - x->quant.zero_point[0]) * 128), g = v;
    int16_t scaled = tfl_high_mul16(v, narrow(out.multiplier));
    if (gate.shift > 0)
        g = clamp16(tfl_shift_left(g, gate.shift - 1));
    g = tfl_high_mul16(g, narrow(gate.multiplier));
    g = gate.shift > 0 ? clamp16(tfl_shift_left(g, 1)) : (int16_t)tfl_divide_pot(g, -gate.shift);
    g = (int16_t)((g + (1 << 15)) >> 1);
    int32_t product = (int32_t)g * scaled / (1 << 15);
    return tfl_divide_pot(product, out.shift > 0 ? 0 : -out.shift) + y->quant.zero_point[0];
}

/* LiteRT computes the factors in float. */
static int64_t leaky_entry(const tfr_tensor *x, const tfr_tensor *y, float alpha, int stored) {
    int32_t d = (int32_t)(stored - x->quant.zero_point[0]);
    float factor = d < 0 ? x->quant.scale[0] * alpha / y->quant.scale[0]
                         : x->quant.scale[0] / y->quant.scale[0];
    return tfl_scale(d, tfl_factor_of((double)factor)) + y->quant.zero_point[0];
}

/* Unary operators on 8 bits: all 256 results are known now. */
static void build_table(tfr_import *im, float (*of)(float)) {
    const tfr_tensor *x = tfr_in_tensor(im, 0), *y = tfr_out_tensor(im, 0);
    int code = im->op->code;
    float alpha = code == TFL_LEAKY_RELU ? tfr_option_f32(im, 0, 0) : 0;
    void *data;
    hone_value *table = list_of(im, y->dtype, 1, 256, &data);
    int first = x->dtype == HONE_DTYPE_U8 ? 0 : -128;
    for (int i = 0; table && i < 256; ++i) {
        int64_t low = y->dtype == HONE_DTYPE_U8 ? 0 : -128, high = low + 255, v;
        if (of) {
            v = table_entry(x, y, of, first + i);
        } else if (code == TFL_LEAKY_RELU) {
            v = leaky_entry(x, y, alpha, first + i);
        } else if (code == TFL_HARD_SWISH) {
            v = hard_swish_entry(x, y, first + i);
        } else {
            v = rescaled_entry(x, y, first + i);
            relu_range(code, y, &low, &high);
        }
        hone_store_i64(y->dtype, data, i, high < low ? low : tfl_clamp(v, low, high));
    }
    tfr_out_raw(im, 0, tfr_binary(im, "QTable", tfr_in_raw(im, 0), table));
}

bool tfr_build_by_table(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0), *y = tfr_out_tensor(im, 0);
    if (!tfr_runs_on_integers(im, false) || x->dtype == HONE_DTYPE_I16 ||
        y->dtype == HONE_DTYPE_I16)
        return false;
    int code = im->op->code;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; ++i) {
        if (functions[i].code == code)
            return build_table(im, functions[i].of), true;
    }
    if (code == TFL_GELU)
        return build_table(im, tfr_option_byte(im, 0, 0) ? gelu_tanh : gelu), true;
    bool is_scaled = code == TFL_HARD_SWISH || code == TFL_RELU || code == TFL_RELU6 ||
                     code == TFL_RELU_N1_TO_1 || code == TFL_RELU_0_TO_1 ||
                     (code == TFL_LEAKY_RELU && tfr_option_f32(im, 0, 0) >= 0);
    if (is_scaled)
        build_table(im, NULL);
    return is_scaled;
}
