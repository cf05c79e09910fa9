/* The vector vocabulary of src/kernels/vec on AVX2 + FMA + F16C: 8 floats.
 * The contract of each name is in src/kernels/vec/README.md. */
#ifndef HONE_KERNELS_X86_AVX2_SIMD_H
#define HONE_KERNELS_X86_AVX2_SIMD_H

#include <immintrin.h>
#include <stdint.h>

#define VW  8
#define VMR 6
#define VNR 2

typedef __m256 vf;
typedef __m256 vm;

static inline __m256i vm_first(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vf vf_set1(float x) {
    return _mm256_set1_ps(x);
}
static inline vf vf_load(const float *p) {
    return _mm256_loadu_ps(p);
}
static inline void vf_store(float *p, vf v) {
    _mm256_storeu_ps(p, v);
}
static inline vf vf_load_n(const float *p, int64_t n) {
    return _mm256_maskload_ps(p, vm_first(n));
}
static inline void vf_store_n(float *p, vf v, int64_t n) {
    _mm256_maskstore_ps(p, vm_first(n), v);
}
#define V2(name, intrinsic)                                                                        \
    static inline vf name(vf a, vf b) {                                                            \
        return intrinsic(a, b);                                                                    \
    }
V2(vf_add, _mm256_add_ps)
V2(vf_sub, _mm256_sub_ps)
V2(vf_mul, _mm256_mul_ps)
V2(vf_div, _mm256_div_ps)
V2(vf_max, _mm256_max_ps)
V2(vf_min, _mm256_min_ps)
#undef V2
static inline vf vf_sqrt(vf a) {
    return _mm256_sqrt_ps(a);
}
static inline vf vf_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
static inline vf vf_fnma(vf a, vf b, vf c) {
    return _mm256_fnmadd_ps(a, b, c);
}
static inline vf vf_floor(vf a) {
    return _mm256_floor_ps(a);
}
static inline vf vf_ceil(vf a) {
    return _mm256_ceil_ps(a);
}
static inline vf vf_rint(vf a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vf vf_neg(vf a) {
    return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f));
}
static inline vf vf_abs(vf a) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
static inline vf vf_copysign(vf magnitude, vf sign) {
    vf bit = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(bit, magnitude), _mm256_and_ps(bit, sign));
}
static inline vm vf_lt(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
static inline vm vf_le(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_LE_OQ);
}
static inline vm vf_eq(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}
static inline vm vf_nan(vf a) {
    return _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
}
static inline vf vf_sel(vm m, vf a, vf b) {
    return _mm256_blendv_ps(b, a, m);
}
static inline vf vf_pow2(__m256i n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
static inline vf vf_scale2(vf x, vf n) {
    /* Two factors, so that results near both ends of the range are rounded once. */
    __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1);
    return _mm256_mul_ps(_mm256_mul_ps(x, vf_pow2(half)), vf_pow2(_mm256_sub_epi32(i, half)));
}
static inline vf vf_split(vf x, vf *exponent) {
    vm tiny = _mm256_cmp_ps(x, _mm256_set1_ps(0x1p-126f), _CMP_LT_OQ);
    vf scaled = _mm256_blendv_ps(x, _mm256_mul_ps(x, _mm256_set1_ps(0x1p24f)), tiny);
    __m256i w = _mm256_castps_si256(scaled);
    __m256i e = _mm256_sub_epi32(_mm256_srli_epi32(w, 23), _mm256_set1_epi32(126));
    *exponent = _mm256_sub_ps(_mm256_cvtepi32_ps(e), _mm256_and_ps(tiny, _mm256_set1_ps(24.0f)));
    __m256i m = _mm256_and_si256(w, _mm256_set1_epi32(0x7fffff));
    return _mm256_castsi256_ps(_mm256_or_si256(m, _mm256_set1_epi32(0x3f000000)));
}
static inline float vf_hsum(vf a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float vf_hmax(vf a) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
static inline float vf_hmin(vf a) {
    __m128 s = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_min_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_min_ss(s, _mm_movehdup_ps(s)));
}
static inline int vm_any(vm m) {
    return _mm256_movemask_ps(m) != 0;
}
static inline vf vf_load_f16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
static inline void vf_store_f16(uint16_t *p, vf v) {
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
static inline vf vf_load_bf16(const uint16_t *p) {
    __m256i w = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
}
static inline void vf_store_bf16(uint16_t *p, vf v) {
    __m256i w = _mm256_castps_si256(v), one = _mm256_set1_epi32(1);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(w, 16), one);
    __m256i r = _mm256_add_epi32(_mm256_add_epi32(w, _mm256_set1_epi32(0x7fff)), odd);
    __m256i quiet = _mm256_or_si256(w, _mm256_set1_epi32(0x400000));
    r = _mm256_blendv_epi8(r, quiet, _mm256_castps_si256(vf_nan(v)));
    r = _mm256_srli_epi32(r, 16);
    __m128i low = _mm256_castsi256_si128(r), high = _mm256_extracti128_si256(r, 1);
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi32(low, high));
}
static inline vf vf_load_bf16_n(const uint16_t *p, int64_t n) {
    uint16_t lane[8] = {0};
    for (int64_t i = 0; i < n; ++i)
        lane[i] = p[i];
    return vf_load_bf16(lane);
}
static inline void vf_store_bf16_n(uint16_t *p, vf v, int64_t n) {
    uint16_t lane[8];
    vf_store_bf16(lane, v);
    for (int64_t i = 0; i < n; ++i)
        p[i] = lane[i];
}
static inline vf vf_load_u8(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
static inline vf vf_load_i8(const int8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
static inline void vf_store_8(void *p, vf v) {
    __m256i low = _mm256_and_si256(_mm256_cvtps_epi32(v), _mm256_set1_epi32(0xff));
    __m128i w = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(w, w));
}

/* dst[j][i] = src[i][j] for a VW x VW tile of 4-byte elements. */
static inline void vf_transpose(const float *src, int64_t ld_src, float *dst, int64_t ld_dst) {
    __m256 r[8], t[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
        r[i] = _mm256_loadu_ps(src + i * ld_src);
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
        _mm256_storeu_ps(dst + c * ld_dst, _mm256_permute2f128_ps(r[c], r[4 + c], 0x20));
        _mm256_storeu_ps(dst + (4 + c) * ld_dst, _mm256_permute2f128_ps(r[c], r[4 + c], 0x31));
    }
}

#endif
