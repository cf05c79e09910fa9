/* Operators that move values or make shapes. */
#include <string.h>

#include "tflite/import_impl.h"

/* RESHAPE and SQUEEZE: the output's dims, of which one may be known only when it runs. */
void tfr_build_reshape(tfr_import *im) {
    const tfr_tensor *out = tfr_out_tensor(im, 0), *shape = tfr_in_tensor(im, 1);
    hone_value *x = tfr_in(im, 0);
    if (im->op->code == TFL_RESHAPE && shape && !shape->data && shape->rank == 1) {
        tfr_out(im, 0, tfr_binary(im, "Reshape", x, tfr_in_i64(im, 1)));
        return;
    }
    int64_t dims[HONE_MAX_RANK];
    int n_unknown = 0;
    for (int i = 0; out && i < out->rank; ++i) {
        dims[i] = out->dims[i];
        n_unknown += dims[i] < 0;
    }
    if (!out || n_unknown > 1) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "an output with more than one dim that is not known");
        return;
    }
    hone_value *y = tfr_reshape(im, x, dims, out->rank);
    tfr_int(im, y, "allowzero", 1);
    tfr_out(im, 0, y);
}

void tfr_build_expand_dims(tfr_import *im) {
    int64_t axis;
    if (tfr_in_ints(im, 1, &axis, 1) != 1)
        return;
    tfr_out(im, 0, tfr_binary(im, "Unsqueeze", tfr_in(im, 0), tfr_const_i64(im, &axis, 1)));
}

void tfr_build_transpose(tfr_import *im) {
    int64_t perm[HONE_MAX_RANK];
    int n = tfr_in_ints(im, 1, perm, HONE_MAX_RANK);
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    if (n < 0 || !x)
        return;
    for (int i = 0; i < n; ++i) {
        if (perm[i] < 0)
            perm[i] += n;
    }
    tfr_out(im, 0, tfr_transpose(im, tfr_in(im, 0), perm, n));
}

/* All inputs in the output's quantisation. */
void tfr_build_concat(tfr_import *im) {
    const tfr_tensor *out = tfr_out_tensor(im, 0);
    hone_value **in = HONE_NEW_ARRAY(im->g->arena, hone_value *, im->op->n_in + 1);
    if (!in || im->op->n_in < 1) {
        tfr_fail(im, HONE_E_FORMAT, "nothing to put together");
        return;
    }
    for (int i = 0; i < im->op->n_in; ++i) {
        const tfr_tensor *x = tfr_in_tensor(im, i);
        in[i] = tfr_in_raw(im, i);
        if (tfr_is_quantised(x) && tfr_is_quantised(out) && x->dtype == out->dtype)
            in[i] = tfr_rescale(im, in[i], x, out);
    }
    hone_value *y = tfr_make(im, "Concat", in, im->op->n_in);
    tfr_int(im, y, "axis", tfr_option_i32(im, 0, 0));
    tfr_out_raw(im, 0, tfr_activate(im, y, tfr_option_byte(im, 1, 0)));
}

static void split(tfr_import *im, hone_value *x, hone_value *sizes, int64_t axis) {
    int n = im->op->n_out;
    hone_value **out = HONE_NEW_ARRAY(im->g->arena, hone_value *, n + 1);
    if (!out || n < 1) {
        tfr_fail(im, HONE_E_FORMAT, "no parts to split into");
        return;
    }
    tfr_make_many(im, "Split", (hone_value *[]){x, sizes}, sizes ? 2 : 1, out, n);
    tfr_int(im, out[0], "axis", axis);
    if (!sizes)
        tfr_int(im, out[0], "num_outputs", n);
    for (int i = 0; i < n; ++i)
        tfr_out_raw(im, i, out[i]);
}

void tfr_build_split(tfr_import *im) {
    int64_t axis;
    if (tfr_in_ints(im, 0, &axis, 1) == 1)
        split(im, tfr_in(im, 1), NULL, axis);
}

void tfr_build_split_v(tfr_import *im) {
    int64_t axis, sizes[256];
    int n = tfr_in_ints(im, 1, sizes, 256);
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    if (n < 0 || tfr_in_ints(im, 2, &axis, 1) != 1 || !x)
        return;
    int at = (int)(axis < 0 ? axis + x->rank : axis);
    int64_t rest = axis >= -x->rank && axis < x->rank ? x->dims[at] : -1;
    int missing = -1;
    for (int i = 0; i < n; ++i) {
        if (sizes[i] < 0)
            missing = i;
        else
            rest -= sizes[i];
    }
    if (missing >= 0)
        sizes[missing] = rest;
    split(im, tfr_in(im, 0), tfr_const_i64(im, sizes, n), axis);
}

static hone_value *slice(tfr_import *im, hone_value *x, const int64_t *begin, const int64_t *end,
                         const int64_t *axes, const int64_t *step, int n) {
    return tfr_make(im, "Slice",
                    (hone_value *[]){x, tfr_const_i64(im, begin, n), tfr_const_i64(im, end, n),
                                     tfr_const_i64(im, axes, n), tfr_const_i64(im, step, n)},
                    5);
}

/* Inputs: begin, size; size -1: to the end. */
void tfr_build_slice(tfr_import *im) {
    const tfr_tensor *begins = tfr_in_tensor(im, 1), *sizes = tfr_in_tensor(im, 2);
    if (!begins || !sizes || !begins->data || !sizes->data) {
        hone_value *begin = tfr_in_i64(im, 1), *size = tfr_in_i64(im, 2);
        hone_value *end = tfr_binary(im, "Add", begin, size);
        hone_value *none = tfr_binary(im, "Less", size, tfr_const_i64(im, (int64_t[]){0}, 1));
        end =
            tfr_make(im, "Where",
                     (hone_value *[]){none, tfr_const_i64(im, (int64_t[]){INT32_MAX}, 1), end}, 3);
        tfr_out(im, 0, tfr_make(im, "Slice", (hone_value *[]){tfr_in(im, 0), begin, end}, 3));
        return;
    }
    int64_t begin[HONE_MAX_RANK], end[HONE_MAX_RANK], axes[HONE_MAX_RANK], step[HONE_MAX_RANK];
    int n = tfr_in_ints(im, 1, begin, HONE_MAX_RANK);
    if (n < 0 || tfr_in_ints(im, 2, end, HONE_MAX_RANK) != n)
        return;
    for (int i = 0; i < n; ++i) {
        axes[i] = i;
        step[i] = 1;
        end[i] = end[i] < 0 || begin[i] > INT32_MAX || end[i] > INT32_MAX ? INT32_MAX
                                                                          : begin[i] + end[i];
    }
    tfr_out(im, 0, slice(im, tfr_in(im, 0), begin, end, axes, step, n));
}

/* numpy's slicing: masks choose, for each entry, the full range, an ellipsis, a new axis, an index.
 */
typedef struct strides {
    int n; /* axes of the input so far */
    int64_t begin[HONE_MAX_RANK], end[HONE_MAX_RANK], axes[HONE_MAX_RANK], step[HONE_MAX_RANK];
    int64_t shrink[HONE_MAX_RANK], fresh[2 * HONE_MAX_RANK];
    int n_shrink, n_fresh, n_out;
} strides;

static bool read_strides(tfr_import *im, const tfr_tensor *x, strides *s) {
    enum { BEGIN, END, ELLIPSIS, NEW, SHRINK };
    int64_t begin[HONE_MAX_RANK], end[HONE_MAX_RANK], step[HONE_MAX_RANK], mask[5];
    int n = tfr_in_ints(im, 1, begin, HONE_MAX_RANK), n_new = 0;
    if (n < 0 || tfr_in_ints(im, 2, end, HONE_MAX_RANK) != n ||
        tfr_in_ints(im, 3, step, HONE_MAX_RANK) != n)
        return false;
    for (int i = 0; i < 5; ++i)
        mask[i] = tfr_option_i32(im, i, 0);
    for (int i = 0; i < n; ++i)
        n_new += (mask[NEW] >> i & 1) && !(mask[ELLIPSIS] >> i & 1);
    for (int i = 0; i < n; ++i) {
        if (mask[ELLIPSIS] >> i & 1) {
            int skipped = x->rank - (n - 1 - n_new);
            s->n += skipped > 0 ? skipped : 0;
            s->n_out += skipped > 0 ? skipped : 0;
        } else if (mask[NEW] >> i & 1) {
            s->fresh[s->n_fresh++] = s->n_out++;
        } else {
            int64_t axis = s->n++;
            bool is_index = mask[SHRINK] >> i & 1;
            int k = s->n - 1;
            if (axis >= x->rank || step[i] == 0)
                return false;
            s->axes[k] = axis;
            s->step[k] = is_index ? 1 : step[i];
            s->begin[k] =
                mask[BEGIN] >> i & 1 && !is_index ? (step[i] > 0 ? 0 : INT32_MAX) : begin[i];
            s->end[k] =
                mask[END] >> i & 1 ? (step[i] > 0 ? INT32_MAX : -(int64_t)INT32_MAX) : end[i];
            if (is_index) {
                s->end[k] = begin[i] == -1 ? INT32_MAX : begin[i] + 1;
                s->shrink[s->n_shrink++] = axis;
            } else {
                s->n_out++;
            }
        }
    }
    return s->n <= x->rank;
}

/* v, and `to` where a bit of the mask is set. */
static hone_value *masked(tfr_import *im, hone_value *v, int64_t mask, int n, hone_value *to) {
    int64_t bits[HONE_MAX_RANK];
    for (int i = 0; i < n; ++i)
        bits[i] = mask >> i & 1;
    hone_value *is_set = tfr_cast(im, tfr_const_i64(im, bits, n), HONE_DTYPE_BOOL);
    return tfr_make(im, "Where", (hone_value *[]){is_set, to, v}, 3);
}

/* Bounds that are computed: of as many axes as they have entries, none of them new. */
static void slice_by_values(tfr_import *im, const tfr_tensor *x) {
    enum { BEGIN, END, ELLIPSIS, NEW, SHRINK };
    int64_t step[HONE_MAX_RANK], first[HONE_MAX_RANK], last[HONE_MAX_RANK], axes[HONE_MAX_RANK],
        mask[5];
    int64_t shrink[HONE_MAX_RANK], far[HONE_MAX_RANK];
    int n = tfr_in_ints(im, 3, step, HONE_MAX_RANK), n_shrink = 0;
    for (int i = 0; i < 5; ++i)
        mask[i] = tfr_option_i32(im, i, 0);
    if (n < 1 || n > x->rank || mask[ELLIPSIS] || mask[NEW]) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "computed bounds with an ellipsis or a new axis");
        return;
    }
    for (int i = 0; i < n; ++i) {
        bool is_index = mask[SHRINK] >> i & 1;
        axes[i] = i;
        step[i] = is_index ? 1 : step[i];
        first[i] = step[i] > 0 ? 0 : INT32_MAX;
        last[i] = step[i] > 0 ? INT32_MAX : -(int64_t)INT32_MAX;
        far[i] = INT32_MAX;
        if (is_index)
            shrink[n_shrink++] = i;
    }
    hone_value *given = tfr_in_i64(im, 1);
    hone_value *begin =
        masked(im, given, mask[BEGIN] & ~mask[SHRINK], n, tfr_const_i64(im, first, n));
    /* An index is a slice of one; that of the last element ends at the end. */
    hone_value *one = tfr_const_i64(im, (int64_t[]){1}, 1),
               *behind = tfr_binary(im, "Add", given, one);
    hone_value *is_end = tfr_binary(im, "Equal", behind, tfr_const_i64(im, (int64_t[]){0}, 1));
    behind = tfr_make(im, "Where", (hone_value *[]){is_end, tfr_const_i64(im, far, n), behind}, 3);
    hone_value *end = masked(im, tfr_in_i64(im, 2), mask[END], n, tfr_const_i64(im, last, n));
    end = masked(im, end, mask[SHRINK], n, behind);
    hone_value *in[5] = {tfr_in(im, 0), begin, end, tfr_const_i64(im, axes, n),
                         tfr_const_i64(im, step, n)};
    hone_value *y = tfr_make(im, "Slice", in, 5);
    if (n_shrink)
        y = tfr_binary(im, "Squeeze", y, tfr_const_i64(im, shrink, n_shrink));
    tfr_out(im, 0, y);
}

void tfr_build_strided_slice(tfr_import *im) {
    enum { OFFSET = 5 };
    const tfr_tensor *x = tfr_in_tensor(im, 0), *from = tfr_in_tensor(im, 1),
                     *to = tfr_in_tensor(im, 2);
    strides s = {.n = 0};
    if (x && from && to && (!from->data || !to->data) && tfr_option_byte(im, OFFSET, 0) == 0) {
        slice_by_values(im, x);
        return;
    }
    for (int i = 0; i < HONE_MAX_RANK; ++i) {
        s.axes[i] = i;
        s.step[i] = 1;
        s.end[i] = INT32_MAX;
    }
    if (!x || tfr_option_byte(im, OFFSET, 0) != 0 || !read_strides(im, x, &s)) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "this form of slice is not supported");
        return;
    }
    hone_value *y = slice(im, tfr_in(im, 0), s.begin, s.end, s.axes, s.step, s.n);
    if (s.n_shrink)
        y = tfr_binary(im, "Squeeze", y, tfr_const_i64(im, s.shrink, s.n_shrink));
    if (s.n_fresh)
        y = tfr_binary(im, "Unsqueeze", y, tfr_const_i64(im, s.fresh, s.n_fresh));
    tfr_out(im, 0, y);
}

/* [[begin, end], ...] to [begins, ends]. */
static hone_value *paddings(tfr_import *im, int k) {
    hone_value *pads = tfr_transpose(im, tfr_in_i64(im, k), (int64_t[]){1, 0}, 2);
    return tfr_reshape(im, pads, (int64_t[]){-1}, 1);
}

static hone_value *constant_paddings(tfr_import *im, int k) {
    const tfr_tensor *t = tfr_in_tensor(im, k);
    int64_t list[2 * HONE_MAX_RANK], pads[2 * HONE_MAX_RANK];
    if (!t || !t->data)
        return paddings(im, k);
    int n = tfr_in_ints(im, k, list, 2 * HONE_MAX_RANK);
    if (n < 0 || n % 2)
        return NULL;
    for (int i = 0; i < n; ++i)
        pads[i % 2 * (n / 2) + i / 2] = list[i];
    return tfr_const_i64(im, pads, n);
}

/* Quantised: with the zero point. */
static hone_value *padding_value(tfr_import *im, const tfr_tensor *x) {
    if (tfr_in_tensor(im, 2))
        return tfr_reshape(im, tfr_in_raw(im, 2), NULL, 0);
    if (!tfr_is_quantised(x) || x->quant.n_scales != 1)
        return NULL;
    hone_value *zero = tfr_const_i64(im, x->quant.zero_point, -1);
    return tfr_cast(im, zero, x->dtype);
}

void tfr_build_pad(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    if (!x)
        return;
    hone_value *in[3] = {tfr_in(im, 0), constant_paddings(im, 1), padding_value(im, x)};
    tfr_out(im, 0, tfr_make(im, "Pad", in, in[2] ? 3 : 2));
}

/* Rows of axis d in a new order, with `before` in front and `after` behind, mirrored at the edge,
 * which is there twice. */
static hone_value *mirror(tfr_import *im, hone_value *x, int d, int64_t n, int64_t before,
                          int64_t after) {
    if (before < 0 || after < 0 || before > n || after > n || n > INT32_MAX / 3) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "dim %d is not known, or smaller than its padding", d);
        return NULL;
    }
    int64_t *list = HONE_NEW_ARRAY(im->g->arena, int64_t, before + n + after + 1);
    if (!list) {
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
        return NULL;
    }
    for (int64_t i = 0; i < before + n + after; ++i) {
        int64_t at = i - before;
        list[i] = at < 0 ? -1 - at : at >= n ? 2 * n - 1 - at : at;
    }
    hone_value *y = tfr_binary(im, "Gather", x, tfr_const_i64(im, list, (int)(before + n + after)));
    tfr_int(im, y, "axis", d);
    return y;
}

void tfr_build_mirror_pad(tfr_import *im) {
    const tfr_tensor *t = tfr_in_tensor(im, 0);
    if (tfr_option_byte(im, 0, TFL_REFLECT) == TFL_REFLECT) {
        hone_value *y = tfr_binary(im, "Pad", tfr_in(im, 0), constant_paddings(im, 1));
        tfr_text_attr(im, y, "mode", "reflect");
        tfr_out(im, 0, y);
        return;
    }
    int64_t pads[2 * HONE_MAX_RANK];
    int n = tfr_in_ints(im, 1, pads, 2 * HONE_MAX_RANK);
    hone_value *x = tfr_in(im, 0);
    for (int d = 0; t && d < t->rank && 2 * d + 1 < n; ++d) {
        if (pads[2 * d] || pads[2 * d + 1])
            x = mirror(im, x, d, t->dims[d], pads[2 * d], pads[2 * d + 1]);
    }
    tfr_out(im, 0, x);
}

/* With batch dims: the axis moves to stand behind them, and the dims that it passed move back. */
static void gather_batches(tfr_import *im, int64_t axis, int64_t batch_dims) {
    const tfr_tensor *x = tfr_in_tensor(im, 0), *at = tfr_in_tensor(im, 1);
    int64_t perm[HONE_MAX_RANK], back[2 * HONE_MAX_RANK];
    if (!x || !at || x->rank < 1)
        return;
    batch_dims += batch_dims < 0 ? at->rank : 0;
    axis += axis < 0 ? x->rank : 0;
    if (batch_dims < 0 || batch_dims > at->rank || axis < batch_dims || axis >= x->rank ||
        x->rank + at->rank - batch_dims > HONE_MAX_RANK) {
        tfr_fail(im, HONE_E_SHAPE, "axis and batch_dims do not fit");
        return;
    }
    int b = (int)batch_dims, passed = (int)(axis - batch_dims), n_at = at->rank - b, n = 0;
    for (int i = 0; i < x->rank; ++i)
        perm[i] = i < b || i > axis ? i : i == b ? axis : i - 1;
    hone_value *v = tfr_transpose(im, tfr_in(im, 0), perm, x->rank);
    hone_value *indices =
        tfr_binary(im, "Unsqueeze", tfr_in_i64(im, 1), tfr_const_i64(im, (int64_t[]){-1}, 1));
    v = tfr_binary(im, "GatherND", v, indices);
    tfr_int(im, v, "batch_dims", b);
    for (int i = 0; i < b; ++i)
        back[n++] = i;
    for (int i = 0; i < passed; ++i)
        back[n++] = b + n_at + i;
    for (int i = 0; i < n_at; ++i)
        back[n++] = b + i;
    for (int i = (int)axis + 1; i < x->rank; ++i)
        back[n++] = i - 1 + n_at;
    tfr_out(im, 0, tfr_transpose(im, v, back, n));
}

void tfr_build_gather(tfr_import *im) {
    int64_t axis = tfr_option_i32(im, 0, 0), batch_dims = tfr_option_i32(im, 1, 0);
    if (batch_dims != 0) {
        gather_batches(im, axis, batch_dims);
        return;
    }
    hone_value *y = tfr_binary(im, "Gather", tfr_in(im, 0), tfr_in_i64(im, 1));
    tfr_int(im, y, "axis", axis);
    tfr_out(im, 0, y);
}

void tfr_build_gather_nd(tfr_import *im) {
    tfr_out(im, 0, tfr_binary(im, "GatherND", tfr_in(im, 0), tfr_in_i64(im, 1)));
}

/* Stack along a new axis. */
void tfr_build_pack(tfr_import *im) {
    int64_t axis = tfr_option_i32(im, 1, 0);
    hone_value **in = HONE_NEW_ARRAY(im->g->arena, hone_value *, im->op->n_in + 1);
    if (!in || im->op->n_in < 1) {
        tfr_fail(im, HONE_E_FORMAT, "nothing to stack");
        return;
    }
    for (int i = 0; i < im->op->n_in; ++i)
        in[i] = tfr_binary(im, "Unsqueeze", tfr_in(im, i), tfr_const_i64(im, &axis, 1));
    hone_value *y = tfr_make(im, "Concat", in, im->op->n_in);
    tfr_int(im, y, "axis", axis);
    tfr_out(im, 0, y);
}

void tfr_build_unpack(tfr_import *im) {
    int64_t axis = tfr_option_i32(im, 1, 0);
    hone_value *x = tfr_in(im, 0);
    for (int64_t i = 0; i < im->op->n_out; ++i) {
        hone_value *y = tfr_binary(im, "Gather", x, tfr_const_i64(im, &i, -1));
        tfr_int(im, y, "axis", axis);
        tfr_out_raw(im, (int)i, y);
    }
}

void tfr_build_tile(tfr_import *im) {
    tfr_out(im, 0, tfr_binary(im, im->rule->onnx, tfr_in(im, 0), tfr_in_i64(im, 1)));
}

void tfr_build_fill(tfr_import *im) {
    hone_value *v = tfr_in(im, 1);
    tfr_out_raw(im, 0, tfr_binary(im, "Expand", v, tfr_in_i64(im, 0)));
}

void tfr_build_range(tfr_import *im) {
    tfr_out(
        im, 0,
        tfr_make(im, "Range", (hone_value *[]){tfr_in(im, 0), tfr_in(im, 1), tfr_in(im, 2)}, 3));
}

void tfr_build_shape(tfr_import *im) {
    const tfr_tensor *out = tfr_out_tensor(im, 0);
    hone_value *y = tfr_unary(im, "Shape", tfr_in(im, 0));
    bool is_wide = out && out->dtype == HONE_DTYPE_I64;
    tfr_out_raw(im, 0, is_wide ? y : tfr_cast(im, y, HONE_DTYPE_I32));
}

void tfr_build_reverse(tfr_import *im) {
    int64_t axes[HONE_MAX_RANK], begin[HONE_MAX_RANK], end[HONE_MAX_RANK], step[HONE_MAX_RANK];
    int n = tfr_in_ints(im, 1, axes, HONE_MAX_RANK);
    if (n < 0)
        return;
    for (int i = 0; i < n; ++i) {
        begin[i] = INT32_MAX;
        end[i] = -(int64_t)INT32_MAX;
        step[i] = -1;
    }
    tfr_out(im, 0, slice(im, tfr_in(im, 0), begin, end, axes, step, n));
}

void tfr_build_zeros_like(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    if (!x)
        return;
    hone_value *zero = tfr_cast(im, tfr_const_i64(im, (int64_t[]){0}, -1), x->dtype);
    tfr_out_raw(im, 0, tfr_binary(im, "Expand", zero, tfr_unary(im, "Shape", tfr_in(im, 0))));
}
