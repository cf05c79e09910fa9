/* Transpose, Expand, Tile, Concat, Split, Slice, DepthToSpace, SpaceToDepth. */
#include <inttypes.h>
#include <string.h>

#include "ops/strided.h"

/* ---- Transpose --------------------------------------------------------------------------------
 */

/* The attribute, or the reversed order; false when it is no permutation. */
static bool permutation(const hone_node *n, int rank, int *perm) {
    const int64_t *given;
    int count = hone_attr_ints(n, "perm", &given);
    uint32_t seen = 0;
    if (count && count != rank)
        return false;
    for (int i = 0; i < rank; ++i) {
        int64_t p = count ? given[i] : rank - 1 - i;
        if (p < 0)
            p += rank;
        if (p < 0 || p >= rank || seen >> p & 1)
            return false;
        seen |= 1u << p;
        perm[i] = (int)p;
    }
    return true;
}

hone_status hone_infer_transpose(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_type *in = &c->in[0];
    int perm[HONE_MAX_RANK];
    int64_t dims[HONE_MAX_RANK];
    if (in->rank >= 0 && !permutation(c->node, in->rank, perm))
        return hone_infer_fail(c, HONE_E_SHAPE, "perm is no permutation of %d axes", in->rank);
    for (int i = 0; i < in->rank; ++i)
        dims[i] = in->dims[perm[i]];
    hone_infer_set(c, 0, in->dtype, in->rank, dims);
    return HONE_OK;
}

hone_status hone_ref_transpose(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    hone_tensor *out = hone_out(c, 0);
    int perm[HONE_MAX_RANK];
    int64_t stride[HONE_MAX_RANK];
    hone_strided w = {.rank = in->rank};
    permutation(c->node, in->rank, perm);
    hone_row_major(in->rank, in->dims, stride);
    hone_row_major(out->rank, out->dims, w.dst_stride);
    for (int i = 0; i < in->rank; ++i) {
        w.dims[i] = out->dims[i];
        w.src_stride[i] = stride[perm[i]];
    }
    return hone_strided_copy(c, out, in, &w);
}

/* ---- Expand and Tile --------------------------------------------------------------------------
 */

static hone_status unknown_rank(hone_infer_ctx *c, int shape_input) {
    int64_t open[HONE_MAX_RANK];
    const hone_type *s = hone_infer_has(c, shape_input) ? &c->in[shape_input] : NULL;
    bool has_rank =
        s && s->rank == 1 && s->dims[0] >= 0 && s->dims[0] <= HONE_MAX_RANK && c->in[0].rank >= 0;
    int rank = -1;
    if (has_rank) {
        rank = (int)s->dims[0] > c->in[0].rank ? (int)s->dims[0] : c->in[0].rank;
        for (int i = 0; i < rank; ++i)
            open[i] = HONE_DIM_UNKNOWN;
    }
    hone_infer_set(c, 0, c->in[0].dtype, rank, open);
    return HONE_OK;
}

hone_status hone_infer_expand(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    int64_t want[HONE_MAX_RANK], dims[HONE_MAX_RANK];
    int n = hone_infer_dims(c, 1, want, HONE_MAX_RANK), rank;
    if (n < 0)
        return unknown_rank(c, 1);
    if (hone_infer_value(c, 1)) {
        for (int i = 0; i < n; ++i) {
            if (want[i] < 0)
                return hone_infer_fail(c, HONE_E_SHAPE, "dim %d of the shape is %" PRId64, i,
                                       want[i]);
        }
    }
    HONE_TRY(hone_broadcast_dims(c, c->in[0].rank, c->in[0].dims, n, want, &rank, dims));
    hone_infer_set(c, 0, c->in[0].dtype, rank, dims);
    int64_t v[64];
    int n_v = hone_infer_dims(c, 0, v, 64);
    if (rank == 1 && dims[0] >= 0 && dims[0] <= 64 && n_v == 1) {
        for (int i = 1; i < (int)dims[0]; ++i)
            v[i] = v[0];
        hone_infer_set_contents(c, 0, v, (int)dims[0]);
    }
    return HONE_OK;
}

hone_status hone_ref_expand(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    hone_tensor *out = hone_out(c, 0);
    hone_strided w = {.rank = out->rank};
    int64_t stride[HONE_MAX_RANK];
    hone_row_major(in->rank, in->dims, stride);
    hone_row_major(out->rank, out->dims, w.dst_stride);
    for (int i = 0; i < out->rank; ++i) {
        int k = i - (out->rank - in->rank);
        w.dims[i] = out->dims[i];
        w.src_stride[i] = k < 0 || in->dims[k] == 1 ? 0 : stride[k];
    }
    return hone_strided_copy(c, out, in, &w);
}

hone_status hone_infer_tile(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    int64_t repeats[HONE_MAX_RANK], dims[HONE_MAX_RANK];
    int n = hone_infer_dims(c, 1, repeats, HONE_MAX_RANK);
    if (n < 0 || c->in[0].rank < 0) {
        int64_t open[HONE_MAX_RANK];
        for (int i = 0; i < HONE_MAX_RANK; ++i)
            open[i] = HONE_DIM_UNKNOWN;
        hone_infer_set(c, 0, c->in[0].dtype, c->in[0].rank, open);
        return HONE_OK;
    }
    if (n != c->in[0].rank)
        return hone_infer_fail(c, HONE_E_SHAPE, "%d repeats for rank %d", n, c->in[0].rank);
    for (int i = 0; i < n; ++i) {
        dims[i] = HONE_DIM_UNKNOWN;
        if (hone_infer_value(c, 1) && repeats[i] < 0)
            return hone_infer_fail(c, HONE_E_SHAPE, "repeat %d is %" PRId64, i, repeats[i]);
        if (repeats[i] == 1)
            dims[i] = c->in[0].dims[i];
        else if (repeats[i] >= 0 && c->in[0].dims[i] >= 0 &&
                 __builtin_mul_overflow(repeats[i], c->in[0].dims[i], &dims[i]))
            return hone_infer_fail(c, HONE_E_SHAPE, "dim %d is too large", i);
        else if (c->in[0].dims[i] == 1)
            dims[i] = repeats[i];
    }
    hone_infer_set(c, 0, c->in[0].dtype, n, dims);
    return HONE_OK;
}

/* Each axis is walked as (repeat, element): the source does not move along the repeats. */
hone_status hone_ref_tile(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    hone_tensor *out = hone_out(c, 0);
    hone_strided w = {.rank = 2 * in->rank};
    int64_t src[HONE_MAX_RANK], dst[HONE_MAX_RANK];
    hone_row_major(in->rank, in->dims, src);
    hone_row_major(out->rank, out->dims, dst);
    for (int i = 0; i < in->rank; ++i) {
        w.dims[2 * i] = in->dims[i] ? out->dims[i] / in->dims[i] : 0;
        w.dst_stride[2 * i] = dst[i] * in->dims[i];
        w.dims[2 * i + 1] = in->dims[i];
        w.src_stride[2 * i + 1] = src[i];
        w.dst_stride[2 * i + 1] = dst[i];
    }
    return hone_strided_copy(c, out, in, &w);
}

/* ---- Concat and Split -------------------------------------------------------------------------
 */

static void concat_contents(hone_infer_ctx *c) {
    int64_t all[256];
    int n = 0;
    for (int i = 0; i < c->n_in; ++i) {
        int got = hone_infer_dims(c, i, all + n, 256 - n);
        if (got < 0)
            return;
        n += got;
    }
    hone_infer_set_contents(c, 0, all, n);
}

hone_status hone_infer_concat(hone_infer_ctx *c) {
    int64_t dims[HONE_MAX_RANK] = {0};
    int rank = -1, axis = 0;
    for (int i = 0; i < c->n_in; ++i) {
        if (!hone_infer_has(c, i) || c->in[i].rank < 0) {
            hone_infer_set(c, 0, hone_infer_has(c, i) ? c->in[i].dtype : HONE_DTYPE_NONE, -1, NULL);
            return HONE_OK;
        }
    }
    for (int i = 0; i < c->n_in; ++i) {
        const hone_type *t = &c->in[i];
        if (i == 0) {
            rank = t->rank;
            memcpy(dims, t->dims, sizeof dims);
            HONE_TRY(hone_infer_axis(c, hone_attr_int(c->node, "axis", 0), rank, false, &axis));
            continue;
        }
        if (t->rank != rank)
            return hone_infer_fail(c, HONE_E_SHAPE, "input %d has rank %d, input 0 rank %d", i,
                                   t->rank, rank);
        if (t->dtype && c->in[0].dtype && t->dtype != c->in[0].dtype)
            return hone_infer_fail(c, HONE_E_TYPE, "input %d is %s, input 0 %s", i,
                                   hone_dtype_name(t->dtype), hone_dtype_name(c->in[0].dtype));
        for (int d = 0; d < rank; ++d) {
            if (d != axis)
                HONE_TRY(hone_infer_same_dim(c, dims[d], t->dims[d], &dims[d]));
            else if (dims[d] < 0 || t->dims[d] < 0 ||
                     __builtin_add_overflow(dims[d], t->dims[d], &dims[d]))
                dims[d] = HONE_DIM_UNKNOWN;
        }
    }
    hone_infer_set(c, 0, c->in[0].dtype, rank, dims);
    if (rank == 1)
        concat_contents(c);
    return HONE_OK;
}

static int attr_axis(const hone_node *n, int64_t missing, int rank) {
    int64_t axis = hone_attr_int(n, "axis", missing);
    return (int)(axis < 0 ? axis + rank : axis);
}

hone_status hone_ref_concat(hone_op_ctx *c) {
    hone_tensor *out = hone_out(c, 0);
    int axis = attr_axis(c->node, 0, out->rank);
    hone_strided w = {.rank = out->rank};
    hone_row_major(out->rank, out->dims, w.dst_stride);
    for (int i = 0; i < c->n_in; ++i) {
        const hone_tensor *in = hone_in(c, i);
        memcpy(w.dims, in->dims, sizeof in->dims);
        hone_row_major(in->rank, in->dims, w.src_stride);
        HONE_TRY(hone_strided_copy(c, out, in, &w));
        w.dst_offset += in->dims[axis] * w.dst_stride[axis];
    }
    return HONE_OK;
}

/* Sizes of the parts along the axis; unknown ones are HONE_DIM_UNKNOWN. */
static hone_status split_sizes(hone_infer_ctx *c, int64_t dim, int64_t *size) {
    const hone_tensor *v = hone_infer_value(c, 1);
    bool is_given = c->n_in > 1 && c->node->in[1];
    if (v && hone_tensor_count(v) != c->n_out)
        return hone_infer_fail(c, HONE_E_SHAPE, "%" PRId64 " sizes for %d outputs",
                               hone_tensor_count(v), c->n_out);
    int64_t total = 0, each = dim >= 0 ? (dim + c->n_out - 1) / c->n_out : HONE_DIM_UNKNOWN;
    for (int i = 0; i < c->n_out; ++i) {
        if (v)
            size[i] = hone_load_i64(v->dtype, v->data, i);
        else if (is_given || dim < 0)
            size[i] = HONE_DIM_UNKNOWN;
        else
            size[i] = dim - total < each ? dim - total : each;
        if (v && size[i] < 0)
            return hone_infer_fail(c, HONE_E_SHAPE, "size %d is %" PRId64, i, size[i]);
        if (size[i] >= 0 && __builtin_add_overflow(total, size[i], &total))
            return hone_infer_fail(c, HONE_E_SHAPE, "the sizes are too large");
    }
    if (v && dim >= 0 && total != dim)
        return hone_infer_fail(
            c, HONE_E_SHAPE, "the sizes add up to %" PRId64 ", the axis has %" PRId64, total, dim);
    return HONE_OK;
}

hone_status hone_infer_split(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_type *in = &c->in[0];
    int axis = 0;
    int64_t *size = c->arena ? HONE_NEW_ARRAY(c->arena, int64_t, c->n_out) : NULL;
    for (int i = 0; i < c->n_out; ++i)
        hone_infer_set(c, i, in->dtype, -1, NULL);
    if (in->rank < 0 || !size)
        return HONE_OK;
    HONE_TRY(hone_infer_axis(c, hone_attr_int(c->node, "axis", 0), in->rank, false, &axis));
    HONE_TRY(split_sizes(c, in->dims[axis], size));
    int64_t v[64];
    int n_v = in->rank == 1 ? hone_infer_dims(c, 0, v, 64) : -1, from = 0;
    for (int i = 0; i < c->n_out; ++i) {
        hone_infer_same(c, i, 0);
        c->out[i].dims[axis] = size[i];
        if (size[i] < 0)
            n_v = -1;
        if (n_v >= 0 && from + size[i] <= n_v) {
            hone_infer_set_contents(c, i, v + from, (int)size[i]);
            from += (int)size[i];
        }
    }
    return HONE_OK;
}

hone_status hone_ref_split(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    int axis = attr_axis(c->node, 0, in->rank);
    hone_strided w = {.rank = in->rank};
    hone_row_major(in->rank, in->dims, w.src_stride);
    int64_t each = (in->dims[axis] + c->n_out - 1) / c->n_out, at = 0;
    const hone_tensor *sizes = hone_in(c, 1);
    for (int i = 0; i < c->n_out; ++i) {
        hone_tensor *out = hone_out(c, i);
        int64_t size = sizes                        ? hone_load_i64(sizes->dtype, sizes->data, i)
                       : in->dims[axis] - at < each ? in->dims[axis] - at
                                                    : each;
        if (out) {
            memcpy(w.dims, out->dims, sizeof out->dims);
            hone_row_major(out->rank, out->dims, w.dst_stride);
            w.src_offset = at * w.src_stride[axis];
            HONE_TRY(hone_strided_copy(c, out, in, &w));
        }
        at += size;
    }
    return HONE_OK;
}

/* ---- Slice ------------------------------------------------------------------------------------
 */

/* Start, count and step along each axis, as numpy's slicing has them. */
typedef struct slice_axis {
    int64_t start, count, step;
} slice_axis;

static slice_axis slice_one(int64_t start, int64_t end, int64_t step, int64_t dim) {
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? dim : dim - 1;
    start = start < 0 ? start + dim : start;
    start = start < low ? low : start > high ? high : start;
    end = end < 0 ? end + dim : end;
    end = end < low ? low : end > high ? high : end;
    int64_t span = step > 0 ? end - start : start - end;
    int64_t stride = step > 0 ? step : step == INT64_MIN ? INT64_MAX : -step;
    return (slice_axis){start, span <= 0 ? 0 : (span - 1) / stride + 1, step};
}

static int64_t index_at(const hone_tensor *t, int64_t i) {
    return hone_load_i64(t->dtype, t->data, i);
}

/* The axis that entry i of the lists is about; -1 when it is out of range. */
static int slice_target(const hone_tensor *axes, int64_t i, int rank) {
    int64_t axis = axes ? index_at(axes, i) : i;
    if (axis < -rank || axis >= rank)
        return -1;
    return (int)(axis < 0 ? axis + rank : axis);
}

hone_status hone_infer_slice(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_type *in = &c->in[0];
    const hone_tensor *starts = hone_infer_value(c, 1), *ends = hone_infer_value(c, 2);
    const hone_tensor *axes = hone_infer_value(c, 3), *steps = hone_infer_value(c, 4);
    bool has_axes = c->n_in > 3 && c->node->in[3], has_steps = c->n_in > 4 && c->node->in[4];
    hone_infer_same(c, 0, 0);
    if (in->rank < 0)
        return HONE_OK;
    if (has_axes && !axes) {
        for (int d = 0; d < in->rank; ++d)
            c->out[0].dims[d] = HONE_DIM_UNKNOWN;
        return HONE_OK;
    }
    int64_t n = axes     ? hone_tensor_count(axes)
                : starts ? hone_tensor_count(starts)
                : ends   ? hone_tensor_count(ends)
                         : -1;
    if (n < 0) {
        for (int d = 0; d < in->rank; ++d)
            c->out[0].dims[d] = HONE_DIM_UNKNOWN;
        return HONE_OK;
    }
    if ((starts && hone_tensor_count(starts) != n) || (ends && hone_tensor_count(ends) != n) ||
        (steps && hone_tensor_count(steps) != n))
        return hone_infer_fail(c, HONE_E_SHAPE, "starts, ends, axes and steps differ in length");
    int64_t v[64];
    int n_v = in->rank == 1 ? hone_infer_dims(c, 0, v, 64) : -1;
    for (int64_t i = 0; i < n; ++i) {
        int d = slice_target(axes, i, in->rank);
        if (d < 0)
            return hone_infer_fail(c, HONE_E_SHAPE, "axis %" PRId64 " is outside rank %d",
                                   axes ? index_at(axes, i) : i, in->rank);
        int64_t step = steps ? index_at(steps, i) : 1;
        if (step == 0)
            return hone_infer_fail(c, HONE_E_SHAPE, "step %" PRId64 " is 0", i);
        if (!starts || !ends || (has_steps && !steps) || in->dims[d] < 0) {
            /* A full slice keeps even a symbolic dim. */
            bool is_full = starts && ends && !has_steps && index_at(starts, i) == 0 &&
                           index_at(ends, i) >= INT32_MAX;
            c->out[0].dims[d] = is_full ? in->dims[d] : HONE_DIM_UNKNOWN;
            n_v = -1;
            continue;
        }
        slice_axis s = slice_one(index_at(starts, i), index_at(ends, i), step, in->dims[d]);
        c->out[0].dims[d] = s.count;
        for (int64_t k = 0; n_v >= 0 && step > 0 && k < s.count; ++k)
            v[k] = v[s.start + k * step];
        n_v = n_v >= 0 && step > 0 ? (int)s.count : -1;
    }
    if (n_v >= 0)
        hone_infer_set_contents(c, 0, v, n_v);
    return HONE_OK;
}

hone_status hone_ref_slice(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0), *starts = hone_in(c, 1), *ends = hone_in(c, 2);
    const hone_tensor *axes = hone_in(c, 3), *steps = hone_in(c, 4);
    hone_tensor *out = hone_out(c, 0);
    hone_strided w = {.rank = in->rank};
    hone_row_major(in->rank, in->dims, w.src_stride);
    hone_row_major(out->rank, out->dims, w.dst_stride);
    memcpy(w.dims, out->dims, sizeof out->dims);
    for (int64_t i = 0, n = hone_tensor_count(starts); i < n; ++i) {
        int d = slice_target(axes, i, in->rank);
        slice_axis s = slice_one(index_at(starts, i), index_at(ends, i),
                                 steps ? index_at(steps, i) : 1, in->dims[d]);
        w.src_offset += s.count ? s.start * w.src_stride[d] : 0;
        w.src_stride[d] *= s.count > 1 ? s.step : 1;
    }
    return hone_strided_copy(c, out, in, &w);
}

/* ---- DepthToSpace and SpaceToDepth ------------------------------------------------------------
 */

static hone_status block_of(hone_infer_ctx *c, int64_t *block) {
    *block = hone_attr_int(c->node, "blocksize", 0);
    if (*block < 1 || *block > 1 << 15)
        return hone_infer_fail(c, HONE_E_SHAPE, "blocksize %" PRId64 " is not possible", *block);
    if (c->in[0].rank >= 0 && c->in[0].rank != 4)
        return hone_infer_fail(c, HONE_E_SHAPE, "the input has rank %d, not 4", c->in[0].rank);
    return HONE_OK;
}

hone_status hone_infer_depth_to_space(hone_infer_ctx *c) {
    int64_t b;
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    HONE_TRY(block_of(c, &b));
    hone_infer_same(c, 0, 0);
    if (c->in[0].rank < 0)
        return HONE_OK;
    int64_t *d = c->out[0].dims;
    if (d[1] >= 0 && d[1] % (b * b))
        return hone_infer_fail(c, HONE_E_SHAPE, "%" PRId64 " channels are no multiple of %" PRId64,
                               d[1], b * b);
    d[1] = d[1] < 0 ? HONE_DIM_UNKNOWN : d[1] / (b * b);
    for (int i = 2; i < 4; ++i) {
        if (d[i] < 0 || __builtin_mul_overflow(d[i], b, &d[i]))
            d[i] = HONE_DIM_UNKNOWN;
    }
    return HONE_OK;
}

hone_status hone_infer_space_to_depth(hone_infer_ctx *c) {
    int64_t b;
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    HONE_TRY(block_of(c, &b));
    hone_infer_same(c, 0, 0);
    if (c->in[0].rank < 0)
        return HONE_OK;
    int64_t *d = c->out[0].dims;
    for (int i = 2; i < 4; ++i) {
        if (d[i] >= 0 && d[i] % b)
            return hone_infer_fail(c, HONE_E_SHAPE, "dim %d is no multiple of %" PRId64, i, b);
        d[i] = d[i] < 0 ? HONE_DIM_UNKNOWN : d[i] / b;
    }
    if (d[1] < 0 || __builtin_mul_overflow(d[1], b * b, &d[1]))
        d[1] = HONE_DIM_UNKNOWN;
    return HONE_OK;
}

/* Both walk the deep tensor's [n][b][b][c][h][w] (or [n][c][b][b][h][w] for CRD) beside the wide
 * tensor's [n][c][h][b][w][b]. */
static void block_walk(const hone_tensor *deep, const hone_tensor *wide, int64_t b, bool is_crd,
                       hone_strided *w, int64_t *deep_stride, int64_t *wide_stride) {
    int64_t ch = wide->dims[1], h = deep->dims[2], wd = deep->dims[3], hw = h * wd;
    const int64_t dims[6] = {deep->dims[0], ch, b, b, h, wd};
    const int64_t dcr[6] = {deep->dims[1] * hw, hw, b * ch * hw, ch * hw, wd, 1};
    const int64_t crd[6] = {deep->dims[1] * hw, b * b * hw, b * hw, hw, wd, 1};
    const int64_t spread[6] = {ch * h * b * wd * b, h * b * wd * b, wd * b, 1, b * wd * b, b};
    w->rank = 6;
    memcpy(w->dims, dims, sizeof dims);
    memcpy(deep_stride, is_crd ? crd : dcr, sizeof dcr);
    memcpy(wide_stride, spread, sizeof spread);
}

hone_status hone_ref_depth_to_space(hone_op_ctx *c) {
    hone_strided w = {0};
    bool is_crd = strcmp(hone_attr_string(c->node, "mode", "DCR"), "CRD") == 0;
    block_walk(hone_in(c, 0), hone_out(c, 0), hone_attr_int(c->node, "blocksize", 1), is_crd, &w,
               w.src_stride, w.dst_stride);
    return hone_strided_copy(c, hone_out(c, 0), hone_in(c, 0), &w);
}

hone_status hone_ref_space_to_depth(hone_op_ctx *c) {
    hone_strided w = {0};
    bool is_crd = strcmp(hone_attr_string(c->node, "mode", "DCR"), "CRD") == 0;
    block_walk(hone_out(c, 0), hone_in(c, 0), hone_attr_int(c->node, "blocksize", 1), is_crd, &w,
               w.dst_stride, w.src_stride);
    return hone_strided_copy(c, hone_out(c, 0), hone_in(c, 0), &w);
}
