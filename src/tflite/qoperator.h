/* Operators that have their quantisation as inputs (QLinearConv and its like) in QDQ form. */
#ifndef HONE_TFLITE_QOPERATOR_H
#define HONE_TFLITE_QOPERATOR_H

#include "ir/op.h"

/** Rewrite those of `g` whose scales are constant: DequantizeLinear of each operand, the float
 * operator, QuantizeLinear. The graph is indexed and its types inferred afterwards. */
HONE_NODISCARD hone_status hone_tflite_expand_qoperators(hone_graph *g, hone_error *err);

#endif
