/* Shapes of the lowered operators. Inputs [n, spatial..., channels]; those of a planar hone.Conv
 * [n, channels, spatial...]. */
#include <inttypes.h>

#include "ir/op.h"

/* Sizes whose products and sums fit; pads: both ends of n axes. */
static bool is_window(const int64_t *kernel, const int64_t *stride, const int64_t *dilation,
                      const int64_t *pad, int n) {
    for (int d = 0; d < n; ++d) {
        const int64_t sizes[] = {pad[d], pad[n + d], kernel[d], stride[d], dilation[d]};
        for (int i = 0; i < 5; ++i) {
            if (sizes[i] < (i >= 2) || sizes[i] > INT32_MAX) /* pads may be 0 */
                return false;
        }
    }
    return true;
}

static hone_status infer_window(hone_infer_ctx *c, int64_t channels) {
    const hone_type *in = &c->in[0];
    const int64_t *kernel, *stride, *dilation, *pad;
    int n = hone_attr_ints(c->node, "kernel", &kernel);
    if (!hone_infer_has(c, 0) || in->rank < 0)
        return HONE_OK;
    if (in->rank != n + 2 || hone_attr_ints(c->node, "strides", &stride) != n ||
        hone_attr_ints(c->node, "dilations", &dilation) != n ||
        hone_attr_ints(c->node, "pads", &pad) != 2 * n)
        return hone_infer_fail(c, HONE_E_FORMAT, "the window's attributes do not fit rank %d",
                               in->rank);
    if (!is_window(kernel, stride, dilation, pad, n))
        return hone_infer_fail(c, HONE_E_FORMAT, "the window is not possible");
    hone_infer_same(c, 0, 0);
    int first = hone_attr_int(c->node, "planar", 0) ? 2 : 1; /* spatial axis of the input */
    bool is_ceil = hone_attr_int(c->node, "ceil_mode", 0) != 0;
    for (int d = 0; d < n; ++d) {
        int64_t size = in->dims[first + d];
        c->out[0].dims[d + 1] = HONE_DIM_UNKNOWN;
        if (size > INT32_MAX)
            return hone_infer_fail(c, HONE_E_SHAPE, "axis %d is too large", d);
        if (size < 0)
            continue;
        int64_t span = size + pad[d] + pad[n + d] - (kernel[d] - 1) * dilation[d] - 1;
        int64_t out = span < 0 ? 0 : span / stride[d] + 1;
        if (is_ceil && span >= 0 && span % stride[d] && out * stride[d] < size + pad[d])
            ++out;
        c->out[0].dims[d + 1] = out;
    }
    if (channels >= 0 || first == 2)
        c->out[0].dims[n + 1] = channels >= 0 ? channels : HONE_DIM_UNKNOWN;
    return HONE_OK;
}

/* Products write another type than they read where `to` says so. */
static hone_status store_as(hone_infer_ctx *c) {
    if (c->out[0].kind != HONE_KIND_TENSOR)
        return HONE_OK;
    int64_t to = hone_attr_int(c->node, "to", (int64_t)c->out[0].dtype);
    if (to != HONE_DTYPE_NONE && to != HONE_DTYPE_F32 && to != HONE_DTYPE_BF16)
        return hone_infer_fail(c, HONE_E_FORMAT, "results of type %" PRId64, to);
    c->out[0].dtype = (hone_dtype)to;
    return HONE_OK;
}

hone_status hone_infer_lowered_conv(hone_infer_ctx *c) {
    HONE_TRY(infer_window(c, hone_attr_int(c->node, "out_channels", 0)));
    return store_as(c);
}

hone_status hone_infer_lowered_pool(hone_infer_ctx *c) {
    return infer_window(c, -1);
}

/* Pads here are those of the convolution that this one runs backwards. */
hone_status hone_infer_lowered_deconv(hone_infer_ctx *c) {
    const hone_type *in = &c->in[0];
    const int64_t *kernel, *stride, *dilation, *pad, *extra;
    int n = hone_attr_ints(c->node, "kernel", &kernel);
    if (!hone_infer_has(c, 0) || in->rank < 0)
        return HONE_OK;
    if (in->rank != n + 2 || hone_attr_ints(c->node, "strides", &stride) != n ||
        hone_attr_ints(c->node, "dilations", &dilation) != n ||
        hone_attr_ints(c->node, "pads", &pad) != 2 * n ||
        hone_attr_ints(c->node, "output_padding", &extra) != n)
        return hone_infer_fail(c, HONE_E_FORMAT, "the window's attributes do not fit rank %d",
                               in->rank);
    if (!is_window(kernel, stride, dilation, pad, n))
        return hone_infer_fail(c, HONE_E_FORMAT, "the window is not possible");
    hone_infer_same(c, 0, 0);
    for (int d = 0; d < n; ++d) {
        int64_t size = in->dims[d + 1];
        if (size > INT32_MAX || extra[d] < 0 || extra[d] > INT32_MAX)
            return hone_infer_fail(c, HONE_E_SHAPE, "axis %d is too large", d);
        int64_t out = (size - 1) * stride[d] + (kernel[d] - 1) * dilation[d] + 1 + extra[d] -
                      pad[d] - pad[n + d];
        c->out[0].dims[d + 1] = size < 0 ? HONE_DIM_UNKNOWN : out < 0 ? 0 : out;
    }
    c->out[0].dims[n + 1] = hone_attr_int(c->node, "out_channels", 0);
    return store_as(c);
}

hone_status hone_infer_lowered_gemm(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || c->in[0].rank < 1)
        return HONE_OK;
    int64_t k = hone_attr_int(c->node, "k", 0), last = c->in[0].dims[c->in[0].rank - 1];
    if (last >= 0 && last != k)
        return hone_infer_fail(c, HONE_E_SHAPE,
                               "rows of %" PRId64 " elements, the weight has %" PRId64, last, k);
    hone_infer_same(c, 0, 0);
    c->out[0].dims[c->in[0].rank - 1] = hone_attr_int(c->node, "out_channels", 0);
    return store_as(c);
}

hone_status hone_infer_lowered_eltwise(hone_infer_ctx *c) {
    int64_t dims[HONE_MAX_RANK], wider[HONE_MAX_RANK];
    int rank = 0, to = (int)hone_attr_int(c->node, "to", HONE_DTYPE_F32);
    if (to != HONE_DTYPE_F32 && to != HONE_DTYPE_BF16 && to != HONE_DTYPE_BOOL)
        return hone_infer_fail(c, HONE_E_FORMAT, "element-wise results of type %d", to);
    for (int i = 0; i < c->n_in; ++i) {
        int r = rank;
        if (!hone_infer_has(c, i) || c->in[i].rank < 0)
            return HONE_OK;
        HONE_TRY(hone_broadcast_dims(c, r, dims, c->in[i].rank, c->in[i].dims, &rank, wider));
        for (int d = 0; d < rank; ++d)
            dims[d] = wider[d];
    }
    hone_infer_set(c, 0, (hone_dtype)to, rank, dims);
    return HONE_OK;
}

/* From the gates [time, batch, ...], or batch first, to the outputs of ONNX's LSTM and GRU. */
hone_status hone_infer_lowered_recurrent(hone_infer_ctx *c) {
    const hone_type *x = &c->in[0];
    int64_t directions = hone_attr_int(c->node, "directions", 0);
    int64_t hidden = hone_attr_int(c->node, "hidden", 0);
    if (!hone_infer_has(c, 0) || x->rank < 0)
        return HONE_OK;
    if (x->rank != 3)
        return hone_infer_fail(c, HONE_E_SHAPE, "gates of rank %d, not 3", x->rank);
    bool is_batch_first = hone_attr_int(c->node, "layout", 0) != 0;
    int64_t time = x->dims[is_batch_first], batch = x->dims[!is_batch_first];
    int64_t y[4] = {time, directions, batch, hidden}, state[3] = {directions, batch, hidden};
    int64_t y_first[4] = {batch, time, directions, hidden}, first[3] = {batch, directions, hidden};
    hone_infer_set(c, 0, HONE_DTYPE_F32, 4, is_batch_first ? y_first : y);
    hone_infer_set(c, 1, HONE_DTYPE_F32, 3, is_batch_first ? first : state);
    hone_infer_set(c, 2, HONE_DTYPE_F32, 3, is_batch_first ? first : state);
    return HONE_OK;
}

/* Its operands are views of the inputs: src/backend/cpu/lower_attention.c. */
hone_status hone_infer_lowered_attention(hone_infer_ctx *c) {
    const int64_t *dims;
    int rank = hone_attr_ints(c->node, "y_dims", &dims);
    for (int i = 0; i < rank; ++i) {
        if (dims[i] < 0 || rank > HONE_MAX_RANK)
            return hone_infer_fail(c, HONE_E_FORMAT, "the output's shape is damaged");
    }
    hone_infer_set(c, 0, c->in[0].dtype, rank, dims);
    return HONE_OK;
}

hone_status hone_infer_lowered_same(hone_infer_ctx *c) {
    hone_infer_same(c, 0, 0);
    return HONE_OK;
}

hone_status hone_ref_lowered(hone_op_ctx *c) {
    return hone_op_fail(
        c, HONE_E_VERSION,
        "the engine was built for kernels that this CPU or build lacks; build it here");
}
