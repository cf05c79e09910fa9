/* Element-wise operators. */
#include "tflite/import_impl.h"

/* Inputs of different ranks follow the same rule of broadcasting as ONNX's. */
void tfr_build_arithmetic(tfr_import *im) {
    int64_t activation = tfr_option_byte(im, 0, 0);
    const tfr_tensor *out = tfr_out_tensor(im, 0), *x = tfr_in_tensor(im, 0);
    int code = im->op->code;
    hone_value *y;
    bool is_integer = tfr_runs_on_integers(im, true) && x->dtype == out->dtype &&
                      x->dtype == tfr_in_tensor(im, 1)->dtype &&
                      (code != TFL_DIV || x->dtype != HONE_DTYPE_I16);
    if (is_integer) {
        const char *op = code == TFL_ADD   ? "QAdd"
                         : code == TFL_SUB ? "QSub"
                         : code == TFL_MUL ? "QMul"
                                           : "QDiv";
        y = tfr_binary(im, op, tfr_in_raw(im, 0), tfr_in_raw(im, 1));
        tfr_param(im, y, "a", x);
        tfr_param(im, y, "b", tfr_in_tensor(im, 1));
        tfr_param(im, y, "y", out);
        tfr_limits(im, y, activation, out);
        tfr_out_raw(im, 0, y);
        return;
    }
    y = tfr_binary(im, im->rule->onnx, tfr_in_float(im, 0), tfr_in_float(im, 1));
    y = tfr_activate(im, y, activation);
    tfr_out_raw(im, 0, tfr_is_quantised(out) ? tfr_quantise(im, y, out) : y);
}

void tfr_build_binary(tfr_import *im) {
    tfr_out(im, 0, tfr_binary(im, im->rule->onnx, tfr_in(im, 0), tfr_in(im, 1)));
}

void tfr_build_prelu(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0), *y = tfr_out_tensor(im, 0);
    bool is_small = tfr_runs_on_integers(im, true) && x->dtype != HONE_DTYPE_I16 &&
                    x->dtype == y->dtype && x->dtype == tfr_in_tensor(im, 1)->dtype;
    if (!is_small) {
        hone_value *v = tfr_binary(im, "PRelu", tfr_in_float(im, 0), tfr_in_float(im, 1));
        tfr_out_raw(im, 0, tfr_is_quantised(y) ? tfr_quantise(im, v, y) : v);
        return;
    }
    hone_value *v = tfr_binary(im, "QPrelu", tfr_in_raw(im, 0), tfr_in_raw(im, 1));
    tfr_param(im, v, "a", x);
    tfr_param(im, v, "b", tfr_in_tensor(im, 1));
    tfr_param(im, v, "y", y);
    tfr_out_raw(im, 0, v);
}

void tfr_build_unary(tfr_import *im) {
    tfr_out(im, 0, tfr_unary(im, im->rule->onnx, tfr_in(im, 0)));
}

void tfr_build_add_n(tfr_import *im) {
    hone_value *y = tfr_in(im, 0);
    for (int i = 1; i < im->op->n_in; ++i)
        y = tfr_binary(im, "Add", y, tfr_in(im, i));
    tfr_out(im, 0, y);
}

void tfr_build_squared_difference(tfr_import *im) {
    hone_value *d = tfr_binary(im, "Sub", tfr_in(im, 0), tfr_in(im, 1));
    tfr_out(im, 0, tfr_binary(im, "Mul", d, d));
}

static bool is_float(const tfr_tensor *t) {
    return t && (t->dtype == HONE_DTYPE_F32 || tfr_is_quantised(t));
}

/* (a - floored remainder) / b for integers, whose division in ONNX truncates. */
void tfr_build_floor_div(tfr_import *im) {
    hone_value *a = tfr_in(im, 0), *b = tfr_in(im, 1);
    if (is_float(tfr_in_tensor(im, 0)))
        tfr_out(im, 0, tfr_unary(im, "Floor", tfr_binary(im, "Div", a, b)));
    else
        tfr_out(im, 0,
                tfr_binary(im, "Div", tfr_binary(im, "Sub", a, tfr_binary(im, "Mod", a, b)), b));
}

/* The sign is the divisor's, as of ONNX's Mod, which has no floats of that kind. */
void tfr_build_floor_mod(tfr_import *im) {
    hone_value *a = tfr_in(im, 0), *b = tfr_in(im, 1);
    if (!is_float(tfr_in_tensor(im, 0))) {
        tfr_out(im, 0, tfr_binary(im, "Mod", a, b));
        return;
    }
    hone_value *n = tfr_unary(im, "Floor", tfr_binary(im, "Div", a, b));
    tfr_out(im, 0, tfr_binary(im, "Sub", a, tfr_binary(im, "Mul", n, b)));
}

void tfr_build_not_equal(tfr_import *im) {
    tfr_out(im, 0, tfr_unary(im, "Not", tfr_binary(im, "Equal", tfr_in(im, 0), tfr_in(im, 1))));
}

void tfr_build_select(tfr_import *im) {
    const tfr_tensor *c = tfr_in_tensor(im, 0), *x = tfr_in_tensor(im, 1);
    hone_value *condition = tfr_in(im, 0);
    /* SELECT's list of conditions chooses whole slices of the first axis. */
    if (im->op->code == TFL_SELECT && c && x && c->rank == 1 && x->rank > 1) {
        int64_t dims[HONE_MAX_RANK] = {-1};
        for (int i = 1; i < x->rank; ++i)
            dims[i] = 1;
        condition = tfr_reshape(im, condition, dims, x->rank);
    }
    tfr_out_raw(
        im, 0, tfr_make(im, "Where", (hone_value *[]){condition, tfr_in(im, 1), tfr_in(im, 2)}, 3));
}

static hone_value *clip(tfr_import *im, hone_value *x, float low, float high) {
    return tfr_make(im, "Clip",
                    (hone_value *[]){x, tfr_const_f32(im, low), tfr_const_f32(im, high)}, 3);
}

/* LOGISTIC and TANH on 16 bits, to the scale that LiteRT wants. */
static bool build_sigmoid(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0), *y = tfr_out_tensor(im, 0);
    int code = im->op->code;
    bool fits = (code == TFL_LOGISTIC || code == TFL_TANH) && tfr_runs_on_integers(im, false) &&
                x->dtype == HONE_DTYPE_I16 && y->dtype == HONE_DTYPE_I16 &&
                x->quant.zero_point[0] == 0 && y->quant.zero_point[0] == 0 &&
                y->quant.scale[0] == 1.0f / 32768;
    if (!fits)
        return false;
    hone_value *v = tfr_unary(im, code == TFL_TANH ? "QTanh" : "QSigmoid", tfr_in_raw(im, 0));
    tfr_param(im, v, "x", x);
    tfr_out_raw(im, 0, v);
    return true;
}

void tfr_build_activation(tfr_import *im) {
    const tfr_tensor *from = tfr_in_tensor(im, 0), *to = tfr_out_tensor(im, 0);
    if (tfr_build_by_table(im))
        return;
    if (build_sigmoid(im))
        return;
    if ((im->op->code == TFL_RELU || im->op->code == TFL_RELU6) &&
        tfr_runs_on_integers(im, false)) {
        tfr_out_raw(im, 0,
                    tfr_rescale_within(im, tfr_in_raw(im, 0), from, to,
                                       im->op->code == TFL_RELU ? TFL_ACT_RELU : TFL_ACT_RELU6));
        return;
    }
    hone_value *x = tfr_in_float(im, 0), *y;
    switch (im->op->code) {
    case TFL_RELU:
        y = tfr_unary(im, "Relu", x);
        break;
    case TFL_RELU6:
        y = clip(im, x, 0, 6);
        break;
    case TFL_RELU_N1_TO_1:
        y = clip(im, x, -1, 1);
        break;
    case TFL_RELU_0_TO_1:
        y = clip(im, x, 0, 1);
        break;
    case TFL_LEAKY_RELU:
        y = tfr_unary(im, "LeakyRelu", x);
        tfr_float(im, y, "alpha", tfr_option_f32(im, 0, 0));
        break;
    default:
        y = tfr_unary(im, im->rule->onnx, x);
        break;
    }
    const tfr_tensor *out = tfr_out_tensor(im, 0);
    tfr_out_raw(im, 0, tfr_is_quantised(out) ? tfr_quantise(im, y, out) : y);
}

void tfr_build_gelu(tfr_import *im) {
    const tfr_tensor *out = tfr_out_tensor(im, 0);
    if (tfr_build_by_table(im))
        return;
    hone_value *y = tfr_unary(im, "Gelu", tfr_in_float(im, 0));
    tfr_text_attr(im, y, "approximate", tfr_option_byte(im, 0, 0) ? "tanh" : "none");
    tfr_out_raw(im, 0, tfr_is_quantised(out) ? tfr_quantise(im, y, out) : y);
}

void tfr_build_rsqrt(tfr_import *im) {
    tfr_out(im, 0, tfr_unary(im, "Reciprocal", tfr_unary(im, "Sqrt", tfr_in(im, 0))));
}

void tfr_build_square(tfr_import *im) {
    hone_value *x = tfr_in(im, 0);
    tfr_out(im, 0, tfr_binary(im, "Mul", x, x));
}

void tfr_build_cast(tfr_import *im) {
    const tfr_tensor *out = tfr_out_tensor(im, 0);
    if (!out || out->dtype == HONE_DTYPE_NONE)
        tfr_fail(im, HONE_E_FORMAT, "cast to what?");
    else
        tfr_out_raw(im, 0, tfr_cast(im, tfr_in(im, 0), out->dtype));
}
