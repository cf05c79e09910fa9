/* Operators that make tensors from little or nothing: constants, ranges, windows, random numbers.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ops/strided.h"

/* ---- Constant ---------------------------------------------------------------------------------
 */

static hone_tensor list_view(hone_dtype d, int64_t n, const void *data) {
    return hone_tensor_view(d, 1, &n, data);
}

/* The tensor that a Constant's attributes spell; false when there is none. */
static bool constant_value(const hone_node *n, hone_tensor *t) {
    for (int i = 0; i < n->n_attrs; ++i) {
        const hone_attr *a = &n->attrs[i];
        if (strcmp(a->name, "value") == 0 && a->kind == HONE_ATTR_TENSOR)
            *t = *a->t;
        else if (strcmp(a->name, "value_int") == 0)
            *t = hone_tensor_view(HONE_DTYPE_I64, 0, NULL, &a->i);
        else if (strcmp(a->name, "value_float") == 0)
            *t = hone_tensor_view(HONE_DTYPE_F32, 0, NULL, &a->f);
        else if (strcmp(a->name, "value_string") == 0)
            *t = hone_tensor_view(HONE_DTYPE_STRING, 0, NULL, &a->s);
        else if (strcmp(a->name, "value_ints") == 0)
            *t = list_view(HONE_DTYPE_I64, a->n, a->ints);
        else if (strcmp(a->name, "value_floats") == 0)
            *t = list_view(HONE_DTYPE_F32, a->n, a->floats);
        else if (strcmp(a->name, "value_strings") == 0)
            *t = list_view(HONE_DTYPE_STRING, a->n, a->strings);
        else
            continue;
        return true;
    }
    return false;
}

hone_status hone_infer_constant(hone_infer_ctx *c) {
    hone_tensor t;
    if (!constant_value(c->node, &t))
        return hone_infer_fail(c, HONE_E_FORMAT, "the node has no value");
    c->out[0] = hone_type_of(&t);
    return HONE_OK;
}

hone_status hone_ref_constant(hone_op_ctx *c) {
    hone_tensor t;
    if (!constant_value(c->node, &t))
        return hone_op_fail(c, HONE_E_FORMAT, "the node has no value");
    return hone_copy_data(c, hone_out(c, 0), &t);
}

/* ---- ConstantOfShape --------------------------------------------------------------------------
 */

static hone_dtype fill_type(const hone_node *n) {
    const hone_tensor *value = hone_attr_tensor(n, "value");
    return value ? value->dtype : HONE_DTYPE_F32;
}

hone_status hone_infer_constant_of_shape(hone_infer_ctx *c) {
    int64_t dims[HONE_MAX_RANK];
    const hone_tensor *value = hone_attr_tensor(c->node, "value"), *shape = hone_infer_value(c, 0);
    if (value && hone_tensor_count(value) != 1)
        return hone_infer_fail(c, HONE_E_SHAPE, "the value must have one element");
    if (shape && hone_tensor_count(shape) > HONE_MAX_RANK)
        return hone_infer_fail(c, HONE_E_UNSUPPORTED, "rank %" PRId64 " is beyond the limit of %d",
                               hone_tensor_count(shape), HONE_MAX_RANK);
    int rank = hone_infer_dims(c, 0, dims, HONE_MAX_RANK);
    for (int i = 0; shape && i < rank; ++i) {
        if (dims[i] < 0)
            return hone_infer_fail(c, HONE_E_SHAPE, "dim %d of the shape is %" PRId64, i, dims[i]);
    }
    hone_infer_set(c, 0, fill_type(c->node), rank, dims);
    if (rank == 1 && dims[0] >= 0 && dims[0] <= 64 &&
        hone_dtype_in(fill_type(c->node), HONE_T_INT)) {
        int64_t v[64], n = dims[0];
        for (int64_t i = 0; i < n; ++i)
            v[i] = value ? hone_load_i64(value->dtype, value->data, 0) : 0;
        hone_infer_set_contents(c, 0, v, (int)n);
    }
    return HONE_OK;
}

hone_status hone_ref_constant_of_shape(hone_op_ctx *c) {
    hone_tensor *out = hone_out(c, 0);
    const hone_tensor *value = hone_attr_tensor(c->node, "value");
    static const float zero = 0;
    hone_tensor one = value ? *value : hone_tensor_view(HONE_DTYPE_F32, 0, NULL, &zero);
    hone_strided w = {.rank = 1, .dims = {hone_tensor_count(out)}, .dst_stride = {1}};
    return hone_strided_copy(c, out, &one, &w);
}

/* ---- Range ------------------------------------------------------------------------------------
 */

/* ceil((limit - start) / delta), at least 0; -1 when delta is 0 or the count is absurd. */
static int64_t range_count(const hone_tensor *const *in) {
    hone_dtype d = in[0]->dtype;
    if (hone_dtype_is_float(d)) {
        double start = hone_load_f64(d, in[0]->data, 0), limit = hone_load_f64(d, in[1]->data, 0);
        double n = ceil((limit - start) / hone_load_f64(d, in[2]->data, 0));
        return n >= 0x1p53 || isnan(n) ? -1 : n > 0 ? (int64_t)n : 0;
    }
    int64_t start = hone_load_i64(d, in[0]->data, 0), limit = hone_load_i64(d, in[1]->data, 0);
    int64_t delta = hone_load_i64(d, in[2]->data, 0), span;
    if (delta == 0 || delta == INT64_MIN || __builtin_sub_overflow(limit, start, &span) ||
        span == INT64_MIN)
        return -1;
    if (delta < 0) {
        delta = -delta;
        span = -span;
    }
    return span <= 0 ? 0 : (span - 1) / delta + 1;
}

static bool is_scalar(const hone_tensor *t, hone_dtype d) {
    return t && t->dtype == d && hone_tensor_count(t) == 1;
}

hone_status hone_infer_range(hone_infer_ctx *c) {
    int64_t n = HONE_DIM_UNKNOWN;
    hone_dtype d = hone_infer_has(c, 0) ? c->in[0].dtype : HONE_DTYPE_NONE;
    const hone_tensor *in[3];
    bool is_known = true;
    for (int i = 0; i < 3; ++i) {
        in[i] = hone_infer_value(c, i);
        is_known = is_known && is_scalar(in[i], d);
    }
    int64_t start[1], limit[1], delta[1];
    if (is_known && (n = range_count(in)) < 0)
        return hone_infer_fail(c, HONE_E_SHAPE, "start, limit and delta make no range");
    if (!is_known && hone_infer_dims(c, 0, start, 1) == 1 && hone_infer_dims(c, 1, limit, 1) == 1 &&
        hone_infer_dims(c, 2, delta, 1) == 1 && start[0] == 0 && delta[0] == 1 &&
        limit[0] != HONE_DIM_UNKNOWN)
        n = limit[0]; /* a symbol: arange(length) */
    hone_infer_set(c, 0, d, 1, &n);
    if (is_known && n <= 64 && hone_dtype_in(d, HONE_T_INT)) {
        int64_t v[64];
        for (int64_t i = 0; i < n; ++i)
            v[i] = hone_load_i64(d, in[0]->data, 0) + i * hone_load_i64(d, in[2]->data, 0);
        hone_infer_set_contents(c, 0, v, (int)n);
    }
    return HONE_OK;
}

hone_status hone_ref_range(hone_op_ctx *c) {
    hone_tensor *out = hone_out(c, 0);
    hone_dtype d = out->dtype;
    const hone_tensor *start = hone_in(c, 0), *delta = hone_in(c, 2);
    for (int64_t i = 0, n = hone_tensor_count(out); i < n; ++i) {
        if (hone_dtype_is_float(d))
            hone_store_f64(d, out->data, i,
                           hone_load_f64(d, start->data, 0) +
                               (double)i * hone_load_f64(d, delta->data, 0));
        else
            hone_store_i64(d, out->data, i,
                           hone_load_i64(d, start->data, 0) + i * hone_load_i64(d, delta->data, 0));
    }
    return HONE_OK;
}

/* ---- EyeLike ----------------------------------------------------------------------------------
 */

/* The dtype attribute, or else the input's type. */
static hone_status like_type(hone_infer_ctx *c, hone_dtype missing, hone_dtype *d) {
    int64_t given = hone_attr_int(c->node, "dtype", 0);
    if (given < 0 || given >= HONE_DTYPE_COUNT)
        return hone_infer_fail(c, HONE_E_TYPE, "there is no type number %" PRId64, given);
    *d = given ? (hone_dtype)given : missing;
    return HONE_OK;
}

hone_status hone_infer_like(hone_infer_ctx *c) {
    hone_dtype d = HONE_DTYPE_NONE;
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    HONE_TRY(like_type(c, c->in[0].dtype, &d));
    hone_infer_same(c, 0, 0);
    c->out[0].dtype = d;
    return HONE_OK;
}

hone_status hone_ref_eye_like(hone_op_ctx *c) {
    hone_tensor *out = hone_out(c, 0);
    int64_t k = hone_attr_int(c->node, "k", 0);
    if (out->rank != 2)
        return hone_op_fail(c, HONE_E_SHAPE, "the input has rank %d, not 2", out->rank);
    for (int64_t i = 0; i < out->dims[0]; ++i) {
        for (int64_t j = 0; j < out->dims[1]; ++j)
            hone_store_i64(out->dtype, out->data, i * out->dims[1] + j, j - i == k);
    }
    return HONE_OK;
}

/* ---- windows ----------------------------------------------------------------------------------
 */

hone_status hone_infer_window(hone_infer_ctx *c) {
    const hone_tensor *size = hone_infer_value(c, 0);
    int64_t n = HONE_DIM_UNKNOWN, d = hone_attr_int(c->node, "output_datatype", HONE_DTYPE_F32);
    if (d <= 0 || d >= HONE_DTYPE_COUNT)
        return hone_infer_fail(c, HONE_E_TYPE, "there is no type number %" PRId64, d);
    if (size &&
        (hone_tensor_count(size) != 1 || (n = hone_load_i64(size->dtype, size->data, 0)) < 0))
        return hone_infer_fail(c, HONE_E_SHAPE, "the size must be one number >= 0");
    hone_infer_set(c, 0, (hone_dtype)d, 1, &n);
    return HONE_OK;
}

/* a0 - a1 cos(x) + a2 cos(2x) over one period, or over one less when symmetric. */
hone_status hone_ref_window(hone_op_ctx *c) {
    hone_tensor *out = hone_out(c, 0);
    const char *name = c->node->op->name;
    double a0 = 0.5, a1 = 0.5, a2 = 0;
    if (strcmp(name, "HammingWindow") == 0) {
        a0 = 25.0 / 46;
        a1 = 1 - a0;
    } else if (strcmp(name, "BlackmanWindow") == 0) {
        a0 = 0.42;
        a2 = 0.08;
    }
    int64_t n = hone_tensor_count(out);
    bool is_periodic = hone_attr_int(c->node, "periodic", 1) != 0;
    double period = (double)(is_periodic ? n : n - 1);
    for (int64_t i = 0; i < n; ++i) {
        double x = period > 0 ? 6.283185307179586 * (double)i / period : 0;
        hone_store_f64(out->dtype, out->data, i, a0 - a1 * cos(x) + a2 * cos(2 * x));
    }
    return HONE_OK;
}

/* ---- random numbers ---------------------------------------------------------------------------
 */

/* SplitMix64 (Steele, Lea, Flood 2014) as a counter-based generator: number i of a seed. */
static double uniform(uint64_t seed, uint64_t i) {
    uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

/* The seed attribute is a float; without one every node has the same fixed seed. */
static uint64_t seed_of(const hone_node *n) {
    float seed = hone_attr_float(n, "seed", 0);
    uint32_t bits;
    memcpy(&bits, &seed, sizeof bits);
    return (uint64_t)bits * 0x2545f4914f6cdd1du + 1;
}

hone_status hone_infer_random(hone_infer_ctx *c) {
    const int64_t *shape;
    hone_dtype d = HONE_DTYPE_NONE;
    int rank = hone_attr_ints(c->node, "shape", &shape);
    if (rank > HONE_MAX_RANK)
        return hone_infer_fail(c, HONE_E_UNSUPPORTED, "rank %d is beyond the limit", rank);
    for (int i = 0; i < rank; ++i) {
        if (shape[i] < 0)
            return hone_infer_fail(c, HONE_E_SHAPE, "dim %d is %" PRId64, i, shape[i]);
    }
    HONE_TRY(like_type(c, HONE_DTYPE_F32, &d));
    hone_infer_set(c, 0, d, rank, shape);
    return HONE_OK;
}

hone_status hone_ref_random_uniform(hone_op_ctx *c) {
    hone_tensor *out = hone_out(c, 0);
    double low = (double)hone_attr_float(c->node, "low", 0),
           high = (double)hone_attr_float(c->node, "high", 1);
    uint64_t seed = seed_of(c->node);
    for (int64_t i = 0, n = hone_tensor_count(out); i < n; ++i)
        hone_store_f64(out->dtype, out->data, i, low + (high - low) * uniform(seed, (uint64_t)i));
    return HONE_OK;
}

/* Box and Muller's transform of two uniform numbers. */
hone_status hone_ref_random_normal(hone_op_ctx *c) {
    hone_tensor *out = hone_out(c, 0);
    double mean = (double)hone_attr_float(c->node, "mean", 0),
           scale = (double)hone_attr_float(c->node, "scale", 1);
    uint64_t seed = seed_of(c->node);
    for (int64_t i = 0, n = hone_tensor_count(out); i < n; ++i) {
        double u = 1 - uniform(seed, 2 * (uint64_t)i), v = uniform(seed, 2 * (uint64_t)i + 1);
        hone_store_f64(out->dtype, out->data, i,
                       mean + scale * sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
    }
    return HONE_OK;
}

hone_status hone_ref_bernoulli(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    hone_tensor *out = hone_out(c, 0);
    uint64_t seed = seed_of(c->node);
    for (int64_t i = 0, n = hone_tensor_count(out); i < n; ++i)
        hone_store_f64(out->dtype, out->data, i,
                       uniform(seed, (uint64_t)i) < hone_load_f64(in->dtype, in->data, i));
    return HONE_OK;
}

hone_status hone_infer_multinomial(hone_infer_ctx *c) {
    int64_t d = hone_attr_int(c->node, "dtype", HONE_DTYPE_I32),
            n = hone_attr_int(c->node, "sample_size", 1);
    if ((d != HONE_DTYPE_I32 && d != HONE_DTYPE_I64) || n < 1)
        return hone_infer_fail(c, HONE_E_TYPE, "dtype or sample_size is not possible");
    int64_t dims[2] = {HONE_DIM_UNKNOWN, n};
    if (hone_infer_has(c, 0) && c->in[0].rank == 2)
        dims[0] = c->in[0].dims[0];
    hone_infer_set(c, 0, (hone_dtype)d, 2, dims);
    return HONE_OK;
}

/* Samples a class from each row of unnormalised log-probabilities. */
hone_status hone_ref_multinomial(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    hone_tensor *out = hone_out(c, 0);
    uint64_t seed = seed_of(c->node);
    if (in->rank != 2 || in->dims[1] < 1)
        return hone_op_fail(c, HONE_E_SHAPE, "the input must be a matrix with at least one class");
    for (int64_t row = 0; row < in->dims[0]; ++row) {
        double top = -INFINITY, total = 0;
        for (int64_t k = 0; k < in->dims[1]; ++k)
            top = fmax(top, hone_load_f64(in->dtype, in->data, row * in->dims[1] + k));
        for (int64_t k = 0; k < in->dims[1]; ++k)
            total += exp(hone_load_f64(in->dtype, in->data, row * in->dims[1] + k) - top);
        for (int64_t s = 0; s < out->dims[1]; ++s) {
            int64_t at = row * out->dims[1] + s, k = 0;
            double left = uniform(seed, (uint64_t)at) * total;
            for (; k + 1 < in->dims[1]; ++k) {
                left -= exp(hone_load_f64(in->dtype, in->data, row * in->dims[1] + k) - top);
                if (left < 0)
                    break;
            }
            hone_store_i64(out->dtype, out->data, at, k);
        }
    }
    return HONE_OK;
}
