/* NumPy array files (.npy), versions 1 to 3 of the format.
 *
 * Types that NumPy lacks are written as ml_dtypes stores them: bfloat16 as '<V2', float8_e5m2 as
 * '<f1', the other 8-bit floats and the sub-byte types (a byte an element) as '<V1'. '<V2' reads as
 * bfloat16; '<V1' does not say what it is and needs the expected type. Fixed-width unicode ('U')
 * and byte ('S') strings read as string tensors, which are written as 'U'. */
#ifndef HONE_IR_NPY_H
#define HONE_IR_NPY_H

#include "ir/tensor.h"

typedef hone_status (*hone_npy_sink)(void *arg, const void *bytes, size_t n);

/** `expected` decides what untyped bytes are; NONE: unknown. The result has storage of its own. */
HONE_NODISCARD hone_status hone_npy_parse(hone_alloc *a, const uint8_t *bytes, size_t n,
                                          hone_dtype expected, hone_tensor *out, hone_error *err);
HONE_NODISCARD hone_status hone_npy_emit(const hone_tensor *t, hone_npy_sink sink, void *arg,
                                         hone_error *err);

#endif
