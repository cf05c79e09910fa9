/* Convolution kernels compiled for this instruction set: src/kernels/dense. */
#include "simd.h"

#define DN_MR         6
#define DN_NV         4
#define DN_MR_THIN    8
#define DN_ISA        HONE_ISA_AVX512
#define DN_NAME(name) hone_conv_f32_avx512_##name
#define DN_TEXT(name) "conv_f32_avx512_" name
#include "kernels/dense/all_tmpl.h"
