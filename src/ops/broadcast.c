#include "ops/broadcast.h"

#include <string.h>

/* Strides of an operand aligned to the result's rank, 0 where it is repeated. */
static void operand_strides(const hone_tensor *t, const hone_tensor *out, int64_t *stride) {
    int64_t step = 1;
    for (int i = out->rank - 1; i >= 0; --i) {
        int k = i - (out->rank - t->rank);
        int64_t dim = k < 0 ? 1 : t->dims[k];
        stride[i] = dim == 1 ? 0 : step;
        step *= dim;
    }
}

void hone_broadcast_init(hone_broadcast *b, const hone_tensor *out, const hone_tensor *const *in,
                         int n_in) {
    int64_t full[HONE_BROADCAST_MAX][HONE_MAX_RANK];
    memset(b, 0, sizeof *b);
    for (int k = 0; k < n_in; ++k)
        operand_strides(in[k], out, full[k]);
    /* Merge a dim into the one before it where every operand just continues. */
    for (int i = 0; i < out->rank; ++i) {
        if (out->dims[i] == 1)
            continue;
        bool merges = b->rank > 0;
        for (int k = 0; k < n_in && merges; ++k)
            merges = b->stride[k][b->rank - 1] == full[k][i] * out->dims[i];
        int at = merges ? b->rank - 1 : b->rank++;
        b->dims[at] = merges ? b->dims[at] * out->dims[i] : out->dims[i];
        for (int k = 0; k < n_in; ++k)
            b->stride[k][at] = full[k][i];
    }
    if (b->rank == 0) {
        b->rank = 1;
        b->dims[0] = 1;
    }
    b->n_inner = b->dims[b->rank - 1];
    b->n_outer = hone_dims_count(b->dims, 0, b->rank - 1);
}

void hone_broadcast_at(const hone_broadcast *b, int64_t i, int n_in, int64_t *offset) {
    for (int k = 0; k < n_in; ++k)
        offset[k] = 0;
    for (int d = b->rank - 2; d >= 0; --d) {
        int64_t index = i % b->dims[d];
        i /= b->dims[d];
        for (int k = 0; k < n_in; ++k)
            offset[k] += index * b->stride[k][d];
    }
}
