/* Vector kernels compiled for this instruction set: src/kernels/vec. */
#include "simd.h"

#define VEC_TABLE hone_vec_ref
#define VEC_ISA   HONE_ISA_REF
#include "kernels/vec/all_tmpl.h"
