/* TensorFlow Lite bytes -> canonical graph.
 *
 * Float operators become ONNX ones; where those want channels first, between Transposes, which the
 * passes cancel. Quantised operators whose arithmetic LiteRT defines in integers become operators of
 * domain ai.hone (src/ops/tfl.def); other quantised ones run in float between DequantizeLinear and
 * QQuantize. Inputs and outputs keep their order, types and names (those of the first signature,
 * where there is one). */
#ifndef HONE_TFLITE_IMPORT_H
#define HONE_TFLITE_IMPORT_H

#include "ir/graph.h"

/** The bytes begin as a TensorFlow Lite file does. */
bool hone_tflite_is_model(const uint8_t *bytes, size_t n);
/** The bytes must outlive the graph: constants are views into them. *description (may be NULL) lives
 * in the graph. Operators that are not supported are all named in one error. */
HONE_NODISCARD hone_status hone_tflite_import(const uint8_t *bytes, size_t n, hone_graph **out,
                                              const char **description, hone_error *err);

#endif
