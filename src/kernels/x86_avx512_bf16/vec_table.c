/* Vector kernels compiled for this instruction set: src/kernels/vec. */
#include "kernels/x86_avx512/simd.h"

#define VEC_TABLE hone_vec_avx512_bf16
#define VEC_ISA   HONE_ISA_AVX512_BF16
#include "kernels/vec/all_tmpl.h"
