/* Conversions: see kernels/convert.h. */
#include <string.h>

#include "kernels/convert.h"

/* A loop whose tail goes through full-width buffers. */
#define CONVERT(name, from_type, to_type, parameters, setup, load, store, expression)              \
    static void name(const from_type *x, to_type *y, int64_t n parameters) {                       \
        setup;                                                                                     \
        int64_t i = 0;                                                                             \
        for (; i + VW <= n; i += VW) {                                                             \
            vf v = load(x + i);                                                                    \
            store(y + i, expression);                                                              \
        }                                                                                          \
        if (i < n) {                                                                               \
            from_type from[VW] = {0};                                                              \
            to_type to[VW];                                                                        \
            memcpy(from, x + i, (size_t)(n - i) * sizeof *x);                                      \
            vf v = load(from);                                                                     \
            store(to, expression);                                                                 \
            memcpy(y + i, to, (size_t)(n - i) * sizeof *y);                                        \
        }                                                                                          \
    }
#define COMMA      ,
#define SCALE_ZERO COMMA float scale COMMA int zero
#define SETUP      const vf s = vf_set1(scale), z = vf_set1((float)zero)

VEC_INLINE vf convert_clamp(vf x, vf zero, float low, float high) {
    vf r = vf_rint(x); /* clamp before adding the zero point, which is exact then */
    r = vf_max(r, vf_sub(vf_set1(low), zero)); /* NaN gives the bound */
    return vf_add(vf_min(r, vf_sub(vf_set1(high), zero)), zero);
}

CONVERT(f16_to_f32, uint16_t, float, , (void)0, vf_load_f16, vf_store, v)
CONVERT(bf16_to_f32, uint16_t, float, , (void)0, vf_load_bf16, vf_store, v)
CONVERT(f32_to_f16, float, uint16_t, , (void)0, vf_load, vf_store_f16, v)
CONVERT(f32_to_bf16, float, uint16_t, , (void)0, vf_load, vf_store_bf16, v)
CONVERT(dequantize_u8, uint8_t, float, SCALE_ZERO, SETUP, vf_load_u8, vf_store,
        vf_mul(vf_sub(v, z), s))
CONVERT(dequantize_i8, int8_t, float, SCALE_ZERO, SETUP, vf_load_i8, vf_store,
        vf_mul(vf_sub(v, z), s))
CONVERT(quantize_u8, float, uint8_t, SCALE_ZERO, SETUP, vf_load, vf_store_8,
        convert_clamp(vf_div(v, s), z, 0.0f, 255.0f))
CONVERT(quantize_i8, float, int8_t, SCALE_ZERO, SETUP, vf_load, vf_store_8,
        convert_clamp(vf_div(v, s), z, -128.0f, 127.0f))
#undef CONVERT
#undef COMMA
#undef SCALE_ZERO
#undef SETUP
