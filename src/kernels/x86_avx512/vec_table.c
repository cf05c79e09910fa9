/* Vector kernels compiled for this instruction set: src/kernels/vec. */
#include "simd.h"

#define VEC_TABLE hone_vec_avx512
#define VEC_ISA   HONE_ISA_AVX512
#include "kernels/vec/all_tmpl.h"
