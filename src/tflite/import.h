/* TensorFlow Lite bytes -> canonical graph.
 *
 * Float operators become ONNX ones; where those want channels first, between Transposes, which the
 * passes cancel. Quantised operators whose arithmetic LiteRT defines in integers become operators
 * of domain ai.hone (src/ops/tfl.def); other quantised ones run in float between DequantizeLinear
 * and QQuantize. Inputs and outputs keep their order, types and names (those of the signature,
 * where there is one). */
#ifndef HONE_TFLITE_IMPORT_H
#define HONE_TFLITE_IMPORT_H

#include "ir/graph.h"

/** The bytes begin as a TensorFlow Lite file does. */
bool hone_tflite_is_model(const uint8_t *bytes, size_t n);
/** Keys of the file's signatures, in its order, in the arena: what callers may call; "" where a
 * file gives none. */
HONE_NODISCARD hone_status hone_tflite_signatures(const uint8_t *bytes, size_t n, hone_arena *arena,
                                                  const char *const **keys, int *n_keys,
                                                  hone_error *err);
/** The graph that signature `key` calls; NULL: the first one's, and that of the first subgraph
 * where there are none. The bytes must outlive the graph: constants are views into them.
 * *description (may be NULL) lives in the graph. Operators that are not supported are all named in
 * one error. */
HONE_NODISCARD hone_status hone_tflite_import(const uint8_t *bytes, size_t n, const char *key,
                                              hone_graph **out, const char **description,
                                              hone_error *err);

#endif
