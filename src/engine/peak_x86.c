/* Peaks of the dot-product instructions: independent chains, all in registers. */
#include "base/cpu.h"
#include "engine/peak.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { CHAINS = 10, BF16_MACS = 32, INT8_MACS = 64 };

__attribute__((target("avx512f,avx512bf16"))) static int64_t run_bf16(int64_t n, float *sink) {
    __m512 acc[CHAINS];
    __m512bh x = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.01f), _mm512_set1_ps(0.01f));
    for (int k = 0; k < CHAINS; ++k)
        acc[k] = _mm512_set1_ps((float)k);
    for (int64_t i = 0; i < n; ++i) {
#pragma GCC unroll 10
        for (int k = 0; k < CHAINS; ++k)
            acc[k] = _mm512_dpbf16_ps(acc[k], x, x);
    }
    for (int k = 1; k < CHAINS; ++k)
        acc[0] = _mm512_add_ps(acc[0], acc[k]);
    *sink = _mm512_reduce_add_ps(acc[0]);
    return n * CHAINS * BF16_MACS;
}

__attribute__((target("avx512f,avx512vnni"))) static int64_t run_int8(int64_t n, float *sink) {
    __m512i acc[CHAINS];
    __m512i x = _mm512_set1_epi8(1);
    for (int k = 0; k < CHAINS; ++k)
        acc[k] = _mm512_set1_epi32(k);
    for (int64_t i = 0; i < n; ++i) {
#pragma GCC unroll 10
        for (int k = 0; k < CHAINS; ++k)
            acc[k] = _mm512_dpbusd_epi32(acc[k], x, x);
    }
    for (int k = 1; k < CHAINS; ++k)
        acc[0] = _mm512_xor_si512(acc[0], acc[k]);
    *sink = (float)_mm512_reduce_add_epi32(acc[0]);
    return n * CHAINS * INT8_MACS;
}

hone_peak_fn *hone_peak_bf16(void) {
    return hone_cpu_isa() >= HONE_ISA_AVX512_BF16 ? run_bf16 : NULL;
}

hone_peak_fn *hone_peak_int8(void) {
    return hone_cpu_isa() >= HONE_ISA_AVX512_VNNI ? run_int8 : NULL;
}

#else

hone_peak_fn *hone_peak_bf16(void) {
    return NULL;
}

hone_peak_fn *hone_peak_int8(void) {
    return NULL;
}

#endif
