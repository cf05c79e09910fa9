/* Normalisations. Statistics run in double over [outer, n, inner] views. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ir/op.h"

static double get(const hone_tensor *t, int64_t i) {
    return hone_load_f64(t->dtype, t->data, i);
}

static void put(hone_tensor *t, int64_t i, double v) {
    hone_store_f64(t->dtype, t->data, i, v);
}

static hone_status check_channels(hone_op_ctx *c, int first, int last, int64_t n) {
    for (int i = first; i <= last; ++i) {
        if (hone_in(c, i) && hone_tensor_count(hone_in(c, i)) != n)
            return hone_op_fail(c, HONE_E_SHAPE, "input %d has %" PRId64 " elements, not %" PRId64,
                                i, hone_tensor_count(hone_in(c, i)), n);
    }
    return HONE_OK;
}

/* Mean and variance of n elements that start at `at`, `step` apart. */
static void moments(const hone_tensor *t, int64_t at, int64_t step, int64_t n, double *mean,
                    double *var) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; ++i)
        sum += get(t, at + i * step);
    *mean = n ? sum / (double)n : 0;
    for (int64_t i = 0; i < n; ++i) {
        double d = get(t, at + i * step) - *mean;
        squares += d * d;
    }
    *var = n ? squares / (double)n : 0;
}

/* Inputs [1, n] hold a number for each channel of input 0. */
static hone_status infer_channels(hone_infer_ctx *c, int n) {
    int64_t channels = c->in[0].rank > 1 ? c->in[0].dims[1] : HONE_DIM_UNKNOWN, size;
    for (int i = 1; i <= n; ++i) {
        if (hone_infer_has(c, i) && c->in[i].rank == 1)
            HONE_TRY(hone_infer_same_dim(c, c->in[i].dims[0], channels, &size));
    }
    return HONE_OK;
}

hone_status hone_infer_norm(hone_infer_ctx *c) {
    if (hone_infer_has(c, 0))
        hone_infer_same(c, 0, 0);
    return HONE_OK;
}

hone_status hone_infer_lp_norm(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_norm(c));
    int axis, rank = hone_infer_has(c, 0) ? c->in[0].rank : -1;
    return rank < 0 ? HONE_OK
                    : hone_infer_axis(c, hone_attr_int(c->node, "axis", -1), rank, false, &axis);
}

hone_status hone_infer_channel_norm(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_norm(c));
    HONE_TRY(hone_infer_alike(c, 0, 1));
    HONE_TRY(hone_infer_alike(c, 0, 2));
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    int64_t channels = c->in[0].rank > 1 ? c->in[0].dims[1] : HONE_DIM_UNKNOWN;
    int64_t groups = hone_attr_int(c->node, "num_groups", 1);
    if (groups < 1 || (channels >= 0 && channels % groups))
        return hone_infer_fail(c, HONE_E_SHAPE,
                               "%" PRId64 " groups do not divide %" PRId64 " channels", groups,
                               channels);
    return infer_channels(c, 2);
}

/* ---- BatchNormalization -----------------------------------------------------------------------
 */

hone_status hone_infer_batch_norm(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    hone_infer_same(c, 0, 0);
    for (int o = 1; o < c->n_out && o <= 2; ++o)
        hone_infer_same(c, o, o + 2);
    return infer_channels(c, 4);
}

hone_status hone_ref_batch_norm(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    hone_tensor *y = hone_out(c, 0), *new_mean = hone_out(c, 1), *new_var = hone_out(c, 2);
    double epsilon = (double)hone_attr_float(c->node, "epsilon", 1e-5f);
    double momentum = (double)hone_attr_float(c->node, "momentum", 0.9f);
    bool is_training = hone_attr_int(c->node, "training_mode", 0) != 0;
    if (x->rank < 1)
        return hone_op_fail(c, HONE_E_SHAPE, "the input is a scalar");
    int64_t channels = x->rank > 1 ? x->dims[1] : 1, batch = x->dims[0];
    int64_t plane = hone_dims_count(x->dims, 2, x->rank > 1 ? x->rank : 2);
    HONE_TRY(check_channels(c, 1, 4, channels));
    for (int64_t k = 0; k < channels; ++k) {
        double mean = get(hone_in(c, 3), k), var = get(hone_in(c, 4), k);
        if (is_training) {
            double sum = 0, squares = 0, n = (double)(batch * plane);
            for (int64_t i = 0; i < batch * plane; ++i)
                sum += get(x, (i / plane * channels + k) * plane + i % plane);
            sum /= n;
            for (int64_t i = 0; i < batch * plane; ++i) {
                double d = get(x, (i / plane * channels + k) * plane + i % plane) - sum;
                squares += d * d;
            }
            squares /= n;
            if (new_mean)
                put(new_mean, k, mean * momentum + sum * (1 - momentum));
            if (new_var)
                put(new_var, k, var * momentum + squares * (1 - momentum));
            mean = sum;
            var = squares;
        }
        double scale = get(hone_in(c, 1), k) / sqrt(var + epsilon);
        double shift = get(hone_in(c, 2), k) - mean * scale;
        for (int64_t i = 0; i < batch * plane; ++i) {
            int64_t at = (i / plane * channels + k) * plane + i % plane;
            put(y, at, get(x, at) * scale + shift);
        }
    }
    return HONE_OK;
}

/* ---- instance and group normalisation ---------------------------------------------------------
 */

/* Statistics over runs of `per_group` channels of each image; scale and bias by channel. */
static hone_status normalize_groups(hone_op_ctx *c, int64_t groups) {
    const hone_tensor *x = hone_in(c, 0), *scale = hone_in(c, 1), *bias = hone_in(c, 2);
    hone_tensor *y = hone_out(c, 0);
    double epsilon = (double)hone_attr_float(c->node, "epsilon", 1e-5f);
    if (x->rank < 2)
        return hone_op_fail(c, HONE_E_SHAPE, "the input has rank %d, not 2 or more", x->rank);
    int64_t channels = x->dims[1], plane = hone_dims_count(x->dims, 2, x->rank);
    HONE_TRY(check_channels(c, 1, 2, channels));
    if (groups < 1 || channels % groups)
        return hone_op_fail(c, HONE_E_SHAPE,
                            "%" PRId64 " groups do not divide %" PRId64 " channels", groups,
                            channels);
    int64_t per_group = channels / groups, n = per_group * plane;
    for (int64_t g = 0; g < x->dims[0] * groups; ++g) {
        double mean, var;
        moments(x, g * n, 1, n, &mean, &var);
        double inv = 1 / sqrt(var + epsilon);
        for (int64_t i = 0; i < n; ++i) {
            int64_t k = g % groups * per_group + i / plane;
            put(y, g * n + i, (get(x, g * n + i) - mean) * inv * get(scale, k) + get(bias, k));
        }
    }
    return HONE_OK;
}

hone_status hone_ref_instance_norm(hone_op_ctx *c) {
    return normalize_groups(c, hone_in(c, 0)->rank > 1 ? hone_in(c, 0)->dims[1] : 1);
}

hone_status hone_ref_group_norm(hone_op_ctx *c) {
    return normalize_groups(c, hone_attr_int(c->node, "num_groups", 0));
}

/* ---- layer and RMS normalisation --------------------------------------------------------------
 */

hone_status hone_infer_layer_norm(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    hone_infer_same(c, 0, 0);
    if (c->in[0].rank < 0)
        return HONE_OK;
    int axis;
    int64_t stash = hone_attr_int(c->node, "stash_type", HONE_DTYPE_F32);
    if (stash < 1 || stash >= HONE_DTYPE_COUNT || !hone_dtype_in((hone_dtype)stash, HONE_T_FLOAT))
        return hone_infer_fail(c, HONE_E_TYPE, "stash_type %" PRId64 " is no float type", stash);
    HONE_TRY(hone_infer_axis(c, hone_attr_int(c->node, "axis", -1), c->in[0].rank, false, &axis));
    for (int o = 1; o < c->n_out; ++o) {
        hone_infer_same(c, o, 0);
        c->out[o].dtype = (hone_dtype)stash;
        for (int d = axis; d < c->in[0].rank; ++d)
            c->out[o].dims[d] = 1;
    }
    return HONE_OK;
}

/* A scale or bias that broadcasts to x, whose dims before `axis` are the rows. */
typedef struct factor {
    const hone_tensor *t; /* NULL: absent */
    int axis;
    int64_t stride[HONE_MAX_RANK]; /* by x's dims; 0 where it is repeated */
    int64_t *column;               /* offset of each element of a row */
} factor;

static hone_status read_factor(hone_op_ctx *c, const hone_tensor *t, const hone_tensor *x, int axis,
                               factor *f) {
    int64_t n = hone_dims_count(x->dims, axis, x->rank), step = 1;
    *f = (factor){.t = t, .axis = axis};
    if (!t)
        return HONE_OK;
    bool fits = t->rank <= x->rank;
    for (int d = x->rank - 1, k = t->rank - 1; fits && k >= 0; --d, --k) {
        fits = t->dims[k] == 1 || t->dims[k] == x->dims[d];
        f->stride[d] = t->dims[k] == 1 ? 0 : step;
        step *= t->dims[k];
    }
    if (!fits)
        return hone_op_fail(c, HONE_E_SHAPE, "scale or bias does not broadcast to the input");
    f->column = hone_op_scratch(c, (size_t)n * sizeof *f->column + 1);
    if (!f->column)
        return HONE_E_NOMEM;
    for (int64_t i = 0; i < n; ++i) {
        f->column[i] = 0;
        for (int64_t d = x->rank - 1, rest = i; d >= axis; rest /= x->dims[d], --d)
            f->column[i] += rest % x->dims[d] * f->stride[d];
    }
    return HONE_OK;
}

static int64_t row_offset(const factor *f, const hone_tensor *x, int64_t row) {
    int64_t at = 0;
    for (int d = f->axis - 1; d >= 0; row /= x->dims[d], --d)
        at += row % x->dims[d] * f->stride[d];
    return at;
}

static double element(const factor *f, int64_t row_at, int64_t i, double missing) {
    return f->t ? get(f->t, row_at + f->column[i]) : missing;
}

static hone_status normalize_rows(hone_op_ctx *c, bool takes_mean) {
    const hone_tensor *x = hone_in(c, 0);
    hone_tensor *y = hone_out(c, 0), *mean_out = hone_out(c, 1), *inv_out = hone_out(c, 2);
    double epsilon = (double)hone_attr_float(c->node, "epsilon", 1e-5f);
    int64_t axis = hone_attr_int(c->node, "axis", -1);
    axis = axis < 0 ? axis + x->rank : axis;
    int64_t rows = hone_dims_count(x->dims, 0, (int)axis);
    int64_t n = hone_dims_count(x->dims, (int)axis, x->rank);
    factor scale, bias;
    HONE_TRY(read_factor(c, hone_in(c, 1), x, (int)axis, &scale));
    HONE_TRY(read_factor(c, takes_mean ? hone_in(c, 2) : NULL, x, (int)axis, &bias));
    for (int64_t r = 0; r < rows; ++r) {
        double mean = 0, var;
        if (takes_mean) {
            moments(x, r * n, 1, n, &mean, &var);
        } else {
            var = 0;
            for (int64_t i = 0; i < n; ++i)
                var += get(x, r * n + i) * get(x, r * n + i);
            var /= (double)n;
        }
        double inv = 1 / sqrt(var + epsilon);
        int64_t at_scale = row_offset(&scale, x, r), at_bias = row_offset(&bias, x, r);
        for (int64_t i = 0; i < n; ++i)
            put(y, r * n + i,
                (get(x, r * n + i) - mean) * inv * element(&scale, at_scale, i, 1) +
                    element(&bias, at_bias, i, 0));
        if (mean_out)
            put(mean_out, r, mean);
        if (inv_out)
            put(inv_out, r, inv);
    }
    return HONE_OK;
}

hone_status hone_ref_layer_norm(hone_op_ctx *c) {
    return normalize_rows(c, true);
}

hone_status hone_ref_rms_norm(hone_op_ctx *c) {
    return normalize_rows(c, false);
}

/* ---- softmax family ---------------------------------------------------------------------------
 */

typedef struct soft_job {
    const hone_tensor *x;
    hone_tensor *y;
    int64_t n, inner;
    enum { SOFTMAX, LOG_SOFTMAX, HARDMAX } kind;
} soft_job;

static void soft_one(const soft_job *j, int64_t at) {
    double top = -INFINITY, sum = 0;
    int64_t first = 0;
    for (int64_t i = 0; i < j->n; ++i) {
        double v = get(j->x, at + i * j->inner);
        if (v > top || i == 0) {
            top = v;
            first = i;
        }
    }
    for (int64_t i = 0; i < j->n && j->kind != HARDMAX; ++i)
        sum += exp(get(j->x, at + i * j->inner) - top);
    double log_sum = log(sum);
    for (int64_t i = 0; i < j->n; ++i) {
        double v = get(j->x, at + i * j->inner) - top;
        put(j->y, at + i * j->inner,
            j->kind == HARDMAX   ? i == first
            : j->kind == SOFTMAX ? exp(v) / sum
                                 : v - log_sum);
    }
}

static void soft_task(void *arg, int64_t outer, int worker) {
    (void)worker;
    const soft_job *j = arg;
    for (int64_t k = 0; k < j->inner; ++k)
        soft_one(j, outer * j->n * j->inner + k);
}

hone_status hone_infer_softmax(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    hone_infer_same(c, 0, 0);
    int axis;
    if (c->in[0].rank > 0)
        HONE_TRY(hone_infer_axis(c, hone_attr_int(c->node, "axis", -1), c->in[0].rank,
                                 hone_attr_int(c->node, "hone_flatten", 0) != 0, &axis));
    return HONE_OK;
}

hone_status hone_ref_softmax(hone_op_ctx *c) {
    soft_job j = {.x = hone_in(c, 0), .y = hone_out(c, 0)};
    const char *name = c->node->op->name;
    j.kind = strcmp(name, "Hardmax") == 0      ? HARDMAX
             : strcmp(name, "LogSoftmax") == 0 ? LOG_SOFTMAX
                                               : SOFTMAX;
    int rank = j.x->rank;
    int64_t axis = hone_attr_int(c->node, "axis", -1);
    axis = rank == 0 ? 0 : axis < 0 ? axis + rank : axis;
    /* Before opset 13 everything from the axis on was one row. */
    bool is_flat = hone_attr_int(c->node, "hone_flatten", 0) != 0;
    int end = rank == 0 ? 0 : is_flat ? rank : (int)axis + 1;
    int64_t outer = hone_dims_count(j.x->dims, 0, (int)axis);
    j.n = hone_dims_count(j.x->dims, (int)axis, end);
    j.inner = hone_dims_count(j.x->dims, end, rank);
    if (hone_tensor_count(j.x))
        hone_op_parallel(c, outer, soft_task, &j);
    return HONE_OK;
}

/* ---- the others -------------------------------------------------------------------------------
 */

hone_status hone_ref_lp_norm(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    hone_tensor *y = hone_out(c, 0);
    int64_t axis = hone_attr_int(c->node, "axis", -1), p = hone_attr_int(c->node, "p", 2);
    axis = axis < 0 ? axis + x->rank : axis;
    if (axis < 0 || axis >= x->rank || (p != 1 && p != 2))
        return hone_op_fail(c, HONE_E_SHAPE, "axis or p is not possible");
    int64_t outer = hone_dims_count(x->dims, 0, (int)axis), n = x->dims[axis];
    int64_t inner = hone_dims_count(x->dims, (int)axis + 1, x->rank);
    for (int64_t i = 0; i < outer * inner; ++i) {
        int64_t at = i / inner * n * inner + i % inner;
        double sum = 0;
        for (int64_t k = 0; k < n; ++k) {
            double v = get(x, at + k * inner);
            sum += p == 1 ? fabs(v) : v * v;
        }
        double norm = p == 1 ? sum : sqrt(sum);
        for (int64_t k = 0; k < n; ++k)
            put(y, at + k * inner, norm == 0 ? 0 : get(x, at + k * inner) / norm);
    }
    return HONE_OK;
}

hone_status hone_ref_lrn(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    hone_tensor *y = hone_out(c, 0);
    double alpha = (double)hone_attr_float(c->node, "alpha", 1e-4f);
    double beta = (double)hone_attr_float(c->node, "beta", 0.75f);
    double bias = (double)hone_attr_float(c->node, "bias", 1);
    int64_t size = hone_attr_int(c->node, "size", 0);
    if (x->rank < 2 || size < 1)
        return hone_op_fail(c, HONE_E_SHAPE, "the rank or the size is not possible");
    int64_t channels = x->dims[1], plane = hone_dims_count(x->dims, 2, x->rank);
    for (int64_t i = 0, n = hone_tensor_count(x); i < n; ++i) {
        int64_t k = i / plane % channels, from = k - (size - 1) / 2, to = k + size / 2;
        from = from < 0 ? 0 : from;
        to = to >= channels ? channels - 1 : to;
        double squares = 0;
        for (int64_t m = from; m <= to; ++m) {
            double v = get(x, i + (m - k) * plane);
            squares += v * v;
        }
        put(y, i, get(x, i) / pow(bias + alpha / (double)size * squares, beta));
    }
    return HONE_OK;
}

/* (x - mean) / std over the axes, by default all but the channels. */
hone_status hone_ref_mean_variance_norm(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    hone_tensor *y = hone_out(c, 0);
    static const int64_t usual[] = {0, 2, 3};
    const int64_t *axes;
    int n_axes = hone_attr_ints(c->node, "axes", &axes);
    if (n_axes == 0) {
        axes = usual;
        n_axes = 3;
    }
    uint32_t set = 0;
    for (int i = 0; i < n_axes; ++i) {
        int64_t a = axes[i] < 0 ? axes[i] + x->rank : axes[i];
        if (a < 0 || a >= x->rank)
            return hone_op_fail(c, HONE_E_SHAPE, "axis %" PRId64 " is outside rank %d", axes[i],
                                x->rank);
        set |= 1u << a;
    }
    /* Sums of each kept index, found through its offset with the reduced ones at 0. */
    int64_t n = hone_tensor_count(x), stride[HONE_MAX_RANK], step = 1, per = 1;
    for (int d = x->rank - 1; d >= 0; --d) {
        stride[d] = set >> d & 1 ? 0 : step;
        step *= set >> d & 1 ? 1 : x->dims[d];
        per *= set >> d & 1 ? x->dims[d] : 1;
    }
    double *sum = hone_op_scratch(c, (size_t)step * 2 * sizeof *sum + 1);
    if (!sum)
        return HONE_E_NOMEM;
    double *squares = sum + step;
    memset(sum, 0, (size_t)step * 2 * sizeof *sum);
    for (int pass = 0; pass < 3; ++pass) {
        for (int64_t i = 0; i < n; ++i) {
            int64_t rest = i, at = 0;
            for (int d = x->rank - 1; d >= 0; --d) {
                at += rest % x->dims[d] * stride[d];
                rest /= x->dims[d];
            }
            double d = get(x, i) - (pass ? sum[at] / (double)per : 0);
            if (pass == 0)
                sum[at] += d;
            else if (pass == 1)
                squares[at] += d * d;
            else
                put(y, i, d / (sqrt(squares[at] / (double)per) + 1e-9));
        }
    }
    return HONE_OK;
}
