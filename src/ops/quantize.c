/* QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ir/op.h"

/* Which scale belongs to element i of x: scale index = outer * n_scales * inner_scales + ... For
 * all three granularities: x is [outer, axis, inner]. */
typedef struct quant_walk {
    int64_t outer, axis, inner; /* of x */
    int64_t n_scales;           /* along the axis */
    int64_t block;              /* elements of the axis that share a scale */
    bool is_blocked;            /* a scale for every position of the other axes too */
} quant_walk;

static int64_t scale_index(const quant_walk *w, int64_t o, int64_t a, int64_t i) {
    if (w->n_scales == 0)
        return 0;
    if (w->is_blocked)
        return (o * w->n_scales + a / w->block) * w->inner + i;
    return a;
}

static hone_status make_walk(hone_op_ctx *c, const hone_tensor *x, const hone_tensor *scale,
                             quant_walk *w) {
    int64_t n = hone_tensor_count(x);
    *w = (quant_walk){.outer = 1, .axis = n, .inner = 1, .block = 1};
    if (hone_tensor_count(scale) == 1)
        return HONE_OK;
    int64_t axis = hone_attr_int(c->node, "axis", 1);
    int64_t block = hone_attr_int(c->node, "block_size", 0);
    if (axis < -x->rank || axis >= x->rank)
        return hone_op_fail(c, HONE_E_SHAPE, "axis %" PRId64 " is outside rank %d", axis, x->rank);
    int at = (int)(axis < 0 ? axis + x->rank : axis);
    w->outer = hone_dims_count(x->dims, 0, at);
    w->axis = x->dims[at];
    w->inner = hone_dims_count(x->dims, at + 1, x->rank);
    if (scale->rank == 1 && block == 0) {
        w->n_scales = scale->dims[0];
        if (w->n_scales != w->axis)
            return hone_op_fail(c, HONE_E_SHAPE, "%" PRId64 " scales for %" PRId64 " slices",
                                w->n_scales, w->axis);
        return HONE_OK;
    }
    if (scale->rank != x->rank)
        return hone_op_fail(c, HONE_E_SHAPE, "the scale has rank %d, the input rank %d",
                            scale->rank, x->rank);
    for (int d = 0; d < x->rank; ++d) {
        if (d != at && scale->dims[d] != x->dims[d])
            return hone_op_fail(c, HONE_E_SHAPE, "dim %d of the scale differs from the input's", d);
    }
    w->n_scales = scale->dims[at];
    w->is_blocked = true;
    if (block <= 0)
        block = w->n_scales ? (w->axis + w->n_scales - 1) / w->n_scales : 1;
    w->block = block > 0 ? block : 1;
    if ((w->axis + w->block - 1) / w->block != w->n_scales)
        return hone_op_fail(c, HONE_E_SHAPE,
                            "%" PRId64 " scales do not fit %" PRId64
                            " elements in blocks of %" PRId64,
                            w->n_scales, w->axis, w->block);
    return HONE_OK;
}

static hone_status check_zero_point(hone_op_ctx *c, const hone_tensor *scale,
                                    const hone_tensor *zp) {
    if (zp && hone_tensor_count(zp) != hone_tensor_count(scale))
        return hone_op_fail(c, HONE_E_SHAPE, "scale and zero point differ in shape");
    return HONE_OK;
}

/* ---- QuantizeLinear ---------------------------------------------------------------------------
 */

static double round_as(hone_dtype d, double v) {
    if (d == HONE_DTYPE_F16)
        return (double)hone_f16_to_f32(hone_f16_from_f64(v));
    if (d == HONE_DTYPE_BF16)
        return (double)hone_bf16_to_f32(hone_bf16_from_f32((float)v));
    return d == HONE_DTYPE_F64 ? v : (double)(float)v;
}

static void integer_range(hone_dtype d, double *low, double *high) {
    int bits = hone_dtype_bits(d);
    if (hone_dtype_is_signed_int(d)) {
        *low = -ldexp(1, bits - 1);
        *high = ldexp(1, bits - 1) - 1;
    } else {
        *low = 0;
        *high = ldexp(1, bits) - 1;
    }
}

typedef struct quant_job {
    const hone_tensor *x, *scale, *zp;
    hone_tensor *y;
    quant_walk walk;
    hone_dtype precision; /* of the division */
    bool saturate, is_int;
    double low, high;
} quant_job;

static void store_small(hone_dtype d, void *data, int64_t i, float v, bool saturate) {
    if (hone_dtype_in(d, HONE_T_F8))
        ((uint8_t *)data)[i] = hone_f8_from_f32(d, v, saturate);
    else
        hone_store_f64(d, data, i, (double)v);
}

static void quantize_one(const quant_job *j, int64_t i, int64_t s) {
    double scale = hone_load_f64(j->scale->dtype, j->scale->data, s);
    double x = hone_load_f64(j->x->dtype, j->x->data, i);
    double q = round_as(j->precision, round_as(j->precision, x) / round_as(j->precision, scale));
    double zero = j->zp ? hone_load_f64(j->zp->dtype, j->zp->data, s) : 0;
    if (!j->is_int) {
        store_small(j->y->dtype, j->y->data, i, (float)(q + zero), j->saturate);
        return;
    }
    double v = nearbyint(q) + zero;
    v = !(v >= j->low) ? j->low : v > j->high ? j->high : v;
    hone_store_i64(j->y->dtype, j->y->data, i, (int64_t)v);
}

hone_status hone_ref_quantize(hone_op_ctx *c) {
    quant_job j = {.x = hone_in(c, 0),
                   .scale = hone_in(c, 1),
                   .zp = hone_in(c, 2),
                   .y = hone_out(c, 0),
                   .saturate = hone_attr_int(c->node, "saturate", 1) != 0};
    HONE_TRY(check_zero_point(c, j.scale, j.zp));
    HONE_TRY(make_walk(c, j.x, j.scale, &j.walk));
    int64_t precision = hone_attr_int(c->node, "precision", 0);
    j.precision = precision ? (hone_dtype)precision : j.scale->dtype;
    if (hone_dtype_in(j.precision, HONE_T_INT | HONE_T_F8))
        j.precision = HONE_DTYPE_F32;
    j.is_int = !hone_dtype_is_float(j.y->dtype);
    integer_range(j.y->dtype, &j.low, &j.high);
    int64_t at = 0;
    for (int64_t o = 0; o < j.walk.outer; ++o) {
        for (int64_t a = 0; a < j.walk.axis; ++a) {
            for (int64_t i = 0; i < j.walk.inner; ++i)
                quantize_one(&j, at++, scale_index(&j.walk, o, a, i));
        }
    }
    return HONE_OK;
}

hone_status hone_infer_quantize(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    int64_t to = hone_attr_int(c->node, "output_dtype", 0);
    if (to < 0 || to >= HONE_DTYPE_COUNT)
        return hone_infer_fail(c, HONE_E_TYPE, "there is no type number %" PRId64, to);
    hone_infer_same(c, 0, 0);
    c->out[0].dtype = hone_infer_has(c, 2) ? c->in[2].dtype : to ? (hone_dtype)to : HONE_DTYPE_U8;
    return HONE_OK;
}

/* ---- DequantizeLinear -------------------------------------------------------------------------
 */

static void dequantize_f32(const quant_job *j) {
    const quant_walk *w = &j->walk;
    float *y = j->y->data;
    const float *scales = j->scale->data;
    int64_t at = 0;
    for (int64_t o = 0; o < w->outer; ++o) {
        for (int64_t a = 0; a < w->axis; ++a) {
            for (int64_t i = 0; i < w->inner; ++i, ++at) {
                int64_t s = scale_index(w, o, a, i);
                int64_t zero = j->zp ? hone_load_i64(j->zp->dtype, j->zp->data, s) : 0;
                int64_t x = hone_load_i64(j->x->dtype, j->x->data, at);
                y[at] = (float)(x - zero) * scales[s];
            }
        }
    }
}

hone_status hone_ref_dequantize(hone_op_ctx *c) {
    quant_job j = {
        .x = hone_in(c, 0), .scale = hone_in(c, 1), .zp = hone_in(c, 2), .y = hone_out(c, 0)};
    HONE_TRY(check_zero_point(c, j.scale, j.zp));
    HONE_TRY(make_walk(c, j.x, j.scale, &j.walk));
    if (!hone_dtype_is_float(j.x->dtype) && j.scale->dtype == HONE_DTYPE_F32 &&
        j.y->dtype == HONE_DTYPE_F32) {
        dequantize_f32(&j);
        return HONE_OK;
    }
    int64_t at = 0;
    for (int64_t o = 0; o < j.walk.outer; ++o) {
        for (int64_t a = 0; a < j.walk.axis; ++a) {
            for (int64_t i = 0; i < j.walk.inner; ++i, ++at) {
                int64_t s = scale_index(&j.walk, o, a, i);
                double x = hone_load_f64(j.x->dtype, j.x->data, at);
                double zero = j.zp ? hone_load_f64(j.zp->dtype, j.zp->data, s) : 0;
                double scale = hone_load_f64(j.scale->dtype, j.scale->data, s);
                hone_store_f64(j.y->dtype, j.y->data, at, (x - zero) * scale);
            }
        }
    }
    return HONE_OK;
}

hone_status hone_infer_dequantize(hone_infer_ctx *c) {
    int64_t to = hone_attr_int(c->node, "output_dtype", 0);
    if (to < 0 || to >= HONE_DTYPE_COUNT)
        return hone_infer_fail(c, HONE_E_TYPE, "there is no type number %" PRId64, to);
    HONE_TRY(hone_infer_alike(c, 0, 2));
    if (!hone_infer_has(c, 0) || (!to && !hone_infer_has(c, 1)))
        return HONE_OK;
    hone_infer_same(c, 0, 0);
    c->out[0].dtype = to ? (hone_dtype)to : c->in[1].dtype;
    return HONE_OK;
}

/* ---- DynamicQuantizeLinear --------------------------------------------------------------------
 */

hone_status hone_infer_dynamic_quantize(hone_infer_ctx *c) {
    if (hone_infer_has(c, 0)) {
        hone_infer_same(c, 0, 0);
        c->out[0].dtype = HONE_DTYPE_U8;
    }
    hone_infer_set(c, 1, HONE_DTYPE_F32, 0, NULL);
    hone_infer_set(c, 2, HONE_DTYPE_U8, 0, NULL);
    return HONE_OK;
}

hone_status hone_ref_dynamic_quantize(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    const float *x = in->data;
    uint8_t *y = hone_out(c, 0)->data;
    int64_t n = hone_tensor_count(in);
    float low = 0, high = 0; /* the range always has 0 */
    for (int64_t i = 0; i < n; ++i) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    float scale = (high - low) / 255.0f;
    float zero = scale == 0 ? 0 : nearbyintf(-low / scale);
    zero = zero < 0 ? 0 : zero > 255 ? 255 : zero;
    for (int64_t i = 0; i < n; ++i) {
        float q = (scale == 0 ? 0 : nearbyintf(x[i] / scale)) + zero;
        y[i] = (uint8_t)(!(q >= 0) ? 0 : q > 255 ? 255 : q);
    }
    *(float *)hone_out(c, 1)->data = scale;
    *(uint8_t *)hone_out(c, 2)->data = (uint8_t)zero;
    return HONE_OK;
}
