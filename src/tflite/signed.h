/* Models of uint8 activations and int8 weights, which LiteRT's kernels do not take together. */
#ifndef HONE_TFLITE_SIGNED_H
#define HONE_TFLITE_SIGNED_H

#include "ir/op.h"

/** Make the uint8 activations of `g` int8 when a layer has int8 weights beside them: everything
 * stored, zero points too, becomes less by 128, which changes no real value. Left as it is where
 * uint8 is seen from outside (inputs, outputs) or read by other operators than such as quantise,
 * dequantise and move. The graph is indexed and its types inferred afterwards. */
HONE_NODISCARD hone_status hone_tflite_make_signed(hone_graph *g, hone_error *err);

#endif
