/* Gather and scatter families. Indices come from data: every one is checked. */
#include <inttypes.h>
#include <string.h>

#include "ops/strided.h"

static int64_t index_of(const hone_tensor *t, int64_t i) {
    return hone_load_i64(t->dtype, t->data, i);
}

/* Index in [-n, n) -> [0, n); -1 when out of range. */
static int64_t wrap(int64_t i, int64_t n) {
    if (i < -n || i >= n)
        return -1;
    return i < 0 ? i + n : i;
}

static hone_status out_of_range(hone_op_ctx *c, int64_t index, int64_t n) {
    return hone_op_fail(c, HONE_E_RUNTIME,
                        "index %" PRId64 " is outside [-%" PRId64 ", %" PRId64 ")", index, n, n);
}

/* Copies runs of `run` elements; strings get bytes of their own. */
static hone_status copy_run(hone_op_ctx *c, hone_tensor *dst, int64_t di, const hone_tensor *src,
                            int64_t si, int64_t run) {
    if (src->dtype != HONE_DTYPE_STRING) {
        hone_copy_elems(src->dtype, dst->data, di, src->data, si, run);
        return HONE_OK;
    }
    for (int64_t i = 0; i < run; ++i) {
        hone_string s = ((const hone_string *)src->data)[si + i];
        HONE_TRY(hone_string_set(dst, di + i, s.data, s.len, c->err));
    }
    return HONE_OK;
}

static int node_axis(const hone_node *n, int64_t missing, int rank) {
    int64_t axis = hone_attr_int(n, "axis", missing);
    return (int)(axis < 0 ? axis + rank : axis);
}

/* ---- Gather -----------------------------------------------------------------------------------
 */

static void gather_contents(hone_infer_ctx *c) {
    int64_t from[256], out[64];
    const hone_tensor *indices = hone_infer_value(c, 1);
    int n = hone_infer_dims(c, 0, from, 256);
    if (n < 0 || c->in[0].rank != 1 || !indices || c->out[0].rank > 1)
        return;
    int64_t count = hone_tensor_count(indices);
    for (int64_t i = 0; i < count; ++i) {
        int64_t at = wrap(index_of(indices, i), n);
        if (at < 0 || i >= 64)
            return;
        out[i] = from[at];
    }
    hone_infer_set_contents(c, 0, out, (int)count);
}

hone_status hone_infer_gather(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1))
        return HONE_OK;
    const hone_type *data = &c->in[0], *indices = &c->in[1];
    int64_t dims[2 * HONE_MAX_RANK];
    int axis, rank = 0;
    hone_infer_set(c, 0, data->dtype, -1, NULL);
    if (data->rank < 0 || indices->rank < 0)
        return HONE_OK;
    HONE_TRY(hone_infer_axis(c, hone_attr_int(c->node, "axis", 0), data->rank, false, &axis));
    for (int i = 0; i < axis; ++i)
        dims[rank++] = data->dims[i];
    for (int i = 0; i < indices->rank; ++i)
        dims[rank++] = indices->dims[i];
    for (int i = axis + 1; i < data->rank; ++i)
        dims[rank++] = data->dims[i];
    if (rank > HONE_MAX_RANK)
        return hone_infer_fail(c, HONE_E_UNSUPPORTED, "rank %d is beyond the limit", rank);
    hone_infer_set(c, 0, data->dtype, rank, dims);
    gather_contents(c);
    return HONE_OK;
}

hone_status hone_ref_gather(hone_op_ctx *c) {
    const hone_tensor *data = hone_in(c, 0), *indices = hone_in(c, 1);
    hone_tensor *out = hone_out(c, 0);
    int axis = node_axis(c->node, 0, data->rank);
    int64_t outer = hone_dims_count(data->dims, 0, axis), n = data->dims[axis];
    int64_t run = hone_dims_count(data->dims, axis + 1, data->rank),
            count = hone_tensor_count(indices);
    for (int64_t i = 0; i < count; ++i) {
        int64_t at = wrap(index_of(indices, i), n);
        if (at < 0)
            return out_of_range(c, index_of(indices, i), n);
        for (int64_t o = 0; o < outer; ++o)
            HONE_TRY(copy_run(c, out, (o * count + i) * run, data, (o * n + at) * run, run));
    }
    return HONE_OK;
}

/* ---- GatherElements and ScatterElements -------------------------------------------------------
 */

hone_status hone_infer_gather_elements(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1))
        return HONE_OK;
    if (c->in[0].rank >= 0 && c->in[1].rank >= 0 && c->in[0].rank != c->in[1].rank)
        return hone_infer_fail(c, HONE_E_SHAPE, "data and indices have ranks %d and %d",
                               c->in[0].rank, c->in[1].rank);
    if (c->in[0].rank > 0) {
        int axis;
        HONE_TRY(
            hone_infer_axis(c, hone_attr_int(c->node, "axis", 0), c->in[0].rank, false, &axis));
    }
    hone_infer_same(c, 0, 1);
    c->out[0].dtype = c->in[0].dtype;
    return HONE_OK;
}

/* Offset in `data` of element i of `indices` with the axis' index replaced by what is stored there;
 * -1 when that is out of range or the other indices do not fit. */
static int64_t element_offset(const hone_tensor *data, const hone_tensor *indices, int axis,
                              int64_t i) {
    int64_t offset = 0, step = 1, rest = i;
    for (int d = data->rank - 1; d >= 0; --d) {
        int64_t at = rest % indices->dims[d];
        rest /= indices->dims[d];
        if (d == axis)
            at = wrap(index_of(indices, i), data->dims[d]);
        if (at < 0 || at >= data->dims[d])
            return -1;
        offset += at * step;
        step *= data->dims[d];
    }
    return offset;
}

hone_status hone_ref_gather_elements(hone_op_ctx *c) {
    const hone_tensor *data = hone_in(c, 0), *indices = hone_in(c, 1);
    int axis = node_axis(c->node, 0, data->rank);
    for (int64_t i = 0, n = hone_tensor_count(indices); i < n; ++i) {
        int64_t at = element_offset(data, indices, axis, i);
        if (at < 0)
            return out_of_range(c, index_of(indices, i), data->dims[axis]);
        HONE_TRY(copy_run(c, hone_out(c, 0), i, data, at, 1));
    }
    return HONE_OK;
}

typedef enum reduction { REDUCE_NONE, REDUCE_ADD, REDUCE_MUL, REDUCE_MAX, REDUCE_MIN } reduction;

static reduction reduction_of(const hone_node *n) {
    const char *text = hone_attr_string(n, "reduction", "none");
    return strcmp(text, "add") == 0   ? REDUCE_ADD
           : strcmp(text, "mul") == 0 ? REDUCE_MUL
           : strcmp(text, "max") == 0 ? REDUCE_MAX
           : strcmp(text, "min") == 0 ? REDUCE_MIN
                                      : REDUCE_NONE;
}

static hone_status update(hone_op_ctx *c, reduction how, hone_tensor *out, int64_t at,
                          const hone_tensor *src, int64_t i) {
    hone_dtype d = out->dtype;
    if (how == REDUCE_NONE)
        return copy_run(c, out, at, src, i, 1);
    if (hone_dtype_in(d, HONE_T(STRING) | HONE_T_COMPLEX))
        return hone_op_bad_type(c, d);
    if (!hone_dtype_is_float(d)) {
        int64_t a = hone_load_i64(d, out->data, at), b = hone_load_i64(d, src->data, i);
        bool less = d == HONE_DTYPE_U64 ? (uint64_t)a < (uint64_t)b : a < b;
        int64_t v = how == REDUCE_ADD   ? (int64_t)((uint64_t)a + (uint64_t)b)
                    : how == REDUCE_MUL ? (int64_t)((uint64_t)a * (uint64_t)b)
                    : how == REDUCE_MAX ? (less ? b : a)
                                        : (less ? a : b);
        hone_store_i64(d, out->data, at, v);
        return HONE_OK;
    }
    double a = hone_load_f64(d, out->data, at), b = hone_load_f64(d, src->data, i);
    double v = how == REDUCE_ADD   ? a + b
               : how == REDUCE_MUL ? a * b
               : how == REDUCE_MAX ? (a < b || b != b ? b : a)
                                   : (b < a || b != b ? b : a);
    hone_store_f64(d, out->data, at, v);
    return HONE_OK;
}

/* Inputs: data, indices, updates; of TensorScatter data, updates, indices. */
static hone_status infer_update(hone_infer_ctx *c, int updates) {
    HONE_TRY(hone_infer_alike(c, 0, updates));
    if (hone_infer_has(c, 0))
        hone_infer_same(c, 0, 0);
    return HONE_OK;
}

hone_status hone_infer_scatter_elements(hone_infer_ctx *c) {
    HONE_TRY(infer_update(c, 2));
    int axis, rank = hone_infer_has(c, 0) ? c->in[0].rank : -1;
    for (int i = 1; i < 3 && rank >= 0; ++i) {
        if (hone_infer_has(c, i) && c->in[i].rank >= 0 && c->in[i].rank != rank)
            return hone_infer_fail(c, HONE_E_SHAPE, "input %d has rank %d, the data %d", i,
                                   c->in[i].rank, rank);
    }
    return rank > 0 ? hone_infer_axis(c, hone_attr_int(c->node, "axis", 0), rank, false, &axis)
                    : HONE_OK;
}

hone_status hone_infer_scatter_nd(hone_infer_ctx *c) {
    HONE_TRY(infer_update(c, 2));
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1) || c->in[0].rank < 0 || c->in[1].rank < 1)
        return HONE_OK;
    int rank = c->in[0].rank, last = c->in[1].rank - 1;
    int64_t k = c->in[1].dims[last];
    if (k > rank)
        return hone_infer_fail(c, HONE_E_SHAPE,
                               "indices count %" PRId64 " dims of data that has %d", k, rank);
    bool is_known = k >= 0 && hone_infer_has(c, 2) && c->in[2].rank >= 0;
    if (is_known && c->in[2].rank != last + rank - (int)k)
        return hone_infer_fail(c, HONE_E_SHAPE, "updates have rank %d, not %d", c->in[2].rank,
                               last + rank - (int)k);
    return HONE_OK;
}

hone_status hone_infer_tensor_scatter(hone_infer_ctx *c) {
    return infer_update(c, 1);
}

hone_status hone_ref_scatter_elements(hone_op_ctx *c) {
    const hone_tensor *data = hone_in(c, 0), *indices = hone_in(c, 1), *updates = hone_in(c, 2);
    hone_tensor *out = hone_out(c, 0);
    reduction how = reduction_of(c->node);
    int axis = node_axis(c->node, 0, data->rank);
    if (indices->rank != data->rank || !hone_same_dims(indices, updates) ||
        (data->rank && (axis < 0 || axis >= data->rank)))
        return hone_op_fail(c, HONE_E_SHAPE, "data, indices and updates do not fit");
    HONE_TRY(hone_copy_data(c, out, data));
    for (int64_t i = 0, n = hone_tensor_count(indices); i < n; ++i) {
        int64_t at = element_offset(data, indices, axis, i);
        if (at < 0)
            return out_of_range(c, index_of(indices, i), data->dims[axis]);
        HONE_TRY(update(c, how, out, at, updates, i));
    }
    return HONE_OK;
}

/* ---- GatherND and ScatterND -------------------------------------------------------------------
 */

hone_status hone_infer_gather_nd(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1))
        return HONE_OK;
    const hone_type *data = &c->in[0], *indices = &c->in[1];
    int64_t batch = hone_attr_int(c->node, "batch_dims", 0), dims[2 * HONE_MAX_RANK];
    int rank = 0;
    hone_infer_set(c, 0, data->dtype, -1, NULL);
    if (data->rank < 0 || indices->rank < 1 || indices->dims[indices->rank - 1] < 0)
        return HONE_OK;
    int64_t depth = indices->dims[indices->rank - 1];
    if (batch < 0 || batch >= indices->rank || batch + depth > data->rank || batch > data->rank)
        return hone_infer_fail(c, HONE_E_SHAPE, "indices and batch_dims do not fit the data");
    for (int i = 0; i < indices->rank - 1; ++i)
        dims[rank++] = indices->dims[i];
    for (int i = (int)(batch + depth); i < data->rank; ++i)
        dims[rank++] = data->dims[i];
    if (rank > HONE_MAX_RANK)
        return hone_infer_fail(c, HONE_E_UNSUPPORTED, "rank %d is beyond the limit", rank);
    hone_infer_set(c, 0, data->dtype, rank, dims);
    return HONE_OK;
}

/* Where tuple t of `indices` points to: its offset in elements of `data` after `batch` dims. */
static hone_status tuple_offset(hone_op_ctx *c, const hone_tensor *data, const hone_tensor *indices,
                                int batch, int64_t t, int64_t *offset) {
    int64_t depth = indices->dims[indices->rank - 1];
    *offset = 0;
    for (int64_t k = 0; k < depth; ++k) {
        int d = batch + (int)k;
        int64_t at = wrap(index_of(indices, t * depth + k), data->dims[d]);
        if (at < 0)
            return out_of_range(c, index_of(indices, t * depth + k), data->dims[d]);
        *offset += at * hone_dims_count(data->dims, d + 1, data->rank);
    }
    return HONE_OK;
}

hone_status hone_ref_gather_nd(hone_op_ctx *c) {
    const hone_tensor *data = hone_in(c, 0), *indices = hone_in(c, 1);
    int batch = (int)hone_attr_int(c->node, "batch_dims", 0);
    int64_t depth = indices->dims[indices->rank - 1];
    int64_t run = hone_dims_count(data->dims, batch + (int)depth, data->rank);
    int64_t tuples = hone_dims_count(indices->dims, 0, indices->rank - 1);
    int64_t batches = hone_dims_count(data->dims, 0, batch);
    int64_t per_batch = batches ? tuples / batches : 0;
    int64_t slice = hone_dims_count(data->dims, batch, data->rank);
    if (hone_dims_count(indices->dims, 0, batch) != batches)
        return hone_op_fail(c, HONE_E_SHAPE, "the batch dims of data and indices differ");
    for (int64_t t = 0; t < tuples; ++t) {
        int64_t offset;
        HONE_TRY(tuple_offset(c, data, indices, batch, t, &offset));
        HONE_TRY(copy_run(c, hone_out(c, 0), t * run, data, t / per_batch * slice + offset, run));
    }
    return HONE_OK;
}

hone_status hone_ref_scatter_nd(hone_op_ctx *c) {
    const hone_tensor *data = hone_in(c, 0), *indices = hone_in(c, 1), *updates = hone_in(c, 2);
    hone_tensor *out = hone_out(c, 0);
    reduction how = reduction_of(c->node);
    if (indices->rank < 1 || indices->dims[indices->rank - 1] > data->rank)
        return hone_op_fail(c, HONE_E_SHAPE, "the indices do not fit the data");
    int64_t depth = indices->dims[indices->rank - 1];
    int64_t run = hone_dims_count(data->dims, (int)depth, data->rank);
    int64_t tuples = hone_dims_count(indices->dims, 0, indices->rank - 1);
    if (hone_tensor_count(updates) != tuples * run || updates->dtype != data->dtype)
        return hone_op_fail(c, HONE_E_SHAPE, "the updates do not fit the indices");
    HONE_TRY(hone_copy_data(c, out, data));
    for (int64_t t = 0; t < tuples; ++t) {
        int64_t offset;
        HONE_TRY(tuple_offset(c, data, indices, 0, t, &offset));
        if (how == REDUCE_NONE) {
            HONE_TRY(copy_run(c, out, offset, updates, t * run, run));
            continue;
        }
        for (int64_t i = 0; i < run; ++i)
            HONE_TRY(update(c, how, out, offset + i, updates, t * run + i));
    }
    return HONE_OK;
}

/* ---- TensorScatter ----------------------------------------------------------------------------
 */

/* Writes `update` into the cache along the axis, from each batch row's write index on; "circular"
 * wraps around. */
hone_status hone_ref_tensor_scatter(hone_op_ctx *c) {
    const hone_tensor *past = hone_in(c, 0), *more = hone_in(c, 1), *starts = hone_in(c, 2);
    hone_tensor *out = hone_out(c, 0);
    int axis = node_axis(c->node, -2, past->rank);
    bool is_circular = strcmp(hone_attr_string(c->node, "mode", "linear"), "circular") == 0;
    if (axis < 1 || axis >= past->rank || more->rank != past->rank || more->dtype != past->dtype ||
        (starts && hone_tensor_count(starts) != past->dims[0]))
        return hone_op_fail(c, HONE_E_SHAPE, "cache, update and write indices do not fit");
    for (int d = 0; d < past->rank; ++d) {
        if (d != axis && more->dims[d] != past->dims[d])
            return hone_op_fail(c, HONE_E_SHAPE, "cache and update differ in dim %d", d);
    }
    HONE_TRY(hone_copy_data(c, out, past));
    int64_t outer = hone_dims_count(past->dims, 0, axis), n = past->dims[axis],
            m = more->dims[axis];
    int64_t run = hone_dims_count(past->dims, axis + 1, past->rank);
    int64_t per_batch = past->dims[0] ? outer / past->dims[0] : 0;
    for (int64_t o = 0; o < outer; ++o) {
        int64_t start = starts ? index_of(starts, o / per_batch) : 0;
        if (start < 0 || (start > n && !is_circular))
            return out_of_range(c, start, n);
        for (int64_t i = 0; i < m; ++i) {
            int64_t at = is_circular && n > 0 ? (start % n + i) % n : start + i;
            if (at < 0 || at >= n)
                return out_of_range(c, at, n);
            HONE_TRY(copy_run(c, out, (o * n + at) * run, more, (o * m + i) * run, run));
        }
    }
    return HONE_OK;
}

/* ---- OneHot -----------------------------------------------------------------------------------
 */

hone_status hone_infer_one_hot(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 2))
        return HONE_OK;
    const hone_tensor *depth = hone_infer_value(c, 1);
    int64_t dims[HONE_MAX_RANK];
    int axis, rank = c->in[0].rank;
    hone_infer_set(c, 0, c->in[2].dtype, -1, NULL);
    if (rank < 0)
        return HONE_OK;
    if (rank + 1 > HONE_MAX_RANK)
        return hone_infer_fail(c, HONE_E_UNSUPPORTED, "rank %d is beyond the limit", rank + 1);
    HONE_TRY(hone_infer_axis(c, hone_attr_int(c->node, "axis", -1), rank + 1, false, &axis));
    int64_t n = HONE_DIM_UNKNOWN;
    if (depth && hone_tensor_count(depth) == 1)
        n = hone_load_i64(depth->dtype, depth->data, 0);
    if (depth && n < 0)
        return hone_infer_fail(c, HONE_E_SHAPE, "depth must be one number >= 0");
    for (int i = 0, k = 0; i <= rank; ++i)
        dims[i] = i == axis ? n : c->in[0].dims[k++];
    hone_infer_set(c, 0, c->in[2].dtype, rank + 1, dims);
    return HONE_OK;
}

hone_status hone_ref_one_hot(hone_op_ctx *c) {
    const hone_tensor *indices = hone_in(c, 0), *values = hone_in(c, 2);
    hone_tensor *out = hone_out(c, 0);
    int axis = node_axis(c->node, -1, out->rank);
    int64_t outer = hone_dims_count(out->dims, 0, axis), n = out->dims[axis];
    int64_t inner = hone_dims_count(out->dims, axis + 1, out->rank);
    if (hone_tensor_count(values) != 2)
        return hone_op_fail(c, HONE_E_SHAPE, "values must be two numbers: off and on");
    for (int64_t o = 0; o < outer; ++o) {
        for (int64_t k = 0; k < n; ++k) {
            for (int64_t i = 0; i < inner; ++i) {
                int64_t hot = wrap(hone_load_i64(indices->dtype, indices->data, o * inner + i), n);
                HONE_TRY(copy_run(c, out, (o * n + k) * inner + i, values, hot == k, 1));
            }
        }
    }
    return HONE_OK;
}

/* ---- Compress and NonZero ---------------------------------------------------------------------
 */

hone_status hone_infer_compress(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    int64_t dims[HONE_MAX_RANK] = {HONE_DIM_UNKNOWN};
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

hone_status hone_ref_compress(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0), *keep = hone_in(c, 1);
    bool is_flat = !hone_attr_find(c->node, "axis");
    int axis = is_flat ? 0 : node_axis(c->node, 0, in->rank);
    int64_t n = is_flat ? hone_tensor_count(in) : in->dims[axis], dims[HONE_MAX_RANK], kept = 0;
    int64_t outer = is_flat ? 1 : hone_dims_count(in->dims, 0, axis);
    int64_t run = is_flat ? 1 : hone_dims_count(in->dims, axis + 1, in->rank);
    int64_t flags = hone_tensor_count(keep) < n ? hone_tensor_count(keep) : n;
    const uint8_t *flag = keep->data;
    for (int64_t i = 0; i < flags; ++i)
        kept += flag[i] != 0;
    memcpy(dims, in->dims, sizeof dims);
    dims[axis] = kept;
    HONE_TRY(hone_op_alloc(c, 0, in->dtype, is_flat ? 1 : in->rank, dims));
    int64_t at = 0;
    for (int64_t o = 0; o < outer; ++o) {
        for (int64_t i = 0; i < flags; ++i) {
            if (!flag[i])
                continue;
            HONE_TRY(copy_run(c, hone_out(c, 0), at, in, (o * n + i) * run, run));
            at += run;
        }
    }
    return HONE_OK;
}

hone_status hone_infer_non_zero(hone_infer_ctx *c) {
    int64_t dims[2] = {HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN};
    if (hone_infer_has(c, 0) && c->in[0].rank >= 0)
        dims[0] = c->in[0].rank;
    hone_infer_set(c, 0, HONE_DTYPE_I64, 2, dims);
    return HONE_OK;
}

hone_status hone_ref_non_zero(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    int64_t n = hone_tensor_count(in), found = 0, at = 0;
    for (int64_t i = 0; i < n; ++i)
        found += hone_load_f64(in->dtype, in->data, i) != 0;
    HONE_TRY(hone_op_alloc(c, 0, HONE_DTYPE_I64, 2, (const int64_t[2]){in->rank, found}));
    int64_t *out = hone_out(c, 0)->data;
    for (int64_t i = 0; i < n; ++i) {
        if (hone_load_f64(in->dtype, in->data, i) == 0)
            continue;
        int64_t rest = i;
        for (int d = in->rank - 1; d >= 0; --d) {
            out[d * found + at] = rest % in->dims[d];
            rest /= in->dims[d];
        }
        ++at;
    }
    return HONE_OK;
}
