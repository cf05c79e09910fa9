#include "kernels/vec.h"

const hone_vec_kernels *hone_vec_kernels_for(hone_isa isa) {
#if defined(__x86_64__)
    if (isa >= HONE_ISA_AVX512_BF16)
        return &hone_vec_avx512_bf16;
    if (isa >= HONE_ISA_AVX512)
        return &hone_vec_avx512;
    if (isa >= HONE_ISA_AVX2)
        return &hone_vec_avx2;
#endif
    (void)isa;
    return &hone_vec_ref;
}
