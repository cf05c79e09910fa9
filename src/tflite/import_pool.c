/* Pooling, reductions, normalisation, and operators along an axis. */
#include "tflite/import_impl.h"

enum { PADDING, STRIDE_W, STRIDE_H, FILTER_W, FILTER_H, ACTIVATION };

static void set_window(tfr_import *im, hone_value *v) {
    int64_t stride[2] = {tfr_option_i32(im, STRIDE_H, 0), tfr_option_i32(im, STRIDE_W, 0)};
    int64_t kernel[2] = {tfr_option_i32(im, FILTER_H, 0), tfr_option_i32(im, FILTER_W, 0)};
    if (stride[0] < 1 || stride[1] < 1 || kernel[0] < 1 || kernel[1] < 1)
        tfr_fail(im, HONE_E_FORMAT, "strides or window below 1");
    tfr_ints(im, v, "strides", stride, 2);
    tfr_ints(im, v, "kernel_shape", kernel, 2);
    if (tfr_option_byte(im, PADDING, TFL_SAME) == TFL_SAME)
        tfr_text_attr(im, v, "auto_pad", "SAME_UPPER");
}

void tfr_build_pool(tfr_import *im) {
    bool is_max = im->op->code == TFL_MAX_POOL_2D;
    int64_t activation = tfr_option_byte(im, ACTIVATION, 0);
    hone_value *y;
    if (tfr_runs_on_integers(im, false)) {
        y = tfr_unary(im, is_max ? "QMaxPool" : "QAveragePool", tfr_in_raw(im, 0));
        set_window(im, y);
        tfr_param(im, y, "x", tfr_in_tensor(im, 0));
        tfr_limits(im, y, activation, tfr_out_tensor(im, 0));
        tfr_out_raw(im, 0, y);
        return;
    }
    y = tfr_unary(im, im->rule->onnx, tfr_to_nchw(im, tfr_in_float(im, 0)));
    set_window(im, y);
    tfr_out_raw(im, 0, tfr_to_nhwc(im, tfr_activate(im, y, activation)));
}

/* The root of the mean of squares; padding does not count. */
void tfr_build_l2_pool(tfr_import *im) {
    hone_value *x = tfr_to_nchw(im, tfr_in(im, 0));
    hone_value *y = tfr_unary(im, "AveragePool", tfr_binary(im, "Mul", x, x));
    set_window(im, y);
    y = tfr_activate(im, tfr_unary(im, "Sqrt", y), tfr_option_byte(im, ACTIVATION, 0));
    tfr_out(im, 0, tfr_to_nhwc(im, y));
}

/* Quantised means, sums and products whose axes are known. */
static bool reduce_integers(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0), *y = tfr_out_tensor(im, 0),
                     *axes = tfr_in_tensor(im, 1);
    int code = im->op->code;
    const char *op = code == TFL_MEAN ? "QMean" : code == TFL_SUM ? "QSum" : "QProd";
    bool is_sum = code == TFL_MEAN || code == TFL_SUM;
    if ((!is_sum && code != TFL_REDUCE_PROD) || !tfr_runs_on_integers(im, false) || !axes ||
        !axes->data || x->dtype != y->dtype || (!is_sum && x->dtype == HONE_DTYPE_U8))
        return false;
    int64_t list[HONE_MAX_RANK];
    int n = tfr_in_ints(im, 1, list, HONE_MAX_RANK);
    hone_value *v = tfr_unary(im, op, tfr_in_raw(im, 0));
    if (n < 0)
        return true;
    tfr_ints(im, v, "axes", list, n);
    tfr_int(im, v, "keepdims", tfr_option_byte(im, 0, 0) != 0);
    tfr_param(im, v, "x", x);
    tfr_param(im, v, "y", y);
    tfr_out_raw(im, 0, v);
    return true;
}

/* A single axis may be a scalar, which ONNX wants as a list. */
static hone_value *reduced(tfr_import *im, hone_value *x) {
    const tfr_tensor *axes = tfr_in_tensor(im, 1);
    hone_value *list = tfr_in_i64(im, 1);
    if (axes && axes->rank == 0)
        list = tfr_reshape(im, list, (int64_t[]){1}, 1);
    hone_value *y = tfr_binary(im, im->rule->onnx, x, list);
    tfr_int(im, y, "keepdims", tfr_option_byte(im, 0, 0) != 0);
    tfr_int(im, y, "noop_with_empty_axes", 1);
    return y;
}

void tfr_build_reduce(tfr_import *im) {
    if (!reduce_integers(im))
        tfr_out(im, 0, reduced(im, tfr_in(im, 0)));
}

void tfr_build_reduce_bool(tfr_import *im) {
    hone_value *y = reduced(im, tfr_cast(im, tfr_in(im, 0), HONE_DTYPE_I32));
    tfr_out(im, 0, tfr_cast(im, y, HONE_DTYPE_BOOL));
}

void tfr_build_softmax(tfr_import *im) {
    float beta = tfr_option_f32(im, 0, 0);
    const tfr_tensor *x = tfr_in_tensor(im, 0), *out = tfr_out_tensor(im, 0);
    bool is_small =
        x && out && x->dtype == out->dtype &&
        (x->dtype != HONE_DTYPE_I16 || (x->quant.n_scales == 1 && x->quant.zero_point[0] == 0));
    hone_value *y;
    if (is_small && tfr_runs_on_integers(im, false)) {
        y = tfr_unary(im, "QSoftmax", tfr_in_raw(im, 0));
        tfr_param(im, y, "x", x);
        tfr_float(im, y, "x_scale", beta * x->quant.scale[0]);
        tfr_out_raw(im, 0, y);
        return;
    }
    y = tfr_in_float(im, 0);
    if (beta != 1.0f)
        y = tfr_binary(im, "Mul", y, tfr_const_f32(im, beta));
    y = tfr_unary(im, "Softmax", y);
    tfr_int(im, y, "axis", -1);
    tfr_out_raw(im, 0, tfr_is_quantised(out) ? tfr_quantise(im, y, out) : y);
}

void tfr_build_log_softmax(tfr_import *im) {
    hone_value *y = tfr_unary(im, "LogSoftmax", tfr_in(im, 0));
    tfr_int(im, y, "axis", -1);
    tfr_out(im, 0, y);
}

/* Along the last axis; LiteRT keeps the norm above 1e-6. */
void tfr_build_l2_norm(tfr_import *im) {
    hone_value *x = tfr_in(im, 0);
    hone_value *n = tfr_binary(im, "ReduceL2", x, tfr_const_i64(im, (int64_t[]){-1}, 1));
    tfr_int(im, n, "keepdims", 1);
    n = tfr_binary(im, "Max", n, tfr_const_f32(im, 1e-6f));
    tfr_out(im, 0, tfr_activate(im, tfr_binary(im, "Div", x, n), tfr_option_byte(im, 0, 0)));
}

/* TensorFlow's alpha is for each element, ONNX's for the window. */
void tfr_build_lrn(tfr_import *im) {
    int64_t radius = tfr_option_i32(im, 0, 0), size = 2 * radius + 1;
    if (radius < 0 || radius > 65536) {
        tfr_fail(im, HONE_E_FORMAT, "radius %d is not possible", (int)radius);
        return;
    }
    hone_value *y = tfr_unary(im, "LRN", tfr_to_nchw(im, tfr_in(im, 0)));
    tfr_int(im, y, "size", size);
    tfr_float(im, y, "bias", tfr_option_f32(im, 1, 0));
    tfr_float(im, y, "alpha", tfr_option_f32(im, 2, 0) * (float)size);
    tfr_float(im, y, "beta", tfr_option_f32(im, 3, 0));
    tfr_out(im, 0, tfr_to_nhwc(im, y));
}

void tfr_build_arg(tfr_import *im) {
    int64_t axis;
    const tfr_tensor *out = tfr_out_tensor(im, 0);
    if (tfr_in_ints(im, 1, &axis, 1) != 1 || !out)
        return;
    hone_value *y = tfr_unary(im, im->rule->onnx, tfr_in(im, 0));
    tfr_int(im, y, "axis", axis);
    tfr_int(im, y, "keepdims", 0);
    tfr_out_raw(im, 0, out->dtype == HONE_DTYPE_I64 ? y : tfr_cast(im, y, out->dtype));
}

void tfr_build_cumsum(tfr_import *im) {
    hone_value *y = tfr_binary(im, "CumSum", tfr_in(im, 0), tfr_in_i64(im, 1));
    tfr_int(im, y, "exclusive", tfr_option_byte(im, 0, 0) != 0);
    tfr_int(im, y, "reverse", tfr_option_byte(im, 1, 0) != 0);
    tfr_out(im, 0, y);
}

void tfr_build_topk(tfr_import *im) {
    hone_value *in[2] = {tfr_in(im, 0), tfr_in_i64(im, 1)}, *out[2];
    const tfr_tensor *k = tfr_in_tensor(im, 1);
    if (k && k->rank == 0)
        in[1] = tfr_reshape(im, in[1], (int64_t[]){1}, 1);
    tfr_make_many(im, "TopK", in, 2, out, 2);
    tfr_int(im, out[0], "axis", -1);
    tfr_out(im, 0, out[0]);
    tfr_out_raw(im, 1, tfr_cast(im, out[1], HONE_DTYPE_I32));
}
