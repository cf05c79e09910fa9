/* Walking two broadcast operands: the dims are collapsed, so that the innermost loop is long and
 * each operand in it is either contiguous or constant. */
#ifndef HONE_OPS_BROADCAST_H
#define HONE_OPS_BROADCAST_H

#include "ir/op.h"

enum { HONE_BROADCAST_MAX = 3 }; /* operands */

typedef struct hone_broadcast {
    int rank;                                          /* collapsed, at least 1 */
    int64_t dims[HONE_MAX_RANK];                       /* of the result */
    int64_t stride[HONE_BROADCAST_MAX][HONE_MAX_RANK]; /* in elements; 0: repeated */
    int64_t n_outer, n_inner;
} hone_broadcast;

/** Operands must broadcast to `out` (as infer() has made sure). */
void hone_broadcast_init(hone_broadcast *b, const hone_tensor *out, const hone_tensor *const *in,
                         int n_in);
/** Offsets of the operands at outer index i. */
void hone_broadcast_at(const hone_broadcast *b, int64_t i, int n_in, int64_t *offset);
/** Stride of operand k in the innermost loop: 0 or 1. */
static inline int64_t hone_broadcast_step(const hone_broadcast *b, int k) {
    return b->stride[k][b->rank - 1];
}

#endif
