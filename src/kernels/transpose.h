/* Transposes of dense arrays of any rank. */
#ifndef HONE_KERNELS_TRANSPOSE_H
#define HONE_KERNELS_TRANSPOSE_H

#include <stdbool.h>
#include <stdint.h>

enum { HONE_TRANSPOSE_MAX_RANK = 8, HONE_TRANSPOSE_TILE_I = 64, HONE_TRANSPOSE_TILE_J = 256 };

/* Made by hone_transpose_prepare. Output dimension d has extent dims[d] and input stride
 * strides[d]; neighbours that move together are merged. */
typedef struct hone_transpose {
    int rank, size; /* size: bytes an element, 1, 2, 4 or 8 */
    int unit;       /* output dimension whose input stride is 1 */
    int64_t dims[HONE_TRANSPOSE_MAX_RANK], strides[HONE_TRANSPOSE_MAX_RANK];
    int64_t out_strides[HONE_TRANSPOSE_MAX_RANK];
    int64_t n_tasks;
} hone_transpose;

/** Output dimension d is input dimension perm[d]. False for a bad rank, size, permutation or
 * extent, or a size in bytes that overflows. */
bool hone_transpose_prepare(hone_transpose *t, int rank, const int64_t *dims, const int *perm,
                            int size);

/** Tasks [begin, end) of n_tasks. x and y do not overlap. */
typedef void hone_transpose_fn(const hone_transpose *t, const void *x, void *y, int64_t begin,
                               int64_t end);

#endif
