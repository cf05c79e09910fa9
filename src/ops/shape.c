/* Operators that change a tensor's shape and leave its elements in order, and Shape and Size. */
#include <inttypes.h>
#include <string.h>

#include "ops/strided.h"

/* ---- views ------------------------------------------------------------------------------------
 */

hone_status hone_ref_view(hone_op_ctx *c) {
    return hone_copy_data(c, hone_out(c, 0), hone_in(c, 0));
}

/* The input's contents stay known through a view between rank 0 and 1. */
static void pass_contents(hone_infer_ctx *c) {
    if (c->in[0].contents && c->out[0].rank >= 0 && c->out[0].rank <= 1)
        hone_infer_set_contents(c, 0, c->in[0].contents, c->in[0].n_contents);
    else if (hone_infer_value(c, 0) && c->out[0].rank >= 0 && c->out[0].rank <= 1) {
        int64_t v[64];
        int n = hone_infer_dims(c, 0, v, 64);
        if (n >= 0)
            hone_infer_set_contents(c, 0, v, n);
    }
}

/* Both shapes have the same number of elements: find the one open dim `at` of out. Dims that occur
 * in both, symbols too, cancel. */
static int64_t solve_open_dim(const hone_type *in, const int64_t *out, int rank, int at) {
    bool is_used[HONE_MAX_RANK] = {false};
    int64_t known_out = 1, known_in = 1, left = HONE_DIM_UNKNOWN;
    int n_left = 0;
    for (int i = 0; i < rank; ++i) {
        if (i == at)
            continue;
        if (out[i] >= 0) {
            if (__builtin_mul_overflow(known_out, out[i], &known_out))
                return HONE_DIM_UNKNOWN;
            continue;
        }
        int k = 0;
        while (k < in->rank && (is_used[k] || in->dims[k] != out[i]))
            ++k;
        if (k == in->rank || out[i] == HONE_DIM_UNKNOWN)
            return HONE_DIM_UNKNOWN;
        is_used[k] = true;
    }
    for (int k = 0; k < in->rank; ++k) {
        if (is_used[k])
            continue;
        if (in->dims[k] >= 0) {
            if (__builtin_mul_overflow(known_in, in->dims[k], &known_in))
                return HONE_DIM_UNKNOWN;
        } else {
            left = in->dims[k];
            ++n_left;
        }
    }
    if (n_left == 0)
        return known_out ? known_in / known_out : 0;
    return n_left == 1 && known_in == known_out ? left : HONE_DIM_UNKNOWN;
}

static hone_status check_count(hone_infer_ctx *c, const int64_t *dims, int rank) {
    int64_t in = 1, out = 1;
    for (int i = 0; i < c->in[0].rank; ++i) {
        if (c->in[0].dims[i] < 0 || __builtin_mul_overflow(in, c->in[0].dims[i], &in))
            return HONE_OK;
    }
    for (int i = 0; i < rank; ++i) {
        if (dims[i] < 0)
            return HONE_OK;
        if (__builtin_mul_overflow(out, dims[i], &out))
            return hone_infer_fail(c, HONE_E_SHAPE, "the new shape has too many elements");
    }
    if (c->in[0].rank >= 0 && in != out)
        return hone_infer_fail(c, HONE_E_SHAPE,
                               "%" PRId64 " elements cannot take a shape of %" PRId64, in, out);
    return HONE_OK;
}

hone_status hone_infer_reshape(hone_infer_ctx *c) {
    int64_t want[HONE_MAX_RANK], dims[HONE_MAX_RANK];
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    int rank = hone_infer_dims(c, 1, want, HONE_MAX_RANK);
    if (rank < 0) {
        const hone_type *t = &c->in[1];
        int64_t open[HONE_MAX_RANK];
        bool has_rank = t->kind == HONE_KIND_TENSOR && t->rank == 1 && t->dims[0] >= 0;
        if (has_rank && t->dims[0] > HONE_MAX_RANK)
            return hone_infer_fail(c, HONE_E_UNSUPPORTED,
                                   "rank %" PRId64 " is beyond the limit of %d", t->dims[0],
                                   HONE_MAX_RANK);
        for (int i = 0; i < HONE_MAX_RANK; ++i)
            open[i] = HONE_DIM_UNKNOWN;
        hone_infer_set(c, 0, c->in[0].dtype, has_rank ? (int)t->dims[0] : -1, open);
        return HONE_OK;
    }
    bool allow_zero = hone_attr_int(c->node, "allowzero", 0) != 0;
    bool is_exact = hone_infer_value(c, 1) != NULL; /* -1 is a -1, not an unknown */
    int open = -1, n_open = 0;
    for (int i = 0; i < rank; ++i) {
        dims[i] = want[i];
        if (want[i] == 0 && !allow_zero)
            dims[i] = c->in[0].rank > i ? c->in[0].dims[i] : HONE_DIM_UNKNOWN;
        if (want[i] == 0 && !allow_zero && c->in[0].rank >= 0 && c->in[0].rank <= i)
            return hone_infer_fail(c, HONE_E_SHAPE,
                                   "dim %d of the shape is 0, but the input has rank %d", i,
                                   c->in[0].rank);
        if (want[i] == -1) {
            open = i;
            ++n_open;
        } else if (is_exact && want[i] < -1) {
            return hone_infer_fail(c, HONE_E_SHAPE, "dim %d of the shape is %" PRId64, i, want[i]);
        }
    }
    if (is_exact && n_open > 1)
        return hone_infer_fail(c, HONE_E_SHAPE, "the shape has more than one -1");
    if (n_open == 1 && c->in[0].rank >= 0)
        dims[open] = solve_open_dim(&c->in[0], dims, rank, open);
    HONE_TRY(check_count(c, dims, rank));
    hone_infer_set(c, 0, c->in[0].dtype, rank, dims);
    pass_contents(c);
    return HONE_OK;
}

/* Axes of the optional input 1, normalised to [0, rank), as a bit set. False: not known. */
static hone_status axis_set(hone_infer_ctx *c, int rank, bool *known, uint32_t *set) {
    int64_t axes[HONE_MAX_RANK];
    *set = 0;
    *known = false;
    const hone_tensor *v = hone_infer_value(c, 1);
    if (!v)
        return HONE_OK;
    int64_t n = hone_tensor_count(v);
    if (n > HONE_MAX_RANK)
        return hone_infer_fail(c, HONE_E_SHAPE, "%" PRId64 " axes are more than the rank", n);
    for (int64_t i = 0; i < n; ++i)
        axes[i] = hone_load_i64(v->dtype, v->data, i);
    for (int64_t i = 0; i < n; ++i) {
        int axis;
        HONE_TRY(hone_infer_axis(c, axes[i], rank, false, &axis));
        if (*set >> axis & 1)
            return hone_infer_fail(c, HONE_E_SHAPE, "axis %d is named twice", axis);
        *set |= 1u << axis;
    }
    *known = true;
    return HONE_OK;
}

hone_status hone_infer_squeeze(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_type *in = &c->in[0];
    bool is_known;
    uint32_t set = 0;
    hone_infer_set(c, 0, in->dtype, -1, NULL);
    if (in->rank < 0)
        return HONE_OK;
    HONE_TRY(axis_set(c, in->rank, &is_known, &set));
    bool takes_all = c->n_in < 2 || (c->in[1].kind == HONE_KIND_NONE && !c->node->in[1]);
    if (!is_known && !takes_all)
        return HONE_OK;
    int64_t dims[HONE_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < in->rank; ++i) {
        if (takes_all && in->dims[i] < 0)
            return HONE_OK; /* may or may not be 1 */
        bool is_dropped = takes_all ? in->dims[i] == 1 : (set >> i & 1) != 0;
        if (is_dropped && in->dims[i] > 1)
            return hone_infer_fail(c, HONE_E_SHAPE, "axis %d to squeeze is %" PRId64 ", not 1", i,
                                   in->dims[i]);
        if (is_dropped && in->dims[i] == 0)
            return hone_infer_fail(c, HONE_E_SHAPE, "axis %d to squeeze is empty", i);
        if (!is_dropped)
            dims[rank++] = in->dims[i];
    }
    hone_infer_set(c, 0, in->dtype, rank, dims);
    pass_contents(c);
    return HONE_OK;
}

hone_status hone_infer_unsqueeze(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_type *in = &c->in[0];
    const hone_tensor *axes = hone_infer_value(c, 1);
    hone_infer_set(c, 0, in->dtype, -1, NULL);
    if (in->rank < 0 || !axes)
        return HONE_OK;
    int64_t rank = in->rank + hone_tensor_count(axes);
    if (rank > HONE_MAX_RANK)
        return hone_infer_fail(c, HONE_E_UNSUPPORTED, "rank %" PRId64 " is beyond the limit of %d",
                               rank, HONE_MAX_RANK);
    bool is_known;
    uint32_t set;
    HONE_TRY(axis_set(c, (int)rank, &is_known, &set));
    int64_t dims[HONE_MAX_RANK];
    for (int i = 0, k = 0; i < (int)rank; ++i)
        dims[i] = set >> i & 1 ? 1 : in->dims[k++];
    hone_infer_set(c, 0, in->dtype, (int)rank, dims);
    pass_contents(c);
    return HONE_OK;
}

static int64_t product(const int64_t *dims, int from, int to) {
    int64_t n = 1, open = HONE_DIM_UNKNOWN;
    int n_open = 0;
    for (int i = from; i < to; ++i) {
        if (dims[i] < 0) {
            open = dims[i];
            ++n_open;
        } else if (__builtin_mul_overflow(n, dims[i], &n)) {
            return HONE_DIM_UNKNOWN;
        }
    }
    return n_open == 0 ? n : n_open == 1 && n == 1 ? open : HONE_DIM_UNKNOWN;
}

hone_status hone_infer_flatten(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    int64_t dims[2] = {HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN};
    if (c->in[0].rank >= 0) {
        int axis, rank = c->in[0].rank;
        int64_t wanted = hone_attr_int(c->node, "axis", 1);
        if (wanted < -rank || wanted > rank)
            return hone_infer_fail(c, HONE_E_SHAPE, "axis %" PRId64 " is outside rank %d", wanted,
                                   rank);
        axis = (int)(wanted < 0 ? wanted + rank : wanted);
        dims[0] = product(c->in[0].dims, 0, axis);
        dims[1] = product(c->in[0].dims, axis, rank);
    }
    hone_infer_set(c, 0, c->in[0].dtype, 2, dims);
    return HONE_OK;
}

/* ---- Shape and Size ---------------------------------------------------------------------------
 */

static int64_t clamp(int64_t v, int64_t low, int64_t high) {
    return v < low ? low : v > high ? high : v;
}

/* Shape's [start, end) of a rank. */
static void shape_slice(const hone_node *n, int rank, int *start, int *count) {
    int64_t from = hone_attr_int(n, "start", 0), to = hone_attr_int(n, "end", rank);
    from = clamp(from < 0 ? from + rank : from, 0, rank);
    to = clamp(to < 0 ? to + rank : to, 0, rank);
    *start = (int)from;
    *count = to > from ? (int)(to - from) : 0;
}

hone_status hone_infer_shape(hone_infer_ctx *c) {
    int64_t dims[1] = {HONE_DIM_UNKNOWN};
    if (!hone_infer_has(c, 0) || c->in[0].rank < 0) {
        hone_infer_set(c, 0, HONE_DTYPE_I64, 1, dims);
        return HONE_OK;
    }
    int start, count;
    shape_slice(c->node, c->in[0].rank, &start, &count);
    dims[0] = count;
    hone_infer_set(c, 0, HONE_DTYPE_I64, 1, dims);
    hone_infer_set_contents(c, 0, c->in[0].dims + start, count);
    return HONE_OK;
}

hone_status hone_ref_shape(hone_op_ctx *c) {
    int start, count;
    shape_slice(c->node, hone_in(c, 0)->rank, &start, &count);
    memcpy(hone_out(c, 0)->data, hone_in(c, 0)->dims + start, (size_t)count * sizeof(int64_t));
    return HONE_OK;
}

hone_status hone_infer_size(hone_infer_ctx *c) {
    hone_infer_set(c, 0, HONE_DTYPE_I64, 0, NULL);
    if (hone_infer_has(c, 0) && c->in[0].rank >= 0) {
        int64_t n = product(c->in[0].dims, 0, c->in[0].rank);
        hone_infer_set_contents(c, 0, &n, 1);
    }
    return HONE_OK;
}

hone_status hone_ref_size(hone_op_ctx *c) {
    *(int64_t *)hone_out(c, 0)->data = hone_tensor_count(hone_in(c, 0));
    return HONE_OK;
}
