/* Element types: conversions and generic element access.
 *
 * Generic access (load/store by index) is for reference code: clear, total over all numeric types,
 * sub-byte ones included, and not fast. */
#ifndef HONE_IR_DTYPE_H
#define HONE_IR_DTYPE_H

#include "base/status.h"

#define HONE_T(d) (1u << HONE_DTYPE_##d)
/* Sets of types for the `types` column of ops.def. */
#define HONE_T_F8                                                                                  \
    (HONE_T(F8E4M3FN) | HONE_T(F8E4M3FNUZ) | HONE_T(F8E5M2) | HONE_T(F8E5M2FNUZ) | HONE_T(F8E8M0))
#define HONE_T_FLOAT   (HONE_T(F32) | HONE_T(F64) | HONE_T(F16) | HONE_T(BF16))
#define HONE_T_SINT    (HONE_T(I8) | HONE_T(I16) | HONE_T(I32) | HONE_T(I64))
#define HONE_T_UINT    (HONE_T(U8) | HONE_T(U16) | HONE_T(U32) | HONE_T(U64))
#define HONE_T_INT     (HONE_T_SINT | HONE_T_UINT)
#define HONE_T_NUM     (HONE_T_FLOAT | HONE_T_INT)
#define HONE_T_SUB     (HONE_T(U4) | HONE_T(I4) | HONE_T(F4E2M1) | HONE_T(U2) | HONE_T(I2))
#define HONE_T_COMPLEX (HONE_T(C64) | HONE_T(C128))
#define HONE_T_ML      (HONE_T(F32) | HONE_T(F64) | HONE_T(I64) | HONE_T(I32)) /* ai.onnx.ml */
#define HONE_T_ALL     0x7fffffeu /* every type, strings included */

static inline bool hone_dtype_in(hone_dtype d, uint32_t set) {
    return (set >> d) & 1u;
}

/* Scalar conversions. Narrowing rounds to nearest even. */
float hone_f16_to_f32(uint16_t h);
uint16_t hone_f16_from_f32(float f);
uint16_t hone_f16_from_f64(double d); /* one rounding, not two */
static inline float hone_bf16_to_f32(uint16_t h) {
    union {
        uint32_t u;
        float f;
    } v = {(uint32_t)h << 16};
    return v.f;
}
uint16_t hone_bf16_from_f32(float f);
/** 8-bit and 4-bit floats (F8*, F4E2M1). */
float hone_f8_to_f32(hone_dtype d, uint8_t v);
/** `saturate` as ONNX Cast defines it: out-of-range values clamp to the largest finite number
 * instead of becoming Inf or NaN. */
uint8_t hone_f8_from_f32(hone_dtype d, float f, bool saturate);

/** Element i of a numeric array as double (complex: real part; bool: 0 or 1). */
double hone_load_f64(hone_dtype d, const void *data, int64_t i);
/** Element i of a numeric array as int64 (floats truncate; exact for 64-bit integers). */
int64_t hone_load_i64(hone_dtype d, const void *data, int64_t i);
/** Store with the rounding of the type; integers truncate and wrap as C casts of in-range values
 * do (out-of-range doubles are clamped, never undefined). Bool stores v != 0. */
void hone_store_f64(hone_dtype d, void *data, int64_t i, double v);
void hone_store_i64(hone_dtype d, void *data, int64_t i, int64_t v);
/** dst[di .. di+n) = src[si .. si+n), any type, sub-byte ones included; strings copy the view. */
void hone_copy_elems(hone_dtype d, void *dst, int64_t di, const void *src, int64_t si, int64_t n);

static inline bool hone_dtype_is_float(hone_dtype d) {
    return hone_dtype_in(d, HONE_T_FLOAT | HONE_T_F8 | HONE_T(F4E2M1));
}
static inline bool hone_dtype_is_signed_int(hone_dtype d) {
    return hone_dtype_in(d, HONE_T_SINT | HONE_T(I4) | HONE_T(I2));
}
static inline bool hone_dtype_is_unsigned_int(hone_dtype d) {
    return hone_dtype_in(d, HONE_T_UINT | HONE_T(U4) | HONE_T(U2));
}

#endif
