/* Pad and CenterCropPad: every output index along an axis has a source index, or none. */
#include <inttypes.h>
#include <string.h>

#include "ops/strided.h"

typedef enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP } pad_mode;

static pad_mode mode_of(const hone_node *n) {
    const char *mode = hone_attr_string(n, "mode", "constant");
    return strcmp(mode, "reflect") == 0 ? PAD_REFLECT
           : strcmp(mode, "edge") == 0  ? PAD_EDGE
           : strcmp(mode, "wrap") == 0  ? PAD_WRAP
                                        : PAD_CONSTANT;
}

/* Source index of position i (before cropping and padding: 0 is the first source element). */
static int64_t source_index(pad_mode mode, int64_t i, int64_t dim) {
    if (i >= 0 && i < dim)
        return i;
    if (mode == PAD_CONSTANT || dim == 0)
        return -1;
    if (mode == PAD_EDGE)
        return i < 0 ? 0 : dim - 1;
    if (mode == PAD_WRAP)
        return (i % dim + dim) % dim;
    if (dim == 1)
        return 0;
    int64_t period = 2 * (dim - 1);
    i = (i % period + period) % period;
    return i < dim ? i : period - i;
}

/* Pads before (0..rank) and after (rank..2*rank) each axis; unlisted axes get 0. */
static bool read_pads(const hone_tensor *pads, const hone_tensor *axes, int rank, int64_t *out) {
    int64_t n = axes ? hone_tensor_count(axes) : rank;
    if (hone_tensor_count(pads) != 2 * n)
        return false;
    memset(out, 0, sizeof *out * 2 * (size_t)rank);
    for (int64_t i = 0; i < n; ++i) {
        int64_t axis = axes ? hone_load_i64(axes->dtype, axes->data, i) : i;
        axis = axis < 0 ? axis + rank : axis;
        if (axis < 0 || axis >= rank)
            return false;
        out[axis] = hone_load_i64(pads->dtype, pads->data, i);
        out[rank + axis] = hone_load_i64(pads->dtype, pads->data, n + i);
    }
    return true;
}

hone_status hone_infer_pad(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_alike(c, 0, 2));
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_type *in = &c->in[0];
    const hone_tensor *pads = hone_infer_value(c, 1), *axes = hone_infer_value(c, 3);
    bool has_axes = c->n_in > 3 && c->node->in[3];
    hone_infer_same(c, 0, 0);
    if (in->rank < 0)
        return HONE_OK;
    int64_t p[2 * HONE_MAX_RANK];
    if (!pads || (has_axes && !axes)) {
        for (int i = 0; i < in->rank; ++i)
            c->out[0].dims[i] = HONE_DIM_UNKNOWN;
        return HONE_OK;
    }
    if (!read_pads(pads, axes, in->rank, p))
        return hone_infer_fail(c, HONE_E_SHAPE, "pads and axes do not fit rank %d", in->rank);
    for (int i = 0; i < in->rank; ++i) {
        int64_t *d = &c->out[0].dims[i];
        if (p[i] == 0 && p[in->rank + i] == 0)
            continue;
        if (*d < 0)
            *d = HONE_DIM_UNKNOWN;
        else if (__builtin_add_overflow(*d, p[i], d) ||
                 __builtin_add_overflow(*d, p[in->rank + i], d))
            return hone_infer_fail(c, HONE_E_SHAPE, "the pads of axis %d are too large", i);
        else if (*d < 0)
            *d = 0;
    }
    return HONE_OK;
}

/* Where every output position comes from: map[axis] has out->dims[axis] source indices. */
typedef struct pad_job {
    const hone_tensor *in, *value;
    hone_tensor *out;
    const int64_t *map[HONE_MAX_RANK];
    int64_t stride[HONE_MAX_RANK];
} pad_job;

static void fill_value(const pad_job *j, int64_t at, int64_t n) {
    static const uint64_t zero[2] = {0, 0};
    for (int64_t i = 0; i < n; ++i)
        hone_copy_elems(j->out->dtype, j->out->data, at + i, j->value ? j->value->data : zero, 0,
                        1);
}

/* One row along the last axis, by runs of consecutive sources. */
static void pad_row(const pad_job *j, int64_t at, int64_t source) {
    int last = j->out->rank - 1;
    const int64_t *map = j->map[last];
    int64_t n = j->out->dims[last];
    for (int64_t i = 0; i < n;) {
        int64_t run = 1;
        while (i + run < n && (map[i] < 0 ? map[i + run] < 0 : map[i + run] == map[i] + run))
            ++run;
        if (map[i] < 0)
            fill_value(j, at + i, run);
        else
            hone_copy_elems(j->out->dtype, j->out->data, at + i, j->in->data, source + map[i], run);
        i += run;
    }
}

static void pad_all(const pad_job *j) {
    const hone_tensor *out = j->out;
    int last = out->rank - 1;
    int64_t rows = hone_dims_count(out->dims, 0, last);
    for (int64_t row = 0; row < rows; ++row) {
        int64_t rest = row, source = 0;
        bool is_outside = false;
        for (int d = last - 1; d >= 0; --d) {
            int64_t from = j->map[d][rest % out->dims[d]];
            rest /= out->dims[d];
            is_outside |= from < 0;
            source += from * j->stride[d];
        }
        if (is_outside)
            fill_value(j, row * out->dims[last], out->dims[last]);
        else
            pad_row(j, row * out->dims[last], source);
    }
}

/* before[i]: padding (or, negative, cropping) in front of axis i. */
static hone_status pad_by(hone_op_ctx *c, const hone_tensor *value, const int64_t *before,
                          pad_mode mode) {
    pad_job j = {.in = hone_in(c, 0), .value = value, .out = hone_out(c, 0)};
    if (hone_tensor_count(j.out) == 0)
        return HONE_OK;
    if (j.out->rank == 0)
        return hone_copy_data(c, j.out, j.in);
    hone_row_major(j.in->rank, j.in->dims, j.stride);
    for (int d = 0; d < j.out->rank; ++d) {
        int64_t *map = hone_op_scratch(c, (size_t)j.out->dims[d] * sizeof *map);
        if (!map)
            return HONE_E_NOMEM;
        for (int64_t i = 0; i < j.out->dims[d]; ++i)
            map[i] = source_index(mode, i - before[d], j.in->dims[d]);
        j.map[d] = map;
    }
    pad_all(&j);
    if (j.out->dtype == HONE_DTYPE_STRING) {
        hone_string *s = j.out->data;
        for (int64_t i = 0, n = hone_tensor_count(j.out); i < n; ++i)
            HONE_TRY(hone_string_set(j.out, i, s[i].data ? s[i].data : "", s[i].len, c->err));
    }
    return HONE_OK;
}

hone_status hone_ref_pad(hone_op_ctx *c) {
    int64_t pads[2 * HONE_MAX_RANK];
    const hone_tensor *value = hone_in(c, 2);
    if (value && (value->dtype != hone_in(c, 0)->dtype || hone_tensor_count(value) != 1))
        return hone_op_fail(c, HONE_E_TYPE,
                            "the padding value must be a scalar of the input's type");
    if (!read_pads(hone_in(c, 1), hone_in(c, 3), hone_in(c, 0)->rank, pads))
        return hone_op_fail(c, HONE_E_SHAPE, "pads and axes do not fit the input");
    return pad_by(c, value, pads, mode_of(c->node));
}

/* ---- CenterCropPad ----------------------------------------------------------------------------
 */

/* The target size of each axis: from the list, or the input's. */
static bool crop_targets(const hone_node *n, const hone_tensor *shape, const int64_t *dims,
                         int rank, int64_t *target) {
    const int64_t *axes;
    int n_axes = hone_attr_ints(n, "axes", &axes);
    int64_t count = hone_tensor_count(shape);
    if (count != (n_axes ? n_axes : rank))
        return false;
    memcpy(target, dims, (size_t)rank * sizeof *target);
    for (int64_t i = 0; i < count; ++i) {
        int64_t axis = n_axes ? axes[i] : i;
        axis = axis < 0 ? axis + rank : axis;
        int64_t size = hone_load_i64(shape->dtype, shape->data, i);
        if (axis < 0 || axis >= rank || size < 0)
            return false;
        target[axis] = size;
    }
    return true;
}

hone_status hone_infer_center_crop_pad(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_type *in = &c->in[0];
    const hone_tensor *shape = hone_infer_value(c, 1);
    int64_t dims[HONE_MAX_RANK];
    for (int i = 0; i < HONE_MAX_RANK; ++i)
        dims[i] = HONE_DIM_UNKNOWN;
    if (shape && in->rank >= 0 && !crop_targets(c->node, shape, in->dims, in->rank, dims))
        return hone_infer_fail(c, HONE_E_SHAPE, "shape and axes do not fit rank %d", in->rank);
    hone_infer_set(c, 0, in->dtype, in->rank, dims);
    return HONE_OK;
}

hone_status hone_ref_center_crop_pad(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0), *out = hone_out(c, 0);
    int64_t before[HONE_MAX_RANK];
    for (int d = 0; d < in->rank; ++d) {
        int64_t more = out->dims[d] - in->dims[d];
        /* Half on each side; the odd one goes behind, for padding and for cropping. */
        before[d] = more >= 0 ? more / 2 : -(-more / 2);
    }
    return pad_by(c, NULL, before, PAD_CONSTANT);
}
