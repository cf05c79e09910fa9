/* Convolutions. */
#include <string.h>

#include "tflite/legal_ops.h"
#include "tflite/quant.h"
#include "tflite/window.h"

static const char *CURE_CONSTANT =
    "export with constant weights (no weight quantisation at run time)";

/* The filter's elements, floats or stored bytes, in another order, with a height of 1 where there
 * is none. `outputs` is the ONNX dim that counts them. */
static int filter(tfl_legal *l, const hone_value *w, const int *order, int outputs,
                  const int32_t *dims) {
    const hone_tensor *t = tfl_contents(l, w);
    size_t bytes = l->is_integer ? 1 : sizeof(float);
    char *to = tfl_alloc(l, (size_t)hone_tensor_count(t), bytes);
    const char *from = l->is_integer ? t->data : (const char *)tfl_floats(l, w);
    if (!to || !from)
        return -1;
    int64_t size[4] = {t->dims[0], t->dims[1], t->rank == 4 ? t->dims[2] : 1, t->dims[t->rank - 1]};
    int64_t step[4] = {size[1] * size[2] * size[3], size[2] * size[3], size[3], 1};
    int64_t at = 0;
    for (int64_t a = 0; a < size[order[0]]; ++a)
        for (int64_t b = 0; b < size[order[1]]; ++b)
            for (int64_t c = 0; c < size[order[2]]; ++c)
                for (int64_t d = 0; d < size[order[3]]; ++d)
                    memcpy(to + bytes * (size_t)at++,
                           from + bytes * (size_t)(a * step[order[0]] + b * step[order[1]] +
                                                   c * step[order[2]] + d * step[order[3]]),
                           bytes);
    return l->is_integer ? tfl_quant_weights(l, w, dims, 4, tfl_position(order, 4, outputs), to)
                         : tfl_const(l, TFL_F32, 4, dims, to);
}

/* Every kernel takes a bias; some demand one. */
static int bias(tfl_legal *l, const hone_node *n, int64_t channels, int x, int w) {
    int32_t dim = (int32_t)channels;
    const hone_value *b = n->n_in > 2 ? n->in[2] : NULL;
    if (l->is_integer)
        return tfl_quant_bias(l, b, channels, x, w);
    const float *v = b ? tfl_floats(l, b) : tfl_alloc(l, (size_t)channels, sizeof *v);
    return tfl_const(l, TFL_F32, 1, &dim, v);
}

static bool has_constant_weights(tfl_legal *l, const hone_node *n) {
    const hone_value *b = n->n_in > 2 ? n->in[2] : NULL;
    if (tfl_contents(l, n->in[1]) && (!b || tfl_contents(l, b)))
        return true;
    tfl_refuse(l, n, "variable-weights", CURE_CONSTANT, "the weights are no constants");
    return false;
}

static void make_conv(tfl_legal *l, const hone_node *n, const tfl_window *w) {
    static const int ohwi[4] = {0, 2, 3, 1};
    const hone_tensor *t = tfl_contents(l, n->in[1]);
    int32_t dims[4] = {(int32_t)t->dims[0], (int32_t)w->kernel[0], (int32_t)w->kernel[1],
                       (int32_t)t->dims[1]};
    int in[3] = {tfl_window_input(l, n->in[0], w)};
    int padding = tfl_window_padding(l, w, false, &in[0]);
    in[1] = filter(l, n->in[1], ohwi, 0, dims);
    in[2] = bias(l, n, t->dims[0], in[0], in[1]);
    int out = tfl_window_output(l, n->out[0], w);
    tfl_operator *op = tfl_op(l, TFL_CONV_2D, in, 3, out);
    tfl_option_byte(op, 0, padding);
    tfl_option_i32(op, 1, (int32_t)w->stride[1]);
    tfl_option_i32(op, 2, (int32_t)w->stride[0]);
    tfl_option_byte(op, 3, TFL_ACT_NONE);
    tfl_option_i32(op, 4, (int32_t)w->dilation[1]);
    tfl_option_i32(op, 5, (int32_t)w->dilation[0]);
    tfl_window_alias(l, n->out[0], out, w);
}

static void make_depthwise(tfl_legal *l, const hone_node *n, const tfl_window *w) {
    static const int ihwo[4] = {1, 2, 3, 0};
    const hone_tensor *t = tfl_contents(l, n->in[1]);
    int32_t dims[4] = {1, (int32_t)w->kernel[0], (int32_t)w->kernel[1], (int32_t)t->dims[0]};
    int in[3] = {tfl_window_input(l, n->in[0], w)};
    int padding = tfl_window_padding(l, w, false, &in[0]);
    in[1] = filter(l, n->in[1], ihwo, 0, dims);
    in[2] = bias(l, n, t->dims[0], in[0], in[1]);
    int out = tfl_window_output(l, n->out[0], w);
    tfl_operator *op = tfl_op(l, TFL_DEPTHWISE_CONV_2D, in, 3, out);
    tfl_option_byte(op, 0, padding);
    tfl_option_i32(op, 1, (int32_t)w->stride[1]);
    tfl_option_i32(op, 2, (int32_t)w->stride[0]);
    tfl_option_i32(op, 3, (int32_t)(t->dims[0] / n->in[0]->type.dims[1]));
    tfl_option_byte(op, 4, TFL_ACT_NONE);
    tfl_option_i32(op, 5, (int32_t)w->dilation[1]);
    tfl_option_i32(op, 6, (int32_t)w->dilation[0]);
    tfl_window_alias(l, n->out[0], out, w);
}

void tfl_legal_conv(tfl_legal *l, const hone_node *n) {
    tfl_window w;
    if (!has_constant_weights(l, n) || !tfl_window_read(l, n, n->in[1]->type.dims + 2, &w))
        return;
    int64_t groups = hone_attr_int(n, "group", 1), channels = n->in[0]->type.dims[1];
    if (channels < 0) {
        tfl_refuse(l, n, "dynamic-channels", "fix the number of channels with --shape",
                   "the number of channels is not known");
        return;
    }
    if (groups > 1 && groups == channels)
        make_depthwise(l, n, &w);
    else
        make_conv(l, n, &w);
}

/* ---- transposed -------------------------------------------------------------------------------
 */

/* The runtime pads a transposed convolution as the convolution that it transposes: nothing (VALID),
 * or the half of what is too much (SAME). */
static bool crops_as_same(const tfl_window *w) {
    for (int i = 0; i < 2; ++i) {
        int64_t total = (w->in[i] - 1) * w->stride[i] + w->kernel[i] - w->out[i];
        bool fits = (w->out[i] + w->stride[i] - 1) / w->stride[i] == w->in[i];
        if (!fits || total < 0 || w->begin[i] != total / 2)
            return false;
    }
    return true;
}

static void make_deconv(tfl_legal *l, const hone_node *n, const tfl_window *w) {
    static const int ohwi[4] = {1, 2, 3, 0};
    const hone_tensor *t = tfl_contents(l, n->in[1]);
    int32_t dims[4] = {(int32_t)t->dims[1], (int32_t)w->kernel[0], (int32_t)w->kernel[1],
                       (int32_t)t->dims[0]};
    int32_t begin[4] = {0, (int32_t)w->begin[0], (int32_t)w->begin[1], 0}, full[4];
    int x = tfl_window_input(l, n->in[0], w), out = tfl_window_output(l, n->out[0], w);
    if (x < 0 || out < 0)
        return;
    bool is_same = crops_as_same(w);
    bool crops = !is_same && (begin[1] || begin[2] || w->end[0] || w->end[1]);
    memcpy(full, l->model.tensors[out].dims, sizeof full);
    for (int i = 0; i < 2; ++i)
        full[1 + i] += crops ? begin[1 + i] + (int32_t)w->end[i] : 0;
    int made = crops ? tfl_result(l, 4, full) : out, kernel = filter(l, n->in[1], ohwi, 1, dims);
    int in[4] = {tfl_const_i32s(l, full, 4), kernel, x, bias(l, n, t->dims[1], x, kernel)};
    tfl_operator *op = tfl_op(l, TFL_TRANSPOSE_CONV, in, 4, made);
    tfl_option_byte(op, 0, is_same ? TFL_SAME : TFL_VALID);
    tfl_option_i32(op, 1, (int32_t)w->stride[1]);
    tfl_option_i32(op, 2, (int32_t)w->stride[0]);
    if (crops) {
        int cut[3] = {made, tfl_const_i32s(l, begin, 4),
                      tfl_const_i32s(l, l->model.tensors[out].dims, 4)};
        tfl_op(l, TFL_SLICE, cut, 3, out);
    }
    tfl_window_alias(l, n->out[0], out, w);
}

void tfl_legal_deconv(tfl_legal *l, const hone_node *n) {
    tfl_window w;
    if (!has_constant_weights(l, n) || !tfl_window_read(l, n, n->in[1]->type.dims + 2, &w))
        return;
    const int64_t *given;
    if (hone_attr_int(n, "group", 1) != 1 || tfl_window_is_dilated(&w)) {
        tfl_refuse(l, n, "unsupported-form", "use one group and no dilation",
                   "a transposed convolution with groups or dilation has no equivalent");
        return;
    }
    if (strncmp(hone_attr_string(n, "auto_pad", "NOTSET"), "SAME", 4) == 0 ||
        hone_attr_ints(n, "output_shape", &given)) {
        tfl_refuse(l, n, "unsupported-form", "export with explicit pads",
                   "a transposed convolution that derives its padding has no equivalent");
        return;
    }
    if (hone_type_is_static(&n->in[0]->type) && hone_type_is_static(&n->out[0]->type))
        make_deconv(l, n, &w);
    else
        tfl_refuse(l, n, "dynamic-size", "fix all dims of the input with --shape",
                   "the sizes of the input and the result must be known");
}
