/* Operators over height and width that have no arithmetic of layers. */
#include "tflite/import_impl.h"

static void set_coordinates(tfr_import *im, hone_value *y, bool is_nearest) {
    bool is_aligned = tfr_option_byte(im, is_nearest ? 0 : 2, 0) != 0;
    bool is_half = tfr_option_byte(im, is_nearest ? 1 : 3, 0) != 0;
    tfr_text_attr(im, y, "mode", im->rule->onnx);
    tfr_text_attr(im, y, "coordinate_transformation_mode",
                  is_aligned ? "align_corners"
                  : is_half  ? "half_pixel"
                             : "asymmetric");
    /* floor((i + 0.5) * scale) with half pixels: the half is in the coordinate already. */
    if (is_nearest)
        tfr_text_attr(im, y, "nearest_mode",
                      is_aligned ? "round_prefer_ceil"
                      : is_half  ? "round_prefer_ceil"
                                 : "floor");
}

/* Inputs: x, [height, width]. */
void tfr_build_resize(tfr_import *im) {
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    int64_t size[2];
    if (!x || x->rank != 4 || tfr_in_ints(im, 1, size, 2) != 2 || x->dims[3] < 0) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "the new size must be constant, the input of rank 4");
        return;
    }
    if (im->op->code == TFL_RESIZE_BILINEAR && x->dtype != HONE_DTYPE_U8 &&
        tfr_runs_on_integers(im, false) && x->dtype == tfr_out_tensor(im, 0)->dtype) {
        hone_value *v = tfr_unary(im, "QResizeBilinear", tfr_in_raw(im, 0));
        tfr_ints(im, v, "size", size, 2);
        tfr_int(im, v, "align_corners", tfr_option_byte(im, 2, 0) != 0);
        tfr_int(im, v, "half_pixel", tfr_option_byte(im, 3, 0) != 0);
        tfr_out_raw(im, 0, v);
        return;
    }
    hone_value *sizes = tfr_const_i64(im, size, 2);
    hone_value *y = tfr_make(
        im, "Resize", (hone_value *[]){tfr_to_nchw(im, tfr_in(im, 0)), NULL, NULL, sizes}, 4);
    tfr_ints(im, y, "axes", (int64_t[]){2, 3}, 2);
    set_coordinates(im, y, im->op->code == TFL_RESIZE_NEAREST_NEIGHBOR);
    tfr_out(im, 0, tfr_to_nhwc(im, y));
}

void tfr_build_depth_space(tfr_import *im) {
    hone_value *y = tfr_unary(im, im->rule->onnx, tfr_to_nchw(im, tfr_in(im, 0)));
    tfr_int(im, y, "blocksize", tfr_option_i32(im, 0, 0));
    tfr_out(im, 0, tfr_to_nhwc(im, y));
}

/* Blocks of height and width; the input's dims, but the batch, must be known. */
static bool read_blocks(tfr_import *im, int64_t block[2], int64_t border[4]) {
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    bool is_known = x && x->rank == 4 && tfr_in_ints(im, 1, block, 2) == 2 &&
                    tfr_in_ints(im, 2, border, 4) == 4;
    for (int i = 0; is_known && i < 4; ++i)
        is_known = (i == 0 || x->dims[i] >= 0) && border[i] >= 0 && border[i] <= INT32_MAX &&
                   block[i / 2] >= 1 && block[i / 2] <= INT32_MAX;
    if (!is_known)
        tfr_fail(im, HONE_E_UNSUPPORTED,
                 "blocks and borders must be constant, the input of rank 4");
    return is_known;
}

void tfr_build_space_to_batch(tfr_import *im) {
    int64_t block[2], pad[4];
    if (!read_blocks(im, block, pad))
        return;
    const tfr_tensor *t = tfr_in_tensor(im, 0);
    int64_t high = (t->dims[1] + pad[0] + pad[1]) / block[0];
    int64_t wide = (t->dims[2] + pad[2] + pad[3]) / block[1];
    hone_value *in[3] = {
        tfr_in(im, 0),
        tfr_const_i64(im, (int64_t[]){0, pad[0], pad[2], 0, 0, pad[1], pad[3], 0}, 8)};
    if (tfr_is_quantised(t) && t->quant.n_scales == 1)
        in[2] = tfr_cast(im, tfr_const_i64(im, t->quant.zero_point, -1), t->dtype);
    hone_value *x = tfr_make(im, "Pad", in, in[2] ? 3 : 2);
    x = tfr_reshape(im, x, (int64_t[]){-1, high, block[0], wide, block[1], t->dims[3]}, 6);
    x = tfr_transpose(im, x, (int64_t[]){2, 4, 0, 1, 3, 5}, 6);
    tfr_out(im, 0, tfr_reshape(im, x, (int64_t[]){-1, high, wide, t->dims[3]}, 4));
}

void tfr_build_batch_to_space(tfr_import *im) {
    int64_t block[2], crop[4];
    if (!read_blocks(im, block, crop))
        return;
    const tfr_tensor *t = tfr_in_tensor(im, 0);
    int64_t high = t->dims[1] * block[0], wide = t->dims[2] * block[1];
    hone_value *x =
        tfr_reshape(im, tfr_in(im, 0),
                    (int64_t[]){block[0], block[1], -1, t->dims[1], t->dims[2], t->dims[3]}, 6);
    x = tfr_transpose(im, x, (int64_t[]){2, 3, 0, 4, 1, 5}, 6);
    x = tfr_reshape(im, x, (int64_t[]){-1, high, wide, t->dims[3]}, 4);
    hone_value *in[4] = {x, tfr_const_i64(im, (int64_t[]){crop[0], crop[2]}, 2),
                         tfr_const_i64(im, (int64_t[]){high - crop[1], wide - crop[3]}, 2),
                         tfr_const_i64(im, (int64_t[]){1, 2}, 2)};
    tfr_out(im, 0, tfr_make(im, "Slice", in, 4));
}
