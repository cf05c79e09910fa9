#include "ops/tfl_quant.h"

#include <string.h>

tfl_param tfl_param_of(const hone_node *n, const char *name) {
    char text[16] = "";
    size_t len = strlen(name) < 8 ? strlen(name) : 8;
    memcpy(text, name, len);
    memcpy(text + len, "_scale", 7);
    tfl_param p = {.scale = (double)hone_attr_float(n, text, 0)};
    memcpy(text + len, "_zero", 6);
    p.zero = (int32_t)tfl_clamp(hone_attr_int(n, text, 0), -65535, 65535);
    return p;
}

void tfl_range(const hone_node *n, hone_dtype d, int32_t *low, int32_t *high) {
    int bits = hone_dtype_bits(d);
    int64_t least = 0, most = ((int64_t)1 << bits) - 1;
    if (hone_dtype_is_signed_int(d)) {
        least = -((int64_t)1 << (bits - 1));
        most = ((int64_t)1 << (bits - 1)) - 1;
    }
    *low = (int32_t)tfl_clamp(hone_attr_int(n, "low", least), least, most);
    *high = (int32_t)tfl_clamp(hone_attr_int(n, "high", most), least, most);
}

#define WIDEN(type)                                                                                \
    do {                                                                                           \
        const type *x = (const type *)t->data + i;                                                 \
        for (int64_t k = 0; k < n; ++k)                                                            \
            out[k] = (int16_t)(x[k] - zero);                                                       \
    } while (0)

void tfl_widen(const hone_tensor *t, int64_t i, int64_t n, int32_t zero, int16_t *out) {
    if (t->dtype == HONE_DTYPE_I8)
        WIDEN(int8_t);
    else if (t->dtype == HONE_DTYPE_U8)
        WIDEN(uint8_t);
    else if (t->dtype == HONE_DTYPE_I16)
        WIDEN(int16_t);
    else
        for (int64_t k = 0; k < n; ++k) /* 4 and 2 bits */
            out[k] = (int16_t)(hone_load_i64(t->dtype, t->data, i + k) - zero);
}

int64_t tfl_dot(const int16_t *a, const int16_t *b, int64_t n) {
    enum { BLOCK = 128 }; /* products of 16 and 9 bits that 32 bits hold for sure */
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i += BLOCK) {
        int64_t end = i + BLOCK < n ? i + BLOCK : n;
        int32_t part = 0;
        for (int64_t k = i; k < end; ++k)
            part += (int32_t)a[k] * b[k];
        sum += part;
    }
    return sum;
}

hone_status tfl_check_type(hone_infer_ctx *c) {
    if (c->in[0].kind == HONE_KIND_TENSOR && hone_dtype_in(c->in[0].dtype, c->node->op->types))
        return HONE_OK;
    return hone_infer_fail(c, HONE_E_TYPE, "the input's type is not supported");
}

hone_dtype tfl_out_type(const hone_infer_ctx *c) {
    int64_t to = hone_attr_int(c->node, "to", c->in[0].dtype);
    bool is_known = to > 0 && to < HONE_DTYPE_COUNT &&
                    hone_dtype_in((hone_dtype)to,
                                  HONE_T(I8) | HONE_T(U8) | HONE_T(I16) | HONE_T(I32));
    if (c->in[0].dtype == HONE_DTYPE_F32 && !hone_attr_find(c->node, "to"))
        return HONE_DTYPE_F32; /* hybrid */
    return is_known ? (hone_dtype)to : HONE_DTYPE_NONE;
}
