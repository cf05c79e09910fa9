/* CausalConvWithState: a depthwise convolution that looks at the present and the past, with the
 * last k - 1 positions carried from call to call. */
#include <math.h>
#include <string.h>

#include "ir/op.h"

hone_status hone_infer_causal_conv(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    hone_infer_same(c, 0, 0);
    if (c->in[0].rank >= 0 && c->in[0].rank != 3)
        return hone_infer_fail(c, HONE_E_SHAPE, "the input has rank %d, not 3", c->in[0].rank);
    if (!hone_infer_has(c, 1) || c->in[1].rank != 3 || c->in[0].rank < 0)
        return HONE_OK;
    int64_t k = c->in[1].dims[2];
    if (k == 0)
        return hone_infer_fail(c, HONE_E_SHAPE, "the kernel is empty");
    hone_infer_same(c, 1, 0);
    if (c->n_out > 1)
        c->out[1].dims[2] = k < 0 ? HONE_DIM_UNKNOWN : k - 1;
    return HONE_OK;
}

hone_status hone_ref_causal_conv(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0), *w = hone_in(c, 1), *bias = hone_in(c, 2),
                      *past = hone_in(c, 3);
    hone_tensor *y = hone_out(c, 0), *state = hone_out(c, 1);
    const char *activation = hone_attr_string(c->node, "activation", "none");
    bool is_silu = strcmp(activation, "silu") == 0 || strcmp(activation, "swish") == 0;
    int64_t channels = x->dims[1], n = x->dims[2], k = w->rank == 3 ? w->dims[2] : 0;
    if (w->rank != 3 || w->dims[0] != channels || w->dims[1] != 1 || k < 1 ||
        (bias && hone_tensor_count(bias) != channels) ||
        (past && hone_tensor_count(past) != x->dims[0] * channels * (k - 1)))
        return hone_op_fail(c, HONE_E_SHAPE, "weight, bias or state do not fit the input");
    int64_t total = k - 1 + n;
    double *line =
        hone_op_scratch(c, (size_t)total * sizeof *line + 1); /* the past, then the input */
    if (!line)
        return HONE_E_NOMEM;
    for (int64_t row = 0; row < x->dims[0] * channels; ++row) {
        int64_t channel = row % channels;
        for (int64_t i = 0; i < k - 1; ++i)
            line[i] = past ? hone_load_f64(past->dtype, past->data, row * (k - 1) + i) : 0;
        for (int64_t i = 0; i < n; ++i)
            line[k - 1 + i] = hone_load_f64(x->dtype, x->data, row * n + i);
        for (int64_t i = 0; i < n; ++i) {
            double sum = bias ? hone_load_f64(bias->dtype, bias->data, channel) : 0;
            for (int64_t t = 0; t < k; ++t)
                sum += line[i + t] * hone_load_f64(w->dtype, w->data, channel * k + t);
            hone_store_f64(y->dtype, y->data, row * n + i, is_silu ? sum / (1 + exp(-sum)) : sum);
        }
        for (int64_t i = 0; state && i < k - 1; ++i)
            hone_store_f64(state->dtype, state->data, row * (k - 1) + i, line[n + i]);
    }
    return HONE_OK;
}
