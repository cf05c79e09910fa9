/* Convolution kernels of one instruction set. The includer has included its simd.h, and defines
 * DN_MR and DN_NV (rows and vectors of the widest register tile), DN_MR_THIN (rows for tiles of at
 * most two vectors), DN_ISA, and DN_NAME(kernel), DN_TEXT(kernel): symbol and printed name; and
 * DN_BF16 for data stored as BF16: then depthwise and Winograd compute in FP32 on it (activations
 * other than clipping see the rounded sum), and VDPBF16PS stands in for igemm. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "kernels/conv.h"
#include "kernels/vec/math_tmpl.h"

#define DN_INLINE static inline __attribute__((always_inline))

static inline int64_t dn_min(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t dn_ceil(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
static inline int64_t dn_round(int64_t a, int64_t to) {
    return dn_ceil(a, to) * to;
}

/* What x, y and the residual are stored as in this build of the kernels. */
#ifdef DN_BF16
#define DN_STORAGES HONE_CONV_BF16
typedef uint16_t dn_elem;
#else
#define DN_STORAGES HONE_CONV_F32
typedef float dn_elem;
#endif

/* The first n lanes; n may be more than VW. */
DN_INLINE vf dn_load(const dn_elem *p, int64_t n) {
#ifdef DN_BF16
    return n >= VW ? vf_load_bf16(p) : vf_load_bf16_n(p, n);
#else
    return n >= VW ? vf_load(p) : vf_load_n(p, n);
#endif
}
DN_INLINE void dn_store(dn_elem *p, vf v, int64_t n) {
#ifdef DN_BF16
    if (n >= VW)
        vf_store_bf16(p, v);
    else
        vf_store_bf16_n(p, v, n);
#else
    if (n >= VW)
        vf_store(p, v);
    else
        vf_store_n(p, v, n);
#endif
}

#include "split_tmpl.h"
#include "tile_tmpl.h"

#ifndef DN_BF16
#include "igemm_tmpl.h"
#endif

#include "depthwise_tmpl.h"

#if VW > 1
#include "winograd_tmpl.h"
#endif

#ifdef DN_BF16
#include "dot_tmpl.h"
#include "dwdot_tmpl.h"
#endif

#include "image_tmpl.h"
