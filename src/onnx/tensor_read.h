/* TensorProto and SparseTensorProto -> hone_tensor. */
#ifndef HONE_ONNX_TENSOR_READ_H
#define HONE_ONNX_TENSOR_READ_H

#include "base/arena.h"
#include "ir/tensor.h"
#include "onnx/wire.h"

/* Where tensors of one file come from. */
typedef struct hone_onnx_source {
    hone_arena *arena;
    const char *dir; /* of external data; NULL: refused */
    struct external_file *files;
} hone_onnx_source;

/** Raw data is a view into the message or the mapped external file (mappings are released with the
 * arena), possibly misaligned; typed fields are decoded into the arena. `name` may be NULL. */
HONE_NODISCARD hone_status hone_onnx_tensor(hone_onnx_source *s, hone_pb m, hone_tensor *out,
                                            hone_string *name);
/** The dense form, in the arena; the name is that of the values. */
HONE_NODISCARD hone_status hone_onnx_sparse_tensor(hone_onnx_source *s, hone_pb m, hone_tensor *out,
                                                   hone_string *name);
/** Map the external file `location` below s->dir. */
HONE_NODISCARD hone_status hone_onnx_external(hone_onnx_source *s, hone_pb *at,
                                              hone_string location, const uint8_t **bytes,
                                              size_t *n);

#endif
