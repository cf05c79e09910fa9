/* What the quantised operators share: their attributes and element access. */
#ifndef HONE_OPS_TFL_QUANT_H
#define HONE_OPS_TFL_QUANT_H

#include "ir/op.h"
#include "ops/tfl_fixed.h"

/* Parameters of one value: real = scale * (stored - zero). */
typedef struct tfl_param {
    double scale;
    int32_t zero;
} tfl_param;

/** Attributes <name>_scale and <name>_zero. */
tfl_param tfl_param_of(const hone_node *n, const char *name);
/** Attributes low and high, within the range of the type. */
void tfl_range(const hone_node *n, hone_dtype d, int32_t *low, int32_t *high);
/** n elements from i on as 16-bit numbers less the zero point. */
void tfl_widen(const hone_tensor *t, int64_t i, int64_t n, int32_t zero, int16_t *out);
static inline int32_t tfl_load(hone_dtype d, const void *data, int64_t i) {
    switch (d) {
    case HONE_DTYPE_I8:
        return ((const int8_t *)data)[i];
    case HONE_DTYPE_U8:
        return ((const uint8_t *)data)[i];
    case HONE_DTYPE_I16:
        return ((const int16_t *)data)[i];
    default:
        return ((const int32_t *)data)[i];
    }
}
/** v must be in the type's range. */
static inline void tfl_store(hone_dtype d, void *data, int64_t i, int32_t v) {
    if (d == HONE_DTYPE_I8)
        ((int8_t *)data)[i] = (int8_t)v;
    else if (d == HONE_DTYPE_U8)
        ((uint8_t *)data)[i] = (uint8_t)v;
    else if (d == HONE_DTYPE_I16)
        ((int16_t *)data)[i] = (int16_t)v;
    else
        ((int32_t *)data)[i] = v;
}
/** The sum of n products of numbers of 16 and of 9 bits. */
int64_t tfl_dot(const int16_t *a, const int16_t *b, int64_t n);
/** Rows of n > 0 floats as 8-bit numbers less their zero point, and the scale of each row. */
void tfl_quantise_rows(const float *x, int64_t n_rows, int64_t n, bool is_symmetric, int16_t *out,
                       float *scale);
/** Fails unless input 0 is a tensor of one of the types in the operator's row. */
hone_status tfl_check_type(hone_infer_ctx *c);
/** The type in the attribute to, else that of input 0; NONE when it is not one of theirs. */
hone_dtype tfl_out_type(const hone_infer_ctx *c);

#endif
