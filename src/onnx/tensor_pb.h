/* Protobuf files of single values (.pb): TensorProto, SequenceProto, OptionalProto, and maps inside
 * sequences, as the ONNX test data store them. */
#ifndef HONE_ONNX_TENSOR_PB_H
#define HONE_ONNX_TENSOR_PB_H

#include "ir/graph.h"
#include "onnx/wire.h"

/** What the file holds is not written in it: `kind` and `optional` (from the model's type) tell.
 * The result has storage of its own; an empty optional has kind NONE. */
HONE_NODISCARD hone_status hone_value_from_pb(hone_alloc *a, const uint8_t *bytes, size_t n,
                                              hone_kind kind, bool optional, hone_tensor *out,
                                              hone_error *err);
/** Append the value to w (TensorProto, SequenceProto, or OptionalProto when `optional`); tensor
 * data are kept as views. `name` may be "". */
HONE_NODISCARD hone_status hone_value_to_pb(hone_pbw *w, const hone_tensor *t, bool optional,
                                            const char *name, hone_error *err);
/** The fields of a TensorProto, data as a view (strings copied). */
void hone_tensor_to_pb(hone_pbw *w, const hone_tensor *t, const char *name);

#endif
