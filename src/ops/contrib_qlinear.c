/* com.microsoft operators on 8-bit tensors: QLinearConcat, QLinearAveragePool,
 * QLinearGlobalAveragePool, QGemm (public operator documentation, ContribOperators.md). Values are
 * dequantised, computed in float and quantised with rounding to nearest even. */
#include <inttypes.h>
#include <math.h>

#include "ops/dense.h"

typedef struct quant {
    float scale;
    int32_t zero;
} quant;

static bool is_8bit(hone_dtype d) {
    return d == HONE_DTYPE_U8 || d == HONE_DTYPE_I8;
}

/* Scale at input i and zero point (may be absent) at i + 1; both hold one element. */
static hone_status get_quant(hone_op_ctx *c, int i, quant *q) {
    const hone_tensor *scale = hone_in(c, i), *zero = hone_in(c, i + 1);
    if (!scale || hone_tensor_count(scale) != 1 || (zero && hone_tensor_count(zero) != 1))
        return hone_op_fail(c, HONE_E_SHAPE, "inputs %d and %d must hold one element each", i,
                            i + 1);
    q->scale = (float)hone_load_f64(scale->dtype, scale->data, 0);
    q->zero = zero ? (int32_t)hone_load_i64(zero->dtype, zero->data, 0) : 0;
    return HONE_OK;
}

static float load8(hone_dtype d, const void *data, int64_t i, const quant *q) {
    int v = d == HONE_DTYPE_U8 ? ((const uint8_t *)data)[i] : ((const int8_t *)data)[i];
    return (float)(v - q->zero) * q->scale;
}

static void store8(hone_dtype d, void *data, int64_t i, const quant *q, float v) {
    float lo = d == HONE_DTYPE_U8 ? 0 : -128, hi = d == HONE_DTYPE_U8 ? 255 : 127;
    float r = rintf(v / q->scale) + (float)q->zero;
    r = r >= lo ? r : lo; /* NaN becomes the lowest value */
    r = r <= hi ? r : hi;
    if (d == HONE_DTYPE_U8)
        ((uint8_t *)data)[i] = (uint8_t)r;
    else
        ((int8_t *)data)[i] = (int8_t)r;
}

/* ---- QLinearConcat -------------------------------------------------------------------------- */

/* Y_scale, Y_zero_point, then tensor, scale, zero point of each part. */
hone_status hone_infer_ms_qconcat(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x1));
    int64_t dims[HONE_MAX_RANK], sum = 0, d;
    int rank = -1, axis = 0;
    hone_dtype type = hone_infer_has(c, 1) ? c->in[1].dtype : HONE_DTYPE_NONE;
    if (c->n_in < 2 || (c->n_in - 2) % 3 != 0)
        return hone_infer_fail(c, HONE_E_FORMAT, "each part needs a tensor, scale and zero point");
    hone_infer_set(c, 0, type, -1, NULL);
    for (int i = 2; i < c->n_in; i += 3) {
        const hone_type *t = &c->in[i];
        if (!hone_infer_has(c, i) || t->rank < 0)
            return HONE_OK;
        if (rank < 0) {
            rank = t->rank;
            memcpy(dims, t->dims, (size_t)rank * sizeof *dims);
            HONE_TRY(hone_infer_axis(c, hone_attr_int(c->node, "axis", 1), rank, false, &axis));
        }
        if (t->rank != rank)
            return hone_infer_fail(c, HONE_E_SHAPE, "parts of rank %d and %d", rank, t->rank);
        for (int k = 0; k < rank; ++k) {
            if (k != axis)
                HONE_TRY(hone_infer_same_dim(c, dims[k], t->dims[k], &d));
            if (k != axis)
                dims[k] = d;
        }
        if (sum >= 0 && (t->dims[axis] < 0 || __builtin_add_overflow(sum, t->dims[axis], &sum)))
            sum = HONE_DIM_UNKNOWN;
    }
    dims[axis] = sum;
    hone_infer_set(c, 0, type, rank, dims);
    return HONE_OK;
}

hone_status hone_ref_ms_qconcat(hone_op_ctx *c) {
    hone_tensor *y = c->out[0];
    quant to, from;
    HONE_TRY(get_quant(c, 0, &to));
    int64_t axis = hone_attr_int(c->node, "axis", 1), at = 0;
    axis += axis < 0 ? y->rank : 0;
    int64_t inner = hone_dims_count(y->dims, (int)axis + 1, y->rank);
    int64_t outer = hone_dims_count(y->dims, 0, (int)axis), row = y->dims[axis] * inner;
    for (int i = 2; i < c->n_in; i += 3) {
        const hone_tensor *x = c->in[i];
        if (!x)
            return hone_op_fail(c, HONE_E_FORMAT, "input %d is needed", i);
        int64_t n = x->dims[axis] * inner;
        if (!is_8bit(x->dtype) || !is_8bit(y->dtype))
            return hone_op_bad_type(c, is_8bit(x->dtype) ? y->dtype : x->dtype);
        HONE_TRY(get_quant(c, i + 1, &from));
        for (int64_t o = 0; o < outer; ++o)
            for (int64_t k = 0; k < n; ++k)
                store8(y->dtype, y->data, o * row + at + k, &to,
                       load8(x->dtype, x->data, o * n + k, &from));
        at += n;
    }
    return HONE_OK;
}

/* ---- pooling -------------------------------------------------------------------------------- */

typedef struct window {
    int64_t in, out, kernel, stride, pad, pad_end;
} window;

/* Sizes of one spatial axis; out stays unknown when `in` is. */
static hone_status set_window(hone_infer_ctx *c, const hone_node *n, int axis, int n_axes,
                              window *w) {
    const int64_t *kernel, *strides, *pads;
    const char *mode = hone_attr_string(n, "auto_pad", "NOTSET");
    bool same = strncmp(mode, "SAME", 4) == 0, ceil_mode = hone_attr_int(n, "ceil_mode", 0) != 0;
    int n_kernel = hone_attr_ints(n, "kernel_shape", &kernel);
    int n_strides = hone_attr_ints(n, "strides", &strides),
        n_pads = hone_attr_ints(n, "pads", &pads);
    if (n_kernel != n_axes || (n_strides && n_strides != n_axes) ||
        (n_pads && n_pads != 2 * n_axes))
        return hone_infer_fail(c, HONE_E_FORMAT, "kernel_shape, strides or pads do not fit %d axes",
                               n_axes);
    w->kernel = kernel[axis];
    w->stride = n_strides ? strides[axis] : 1;
    w->pad = n_pads && !same ? pads[axis] : 0;
    w->pad_end = n_pads && !same ? pads[n_axes + axis] : 0;
    if (w->kernel < 1 || w->stride < 1 || w->pad < 0 || w->pad_end < 0 || w->kernel > INT32_MAX ||
        w->stride > INT32_MAX || w->pad >= w->kernel || w->pad_end >= w->kernel)
        return hone_infer_fail(c, HONE_E_FORMAT, "kernel, stride or pad out of range");
    w->out = HONE_DIM_UNKNOWN;
    if (w->in < 0 || w->in > INT64_MAX / 4)
        return HONE_OK;
    if (same) {
        w->out = (w->in + w->stride - 1) / w->stride;
        int64_t need = (w->out - 1) * w->stride + w->kernel - w->in;
        need = need < 0 ? 0 : need;
        w->pad = strcmp(mode, "SAME_LOWER") == 0 ? (need + 1) / 2 : need / 2;
        w->pad_end = need - w->pad;
        return HONE_OK;
    }
    int64_t room = w->in + w->pad + w->pad_end - w->kernel;
    w->out = room < 0 ? 0 : (room + (ceil_mode ? w->stride - 1 : 0)) / w->stride + 1;
    if (ceil_mode && w->out > 0 && (w->out - 1) * w->stride >= w->in + w->pad)
        --w->out; /* no window starts in the end padding */
    return HONE_OK;
}

hone_status hone_infer_ms_qpool(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0xb));
    const hone_type *x = &c->in[0];
    int64_t dims[HONE_MAX_RANK];
    bool last = hone_attr_int(c->node, "channels_last", 0) != 0;
    bool global = c->node->op->name[7] == 'G';
    if (!hone_infer_has(c, 0) || x->rank < 0) {
        hone_infer_set(c, 0, x->dtype, -1, NULL);
        return HONE_OK;
    }
    if (x->rank < 3 || x->rank > 5)
        return hone_infer_fail(c, HONE_E_SHAPE, "pooling needs rank 3 to 5, not %d", x->rank);
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    for (int i = 0; i < x->rank - 2; ++i) {
        int k = i + (last ? 1 : 2);
        window w = {.in = dims[k], .out = 1};
        if (!global)
            HONE_TRY(set_window(c, c->node, i, x->rank - 2, &w));
        dims[k] = w.out;
    }
    hone_infer_set(c, 0, x->dtype, x->rank, dims);
    return HONE_OK;
}

typedef struct qpool {
    window w[3]; /* depth, height, width; missing axes have size 1 */
    const hone_tensor *x;
    quant from;
    int64_t step; /* elements between neighbours of the last axis */
    bool include_pad;
} qpool;

static float pool_window(const qpool *p, int64_t base, const int64_t at[3]) {
    int64_t lo[3], hi[3], n = 1;
    for (int i = 0; i < 3; ++i) {
        const window *w = &p->w[i];
        int64_t from = at[i] * w->stride - w->pad, to = from + w->kernel;
        int64_t end = w->in + w->pad_end;
        lo[i] = from < 0 ? 0 : from;
        hi[i] = to > w->in ? w->in : to;
        n *= p->include_pad ? (to > end ? end : to) - from : hi[i] - lo[i];
    }
    float sum = 0;
    for (int64_t z = lo[0]; z < hi[0]; ++z)
        for (int64_t y = lo[1]; y < hi[1]; ++y)
            for (int64_t x = lo[2]; x < hi[2]; ++x)
                sum += load8(p->x->dtype, p->x->data,
                             base + ((z * p->w[1].in + y) * p->w[2].in + x) * p->step, &p->from);
    return n > 0 ? sum / (float)n : 0;
}

static hone_status qpool_windows(hone_op_ctx *c, qpool *p, bool last, bool global) {
    const hone_tensor *x = p->x;
    hone_infer_ctx ic = {.node = c->node, .err = c->err};
    for (int i = 0; i < 3; ++i) {
        int axis = i - (3 - (x->rank - 2));
        p->w[i] = (window){1, 1, 1, 1, 0, 0};
        if (axis < 0)
            continue;
        p->w[i].in = p->w[i].kernel = x->dims[axis + (last ? 1 : 2)];
        if (!global)
            HONE_TRY(set_window(&ic, c->node, axis, x->rank - 2, &p->w[i]));
    }
    return HONE_OK;
}

hone_status hone_ref_ms_qpool(hone_op_ctx *c) {
    bool last = hone_attr_int(c->node, "channels_last", 0) != 0;
    bool global = c->node->op->name[7] == 'G';
    hone_tensor *y = c->out[0];
    qpool p = {.x = c->in[0], .include_pad = hone_attr_int(c->node, "count_include_pad", 0) != 0};
    quant to;
    if (!is_8bit(p.x->dtype))
        return hone_op_bad_type(c, p.x->dtype);
    HONE_TRY(get_quant(c, 1, &p.from));
    HONE_TRY(get_quant(c, 3, &to));
    HONE_TRY(qpool_windows(c, &p, last, global));
    int64_t channels = p.x->dims[last ? p.x->rank - 1 : 1];
    int64_t n_in = p.w[0].in * p.w[1].in * p.w[2].in, n_out = p.w[0].out * p.w[1].out * p.w[2].out;
    p.step = last ? channels : 1;
    for (int64_t i = 0; i < p.x->dims[0] * channels * n_out; ++i) {
        int64_t plane = i / n_out, o = i % n_out, image = plane / channels, ch = plane % channels;
        int64_t at[3] = {o / p.w[2].out / p.w[1].out, o / p.w[2].out % p.w[1].out, o % p.w[2].out};
        float v = pool_window(&p, last ? image * n_in * channels + ch : plane * n_in, at);
        store8(y->dtype, y->data, last ? (image * n_out + o) * channels + ch : i, &to, v);
    }
    return HONE_OK;
}

/* ---- QGemm ---------------------------------------------------------------------------------- */

/* A, a_scale, a_zero_point, B, b_scale, b_zero_point, C, y_scale, y_zero_point. */
hone_status hone_infer_ms_qgemm(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x1b));
    int64_t a[2] = {HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN}, b[2] = {a[0], a[1]}, k;
    for (int i = 0; i <= 3; i += 3) {
        if (!hone_infer_has(c, i) || c->in[i].rank < 0)
            continue;
        if (c->in[i].rank != 2)
            return hone_infer_fail(c, HONE_E_SHAPE, "input %d must have rank 2", i);
        bool trans = hone_attr_int(c->node, i ? "transB" : "transA", 0) != 0;
        (i ? b : a)[0] = c->in[i].dims[trans ? 1 : 0];
        (i ? b : a)[1] = c->in[i].dims[trans ? 0 : 1];
    }
    HONE_TRY(hone_infer_same_dim(c, a[1], b[0], &k));
    bool quantised = c->n_in > 7 && c->node->in[7];
    hone_infer_set(c, 0, quantised ? c->in[0].dtype : HONE_DTYPE_F32, 2, (int64_t[]){a[0], b[1]});
    if (quantised && hone_infer_has(c, 8))
        c->out[0].dtype = c->in[8].dtype;
    return HONE_OK;
}

/* op(t) with zero points (one, or one a column of the result) taken off, as int32 [rows, cols]. */
static hone_status gemm_operand(hone_op_ctx *c, int i, bool trans, int32_t **out) {
    const hone_tensor *t = c->in[i], *zero = hone_in(c, i + 2);
    int64_t n = hone_tensor_count(t), cols = t->dims[trans ? 0 : 1];
    int64_t n_zero = zero ? hone_tensor_count(zero) : 0;
    int32_t *p = hone_op_array(c, n, sizeof *p);
    if (!p)
        return HONE_E_NOMEM;
    if (!is_8bit(t->dtype))
        return hone_op_bad_type(c, t->dtype);
    if (n_zero > 1 && (n_zero != cols || i == 0))
        return hone_op_fail(c, HONE_E_SHAPE, "a zero point must hold one element, or one a column");
    for (int64_t e = 0; e < n; ++e) {
        int64_t row = e / cols, col = e % cols, from = trans ? col * t->dims[1] + row : e;
        int v = t->dtype == HONE_DTYPE_U8 ? ((const uint8_t *)t->data)[from]
                                          : ((const int8_t *)t->data)[from];
        p[e] = v -
               (n_zero ? (int32_t)hone_load_i64(zero->dtype, zero->data, n_zero > 1 ? col : 0) : 0);
    }
    *out = p;
    return HONE_OK;
}

/* Strides by which C broadcasts to [m, n]. */
static hone_status gemm_c(hone_op_ctx *c, int64_t m, int64_t n, int64_t at[2]) {
    const hone_tensor *t = hone_in(c, 6);
    int64_t rows = t && t->rank == 2 ? t->dims[0] : 1;
    int64_t cols = t && t->rank > 0 ? t->dims[t->rank - 1] : 1;
    if (t && (t->rank > 2 || t->dtype != HONE_DTYPE_I32 || (rows != 1 && rows != m) ||
              (cols != 1 && cols != n)))
        return hone_op_fail(c, HONE_E_SHAPE, "C must be int32 and broadcast to the product");
    at[0] = rows == 1 ? 0 : cols;
    at[1] = cols == 1 ? 0 : 1;
    return HONE_OK;
}

hone_status hone_ref_ms_qgemm(hone_op_ctx *c) {
    const hone_tensor *a_scale = c->in[1], *b_scale = c->in[4], *add = hone_in(c, 6);
    hone_tensor *y = c->out[0];
    bool ta = hone_attr_int(c->node, "transA", 0) != 0,
         tb = hone_attr_int(c->node, "transB", 0) != 0;
    int32_t *a, *b;
    int64_t m = y->dims[0], n = y->dims[1], k = c->in[0]->dims[ta ? 0 : 1], at[2] = {0, 0};
    int64_t n_scale = hone_tensor_count(b_scale);
    quant to = {1, 0};
    HONE_TRY(gemm_operand(c, 0, ta, &a));
    HONE_TRY(gemm_operand(c, 3, tb, &b));
    HONE_TRY(gemm_c(c, m, n, at));
    if (hone_in(c, 7))
        HONE_TRY(get_quant(c, 7, &to));
    if (hone_tensor_count(a_scale) != 1 || (n_scale != 1 && n_scale != n))
        return hone_op_fail(c, HONE_E_SHAPE, "a_scale holds one element, b_scale one or N");
    uint32_t *sum = hone_op_array(c, n, sizeof *sum);
    if (!sum)
        return HONE_E_NOMEM;
    float alpha = hone_attr_float(c->node, "alpha", 1) *
                  (float)hone_load_f64(a_scale->dtype, a_scale->data, 0);
    for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j)
            sum[j] = add ? ((const uint32_t *)add->data)[i * at[0] + j * at[1]] : 0;
        for (int64_t l = 0; l < k; ++l)
            for (int64_t j = 0; j < n; ++j)
                sum[j] += (uint32_t)a[i * k + l] * (uint32_t)b[l * n + j];
        for (int64_t j = 0; j < n; ++j) {
            float scale = (float)hone_load_f64(b_scale->dtype, b_scale->data, n_scale > 1 ? j : 0);
            float v = (float)(int32_t)sum[j] * alpha * scale;
            if (y->dtype == HONE_DTYPE_F32)
                ((float *)y->data)[i * n + j] = v;
            else
                store8(y->dtype, y->data, i * n + j, &to, v);
        }
    }
    return HONE_OK;
}
