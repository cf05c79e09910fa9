/* The vector vocabulary of src/kernels/vec in portable C: one float, and libm.
 * The contract of each name is in src/kernels/vec/README.md. */
#ifndef HONE_KERNELS_REF_SIMD_H
#define HONE_KERNELS_REF_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define VW         1
#define VMR        4
#define VNR        4
#define VMATH_LIBM 1 /* exp, log, tanh and erf come from libm */

typedef float vf;
typedef int vm;

#define V1(name, expression)                                                                       \
    static inline vf name(vf a) {                                                                  \
        return expression;                                                                         \
    }
#define V2(type, name, expression)                                                                 \
    static inline type name(vf a, vf b) {                                                          \
        return expression;                                                                         \
    }
#define V3(name, expression)                                                                       \
    static inline vf name(vf a, vf b, vf c) {                                                      \
        return expression;                                                                         \
    }
V1(vf_set1, a)
V1(vf_sqrt, sqrtf(a))
V1(vf_floor, floorf(a))
V1(vf_ceil, ceilf(a))
V1(vf_rint, rintf(a))
V1(vf_neg, -a)
V1(vf_abs, fabsf(a))
V1(vf_hsum, a)
V1(vf_hmax, a)
V1(vf_hmin, a)
V2(vf, vf_add, a + b)
V2(vf, vf_sub, a - b)
V2(vf, vf_mul, a *b)
V2(vf, vf_div, a / b)
V2(vf, vf_max, a > b ? a : b)
V2(vf, vf_min, a < b ? a : b)
V2(vf, vf_copysign, copysignf(a, b))
V2(vm, vf_lt, a < b)
V2(vm, vf_le, a <= b)
V2(vm, vf_eq, a == b)
V3(vf_fma, a *b + c)
V3(vf_fnma, c - a * b)
#undef V1
#undef V2
#undef V3
static inline vf vf_load(const float *p) {
    return *p;
}
static inline void vf_store(float *p, vf v) {
    *p = v;
}
static inline vf vf_load_n(const float *p, int64_t n) {
    return n > 0 ? *p : 0;
}
static inline void vf_store_n(float *p, vf v, int64_t n) {
    if (n > 0)
        *p = v;
}
static inline vm vf_nan(vf a) {
    return a != a;
}
static inline vf vf_sel(vm m, vf a, vf b) {
    return m ? a : b;
}
static inline int vm_any(vm m) {
    return m;
}
static inline uint32_t bits_of(float x) {
    uint32_t w;
    memcpy(&w, &x, sizeof w);
    return w;
}
static inline float float_of(uint32_t w) {
    float x;
    memcpy(&x, &w, sizeof x);
    return x;
}
static inline vf vf_load_f16(const uint16_t *p) {
    uint32_t h = *p, sign = (h & 0x8000u) << 16, e = (h >> 10) & 31, m = h & 0x3ff;
    if (e == 31)
        return float_of(sign | 0x7f800000u | (m << 13) | (m ? 0x400000u : 0));
    if (e == 0)
        return copysignf((float)m * 0x1p-24f, float_of(sign));
    return float_of(sign | ((e + 112) << 23) | (m << 13));
}
static inline void vf_store_f16(uint16_t *p, vf v) {
    uint32_t w = bits_of(v), sign = (w >> 16) & 0x8000u, a = w & 0x7fffffffu;
    if (a > 0x7f800000u) {
        *p = (uint16_t)(sign | 0x7e00u | ((a >> 13) & 0x3ffu));
    } else if (a >= 0x47800000u) {
        *p = (uint16_t)(sign | 0x7c00u);
    } else if (a < 0x38800000u) { /* denormal: the sum with 0.5 rounds to multiples of 2^-24 */
        *p = (uint16_t)(sign | (bits_of(float_of(a) + 0.5f) - 0x3f000000u));
    } else {
        *p = (uint16_t)(sign | ((a + 0xfffu + ((a >> 13) & 1u) - 0x38000000u) >> 13));
    }
}
static inline vf vf_load_bf16(const uint16_t *p) {
    return float_of((uint32_t)*p << 16);
}
static inline void vf_store_bf16(uint16_t *p, vf v) {
    uint32_t w = bits_of(v);
    *p = (uint16_t)((v != v ? w | 0x400000u : w + 0x7fffu + ((w >> 16) & 1u)) >> 16);
}
static inline vf vf_load_bf16_n(const uint16_t *p, int64_t n) {
    return n > 0 ? vf_load_bf16(p) : 0;
}
static inline void vf_store_bf16_n(uint16_t *p, vf v, int64_t n) {
    if (n > 0)
        vf_store_bf16(p, v);
}
static inline vf vf_load_u8(const uint8_t *p) {
    return *p;
}
static inline vf vf_load_i8(const int8_t *p) {
    return *p;
}
static inline void vf_store_8(void *p, vf v) {
    *(uint8_t *)p = (uint8_t)(int)rintf(v);
}
static inline void vf_transpose(const float *src, int64_t ld_src, float *dst, int64_t ld_dst) {
    (void)ld_src, (void)ld_dst;
    memcpy(dst, src, sizeof *dst);
}

#endif
