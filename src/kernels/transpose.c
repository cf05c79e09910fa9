#include "kernels/transpose.h"

static bool input_strides(int rank, const int64_t *dims, int64_t size, int64_t *strides) {
    int64_t n = size;
    for (int d = 0; d < rank; ++d) {
        if (dims[d] < 0 || __builtin_mul_overflow(n, dims[d] > 0 ? dims[d] : 1, &n))
            return false;
    }
    n = 1;
    for (int d = rank - 1; d >= 0; --d) {
        strides[d] = n;
        n *= dims[d] > 0 ? dims[d] : 1;
    }
    return true;
}

static bool is_permutation(int rank, const int *perm) {
    unsigned seen = 0;
    for (int d = 0; d < rank; ++d) {
        if (perm[d] < 0 || perm[d] >= rank || (seen >> perm[d] & 1u))
            return false;
        seen |= 1u << perm[d];
    }
    return true;
}

static void push(hone_transpose *t, int64_t dim, int64_t stride) {
    int n = t->rank;
    if (dim == 1)
        return;
    if (n > 0 && t->strides[n - 1] == stride * dim) {
        t->dims[n - 1] *= dim;
        t->strides[n - 1] = stride;
        return;
    }
    t->dims[n] = dim;
    t->strides[n] = stride;
    t->rank = n + 1;
}

static int64_t tiles(int64_t n, int64_t tile) {
    return (n + tile - 1) / tile;
}

bool hone_transpose_prepare(hone_transpose *t, int rank, const int64_t *dims, const int *perm,
                            int size) {
    int64_t strides[HONE_TRANSPOSE_MAX_RANK], n = 1;
    if (rank < 0 || rank > HONE_TRANSPOSE_MAX_RANK ||
        (size != 1 && size != 2 && size != 4 && size != 8) || !is_permutation(rank, perm) ||
        !input_strides(rank, dims, size, strides))
        return false;
    *t = (hone_transpose){.size = size, .n_tasks = 1};
    for (int d = 0; d < rank; ++d)
        push(t, dims[perm[d]], strides[perm[d]]);
    if (t->rank == 0)
        t->dims[t->rank] = 1, t->strides[t->rank++] = 1;
    for (int d = t->rank - 1; d >= 0; --d) {
        t->out_strides[d] = n;
        n *= t->dims[d];
        if (t->strides[d] == 1)
            t->unit = d;
    }
    int last = t->rank - 1;
    for (int d = 0; d < last; ++d)
        t->n_tasks *= d == t->unit ? tiles(t->dims[d], HONE_TRANSPOSE_TILE_I) : t->dims[d];
    if (t->unit != last)
        t->n_tasks *= tiles(t->dims[last], HONE_TRANSPOSE_TILE_J);
    if (n == 0)
        t->n_tasks = 0;
    return true;
}
