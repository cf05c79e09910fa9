/* MaxPool, AveragePool, LpPool and their global forms, and MaxUnpool. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ops/conv_shape.h"

static bool is_global(const hone_node *n) {
    return strncmp(n->op->name, "Global", 6) == 0;
}

/* Global pooling: one window over everything. */
static const char *read_window(const hone_node *n, const int64_t *in, int axes, hone_window *w) {
    if (!is_global(n))
        return hone_window_read(n, axes, in, NULL, w);
    if (axes < 1 || axes > HONE_WINDOW_MAX)
        return "the number of spatial axes is not supported";
    memset(w, 0, sizeof *w);
    w->n = axes;
    for (int d = 0; d < axes; ++d) {
        w->in[d] = w->kernel[d] = in[d];
        w->out[d] = w->stride[d] = w->dilation[d] = 1;
    }
    return NULL;
}

hone_status hone_infer_pool(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_type *in = &c->in[0];
    hone_infer_same(c, 0, 0);
    if (in->rank >= 0) {
        hone_window w;
        if (in->rank < 3)
            return hone_infer_fail(c, HONE_E_SHAPE, "the input has rank %d, not 3 or more",
                                   in->rank);
        const char *wrong = read_window(c->node, in->dims + 2, in->rank - 2, &w);
        if (wrong)
            return hone_infer_fail(c, HONE_E_SHAPE, "%s", wrong);
        for (int d = 0; d < w.n; ++d)
            c->out[0].dims[d + 2] = w.out[d];
    }
    if (c->n_out > 1) {
        c->out[1] = c->out[0];
        c->out[1].dtype = HONE_DTYPE_I64;
    }
    return HONE_OK;
}

typedef enum pool_kind { POOL_MAX, POOL_AVERAGE, POOL_LP } pool_kind;

typedef struct pool_job {
    hone_window w;
    pool_kind kind;
    const hone_tensor *in;
    hone_tensor *out;
    int64_t *indices;
    int64_t in_plane, out_plane;
    bool count_pads, is_column_major;
    double p;
} pool_job;

/* The taps of axis d that read inside the input at output position o. */
static void tap_range(const hone_window *w, int d, int64_t o, int64_t *from, int64_t *to,
                      int64_t *base) {
    *base = o * w->stride[d] - w->pad[d];
    *from = *base >= 0 ? 0 : (-*base + w->dilation[d] - 1) / w->dilation[d];
    *to = *base >= w->in[d] ? 0 : (w->in[d] - 1 - *base) / w->dilation[d] + 1;
    *to = *to > w->kernel[d] ? w->kernel[d] : *to;
}

/* How many taps lie in the input or its padding: what an average that counts pads divides by. */
static int64_t padded_taps(const hone_window *w, int d, int64_t o) {
    int64_t base = o * w->stride[d], end = w->in[d] + w->pad[d] + w->pad_end[d];
    int64_t n = base >= end ? 0 : (end - 1 - base) / w->dilation[d] + 1;
    return n < w->kernel[d] ? n : w->kernel[d];
}

typedef struct pool_result {
    double value;
    int64_t at; /* of the maximum */
} pool_result;

static pool_result pool_one(const pool_job *j, int64_t plane, int64_t od, int64_t oh, int64_t ow) {
    const hone_window *w = &j->w;
    int64_t f[3], t[3], b[3];
    tap_range(w, 0, od, &f[0], &t[0], &b[0]);
    tap_range(w, 1, oh, &f[1], &t[1], &b[1]);
    tap_range(w, 2, ow, &f[2], &t[2], &b[2]);
    pool_result r = {j->kind == POOL_MAX ? -INFINITY : 0, -1};
    int64_t n = 0;
    for (int64_t kd = f[0]; kd < t[0]; ++kd) {
        for (int64_t kh = f[1]; kh < t[1]; ++kh) {
            for (int64_t kw = f[2]; kw < t[2]; ++kw, ++n) {
                int64_t d = b[0] + kd * w->dilation[0], h = b[1] + kh * w->dilation[1];
                int64_t i = b[2] + kw * w->dilation[2];
                int64_t at = (d * w->in[1] + h) * w->in[2] + i;
                double x = hone_load_f64(j->in->dtype, j->in->data, plane * j->in_plane + at);
                if (j->kind == POOL_LP)
                    r.value += pow(fabs(x), j->p);
                else if (j->kind == POOL_AVERAGE)
                    r.value += x;
                else if (r.at < 0 || x > r.value || (isnan(x) && !isnan(r.value))) {
                    r.value = x;
                    r.at = j->is_column_major ? (i * w->in[1] + h) * w->in[0] + d : at;
                }
            }
        }
    }
    /* Nothing but padding: the type's lowest value. */
    if (j->kind == POOL_MAX && r.at < 0 && !hone_dtype_is_float(j->in->dtype))
        r.value = j->in->dtype == HONE_DTYPE_I8 ? -128 : 0;
    if (j->kind == POOL_LP)
        r.value = pow(r.value, 1 / j->p);
    if (j->kind == POOL_AVERAGE) {
        if (j->count_pads)
            n = padded_taps(w, 0, od) * padded_taps(w, 1, oh) * padded_taps(w, 2, ow);
        r.value = n ? r.value / (double)n : 0;
    }
    return r;
}

static void pool_task(void *arg, int64_t plane, int worker) {
    (void)worker;
    const pool_job *j = arg;
    const hone_window *w = &j->w;
    int64_t at = plane * j->out_plane;
    for (int64_t d = 0; d < w->out[0]; ++d) {
        for (int64_t h = 0; h < w->out[1]; ++h) {
            for (int64_t i = 0; i < w->out[2]; ++i, ++at) {
                pool_result r = pool_one(j, plane, d, h, i);
                hone_store_f64(j->out->dtype, j->out->data, at, r.value);
                if (j->indices)
                    j->indices[at] = r.at < 0 ? -1 : plane * j->in_plane + r.at;
            }
        }
    }
}

hone_status hone_ref_pool(hone_op_ctx *c) {
    pool_job j = {.in = hone_in(c, 0), .out = hone_out(c, 0)};
    const char *name = c->node->op->name;
    j.kind = strstr(name, "Max") ? POOL_MAX : strstr(name, "Lp") ? POOL_LP : POOL_AVERAGE;
    j.count_pads = hone_attr_int(c->node, "count_include_pad", 0) != 0;
    j.is_column_major = hone_attr_int(c->node, "storage_order", 0) != 0;
    j.p = (double)hone_attr_int(c->node, "p", 2);
    const char *wrong = read_window(c->node, j.in->dims + 2, j.in->rank - 2, &j.w);
    if (wrong || j.w.n > 3)
        return hone_op_fail(c, HONE_E_UNSUPPORTED, "%s",
                            wrong ? wrong : "more than 3 spatial axes");
    hone_window_as_3d(&j.w);
    j.in_plane = hone_dims_count(j.w.in, 0, 3);
    j.out_plane = hone_dims_count(j.w.out, 0, 3);
    if (hone_out(c, 1))
        j.indices = hone_out(c, 1)->data;
    if (hone_tensor_count(j.out))
        hone_op_parallel(c, j.in->dims[0] * j.in->dims[1], pool_task, &j);
    return HONE_OK;
}

/* ---- MaxUnpool --------------------------------------------------------------------------------
 */

hone_status hone_infer_max_unpool(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_type *in = &c->in[0];
    int64_t dims[HONE_MAX_RANK];
    int n = hone_infer_dims(c, 2, dims, HONE_MAX_RANK);
    bool has_shape = c->n_in > 2 && c->node->in[2];
    hone_infer_set(c, 0, in->dtype, -1, NULL);
    if (in->rank < 0 || (has_shape && n < 0))
        return HONE_OK;
    if (in->rank < 3 || (n >= 0 && n != in->rank))
        return hone_infer_fail(c, HONE_E_SHAPE, "the input's rank does not fit");
    hone_infer_same(c, 0, 0);
    for (int d = 0; d < in->rank; ++d) {
        if (n >= 0) {
            if (hone_infer_value(c, 2) && dims[d] < 0)
                return hone_infer_fail(c, HONE_E_SHAPE, "output_shape is negative");
            c->out[0].dims[d] = dims[d];
        }
    }
    hone_window w;
    const char *wrong = hone_window_read(c->node, in->rank - 2, in->dims + 2, NULL, &w);
    if (wrong)
        return hone_infer_fail(c, HONE_E_SHAPE, "%s", wrong);
    for (int d = 0; d < w.n && n < 0; ++d)
        c->out[0].dims[d + 2] = in->dims[d + 2] < 0 ? HONE_DIM_UNKNOWN
                                                    : (in->dims[d + 2] - 1) * w.stride[d] -
                                                          w.pad[d] - w.pad_end[d] + w.kernel[d];
    for (int d = 0; d < w.n; ++d) {
        if (n < 0 && in->dims[d + 2] >= 0 && c->out[0].dims[d + 2] < 0)
            return hone_infer_fail(c, HONE_E_SHAPE, "the output would have a negative size");
    }
    return HONE_OK;
}

/* Indices count in the shape that the pads and kernel give; output_shape may be larger. */
hone_status hone_ref_max_unpool(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0), *indices = hone_in(c, 1);
    hone_tensor *out = hone_out(c, 0);
    int64_t n = hone_tensor_count(out), natural[HONE_MAX_RANK];
    hone_window w;
    const char *wrong = hone_window_read(c->node, in->rank - 2, in->dims + 2, NULL, &w);
    if (wrong || hone_tensor_count(indices) != hone_tensor_count(in))
        return hone_op_fail(c, HONE_E_SHAPE, "%s",
                            wrong ? wrong : "indices and input differ in size");
    for (int d = 0; d < in->rank; ++d)
        natural[d] = d < 2 ? in->dims[d]
                           : (in->dims[d] - 1) * w.stride[d - 2] - w.pad[d - 2] - w.pad_end[d - 2] +
                                 w.kernel[d - 2];
    memset(out->data, 0, hone_tensor_bytes(out));
    for (int64_t i = 0, count = hone_tensor_count(in); i < count; ++i) {
        int64_t rest = hone_load_i64(indices->dtype, indices->data, i), at = 0, step = 1;
        bool is_inside = rest >= 0;
        for (int d = in->rank - 1; is_inside && d >= 0; --d) {
            int64_t index = natural[d] > 0 ? rest % natural[d] : 0;
            rest = natural[d] > 0 ? rest / natural[d] : 0;
            is_inside = index < out->dims[d];
            at += index * step;
            step *= out->dims[d];
        }
        if (!is_inside || rest || at >= n)
            return hone_op_fail(c, HONE_E_RUNTIME, "index %" PRId64 " is outside the output", i);
        hone_copy_elems(out->dtype, out->data, at, in->data, i, 1);
    }
    return HONE_OK;
}
