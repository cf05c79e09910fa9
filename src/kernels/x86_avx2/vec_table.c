/* Vector kernels compiled for this instruction set: src/kernels/vec. */
#include "simd.h"

#define VEC_TABLE hone_vec_avx2
#define VEC_ISA   HONE_ISA_AVX2
#include "kernels/vec/all_tmpl.h"
