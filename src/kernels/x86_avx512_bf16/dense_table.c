/* Convolution kernels compiled for this instruction set: src/kernels/dense. */
#include "kernels/x86_avx512/simd.h"

#define DN_BF16
#define DN_MR         6
#define DN_NV         4
#define DN_MR_THIN    8
#define DN_ISA        HONE_ISA_AVX512_BF16
#define DN_NAME(name) hone_conv_bf16_avx512_##name
#define DN_TEXT(name) "conv_bf16_avx512_" name
#include "kernels/dense/all_tmpl.h"
