/* CPU features, read once (the only process-wide state of the library), and HONE_MAX_ISA. */
#ifndef HONE_BASE_CPU_H
#define HONE_BASE_CPU_H

#include <stdbool.h>
#include <stdint.h>

/** Instruction-set levels, worst to best; a level includes the ones below it on its
 * architecture. */
typedef enum hone_isa {
    HONE_ISA_REF = 0,     /* portable C */
    HONE_ISA_AVX2,        /* AVX2 + FMA + F16C */
    HONE_ISA_AVX512,      /* F, BW, DQ, VL */
    HONE_ISA_AVX512_VNNI, /* + VNNI */
    HONE_ISA_AVX512_BF16, /* + BF16 */
    HONE_ISA_COUNT
} hone_isa;

/** Best level of this CPU and OS, limited by the environment variable HONE_MAX_ISA
 * (ref, avx2, avx512, avx512_vnni, avx512_bf16), which is read once. */
hone_isa hone_cpu_isa(void);
/** The lowest level with the same registers: kernels of both may be the best. */
static inline hone_isa hone_isa_family(hone_isa isa) {
    return isa > HONE_ISA_AVX512 ? HONE_ISA_AVX512 : isa;
}
const char *hone_isa_name(hone_isa isa);
/** -1 for an unknown name. */
int hone_isa_parse(const char *name);
/** Model name of the CPU as the OS gives it, e.g. "AMD EPYC 9R14"; never NULL. */
const char *hone_cpu_model(void);
/** Data cache bytes per core; conservative defaults when the OS does not tell. */
int64_t hone_cpu_l1d_bytes(void);
int64_t hone_cpu_l2_bytes(void);
/** The last-level cache, which cores may share. */
int64_t hone_cpu_l3_bytes(void);

#endif
