/* Operators that choose, place and group values by index. */
#include <math.h>
#include <string.h>

#include "tflite/import_impl.h"

static hone_value *scalar_like(tfr_import *im, int64_t v, hone_dtype d) {
    hone_value *c = tfr_const_i64(im, &v, -1);
    return d == HONE_DTYPE_I64 ? c : tfr_cast(im, c, d);
}

static hone_value *list1(tfr_import *im, int64_t v) {
    return tfr_const_i64(im, &v, 1);
}

static hone_value *unsqueeze(tfr_import *im, hone_value *v, int64_t axis) {
    return tfr_binary(im, "Unsqueeze", v, list1(im, axis));
}

static hone_value *concat(tfr_import *im, hone_value *a, hone_value *b, int64_t axis) {
    hone_value *y = tfr_binary(im, "Concat", a, b);
    tfr_int(im, y, "axis", axis);
    return y;
}

static hone_value *where(tfr_import *im, hone_value *condition, hone_value *a, hone_value *b) {
    return tfr_make(im, "Where", (hone_value *[]){condition, a, b}, 3);
}

static hone_value *filled(tfr_import *im, hone_value *value, hone_value *shape) {
    return tfr_binary(im, "Expand", value, shape);
}

static hone_value *scatter(tfr_import *im, hone_value *to, hone_value *indices, hone_value *updates,
                           const char *reduction) {
    hone_value *y = tfr_make(im, "ScatterND", (hone_value *[]){to, indices, updates}, 3);
    if (reduction)
        tfr_text_attr(im, y, "reduction", reduction);
    return y;
}

/* ---- by indices -------------------------------------------------------------------------------
 */

void tfr_build_embedding_lookup(tfr_import *im) {
    const tfr_tensor *table = tfr_in_tensor(im, 1), *y = tfr_out_tensor(im, 0);
    bool is_real = table && y && tfr_is_quantised(table) && y->dtype == HONE_DTYPE_F32;
    hone_value *rows = is_real ? tfr_in_float(im, 1) : tfr_in_raw(im, 1);
    tfr_out_raw(im, 0, tfr_binary(im, "Gather", rows, tfr_in_i64(im, 0)));
}

/* Inputs: indices, depth, value on, value off. Indices below 0 are none, in ONNX they count from
 * the end. */
void tfr_build_one_hot(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    int64_t axis = tfr_option_i32(im, 0, 0);
    hone_value *at = tfr_in_i64(im, 0), *depth = tfr_in_i64(im, 1);
    at = where(im, tfr_binary(im, "Less", at, scalar_like(im, 0, HONE_DTYPE_I64)), depth, at);
    hone_value *off = tfr_reshape(im, tfr_in_raw(im, 3), (int64_t[]){1}, 1);
    hone_value *on = tfr_reshape(im, tfr_in_raw(im, 2), (int64_t[]){1}, 1);
    hone_value *y = tfr_make(im, "OneHot", (hone_value *[]){at, depth, concat(im, off, on, 0)}, 3);
    tfr_int(im, y, "axis", x && axis >= 0 && axis <= x->rank ? axis : -1);
    tfr_out_raw(im, 0, y);
}

/* Inputs: indices (a scalar, a list, a list of lists), shape, values (a scalar or a list), default.
 */
void tfr_build_sparse_to_dense(tfr_import *im) {
    const tfr_tensor *at = tfr_in_tensor(im, 0), *shape = tfr_in_tensor(im, 1),
                     *v = tfr_in_tensor(im, 2);
    if (!at || !shape || !v || at->rank > 2 || shape->rank != 1 || shape->dims[0] < 0) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "indices or shape of unknown rank");
        return;
    }
    int64_t n = shape->dims[0];
    hone_value *indices = tfr_in_i64(im, 0), *values = tfr_in_raw(im, 2);
    if (at->rank < 2)
        indices = tfr_reshape(im, indices, (int64_t[]){-1, n}, 2);
    if (v->rank == 0) {
        hone_value *count = tfr_unary(im, "Shape", indices);
        tfr_int(im, count, "end", 1);
        values = filled(im, values, count);
    }
    hone_value *base = filled(im, tfr_in_raw(im, 3), tfr_in_i64(im, 1));
    tfr_out_raw(im, 0, scatter(im, base, indices, values, NULL));
}

/* Values of equal indices are added. */
void tfr_build_scatter_nd(tfr_import *im) {
    const tfr_tensor *v = tfr_in_tensor(im, 1);
    if (!v)
        return;
    hone_value *base = filled(im, scalar_like(im, 0, v->dtype), tfr_in_i64(im, 2));
    tfr_out_raw(im, 0,
                scatter(im, base, tfr_in_i64(im, 0), tfr_in_raw(im, 1),
                        v->dtype == HONE_DTYPE_BOOL ? NULL : "add"));
}

void tfr_build_where(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    hone_value *v = tfr_in_raw(im, 0);
    if (x && x->dtype != HONE_DTYPE_BOOL)
        v = tfr_cast(im, v, HONE_DTYPE_BOOL);
    tfr_out_raw(im, 0, tfr_transpose(im, tfr_unary(im, "NonZero", v), (int64_t[]){1, 0}, 2));
}

void tfr_build_unique(tfr_import *im) {
    const tfr_tensor *index = tfr_out_tensor(im, 1);
    hone_value *x = tfr_in_raw(im, 0), *out[3];
    tfr_make_many(im, "Unique", &x, 1, out, 3);
    tfr_int(im, out[0], "sorted", 0);
    tfr_out_raw(im, 0, out[0]);
    tfr_out_raw(im, 1,
                index && index->dtype == HONE_DTYPE_I64 ? out[2]
                                                        : tfr_cast(im, out[2], HONE_DTYPE_I32));
}

void tfr_build_reverse_sequence(tfr_import *im) {
    hone_value *y = tfr_binary(im, "ReverseSequence", tfr_in(im, 0), tfr_in_i64(im, 1));
    tfr_int(im, y, "time_axis", tfr_option_i32(im, 0, 0));
    tfr_int(im, y, "batch_axis", tfr_option_i32(im, 1, 0));
    tfr_out(im, 0, y);
}

/* ---- segments ---------------------------------------------------------------------------------
 */

/* Sums of rows with equal numbers, as many as the last number says. */
void tfr_build_segment_sum(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    hone_value *ids = tfr_in_i64(im, 1), *v = tfr_in_raw(im, 0);
    if (!x)
        return;
    hone_value *most = tfr_unary(im, "ReduceMax", ids);
    tfr_int(im, most, "keepdims", 1);
    hone_value *count = tfr_binary(im, "Add", most, list1(im, 1)),
               *rest = tfr_unary(im, "Shape", v);
    tfr_int(im, rest, "start", 1);
    hone_value *base = filled(im, scalar_like(im, 0, x->dtype), concat(im, count, rest, 0));
    tfr_out_raw(im, 0, scatter(im, base, unsqueeze(im, ids, -1), v, "add"));
}

/* What segments without rows hold. */
static hone_value *neutral(tfr_import *im, hone_dtype d) {
    bool is_float = d == HONE_DTYPE_F32;
    switch (im->op->code) {
    case TFL_UNSORTED_SEGMENT_PROD:
        return scalar_like(im, 1, d);
    case TFL_UNSORTED_SEGMENT_MAX:
        return is_float ? tfr_const_f32(im, -3.402823466e+38f) : scalar_like(im, INT32_MIN, d);
    case TFL_UNSORTED_SEGMENT_MIN:
        return is_float ? tfr_const_f32(im, 3.402823466e+38f) : scalar_like(im, INT32_MAX, d);
    default:
        return scalar_like(im, 0, d);
    }
}

/* Rows whose number is below 0 go into a row more, which is cut off. */
void tfr_build_unsorted_segment(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0), *t = tfr_in_tensor(im, 1);
    if (!x || !t || t->rank < 1 || t->rank > x->rank ||
        !hone_dtype_in(x->dtype, HONE_T(F32) | HONE_T(I32))) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "only float32 and int32 rows with numbers are supported");
        return;
    }
    int64_t dims[HONE_MAX_RANK] = {-1};
    int rank = x->rank - t->rank + 1;
    for (int i = 1; i < rank; ++i)
        dims[i] = x->dims[t->rank + i - 1];
    hone_value *v =
        t->rank == 1 ? tfr_in_raw(im, 0) : tfr_reshape(im, tfr_in_raw(im, 0), dims, rank);
    hone_value *ids = tfr_reshape(im, tfr_in_i64(im, 1), (int64_t[]){-1}, 1);
    hone_value *count = tfr_reshape(im, tfr_in_i64(im, 2), (int64_t[]){1}, 1);
    ids = where(im, tfr_binary(im, "Less", ids, list1(im, 0)), count, ids);
    hone_value *rest = tfr_unary(im, "Shape", v);
    tfr_int(im, rest, "start", 1);
    hone_value *shape = concat(im, tfr_binary(im, "Add", count, list1(im, 1)), rest, 0);
    hone_value *y = scatter(im, filled(im, neutral(im, x->dtype), shape), unsqueeze(im, ids, -1), v,
                            im->rule->onnx);
    tfr_out_raw(im, 0,
                tfr_make(im, "Slice", (hone_value *[]){y, list1(im, 0), count, list1(im, 0)}, 4));
}

/* ---- diagonals --------------------------------------------------------------------------------
 */

/* true on the diagonal of [rows, columns]. */
static hone_value *diagonal(tfr_import *im, int64_t rows, int64_t columns) {
    hone_value *start = scalar_like(im, 0, HONE_DTYPE_I64),
               *one = scalar_like(im, 1, HONE_DTYPE_I64);
    hone_value *down = tfr_make(
        im, "Range", (hone_value *[]){start, scalar_like(im, rows, HONE_DTYPE_I64), one}, 3);
    hone_value *right = tfr_make(
        im, "Range", (hone_value *[]){start, scalar_like(im, columns, HONE_DTYPE_I64), one}, 3);
    return tfr_binary(im, "Equal", unsqueeze(im, down, 1), unsqueeze(im, right, 0));
}

void tfr_build_matrix_diag(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    int64_t n = x && x->rank > 0 ? x->dims[x->rank - 1] : -1;
    if (n < 0) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "the length of the diagonal must be known");
        return;
    }
    hone_value *v = unsqueeze(im, tfr_in_raw(im, 0), -1);
    tfr_out_raw(im, 0, where(im, diagonal(im, n, n), v, scalar_like(im, 0, x->dtype)));
}

void tfr_build_matrix_set_diag(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    int64_t rows = x && x->rank > 1 ? x->dims[x->rank - 2] : -1;
    int64_t columns = rows >= 0 ? x->dims[x->rank - 1] : -1;
    if (columns < 0) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "the size of the matrices must be known");
        return;
    }
    hone_value *d = unsqueeze(im, tfr_in_raw(im, 1), rows <= columns ? -1 : -2);
    tfr_out_raw(im, 0, where(im, diagonal(im, rows, columns), d, tfr_in_raw(im, 0)));
}

/* ---- NON_MAX_SUPPRESSION ----------------------------------------------------------------------
 */

/* v [k] and zeros to a length of `most` [1]. */
static hone_value *padded(tfr_import *im, hone_value *v, hone_value *most, hone_dtype d) {
    hone_value *more = filled(im, scalar_like(im, 0, d), most);
    return tfr_make(im, "Slice", (hone_value *[]){concat(im, v, more, 0), list1(im, 0), most}, 3);
}

/* The overlap [1] above which a box is dropped. LiteRT drops it at the threshold, too: ONNX's is
 * the next smaller float, where the threshold is a constant. */
static hone_value *overlap_limit(tfr_import *im) {
    const tfr_tensor *t = tfr_in_tensor(im, 3);
    float v = 0;
    if (t && t->data && t->dtype == HONE_DTYPE_F32)
        memcpy(&v, t->data, sizeof v);
    hone_value *limit = v > 0 && v <= 1 ? tfr_const_f32(im, nextafterf(v, 0)) : tfr_in_raw(im, 3);
    return tfr_reshape(im, limit, (int64_t[]){1}, 1);
}

/* Inputs: boxes [n, 4], scores [n], most, overlap, score, and sigma, which must be 0. Outputs of a
 * fixed length, and the number of those that count. */
void tfr_build_nms(tfr_import *im) {
    bool is_soft = im->op->code == TFL_NON_MAX_SUPPRESSION_V5;
    const tfr_tensor *sigma = is_soft ? tfr_in_tensor(im, 5) : NULL;
    if (is_soft && (!sigma || !sigma->data || sigma->dtype != HONE_DTYPE_F32 ||
                    *(const char *)sigma->data || ((const char *)sigma->data)[1] ||
                    ((const char *)sigma->data)[2] || ((const char *)sigma->data)[3])) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "soft suppression (sigma other than 0) is not supported");
        return;
    }
    hone_value *scores = tfr_in_raw(im, 1),
               *most = tfr_reshape(im, tfr_in_i64(im, 2), (int64_t[]){1}, 1);
    hone_value *in[5] = {unsqueeze(im, tfr_in_raw(im, 0), 0),
                         tfr_reshape(im, scores, (int64_t[]){1, 1, -1}, 3), most, overlap_limit(im),
                         tfr_reshape(im, tfr_in_raw(im, 4), (int64_t[]){1}, 1)};
    hone_value *found = tfr_make(im, "NonMaxSuppression", in, 5);
    hone_value *at = tfr_binary(im, "Gather", found, scalar_like(im, 2, HONE_DTYPE_I64));
    tfr_int(im, at, "axis", 1);
    hone_value *count = tfr_unary(im, "Size", at);
    tfr_out_raw(im, 0, tfr_cast(im, padded(im, at, most, HONE_DTYPE_I64), HONE_DTYPE_I32));
    if (is_soft)
        tfr_out_raw(im, 1, padded(im, tfr_binary(im, "Gather", scores, at), most, HONE_DTYPE_F32));
    tfr_out_raw(im, is_soft ? 2 : 1, tfr_cast(im, count, HONE_DTYPE_I32));
}

/* ---- DYNAMIC_UPDATE_SLICE ---------------------------------------------------------------------
 */

/* Indices of all elements of the first n dims, [count, n]. */
static hone_value *grid(tfr_import *im, const int64_t *dims, int n) {
    enum { MOST = 1 << 16 };
    int64_t count = 1;
    for (int d = 0; d < n; ++d)
        count = dims[d] <= MOST && count <= MOST ? count * dims[d] : MOST + 1;
    int64_t *list = count <= MOST ? HONE_NEW_ARRAY(im->g->arena, int64_t, count * n + 1) : NULL;
    if (!list) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "an update of too many rows");
        return NULL;
    }
    for (int64_t i = 0; i < count; ++i) {
        int64_t rest = i;
        for (int d = n - 1; d >= 0; --d) {
            list[i * n + d] = rest % dims[d];
            rest /= dims[d];
        }
    }
    return tfr_reshape(im, tfr_const_i64(im, list, (int)(count * n)), (int64_t[]){count, n}, 2);
}

/* Inputs: x, update, where it begins; it is moved to lie inside. Trailing dims that it covers are
 * moved whole. */
void tfr_build_dynamic_update_slice(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0), *u = tfr_in_tensor(im, 1);
    int n = x ? x->rank : 0;
    int64_t dims[HONE_MAX_RANK];
    bool is_known = x && u && u->rank == n && n > 0;
    for (int d = 0; is_known && d < n; ++d)
        is_known = u->dims[d] >= 0 && (x->dims[d] < 0 || u->dims[d] <= x->dims[d]);
    if (!is_known) {
        tfr_fail(im, HONE_E_UNSUPPORTED,
                 "an update of unknown shape, or one that does not fit what it updates");
        return;
    }
    hone_value *most = tfr_binary(im, "Sub", tfr_unary(im, "Shape", tfr_in_raw(im, 0)),
                                  tfr_const_i64(im, u->dims, n));
    while (n > 1 && x->dims[n - 1] == u->dims[n - 1])
        --n;
    dims[0] = -1;
    for (int d = n; d < x->rank; ++d)
        dims[d - n + 1] = x->dims[d];
    hone_value *start = tfr_in_i64(im, 2);
    start = tfr_binary(im, "Max", start, list1(im, 0));
    start = tfr_binary(im, "Min", start, most);
    start = tfr_make(im, "Slice", (hone_value *[]){start, list1(im, 0), list1(im, n)}, 3);
    hone_value *at = tfr_binary(im, "Add", grid(im, u->dims, n), start);
    hone_value *rows = tfr_reshape(im, tfr_in_raw(im, 1), dims, x->rank - n + 1);
    tfr_out_raw(im, 0, scatter(im, tfr_in_raw(im, 0), at, rows, NULL));
}
