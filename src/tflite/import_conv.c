/* Convolutions and products. */
#include "tflite/import_impl.h"

/* Ids of the options; they differ from operator to operator. */
typedef struct conv_options {
    int padding, stride_w, stride_h, activation, dilation_w, dilation_h; /* -1: has none */
} conv_options;

static const conv_options conv_ids = {0, 1, 2, 3, 4, 5};
static const conv_options depthwise_ids = {0, 1, 2, 4, 5, 6};

/* Strides, dilations and padding: TensorFlow's SAME puts the odd element behind, as SAME_UPPER
 * does. */
static void set_window(tfr_import *im, hone_value *v, const conv_options *id) {
    int64_t stride[2] = {tfr_option_i32(im, id->stride_h, 0), tfr_option_i32(im, id->stride_w, 0)};
    int64_t dilation[2] = {tfr_option_i32(im, id->dilation_h, 1),
                           tfr_option_i32(im, id->dilation_w, 1)};
    if (stride[0] < 1 || stride[1] < 1 || dilation[0] < 1 || dilation[1] < 1)
        tfr_fail(im, HONE_E_FORMAT, "strides or dilations below 1");
    tfr_ints(im, v, "strides", stride, 2);
    tfr_ints(im, v, "dilations", dilation, 2);
    if (tfr_option_byte(im, id->padding, TFL_SAME) == TFL_SAME)
        tfr_text_attr(im, v, "auto_pad", "SAME_UPPER");
}

/* Attributes of the integer operators: the three quantisations and the activation's limits. */
static void set_scales(tfr_import *im, hone_value *v, const tfr_tensor *x, int64_t activation) {
    const tfr_tensor *w = tfr_in_tensor(im, 1), *y = tfr_out_tensor(im, 0);
    if (im->status != HONE_OK || !v)
        return;
    tfr_param(im, v, "x", x);
    tfr_param(im, v, "y", y);
    if (!hone_attr_set_floats(im->g, v->producer, "w_scale", w->quant.scale, w->quant.n_scales))
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
    for (int i = 1; i < w->quant.n_scales; ++i) {
        if (w->quant.zero_point[i] != w->quant.zero_point[0])
            tfr_fail(im, HONE_E_UNSUPPORTED, "weights with several zero points");
    }
    tfr_int(im, v, "w_zero", w->quant.zero_point[0]);
    tfr_int(im, v, "to", y->dtype);
    tfr_limits(im, v, activation, y);
}

/* On integers: activations and weights are quantised, the weights have 8 bits or less. */
static bool is_integer(tfr_import *im) {
    const tfr_tensor *w = tfr_in_tensor(im, 1);
    return tfr_runs_on_integers(im, false) && tfr_is_quantised(w) && w->quant.n_scales > 0 &&
           hone_dtype_in(w->dtype, HONE_T(I8) | HONE_T(U8) | HONE_T(I4));
}

/* Float activations and weights of 8 bits: LiteRT quantises the activations as it runs. */
static bool is_hybrid(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0), *w = tfr_in_tensor(im, 1);
    if (!x || x->dtype != HONE_DTYPE_F32 || !w || !w->data || w->quant.n_scales < 1 ||
        !hone_dtype_in(w->dtype, HONE_T(I8) | HONE_T(I4)))
        return false;
    for (int i = 0; i < w->quant.n_scales; ++i) {
        if (w->quant.zero_point[i])
            return false;
    }
    return true;
}

static bool has_equal_scales(const tfr_quant *q) {
    for (int i = 1; i < q->n_scales; ++i) {
        if (q->scale[i] != q->scale[0])
            return false;
    }
    return true;
}

static void build_hybrid(tfr_import *im, const char *op, hone_value *x, const conv_options *window,
                         bool is_symmetric, int64_t activation) {
    const tfr_quant *q = &tfr_in_tensor(im, 1)->quant;
    hone_value *in[3] = {x, tfr_in_raw(im, 1), tfr_in_float(im, 2)};
    hone_value *y = tfr_make(im, op, in, in[2] ? 3 : 2);
    if (window)
        set_window(im, y, window);
    if (y && !hone_attr_set_floats(im->g, y->producer, "w_scale", q->scale, q->n_scales))
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
    tfr_int(im, y, "is_symmetric", is_symmetric);
    tfr_out_raw(im, 0, tfr_activate(im, y, activation));
}

static bool has_rank(tfr_import *im, int k, int rank) {
    const tfr_tensor *t = tfr_in_tensor(im, k);
    if (t && t->rank == rank)
        return true;
    tfr_fail(im, HONE_E_SHAPE, "input %d has rank %d, not %d", k, t ? t->rank : 0, rank);
    return false;
}

/* [o, kh, kw, i] or, depthwise, [1, kh, kw, o] to [o, i, kh, kw]. */
static hone_value *onnx_weights(tfr_import *im, bool is_depthwise) {
    hone_value *w = tfr_in_float(im, 1);
    return is_depthwise ? tfr_transpose(im, w, (int64_t[]){3, 0, 1, 2}, 4) : tfr_to_nchw(im, w);
}

void tfr_build_conv(tfr_import *im) {
    bool is_depthwise = im->op->code == TFL_DEPTHWISE_CONV_2D;
    const conv_options *id = is_depthwise ? &depthwise_ids : &conv_ids;
    int64_t activation = tfr_option_byte(im, id->activation, 0);
    if (!has_rank(im, 0, 4) || !has_rank(im, 1, 4))
        return;
    int n_in = tfr_in_tensor(im, 2) ? 3 : 2;
    if (is_integer(im)) {
        hone_value *in[3] = {tfr_in_raw(im, 0), tfr_in_raw(im, 1), tfr_in_raw(im, 2)};
        hone_value *y = tfr_make(im, is_depthwise ? "QDepthwiseConv" : "QConv", in, n_in);
        set_window(im, y, id);
        set_scales(im, y, tfr_in_tensor(im, 0), activation);
        tfr_out_raw(im, 0, y);
        return;
    }
    if (is_hybrid(im)) {
        bool is_symmetric = !is_depthwise && has_equal_scales(&tfr_in_tensor(im, 1)->quant);
        build_hybrid(im, is_depthwise ? "QDepthwiseConv" : "QConv", tfr_in_raw(im, 0), id,
                     is_symmetric, activation);
        return;
    }
    int64_t channels = tfr_in_tensor(im, 0)->dims[3], per = tfr_in_tensor(im, 1)->dims[3];
    int64_t group = is_depthwise ? channels : per > 0 ? channels / per : 0;
    if (channels < 1 || group < 1)
        tfr_fail(im, HONE_E_SHAPE, "the number of channels is not known or does not fit");
    hone_value *in[3] = {tfr_to_nchw(im, tfr_in_float(im, 0)), onnx_weights(im, is_depthwise),
                         tfr_in_float(im, 2)};
    hone_value *y = tfr_make(im, "Conv", in, n_in);
    set_window(im, y, id);
    tfr_int(im, y, "group", group);
    y = tfr_to_nhwc(im, tfr_activate(im, y, activation));
    tfr_out_raw(im, 0,
                tfr_is_quantised(tfr_out_tensor(im, 0)) ? tfr_quantise(im, y, tfr_out_tensor(im, 0))
                                                        : y);
}

/* Where a transposed convolution lies in its output: padding before it, after it, what it lacks
 * behind. */
typedef struct placement {
    int64_t stride[2], size[2], pads[4], extra[2];
} placement;

static bool place(tfr_import *im, placement *p) {
    int64_t shape[4];
    if (!has_rank(im, 1, 4) || !has_rank(im, 2, 4) || tfr_in_ints(im, 0, shape, 4) != 4) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "the output's shape must be constant");
        return false;
    }
    const tfr_tensor *w = tfr_in_tensor(im, 1), *x = tfr_in_tensor(im, 2);
    bool is_same = tfr_option_byte(im, 0, TFL_SAME) == TFL_SAME;
    for (int d = 0; d < 2; ++d) {
        p->stride[d] = tfr_option_i32(im, d ? 1 : 2, 0);
        p->size[d] = shape[d + 1];
        if (x->dims[d + 1] < 1 || p->stride[d] < 1 || w->dims[d + 1] < 1 || shape[d + 1] < 1) {
            tfr_fail(im, HONE_E_UNSUPPORTED, "strides or sizes that are not known or possible");
            return false;
        }
        int64_t full = (x->dims[d + 1] - 1) * p->stride[d] + w->dims[d + 1];
        int64_t total = full > shape[d + 1] ? full - shape[d + 1] : 0;
        p->pads[d] = is_same ? total / 2 : 0;
        p->pads[d + 2] = total - p->pads[d];
        p->extra[d] = shape[d + 1] > full ? shape[d + 1] - full : 0;
    }
    return true;
}

/* Quantised weights and input 2 quantised, or float and to be quantised. */
static bool transpose_integers(tfr_import *im, const placement *p, int64_t activation) {
    const tfr_tensor *w = tfr_in_tensor(im, 1), *x = tfr_in_tensor(im, 2),
                     *y = tfr_out_tensor(im, 0);
    bool is_hybrid = x->dtype == HONE_DTYPE_F32;
    uint32_t types = HONE_T(I8) | HONE_T(I16) | HONE_T(U8);
    bool is_integer = tfr_is_quantised(x) && tfr_is_quantised(y) &&
                      hone_dtype_in(x->dtype, types) && x->dtype == y->dtype;
    bool fits = y && w->data && w->quant.n_scales > 0 &&
                hone_dtype_in(w->dtype, HONE_T(I8) | HONE_T(U8)) &&
                (is_hybrid ? w->dtype == HONE_DTYPE_I8 && y->dtype == HONE_DTYPE_F32 : is_integer);
    if (!fits)
        return false;
    hone_value *in[3] = {tfr_in_raw(im, 2), tfr_in_raw(im, 1),
                         is_hybrid ? tfr_in_float(im, 3) : tfr_in_raw(im, 3)};
    hone_value *v = tfr_make(im, "QTransposeConv", in, in[2] ? 3 : 2);
    tfr_ints(im, v, "strides", p->stride, 2);
    tfr_ints(im, v, "pads", p->pads, 2);
    tfr_ints(im, v, "size", p->size, 2);
    if (is_hybrid) {
        if (v &&
            !hone_attr_set_floats(im->g, v->producer, "w_scale", w->quant.scale, w->quant.n_scales))
            tfr_fail(im, HONE_E_NOMEM, "out of memory");
        v = tfr_activate(im, v, activation);
    } else {
        set_scales(im, v, x, activation);
    }
    tfr_out_raw(im, 0, v);
    return true;
}

/* Inputs: output shape, weights [o, kh, kw, i], x, bias. The padding follows from the shape. */
void tfr_build_transpose_conv(tfr_import *im) {
    int64_t activation = tfr_option_byte(im, 3, 0);
    placement p;
    if (!place(im, &p) || transpose_integers(im, &p, activation))
        return;
    hone_value *in[3] = {tfr_to_nchw(im, tfr_in_float(im, 2)),
                         tfr_transpose(im, tfr_in_float(im, 1), (int64_t[]){3, 0, 1, 2}, 4),
                         tfr_in_float(im, 3)};
    hone_value *y = tfr_make(im, "ConvTranspose", in, in[2] ? 3 : 2);
    tfr_ints(im, y, "strides", p.stride, 2);
    tfr_ints(im, y, "pads", p.pads, 4);
    tfr_ints(im, y, "output_padding", p.extra, 2);
    y = tfr_to_nhwc(im, tfr_activate(im, y, activation));
    const tfr_tensor *out = tfr_out_tensor(im, 0);
    tfr_out_raw(im, 0, tfr_is_quantised(out) ? tfr_quantise(im, y, out) : y);
}

/* ---- three dimensions -------------------------------------------------------------------------
 */

enum {
    PADDING_3D,
    STRIDE_D,
    STRIDE_W,
    STRIDE_H,
    ACTIVATION_3D,
    DILATION_D,
    DILATION_W,
    DILATION_H
};

static const int64_t to_ncdhw[] = {0, 4, 1, 2, 3}, to_ndhwc[] = {0, 2, 3, 4, 1};
/* [d, h, w, i, o] to [o, i, d, h, w]; that of transposed convolutions, [d, h, w, o, i], to [i, o,
 * d, h, w]. */
static const int64_t from_dhwio[] = {4, 3, 0, 1, 2};

static bool read_window_3d(tfr_import *im, int64_t stride[3], int64_t dilation[3]) {
    static const int strides[] = {STRIDE_D, STRIDE_H, STRIDE_W};
    static const int dilations[] = {DILATION_D, DILATION_H, DILATION_W};
    bool is_possible = true;
    for (int d = 0; d < 3; ++d) {
        stride[d] = tfr_option_i32(im, strides[d], 0);
        dilation[d] = tfr_option_i32(im, dilations[d], 1);
        is_possible = is_possible && stride[d] > 0 && dilation[d] > 0;
    }
    if (!is_possible)
        tfr_fail(im, HONE_E_FORMAT, "strides or dilations below 1");
    return is_possible;
}

static hone_value *finish_3d(tfr_import *im, hone_value *y) {
    y = tfr_activate(im, y, tfr_option_byte(im, ACTIVATION_3D, 0));
    return tfr_transpose(im, y, to_ndhwc, 5);
}

void tfr_build_conv_3d(tfr_import *im) {
    int64_t stride[3], dilation[3];
    if (!has_rank(im, 0, 5) || !has_rank(im, 1, 5) || !read_window_3d(im, stride, dilation))
        return;
    hone_value *in[3] = {tfr_transpose(im, tfr_in(im, 0), to_ncdhw, 5),
                         tfr_transpose(im, tfr_in(im, 1), from_dhwio, 5), tfr_in(im, 2)};
    hone_value *y = tfr_make(im, "Conv", in, in[2] ? 3 : 2);
    tfr_ints(im, y, "strides", stride, 3);
    tfr_ints(im, y, "dilations", dilation, 3);
    if (tfr_option_byte(im, PADDING_3D, TFL_SAME) == TFL_SAME)
        tfr_text_attr(im, y, "auto_pad", "SAME_UPPER");
    tfr_out(im, 0, finish_3d(im, y));
}

/* Padding that gives the output's size along one dim; false: none does. */
static bool fit_transposed(int64_t in, int64_t kernel, int64_t stride, int64_t dilation,
                           int64_t out, bool is_same, int64_t *before, int64_t *after,
                           int64_t *extra) {
    if (in < 1 || kernel < 1 || out < 1 || stride > INT32_MAX || dilation > INT32_MAX)
        return false;
    int64_t full = (in - 1) * stride + (kernel - 1) * dilation + 1;
    int64_t total = full > out ? full - out : 0;
    *before = is_same ? total / 2 : 0;
    *after = total - *before;
    *extra = out > full ? out - full : 0;
    return true;
}

/* Inputs: output shape, weights, x, bias. */
void tfr_build_conv_3d_transpose(tfr_import *im) {
    int64_t stride[3], dilation[3], shape[5], pads[6], extra[3];
    if (!has_rank(im, 1, 5) || !has_rank(im, 2, 5) || !read_window_3d(im, stride, dilation))
        return;
    const tfr_tensor *w = tfr_in_tensor(im, 1), *x = tfr_in_tensor(im, 2);
    bool is_same = tfr_option_byte(im, PADDING_3D, TFL_SAME) == TFL_SAME;
    bool fits = tfr_in_ints(im, 0, shape, 5) == 5;
    for (int d = 0; fits && d < 3; ++d)
        fits = fit_transposed(x->dims[d + 1], w->dims[d], stride[d], dilation[d], shape[d + 1],
                              is_same, &pads[d], &pads[d + 3], &extra[d]);
    if (!fits) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "strides or sizes that are not known or possible");
        return;
    }
    hone_value *in[3] = {tfr_transpose(im, tfr_in(im, 2), to_ncdhw, 5),
                         tfr_transpose(im, tfr_in(im, 1), from_dhwio, 5), tfr_in(im, 3)};
    hone_value *y = tfr_make(im, "ConvTranspose", in, in[2] ? 3 : 2);
    tfr_ints(im, y, "strides", stride, 3);
    tfr_ints(im, y, "dilations", dilation, 3);
    tfr_ints(im, y, "pads", pads, 6);
    tfr_ints(im, y, "output_padding", extra, 3);
    tfr_out(im, 0, finish_3d(im, y));
}

/* The input as rows of the weights' length, unless its own rows have it and are to stay. */
static hone_value *rows(tfr_import *im, hone_value *x, bool keeps_dims) {
    const tfr_tensor *t = tfr_in_tensor(im, 0), *w = tfr_in_tensor(im, 1);
    bool fits = t->rank > 0 && t->dims[t->rank - 1] == w->dims[1];
    return fits && (keeps_dims || t->rank == 2)
               ? x
               : tfr_reshape(im, x, (int64_t[]){-1, w->dims[1]}, 2);
}

void tfr_build_dense(tfr_import *im) {
    enum { ACTIVATION, FORMAT, KEEPS_DIMS, ASYMMETRIC };
    int64_t activation = tfr_option_byte(im, ACTIVATION, 0);
    bool keeps_dims = tfr_option_byte(im, KEEPS_DIMS, 0) != 0;
    if (!has_rank(im, 1, 2) || !tfr_in_tensor(im, 0))
        return;
    if (tfr_option_byte(im, FORMAT, 0) != 0) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "shuffled weights");
        return;
    }
    hone_value *y;
    if (is_integer(im)) {
        hone_value *in[3] = {rows(im, tfr_in_raw(im, 0), keeps_dims), tfr_in_raw(im, 1),
                             tfr_in_raw(im, 2)};
        y = tfr_make(im, "QFullyConnected", in, in[2] ? 3 : 2);
        set_scales(im, y, tfr_in_tensor(im, 0), activation);
        tfr_int(im, y, "real", tfr_in_tensor(im, 0)->dtype != HONE_DTYPE_U8);
        tfr_out_raw(im, 0, y);
        return;
    }
    hone_value *x = rows(im, tfr_in_float(im, 0), keeps_dims);
    if (is_hybrid(im)) {
        bool is_symmetric = tfr_option_byte(im, ASYMMETRIC, 0) == 0;
        build_hybrid(im, "QFullyConnected", x, NULL, is_symmetric, activation);
        return;
    }
    hone_value *w = tfr_transpose(im, tfr_in_float(im, 1), (int64_t[]){1, 0}, 2);
    y = tfr_binary(im, "MatMul", x, w);
    if (tfr_in_tensor(im, 2))
        y = tfr_binary(im, "Add", y, tfr_in_float(im, 2));
    y = tfr_activate(im, y, activation);
    const tfr_tensor *out = tfr_out_tensor(im, 0);
    tfr_out_raw(im, 0, tfr_is_quantised(out) ? tfr_quantise(im, y, out) : y);
}

static hone_value *adjoint(tfr_import *im, hone_value *v, int k, bool is_adjoint) {
    const tfr_tensor *t = tfr_in_tensor(im, k);
    int64_t perm[HONE_MAX_RANK];
    if (!t || !is_adjoint || t->rank < 2)
        return v;
    for (int i = 0; i < t->rank; ++i)
        perm[i] = i < t->rank - 2 ? i : 2 * t->rank - 3 - i;
    return tfr_transpose(im, v, perm, t->rank);
}

void tfr_build_batch_matmul(tfr_import *im) {
    bool turns_a = tfr_option_byte(im, 0, 0) != 0, turns_b = tfr_option_byte(im, 1, 0) != 0;
    const tfr_tensor *x = tfr_in_tensor(im, 0), *w = tfr_in_tensor(im, 1),
                     *y = tfr_out_tensor(im, 0);
    if (tfr_runs_on_integers(im, true) && x->dtype != HONE_DTYPE_U8 && w->dtype == x->dtype &&
        y->dtype == x->dtype) {
        hone_value *v = tfr_binary(im, "QBatchMatMul", adjoint(im, tfr_in_raw(im, 0), 0, turns_a),
                                   adjoint(im, tfr_in_raw(im, 1), 1, turns_b));
        tfr_param(im, v, "a", x);
        tfr_param(im, v, "b", w);
        tfr_param(im, v, "y", y);
        tfr_out_raw(im, 0, v);
        return;
    }
    hone_value *v = tfr_binary(im, "MatMul", adjoint(im, tfr_in_float(im, 0), 0, turns_a),
                               adjoint(im, tfr_in_float(im, 1), 1, turns_b));
    tfr_out_raw(im, 0, tfr_is_quantised(y) ? tfr_quantise(im, v, y) : v);
}
