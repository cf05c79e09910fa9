/* Convolution kernels compiled for this instruction set: src/kernels/dense. */
#include "simd.h"

#define DN_MR         4
#define DN_NV         2
#define DN_MR_THIN    4
#define DN_ISA        HONE_ISA_REF
#define DN_NAME(name) hone_conv_f32_ref_##name
#define DN_TEXT(name) "conv_f32_ref_" name
#include "kernels/dense/all_tmpl.h"
