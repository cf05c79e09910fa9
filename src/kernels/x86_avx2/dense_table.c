/* Convolution kernels compiled for this instruction set: src/kernels/dense. */
#include "simd.h"

#define DN_MR         6
#define DN_NV         2
#define DN_MR_THIN    6
#define DN_ISA        HONE_ISA_AVX2
#define DN_NAME(name) hone_conv_f32_avx2_##name
#define DN_TEXT(name) "conv_f32_avx2_" name
#include "kernels/dense/all_tmpl.h"
