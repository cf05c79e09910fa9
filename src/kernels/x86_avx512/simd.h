/* The vector vocabulary of src/kernels/vec on AVX-512 (F, BW, DQ, VL): 16 floats.
 * The contract of each name is in src/kernels/vec/README.md. */
#ifndef HONE_KERNELS_X86_AVX512_SIMD_H
#define HONE_KERNELS_X86_AVX512_SIMD_H

#include <immintrin.h>
#include <stdint.h>

#define VW 16
/* Rows and vectors of the register tile of the inner matrix product. */
#define VMR 12
#define VNR 2

typedef __m512 vf;
typedef __mmask16 vm;

static inline __mmask16 vm_first(int64_t n) {
    return (__mmask16)((1u << n) - 1u);
}
static inline vf vf_set1(float x) {
    return _mm512_set1_ps(x);
}
static inline vf vf_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline void vf_store(float *p, vf v) {
    _mm512_storeu_ps(p, v);
}

/* Half vectors, at twice the rate: for the columns that a tile has left over. */
#define VH 8
typedef __m256 vh;
static inline vh vf_low(vf a) {
    return _mm512_castps512_ps256(a);
}
static inline vf vf_widen(vh a) {
    return _mm512_zextps256_ps512(a);
}
static inline vh vh_load(const float *p) {
    return _mm256_loadu_ps(p);
}
static inline vh vh_fma(vh a, vh b, vh c) {
    return _mm256_fmadd_ps(a, b, c);
}

static inline vf vf_load_n(const float *p, int64_t n) {
    return _mm512_maskz_loadu_ps(vm_first(n), p);
}
static inline void vf_store_n(float *p, vf v, int64_t n) {
    _mm512_mask_storeu_ps(p, vm_first(n), v);
}
#define V2(name, intrinsic)                                                                        \
    static inline vf name(vf a, vf b) {                                                            \
        return intrinsic(a, b);                                                                    \
    }
V2(vf_add, _mm512_add_ps)
V2(vf_sub, _mm512_sub_ps)
V2(vf_mul, _mm512_mul_ps)
V2(vf_div, _mm512_div_ps)
V2(vf_max, _mm512_max_ps)
V2(vf_min, _mm512_min_ps)
#undef V2
static inline vf vf_sqrt(vf a) {
    return _mm512_sqrt_ps(a);
}
static inline vf vf_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
static inline vf vf_fnma(vf a, vf b, vf c) {
    return _mm512_fnmadd_ps(a, b, c);
}
static inline vf vf_floor(vf a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
static inline vf vf_ceil(vf a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
}
static inline vf vf_rint(vf a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vf vf_neg(vf a) {
    return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f));
}
static inline vf vf_abs(vf a) {
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a);
}
static inline vf vf_copysign(vf magnitude, vf sign) {
    vf bit = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(bit, magnitude), _mm512_and_ps(bit, sign));
}
static inline vm vf_lt(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
static inline vm vf_le(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}
static inline vm vf_eq(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
static inline vm vf_nan(vf a) {
    return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}
static inline vf vf_sel(vm m, vf a, vf b) {
    return _mm512_mask_blend_ps(m, b, a);
}
static inline vf vf_scale2(vf x, vf n) {
    return _mm512_scalef_ps(x, n);
}
static inline vf vf_split(vf x, vf *exponent) {
    *exponent = _mm512_add_ps(_mm512_getexp_ps(x), _mm512_set1_ps(1.0f));
    return _mm512_getmant_ps(x, _MM_MANT_NORM_p5_1, _MM_MANT_SIGN_zero);
}
static inline float vf_hsum(vf a) {
    return _mm512_reduce_add_ps(a);
}
static inline float vf_hmax(vf a) {
    return _mm512_reduce_max_ps(a);
}
static inline float vf_hmin(vf a) {
    return _mm512_reduce_min_ps(a);
}
static inline int vm_any(vm m) {
    return m != 0;
}
static inline vf vf_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
static inline void vf_store_f16(uint16_t *p, vf v) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
static inline vf vf_load_bf16(const uint16_t *p) {
    __m512i w = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
}
static inline vf vf_load_bf16_n(const uint16_t *p, int64_t n) {
    __m512i w = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(vm_first(n), p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
}
#ifdef __AVX512BF16__ /* gives denormals as zero */
static inline __m256i vf_bf16(vf v) {
    return (__m256i)_mm512_cvtneps_pbh(v);
}
#else
static inline __m256i vf_bf16(vf v) {
    __m512i w = _mm512_castps_si512(v), one = _mm512_set1_epi32(1);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(w, 16), one);
    __m512i r = _mm512_add_epi32(_mm512_add_epi32(w, _mm512_set1_epi32(0x7fff)), odd);
    r = _mm512_mask_or_epi32(r, vf_nan(v), w, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16));
}
#endif
#ifdef __AVX512BF16__
#define VEC_HAS_DOT 1
typedef uint32_t __attribute__((may_alias, aligned(2))) vf_pair;
/* y[v] += the pair's products with the pairs of w[v], v < 2. Assembly, since the compiler spills
 * sums when it schedules the intrinsics. */
static inline void vf_dot2_bf16(const uint16_t *pair, const vf *w, vf *y) {
    __asm__("vdpbf16ps %2%{1to16%}, %3, %0\n\tvdpbf16ps %2%{1to16%}, %4, %1"
            : "+v"(y[0]), "+v"(y[1])
            : "m"(*(const vf_pair *)(const void *)pair), "v"(w[0]), "v"(w[1]));
}
/* acc + the products of pairs. */
static inline vf vf_dot_bf16(vf x, vf w, vf acc) {
    __asm__("vdpbf16ps %1, %2, %0" : "+v"(acc) : "v"(x), "v"(w));
    return acc;
}
/* Lane i: the pair a[i], b[i] of i < n; b NULL: zeros. */
static inline vf vf_pair_bf16(const uint16_t *a, const uint16_t *b, int64_t n) {
    __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(vm_first(n), a));
    __m512i high = b ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(vm_first(n), b))
                     : _mm512_setzero_si512();
    return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}
#endif
static inline void vf_store_bf16(uint16_t *p, vf v) {
    _mm256_storeu_si256((__m256i *)p, vf_bf16(v));
}
static inline void vf_store_bf16_n(uint16_t *p, vf v, int64_t n) {
    _mm256_mask_storeu_epi16(p, vm_first(n), vf_bf16(v));
}
static inline vf vf_load_u8(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
static inline vf vf_load_i8(const int8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
static inline void vf_store_8(void *p, vf v) {
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
}

/* dst[j][i] = src[i][j] for a VW x VW tile of 4-byte elements. */
static inline void vf_transpose(const float *src, int64_t ld_src, float *dst, int64_t ld_dst) {
    __m512 r[16], t[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i)
        r[i] = _mm512_loadu_ps(src + i * ld_src);
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    /* r[4a + c] holds, in 128-bit lane l, column 4l + c of rows 4a .. 4a + 3. */
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
        __m512 lo01 = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x88);
        __m512 hi01 = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xdd);
        __m512 lo23 = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x88);
        __m512 hi23 = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xdd);
        _mm512_storeu_ps(dst + c * ld_dst, _mm512_shuffle_f32x4(lo01, lo23, 0x88));
        _mm512_storeu_ps(dst + (4 + c) * ld_dst, _mm512_shuffle_f32x4(hi01, hi23, 0x88));
        _mm512_storeu_ps(dst + (8 + c) * ld_dst, _mm512_shuffle_f32x4(lo01, lo23, 0xdd));
        _mm512_storeu_ps(dst + (12 + c) * ld_dst, _mm512_shuffle_f32x4(hi01, hi23, 0xdd));
    }
}

#endif
