/* Attention as the operators that TensorFlow Lite has. */
#ifndef HONE_TFLITE_EXPAND_ATTENTION_H
#define HONE_TFLITE_EXPAND_ATTENTION_H

#include "ir/op.h"

/** Replace Attention by products, a Softmax and what belongs to them, where heads and lengths are
 * known and there is no nonpad_kv_seqlen; the others stay. The graph is indexed and its types
 * inferred afterwards. Source: ONNX operator specification, Attention-25. */
HONE_NODISCARD hone_status hone_tflite_expand_attention(hone_graph *g, hone_error *err);

#endif
