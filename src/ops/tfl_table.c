/* Element-wise operators on quantised values: a table of 256 results, rescaling, quantisation. */
#include "ops/tfl_quant.h"

/* Input 1: the results for the stored values from the least on. */
hone_status hone_ref_tfl_table(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0), *table = hone_in(c, 1);
    int first = x->dtype == HONE_DTYPE_U8 ? 0 : -128;
    const uint8_t *t = table->data;
    uint8_t *y = hone_out(c, 0)->data;
    int64_t n = hone_tensor_count(x);
    for (int64_t i = 0; i < n; ++i)
        y[i] = t[tfl_load(x->dtype, x->data, i) - first];
    return HONE_OK;
}

hone_status hone_infer_tfl_table(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1))
        return HONE_OK;
    HONE_TRY(tfl_check_type(c));
    const hone_type *t = &c->in[1];
    if (!hone_dtype_in(t->dtype, HONE_T(I8) | HONE_T(U8)) || t->rank != 1 || t->dims[0] != 256)
        return hone_infer_fail(c, HONE_E_SHAPE, "the table does not have 256 results of 8 bits");
    hone_infer_same(c, 0, 0);
    c->out[0].dtype = t->dtype;
    return HONE_OK;
}

hone_status hone_ref_tfl_rescale(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    hone_tensor *y = hone_out(c, 0);
    tfl_param from = tfl_param_of(c->node, "x"), to = tfl_param_of(c->node, "y");
    /* Operators other than QUANTIZE divide in float. */
    bool is_float = hone_attr_int(c->node, "in_float", 0) != 0;
    tfl_factor f = tfl_factor_of(is_float ? (double)((float)from.scale / (float)to.scale)
                                          : from.scale / to.scale);
    int32_t low, high;
    tfl_range(c->node, y->dtype, &low, &high);
    int64_t n = hone_tensor_count(x);
    for (int64_t i = 0; i < n; ++i) {
        int32_t v = tfl_wrap((int64_t)tfl_load(x->dtype, x->data, i) - from.zero);
        tfl_store(y->dtype, y->data, i,
                  (int32_t)tfl_clamp((int64_t)tfl_scale(v, f) + to.zero, low, high));
    }
    return HONE_OK;
}

/* Rounds halves away from zero, unlike ONNX's QuantizeLinear. */
hone_status hone_ref_tfl_quantize(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    hone_tensor *y = hone_out(c, 0);
    tfl_param to = tfl_param_of(c->node, "y");
    float scale = (float)to.scale;
    int32_t low, high;
    tfl_range(c->node, y->dtype, &low, &high);
    int64_t n = hone_tensor_count(x);
    for (int64_t i = 0; i < n; ++i) {
        float v = roundf(((const float *)x->data)[i] / scale);
        int64_t q = !(v > -1e9f) ? -1000000000 : v > 1e9f ? 1000000000 : (int64_t)v;
        tfl_store(y->dtype, y->data, i, (int32_t)tfl_clamp(q + to.zero, low, high));
    }
    return HONE_OK;
}

hone_status hone_infer_tfl_typed(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    HONE_TRY(tfl_check_type(c));
    hone_infer_same(c, 0, 0);
    c->out[0].dtype = tfl_out_type(c);
    if (c->out[0].dtype == HONE_DTYPE_NONE || c->out[0].dtype == HONE_DTYPE_F32)
        return hone_infer_fail(c, HONE_E_TYPE, "quantised to a type that is not supported");
    return HONE_OK;
}
