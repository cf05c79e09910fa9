/* TopK, ArgMax, ArgMin, Unique, CumSum, CumProd: order along an axis. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/strided.h"

/* An axis of a tensor: [outer, n, inner]. */
typedef struct axis_view {
    int64_t outer, n, inner;
} axis_view;

static axis_view view_axis(const hone_tensor *t, int axis) {
    return (axis_view){hone_dims_count(t->dims, 0, axis), t->dims[axis],
                       hone_dims_count(t->dims, axis + 1, t->rank)};
}

static int node_axis(const hone_node *n, int64_t missing, int rank) {
    int64_t axis = hone_attr_int(n, "axis", missing);
    return (int)(axis < 0 ? axis + rank : axis);
}

/* Total order of two elements of a numeric or string array: < 0, 0, > 0. NaN is above all. */
static int order(hone_dtype d, const void *data, int64_t a, int64_t b) {
    if (d == HONE_DTYPE_STRING) {
        hone_string x = ((const hone_string *)data)[a], y = ((const hone_string *)data)[b];
        size_t n = x.len < y.len ? x.len : y.len;
        int c = n ? memcmp(x.data, y.data, n) : 0;
        return c ? c : (x.len > y.len) - (x.len < y.len);
    }
    if (hone_dtype_is_float(d)) {
        double x = hone_load_f64(d, data, a), y = hone_load_f64(d, data, b);
        if (isnan(x) || isnan(y))
            return (isnan(x) != 0) - (isnan(y) != 0);
        return (x > y) - (x < y);
    }
    int64_t x = hone_load_i64(d, data, a), y = hone_load_i64(d, data, b);
    if (d == HONE_DTYPE_U64)
        return ((uint64_t)x > (uint64_t)y) - ((uint64_t)x < (uint64_t)y);
    return (x > y) - (x < y);
}

/* ---- ArgMax and ArgMin ------------------------------------------------------------------------
 */

hone_status hone_infer_arg(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || c->in[0].rank < 0) {
        hone_infer_set(c, 0, HONE_DTYPE_I64, -1, NULL);
        return HONE_OK;
    }
    int axis, rank = 0;
    int64_t dims[HONE_MAX_RANK];
    bool keep = hone_attr_int(c->node, "keepdims", 1) != 0;
    HONE_TRY(hone_infer_axis(c, hone_attr_int(c->node, "axis", 0), c->in[0].rank, false, &axis));
    for (int i = 0; i < c->in[0].rank; ++i) {
        if (i != axis)
            dims[rank++] = c->in[0].dims[i];
        else if (keep)
            dims[rank++] = 1;
    }
    hone_infer_set(c, 0, HONE_DTYPE_I64, rank, dims);
    return HONE_OK;
}

hone_status hone_ref_arg(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    axis_view v = view_axis(in, node_axis(c->node, 0, in->rank));
    bool wants_max = strcmp(c->node->op->name, "ArgMax") == 0;
    bool wants_last = hone_attr_int(c->node, "select_last_index", 0) != 0;
    int64_t *out = hone_out(c, 0)->data;
    if (v.n == 0 && v.outer > 0 && v.inner > 0)
        return hone_op_fail(c, HONE_E_RUNTIME, "the axis is empty");
    for (int64_t i = 0; i < v.outer * v.inner; ++i) {
        int64_t base = i / v.inner * v.n * v.inner + i % v.inner, best = 0;
        for (int64_t k = 1; k < v.n; ++k) {
            int o = order(in->dtype, in->data, base + k * v.inner, base + best * v.inner);
            if ((wants_max ? o : -o) > 0 || (o == 0 && wants_last))
                best = k;
        }
        out[i] = best;
    }
    return HONE_OK;
}

/* ---- TopK -------------------------------------------------------------------------------------
 */

hone_status hone_infer_topk(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_tensor *k = hone_infer_value(c, 1);
    hone_infer_same(c, 0, 0);
    if (c->in[0].rank >= 0) {
        int axis;
        HONE_TRY(
            hone_infer_axis(c, hone_attr_int(c->node, "axis", -1), c->in[0].rank, false, &axis));
        int64_t *dim = &c->out[0].dims[axis], n = HONE_DIM_UNKNOWN;
        if (k && hone_tensor_count(k) == 1)
            n = hone_load_i64(k->dtype, k->data, 0);
        if (k && (n < 0 || (*dim >= 0 && n > *dim)))
            return hone_infer_fail(c, HONE_E_SHAPE, "k = %" PRId64 " is outside [0, %" PRId64 "]",
                                   n, *dim);
        *dim = n;
    }
    if (c->n_out > 1) {
        c->out[1] = c->out[0];
        c->out[1].dtype = HONE_DTYPE_I64;
    }
    return HONE_OK;
}

typedef struct sort_key {
    hone_dtype d;
    const void *data;
    int64_t base, step;
    int sign; /* 1: ascending */
} sort_key;

/* Merge sort of indices: stable, bounded, and needs no comparison context in a global. */
static void sort_indices(const sort_key *key, int64_t *index, int64_t *temp, int64_t n) {
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t from = 0; from < n; from += 2 * width) {
            int64_t mid = from + width < n ? from + width : n,
                    end = mid + width < n ? mid + width : n;
            int64_t a = from, b = mid;
            for (int64_t at = from; at < end; ++at) {
                bool take_a =
                    a < mid && (b >= end || key->sign * order(key->d, key->data,
                                                              key->base + index[a] * key->step,
                                                              key->base + index[b] * key->step) <=
                                                0);
                temp[at] = take_a ? index[a++] : index[b++];
            }
        }
        memcpy(index, temp, (size_t)n * sizeof *index);
    }
}

hone_status hone_ref_topk(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    hone_tensor *values = hone_out(c, 0), *indices = hone_out(c, 1);
    int axis = node_axis(c->node, -1, in->rank);
    axis_view v = view_axis(in, axis);
    int64_t k = values ? values->dims[axis] : indices->dims[axis];
    int64_t *index = hone_op_scratch(c, (size_t)v.n * 2 * sizeof *index + 1);
    if (!index)
        return HONE_E_NOMEM;
    sort_key key = {in->dtype, in->data, 0, v.inner, hone_attr_int(c->node, "largest", 1) ? -1 : 1};
    for (int64_t i = 0; i < v.outer * v.inner; ++i) {
        key.base = i / v.inner * v.n * v.inner + i % v.inner;
        for (int64_t m = 0; m < v.n; ++m)
            index[m] = m;
        sort_indices(&key, index, index + v.n, v.n);
        for (int64_t m = 0; m < k; ++m) {
            int64_t at = (i / v.inner * k + m) * v.inner + i % v.inner;
            if (values)
                hone_copy_elems(in->dtype, values->data, at, in->data,
                                key.base + index[m] * v.inner, 1);
            if (indices)
                ((int64_t *)indices->data)[at] = index[m];
        }
    }
    return HONE_OK;
}

/* ---- CumSum and CumProd -----------------------------------------------------------------------
 */

hone_status hone_infer_cumulative(hone_infer_ctx *c) {
    if (hone_infer_has(c, 0))
        hone_infer_same(c, 0, 0);
    return HONE_OK;
}

hone_status hone_ref_cumulative(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0), *axis_in = hone_in(c, 1);
    hone_tensor *out = hone_out(c, 0);
    bool is_product = strcmp(c->node->op->name, "CumProd") == 0;
    bool is_exclusive = hone_attr_int(c->node, "exclusive", 0) != 0;
    bool is_reverse = hone_attr_int(c->node, "reverse", 0) != 0;
    if (hone_tensor_count(axis_in) != 1)
        return hone_op_fail(c, HONE_E_SHAPE, "the axis must be one number");
    int64_t axis = hone_load_i64(axis_in->dtype, axis_in->data, 0);
    axis = axis < 0 ? axis + in->rank : axis;
    if (axis < 0 || axis >= in->rank)
        return hone_op_fail(c, HONE_E_RUNTIME, "the axis is outside rank %d", in->rank);
    axis_view v = view_axis(in, (int)axis);
    bool is_float = hone_dtype_is_float(in->dtype);
    for (int64_t i = 0; i < v.outer * v.inner; ++i) {
        int64_t base = i / v.inner * v.n * v.inner + i % v.inner;
        double f = is_product;
        uint64_t u = is_product;
        for (int64_t m = 0; m < v.n; ++m) {
            int64_t at = base + (is_reverse ? v.n - 1 - m : m) * v.inner;
            double old_f = f;
            uint64_t old_u = u;
            double x = is_float ? hone_load_f64(in->dtype, in->data, at) : 0;
            uint64_t y = is_float ? 0 : (uint64_t)hone_load_i64(in->dtype, in->data, at);
            f = is_product ? f * x : f + x;
            u = is_product ? u * y : u + y;
            if (is_float)
                hone_store_f64(out->dtype, out->data, at, is_exclusive ? old_f : f);
            else
                hone_store_i64(out->dtype, out->data, at, (int64_t)(is_exclusive ? old_u : u));
        }
    }
    return HONE_OK;
}

/* ---- Unique -----------------------------------------------------------------------------------
 */

hone_status hone_infer_unique(hone_infer_ctx *c) {
    int64_t dims[HONE_MAX_RANK] = {HONE_DIM_UNKNOWN};
    for (int o = 1; o < c->n_out; ++o)
        hone_infer_set(c, o, HONE_DTYPE_I64, 1, dims);
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    if (!hone_attr_find(c->node, "axis")) {
        hone_infer_set(c, 0, c->in[0].dtype, 1, dims);
        return HONE_OK;
    }
    hone_infer_same(c, 0, 0);
    int axis;
    if (c->in[0].rank >= 0) {
        HONE_TRY(
            hone_infer_axis(c, hone_attr_int(c->node, "axis", 0), c->in[0].rank, false, &axis));
        c->out[0].dims[axis] = HONE_DIM_UNKNOWN;
    }
    return HONE_OK;
}

/* Slices along the axis, compared element by element. */
typedef struct slices {
    const hone_tensor *t;
    axis_view v;
} slices;

static int order_slices(const slices *s, int64_t a, int64_t b) {
    for (int64_t o = 0; o < s->v.outer; ++o) {
        for (int64_t i = 0; i < s->v.inner; ++i) {
            int64_t base = o * s->v.n * s->v.inner + i;
            int r = order(s->t->dtype, s->t->data, base + a * s->v.inner, base + b * s->v.inner);
            if (r)
                return r;
        }
    }
    return 0;
}

static void sort_slices(const slices *s, int64_t *index, int64_t *temp, int64_t n) {
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t from = 0; from < n; from += 2 * width) {
            int64_t mid = from + width < n ? from + width : n,
                    end = mid + width < n ? mid + width : n;
            int64_t a = from, b = mid;
            for (int64_t at = from; at < end; ++at)
                temp[at] = a < mid && (b >= end || order_slices(s, index[a], index[b]) <= 0)
                               ? index[a++]
                               : index[b++];
        }
        memcpy(index, temp, (size_t)n * sizeof *index);
    }
}

/* Groups of equal slices: first occurrence, count, and each slice's group. Sorted by value, or by
 * first occurrence. Returns the number of groups. */
static int64_t group_slices(const slices *s, bool sorted, int64_t *index, int64_t *temp,
                            int64_t *first, int64_t *count, int64_t *group) {
    int64_t n = s->v.n, groups = 0;
    for (int64_t i = 0; i < n; ++i)
        index[i] = i;
    sort_slices(s, index, temp, n);
    for (int64_t i = 0; i < n; ++i) {
        /* The sort is stable: the first of a group is its first occurrence. */
        if (i == 0 || order_slices(s, index[i - 1], index[i]) != 0) {
            first[groups] = index[i];
            count[groups++] = 0;
        }
        group[index[i]] = groups - 1;
        count[groups - 1]++;
    }
    if (sorted)
        return groups;
    /* Renumber by first occurrence: temp[old group] = new group. */
    int64_t next = 0;
    for (int64_t g = 0; g < groups; ++g)
        temp[g] = -1;
    for (int64_t i = 0; i < n; ++i) {
        if (temp[group[i]] < 0)
            temp[group[i]] = next++;
    }
    for (int64_t g = 0; g < groups; ++g)
        index[temp[g]] = g;
    for (int64_t i = 0; i < n; ++i)
        group[i] = temp[group[i]];
    for (int64_t g = 0; g < groups; ++g)
        temp[g] = first[index[g]];
    memcpy(first, temp, (size_t)groups * sizeof *first);
    for (int64_t g = 0; g < groups; ++g)
        temp[g] = count[index[g]];
    memcpy(count, temp, (size_t)groups * sizeof *count);
    return groups;
}

static hone_status give_list(hone_op_ctx *c, int o, const int64_t *list, int64_t n) {
    if (!hone_out(c, o))
        return HONE_OK;
    HONE_TRY(hone_op_alloc(c, o, HONE_DTYPE_I64, 1, &n));
    if (n)
        memcpy(hone_out(c, o)->data, list, (size_t)n * sizeof *list);
    return HONE_OK;
}

hone_status hone_ref_unique(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    bool is_flat = !hone_attr_find(c->node, "axis");
    int axis = is_flat ? 0 : node_axis(c->node, 0, in->rank);
    slices s = {in, is_flat ? (axis_view){1, hone_tensor_count(in), 1} : view_axis(in, axis)};
    int64_t n = s.v.n, *memory = hone_op_scratch(c, (size_t)n * 5 * sizeof *memory + 1);
    if (!memory)
        return HONE_E_NOMEM;
    int64_t *first = memory + 2 * n, *count = memory + 3 * n, *group = memory + 4 * n;
    int64_t groups = group_slices(&s, hone_attr_int(c->node, "sorted", 1) != 0, memory, memory + n,
                                  first, count, group);
    int64_t dims[HONE_MAX_RANK];
    memcpy(dims, in->dims, sizeof dims);
    dims[axis] = groups;
    HONE_TRY(hone_op_alloc(c, 0, in->dtype, is_flat ? 1 : in->rank, dims));
    hone_tensor *out = hone_out(c, 0);
    hone_strided w = {.rank = 3, .dims = {s.v.outer, 1, s.v.inner}};
    w.src_stride[0] = s.v.n * s.v.inner;
    w.dst_stride[0] = groups * s.v.inner;
    w.src_stride[2] = w.dst_stride[2] = 1;
    for (int64_t g = 0; g < groups; ++g) {
        w.src_offset = first[g] * s.v.inner;
        w.dst_offset = g * s.v.inner;
        HONE_TRY(hone_strided_copy(c, out, in, &w));
    }
    HONE_TRY(give_list(c, 1, first, groups));
    HONE_TRY(give_list(c, 2, group, n));
    return give_list(c, 3, count, groups);
}
