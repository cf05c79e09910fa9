/* Bits, shapes, random numbers, complex numbers, and what stands alone. */
#include "tflite/import_impl.h"

static hone_value *scalar(tfr_import *im, int64_t v) {
    return tfr_const_i64(im, &v, -1);
}

static hone_value *list1(tfr_import *im, int64_t v) {
    return tfr_const_i64(im, &v, 1);
}

/* ---- shapes -----------------------------------------------------------------------------------
 */

void tfr_build_rank(tfr_import *im) {
    hone_value *shape = tfr_unary(im, "Shape", tfr_in_raw(im, 0));
    tfr_out_raw(im, 0, tfr_cast(im, tfr_unary(im, "Size", shape), HONE_DTYPE_I32));
}

/* Two shapes: the one that broadcasting gives. */
void tfr_build_broadcast_args(tfr_import *im) {
    const tfr_tensor *t[2] = {tfr_in_tensor(im, 0), tfr_in_tensor(im, 1)},
                     *y = tfr_out_tensor(im, 0);
    if (!t[0] || !t[1] || !y || t[0]->rank != 1 || t[1]->rank != 1 || t[0]->dims[0] < 0 ||
        t[1]->dims[0] < 0) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "shapes of unknown rank");
        return;
    }
    int longer = t[1]->dims[0] > t[0]->dims[0];
    hone_value *a = tfr_in_i64(im, longer), *b = tfr_in_i64(im, 1 - longer);
    int64_t missing = t[longer]->dims[0] - t[1 - longer]->dims[0];
    hone_value *ones = tfr_binary(im, "Expand", list1(im, 1), list1(im, missing));
    b = tfr_binary(im, "Concat", ones, b);
    tfr_int(im, b, "axis", 0);
    hone_value *is_one = tfr_binary(im, "Equal", a, list1(im, 1));
    a = tfr_make(im, "Where", (hone_value *[]){is_one, b, a}, 3);
    tfr_out_raw(im, 0, y->dtype == HONE_DTYPE_I64 ? a : tfr_cast(im, a, y->dtype));
}

/* Sparse constants are dense since the file was read (sparse.c). */
void tfr_build_densify(tfr_import *im) {
    tfr_out_raw(im, 0, tfr_in_raw(im, 0));
}

/* ---- arithmetic -------------------------------------------------------------------------------
 */

/* By the quadrant of (x, y). */
void tfr_build_atan2(tfr_import *im) {
    const float pi = 3.14159265358979f;
    hone_value *y = tfr_in_float(im, 0), *x = tfr_in_float(im, 1), *zero = tfr_const_f32(im, 0);
    hone_value *is_below = tfr_binary(im, "Less", y, zero),
               *is_left = tfr_binary(im, "Less", x, zero);
    hone_value *turn = tfr_make(
        im, "Where", (hone_value *[]){is_below, tfr_const_f32(im, -pi), tfr_const_f32(im, pi)}, 3);
    hone_value *quarter = tfr_make(
        im, "Where",
        (hone_value *[]){is_below, tfr_const_f32(im, -pi / 2), tfr_const_f32(im, pi / 2)}, 3);
    hone_value *angle = tfr_unary(im, "Atan", tfr_binary(im, "Div", y, x));
    hone_value *left = tfr_binary(im, "Add", angle, turn);
    hone_value *is_zero = tfr_binary(im, "Equal", y, zero);
    quarter = tfr_make(im, "Where", (hone_value *[]){is_zero, zero, quarter}, 3);
    hone_value *v = tfr_make(im, "Where", (hone_value *[]){is_left, left, angle}, 3);
    v = tfr_make(im, "Where", (hone_value *[]){tfr_binary(im, "Equal", x, zero), quarter, v}, 3);
    tfr_out_raw(im, 0, v);
}

/* Division by a power of two, rounded down. */
void tfr_build_right_shift(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    if (!x)
        return;
    if (hone_dtype_in(x->dtype, HONE_T(U8) | HONE_T(U16) | HONE_T(U32) | HONE_T(U64))) {
        hone_value *y = tfr_binary(im, "BitShift", tfr_in_raw(im, 0), tfr_in_raw(im, 1));
        tfr_text_attr(im, y, "direction", "RIGHT");
        tfr_out_raw(im, 0, y);
        return;
    }
    hone_value *v = tfr_cast(im, tfr_in_raw(im, 0), HONE_DTYPE_I64);
    hone_value *n = tfr_cast(im, tfr_in_raw(im, 1), HONE_DTYPE_I64);
    n = tfr_binary(im, "Min", tfr_binary(im, "Max", n, scalar(im, 0)), scalar(im, 62));
    hone_value *one = tfr_cast(im, scalar(im, 1), HONE_DTYPE_U64);
    hone_value *power = tfr_binary(im, "BitShift", one, tfr_cast(im, n, HONE_DTYPE_U64));
    tfr_text_attr(im, power, "direction", "LEFT");
    power = tfr_cast(im, power, HONE_DTYPE_I64);
    v = tfr_binary(im, "Div", tfr_binary(im, "Sub", v, tfr_binary(im, "Mod", v, power)), power);
    tfr_out_raw(im, 0, tfr_cast(im, v, x->dtype));
}

void tfr_build_bitcast(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0), *y = tfr_out_tensor(im, 0);
    if (!x || !y || hone_dtype_bits(x->dtype) != hone_dtype_bits(y->dtype)) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "only types of equal size are supported");
        return;
    }
    hone_value *v = tfr_unary(im, "BitCast", tfr_in_raw(im, 0));
    tfr_int(im, v, "to", y->dtype);
    tfr_out_raw(im, 0, v);
}

/* The number of boundaries that are not above x. */
void tfr_build_bucketize(tfr_import *im) {
    tfr_flat flat = im->file->flat;
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    tfr_vector v = tfr_list(&flat, im->op->options, 0, 4);
    hone_tensor *t = HONE_NEW(im->g->arena, hone_tensor);
    float *list = HONE_NEW_ARRAY(im->g->arena, float, v.n + 1);
    if (!t || !list || !x || flat.status != HONE_OK) {
        tfr_fail(im, HONE_E_FORMAT, "the boundaries cannot be read");
        return;
    }
    for (size_t i = 0; i < v.n; ++i)
        list[i] = tfr_at_f32(&flat, v, i);
    *t = hone_tensor_view(HONE_DTYPE_F32, 1, (int64_t[]){(int64_t)v.n}, list);
    hone_value *edges = hone_graph_constant(im->g, "boundaries", t), *at = tfr_in_raw(im, 0);
    if (x->dtype != HONE_DTYPE_F32)
        at = tfr_cast(im, at, HONE_DTYPE_F32);
    at = tfr_binary(im, "Unsqueeze", at, list1(im, -1));
    hone_value *above = tfr_cast(im, tfr_binary(im, "GreaterOrEqual", at, edges), HONE_DTYPE_I32);
    hone_value *y = tfr_binary(im, "ReduceSum", above, list1(im, -1));
    tfr_int(im, y, "keepdims", 0);
    tfr_out_raw(im, 0, y);
}

/* Floats on the steps of a quantisation whose zero is one of them. */
void tfr_build_fake_quant(tfr_import *im) {
    enum { LOW, HIGH, BITS, NARROW };
    float low = tfr_option_f32(im, LOW, 0), high = tfr_option_f32(im, HIGH, 0);
    int64_t bits = tfr_option_i32(im, BITS, 0);
    if (!(low < high) || bits < 2 || bits > 16) {
        tfr_fail(im, HONE_E_FORMAT, "a range or number of bits that is not possible");
        return;
    }
    float least = tfr_option_byte(im, NARROW, 0) ? 1 : 0, most = (float)((1 << bits) - 1);
    float scale = (high - low) / (most - least), zero = least - low / scale;
    zero = zero < least ? least : zero > most ? most : (float)(int64_t)(zero + 0.5f);
    hone_value *from = tfr_const_f32(im, (least - zero) * scale);
    hone_value *to = tfr_const_f32(im, (most - zero) * scale);
    hone_value *v = tfr_make(im, "Clip", (hone_value *[]){tfr_in_float(im, 0), from, to}, 3);
    v = tfr_binary(im, "Mul", tfr_binary(im, "Sub", v, from), tfr_const_f32(im, 1.0f / scale));
    v = tfr_unary(im, "Floor", tfr_binary(im, "Add", v, tfr_const_f32(im, 0.5f)));
    v = tfr_binary(im, "Add", tfr_binary(im, "Mul", v, tfr_const_f32(im, scale)), from);
    tfr_out_raw(im, 0, v);
}

/* ---- random numbers: of the same distribution, not the same numbers ----------------------------
 */

void tfr_build_random(tfr_import *im) {
    hone_value *like = tfr_binary(im, "Expand", tfr_const_f32(im, 0), tfr_in_i64(im, 0));
    tfr_out_raw(im, 0, tfr_unary(im, im->rule->onnx, like));
}

void tfr_build_multinomial(tfr_import *im) {
    int64_t n;
    const tfr_tensor *y = tfr_out_tensor(im, 0);
    if (tfr_in_ints(im, 1, &n, 1) != 1 || !y)
        return;
    hone_value *v = tfr_unary(im, "Multinomial", tfr_in_raw(im, 0));
    tfr_int(im, v, "sample_size", n);
    tfr_int(im, v, "dtype", y->dtype);
    tfr_out_raw(im, 0, v);
}

/* ---- complex numbers: pairs of floats along a last dim that is added ----------------------------
 */

static hone_value *part(tfr_import *im, int64_t which) {
    hone_value *y = tfr_binary(im, "Gather", tfr_in_raw(im, 0), scalar(im, which));
    tfr_int(im, y, "axis", -1);
    return y;
}

void tfr_build_real(tfr_import *im) {
    tfr_out_raw(im, 0, part(im, 0));
}

void tfr_build_imag(tfr_import *im) {
    tfr_out_raw(im, 0, part(im, 1));
}

void tfr_build_complex_abs(tfr_import *im) {
    hone_value *y = tfr_binary(im, "ReduceL2", tfr_in_raw(im, 0), list1(im, -1));
    tfr_int(im, y, "keepdims", 0);
    tfr_out_raw(im, 0, y);
}

static hone_value *transform(tfr_import *im, hone_value *v, int64_t length, int64_t axis,
                             bool is_half) {
    hone_value *in[3] = {v, scalar(im, length), scalar(im, axis)};
    hone_value *y = tfr_make(im, "DFT", in, 3);
    tfr_int(im, y, "onesided", is_half);
    return y;
}

/* Along rows, of which one half is kept, then along columns. */
void tfr_build_rfft2d(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0), *y = tfr_out_tensor(im, 0);
    int64_t size[2];
    if (!x || !y || y->dtype != HONE_DTYPE_C64 || x->rank < 2 || tfr_in_ints(im, 1, size, 2) != 2) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "the transform's size must be constant");
        return;
    }
    hone_value *v = tfr_binary(im, "Unsqueeze", tfr_in_raw(im, 0), list1(im, -1));
    if (x->rank == 2)
        v = tfr_binary(im, "Unsqueeze", v, list1(im, 0));
    v = transform(im, v, size[1], -2, true);
    v = transform(im, v, size[0], -3, false);
    if (x->rank == 2)
        v = tfr_binary(im, "Squeeze", v, list1(im, 0));
    tfr_out_raw(im, 0, v);
}
