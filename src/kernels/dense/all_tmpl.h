/* Convolution kernels of one instruction set. The includer has included its simd.h, and defines
 * DN_MR and DN_NV (rows and vectors of the widest register tile), DN_MR_THIN (rows for tiles of at
 * most two vectors), DN_ISA, and DN_NAME(kernel), DN_TEXT(kernel): symbol and printed name. */
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

#include "tile_tmpl.h"

#include "igemm_tmpl.h"

#include "depthwise_tmpl.h"

#if VW > 1
#include "winograd_tmpl.h"
#endif
