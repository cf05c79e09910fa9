/* Quantised operators of TensorFlow Lite as standard ONNX.
 *
 * The reader makes operators of the domain ai.hone, whose integer arithmetic is LiteRT's. For other
 * programs they become what ONNX's quantisers write: DequantizeLinear, the float operator,
 * QuantizeLinear; biases of 32 bits through DequantizeLinear with the product of the scales; tables
 * of 256 results through Gather. Images are channels-first in between; inputs and outputs keep their
 * order. ONNX rounds halves to even after float arithmetic, so that results may be a step apart. */
#ifndef HONE_TFLITE_QDQ_H
#define HONE_TFLITE_QDQ_H

#include "ir/findings.h"

/** Rewrite `g` and its subgraphs; passes are run on it before and after. Operators without a
 * standard form go into `findings`, all at once: HONE_E_UNSUPPORTED. */
HONE_NODISCARD hone_status hone_tflite_to_qdq(hone_graph *g, hone_findings *findings,
                                              hone_error *err);

#endif
