/* Quantisation. */
#include "tflite/legal_ops.h"

static const char *CURE = "convert the float model; its weights in half precision: --fp16";

void tfl_legal_quantize(tfl_legal *l, const hone_node *n) {
    tfl_refuse(l, n, "quantised", CURE, "quantised models are not converted yet");
}

void tfl_legal_dequantize(tfl_legal *l, const hone_node *n) {
    tfl_refuse(l, n, "quantised", CURE, "quantised models are not converted yet");
}
