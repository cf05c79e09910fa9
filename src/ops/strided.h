/* Copying between two strided views of tensors: what most data movement operators come down to. */
#ifndef HONE_OPS_STRIDED_H
#define HONE_OPS_STRIDED_H

#include "ir/op.h"

/* A walk over `dims`; the element at index (i0, i1, ...) lies at offset + sum(i_k * stride_k), in
 * elements. Strides may be 0 (repeat) or negative (reverse). */
typedef struct hone_strided {
    int rank;
    int64_t dims[2 * HONE_MAX_RANK];
    int64_t src_stride[2 * HONE_MAX_RANK], dst_stride[2 * HONE_MAX_RANK];
    int64_t src_offset, dst_offset;
} hone_strided;

/** Row-major strides of dims. */
void hone_row_major(int rank, const int64_t *dims, int64_t *stride);
/** dst elements = src elements along the walk; any type, sub-byte and strings included (strings are
 * copied into dst's storage). All offsets must lie inside the tensors. */
HONE_NODISCARD hone_status hone_strided_copy(hone_op_ctx *c, hone_tensor *dst,
                                             const hone_tensor *src, const hone_strided *walk);
/** All elements in order; dims may differ, the counts may not. No-op when dst is src. */
HONE_NODISCARD hone_status hone_copy_data(hone_op_ctx *c, hone_tensor *dst, const hone_tensor *src);

#endif
